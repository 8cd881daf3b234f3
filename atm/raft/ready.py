"""What the core wants done, in the order in which it must be done."""

from __future__ import annotations

from enum import Enum

from msgspec import Struct

from atm.raft.messages import CatchUp, ConfirmedRead, Entry, HardState, NodeId, Outgoing


class Role(Enum):
    """What a server is at the moment (Figure 4), with the pre-candidate of the thesis (9.6)."""

    FOLLOWER = "follower"
    PRE_CANDIDATE = "pre-candidate"
    CANDIDATE = "candidate"
    LEADER = "leader"


class Ready(Struct, frozen=True, kw_only=True, gc=False):
    """Work for the server: the fields stand in the order in which they are to be performed.

    1. `messages` and `catch_ups` may be sent at once: a leader replicates while its own disk syncs
       (thesis 10.2.1).
    2. `hard_state` and `entries` are saved and synced. The first of `entries` may stand at an index that
       exists already: it and all behind it replace what was there.
    3. `messages_after_sync` may be sent: they are promises about what has just become durable.
    4. `committed` is applied, in order. None of it is ahead of what steps 2 of this and earlier `Ready`s
       made durable here.
    5. `reads` may be answered from the state as of now; `dropped_reads` can never be.
    """

    messages: tuple[Outgoing, ...] = ()
    catch_ups: tuple[CatchUp, ...] = ()
    hard_state: HardState
    entries: tuple[Entry, ...] = ()
    messages_after_sync: tuple[Outgoing, ...] = ()
    committed: tuple[Entry, ...] = ()
    reads: tuple[ConfirmedRead, ...] = ()
    dropped_reads: tuple[int, ...] = ()
    role: Role
    leader: NodeId | None
