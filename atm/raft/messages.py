"""The messages of Raft, as in Figure 2 of the paper, with what the thesis adds.

Every message is frozen and names its sender (Figure 2: candidateId, leaderId) and its sender's term. Its
recipient is in `Outgoing`, so that one message can be encoded once and sent to many. The structs are
array-like: on the wire a message is a short list that starts with its tag (docs/protocol.md).
"""

from __future__ import annotations

from enum import IntEnum
from typing import Annotated

from msgspec import Meta, Struct

NUMBER_MAX = 2**62  # no cluster gets there, and one more still fits 64 bits

NodeId = str
Number = Annotated[int, Meta(ge=0, le=NUMBER_MAX)]  # a term, an index, a time: decoding refuses others
Small = Annotated[int, Meta(ge=0, le=255)]  # a kind, a version
Sha256 = Annotated[str, Meta(pattern="^[0-9a-f]*$", max_length=64)]  # in hexadecimal


class EntryKind(IntEnum):
    """What an entry is for. Raft does not look at `data`; its caller knows what each kind holds.

    A number is never reused.
    """

    NOOP = 0  # begins a leader's term; no data
    COMMAND = 1
    BOOTSTRAP = 2  # the log's first entry: begins the first leader's term in place of a no-op
    MEMBERSHIP = 3  # all members from this entry on: `atm.raft.membership`
    FEATURE_LEVEL = 4


ENTRY_VERSION = 1  # of the contents of all kinds of entries, and of the rules by which commands are decided


class Entry(Struct, frozen=True, kw_only=True, array_like=True, gc=False):
    """One entry of the replicated log; `data` is opaque to Raft.

    `kind` is an `EntryKind`, or a number that only a newer release knows. Decoding accepts any, so that the
    caller can report it.
    """

    index: Number
    term: Number
    time_us: Number  # set by the leader: microseconds since 1970, strictly rising with the index
    kind: Small
    version: Small = ENTRY_VERSION
    data: bytes


class Message(Struct, frozen=True, kw_only=True, array_like=True, gc=False):
    sender: NodeId
    term: Number


class RequestVote(Message, frozen=True, kw_only=True, array_like=True, gc=False, tag=1):
    """A candidate asks for a vote (section 5.2); with `pre_vote`, whether it would get one (thesis 9.6).

    A pre-vote carries the term that the sender *would* campaign in; no server adopts that term.
    With `transfer`, the leader hands over to the sender: voters do not wait for that leader to be silent.
    `store` is the sender's data folder if that is not its first one and the newest configuration of its log
    names it as a voter's, by the entry at `store_since`.
    """

    last_log_index: Number
    last_log_term: Number
    pre_vote: bool
    transfer: bool = False
    store: str = ""
    store_since: Number = 0


class RequestVoteResponse(Message, frozen=True, kw_only=True, array_like=True, gc=False, tag=2):
    """The answer to a `RequestVote`; `term` is the campaign's term if granted, else the voter's own."""

    granted: bool
    pre_vote: bool


class AppendEntries(Message, frozen=True, kw_only=True, array_like=True, gc=False, tag=3):
    """A leader replicates entries; without any, this is a heartbeat (section 5.3).

    `leader_commit` is the leader's commit index. `round` is its newest heartbeat round; the response echoes
    it. Once a majority has, the leader knows that it still led after that round began (ReadIndex, thesis
    6.4).
    """

    prev_log_index: Number
    prev_log_term: Number
    entries: tuple[Entry, ...]
    leader_commit: Number
    round: Number


class AppendEntriesResponse(Message, frozen=True, kw_only=True, array_like=True, gc=False, tag=4):
    """The answer to an `AppendEntries`.

    On success `match_index` is `prev_log_index + len(entries)` of the request, never the follower's own
    last index. On refusal `match_index` is the `prev_log_index` that was refused, and the hint says where
    to try next: the follower's entries of `conflict_term` begin at `conflict_index`, or, if `conflict_term`
    is 0, its log ends before `conflict_index` (section 5.3, end). In the answer to an append of an older
    term all of these, and `round`, are 0: it only tells the newer term.
    """

    success: bool
    match_index: Number
    conflict_index: Number
    conflict_term: Number
    round: Number


class Snapshot(Struct, frozen=True, kw_only=True, array_like=True, gc=False):
    """What a state machine held once it had applied the entries up to `index` (section 7): all but the data.

    `term` and `time_us` are those of the entry at `index`. The core looks at these three alone. The rest
    tells the caller which file it is, and which cluster and configuration it belongs to.
    """

    index: Number
    term: Number
    time_us: Number
    size_bytes: Number
    sha256: Sha256  # of the file
    chain_hash: Sha256  # of the journal's last posting
    membership: bytes
    cluster_id: str


class InstallSnapshot(Message, frozen=True, kw_only=True, array_like=True, gc=False, tag=5):
    """A leader offers its snapshot to a follower that needs an entry from before its log (section 7).

    It is sent in place of a heartbeat, and carries no data: the follower's caller fetches the file on a
    connection of its own. docs/raft.md says why. `round` is as in an `AppendEntries`.
    """

    snapshot: Snapshot
    round: Number


class InstallSnapshotResponse(Message, frozen=True, kw_only=True, array_like=True, gc=False, tag=6):
    """The answer to an `InstallSnapshot`; `index` is that of the offered snapshot.

    `installed` says that the follower holds, durably, all that is committed up to `index`. In the answer to
    an offer of an older term `index` and `round` are 0: it only tells the newer term.
    """

    index: Number
    installed: bool
    round: Number


class TimeoutNow(Message, frozen=True, kw_only=True, array_like=True, gc=False, tag=7):
    """The leader hands over: the recipient, whose log is as long, campaigns at once (thesis 3.10)."""


RaftMessage = (
    RequestVote
    | RequestVoteResponse
    | AppendEntries
    | AppendEntriesResponse
    | InstallSnapshot
    | InstallSnapshotResponse
    | TimeoutNow
)


class HardState(Struct, frozen=True, kw_only=True, gc=False):
    """What must be on disk before any response leaves (Figure 2, persistent state).

    Term and vote are saved as one. `commit_index` is a hint saved with them: a restarted server may apply
    up to it without waiting for a leader. Losing it is harmless.
    """

    term: int = 0
    voted_for: NodeId | None = None
    commit_index: int = 0


class Outgoing(Struct, frozen=True, gc=False):
    """A message and its recipient."""

    to: NodeId
    message: RaftMessage


class CatchUp(Struct, frozen=True, kw_only=True, gc=False):
    """An append whose entries are no longer in memory: the caller reads them from the disk.

    Read entries `append.prev_log_index + 1` to at most `last_index`, at least one and no more than fit
    a frame, put them into `append.entries`, and send it to `to`.
    """

    to: NodeId
    append: AppendEntries
    last_index: int


class ConfirmedRead(Struct, frozen=True, gc=False):
    """A read that may be answered from the current state: everything up to `index` has been applied."""

    read_id: int
    index: int
