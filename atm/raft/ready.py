"""The work that the core hands to its caller, in the order in which it must be done."""

from __future__ import annotations

from enum import Enum

from msgspec import Struct

from atm.raft.messages import CatchUp, ConfirmedRead, Entry, HardState, NodeId, Outgoing, Snapshot


class Role(Enum):
    """The role of a server (Figure 4), with the pre-candidate of the thesis (9.6)."""

    FOLLOWER = "follower"
    PRE_CANDIDATE = "pre-candidate"
    CANDIDATE = "candidate"
    LEADER = "leader"


class Ready(Struct, frozen=True, kw_only=True, gc=False):
    """Work for the caller; perform the fields in this order.

    1. `messages` and `catch_ups` may be sent at once: a leader replicates while its own disk syncs
       (thesis 10.2.1).
    2. `reset_log`, if any: the log is emptied, and begins after this snapshot, which was installed. Then
       `hard_state` and `entries` are saved and synced. The first of `entries` may have an index that is
       in the log already: it and those after it replace the log from there on.
    3. `messages_after_sync` may be sent: they promise what step 2 made durable.
    4. `committed` is applied, in order. All of it is durable here after step 2.
    5. `reads` may be answered from the current state; `dropped_reads` can never be answered.
    6. `install`, if any: the caller begins to fetch this snapshot, and abandons any other
       (`Raft.installing`).
    """

    messages: tuple[Outgoing, ...] = ()
    catch_ups: tuple[CatchUp, ...] = ()
    reset_log: Snapshot | None = None
    hard_state: HardState
    entries: tuple[Entry, ...] = ()
    messages_after_sync: tuple[Outgoing, ...] = ()
    committed: tuple[Entry, ...] = ()
    reads: tuple[ConfirmedRead, ...] = ()
    dropped_reads: tuple[int, ...] = ()
    install: Snapshot | None = None
    role: Role
    leader: NodeId | None
