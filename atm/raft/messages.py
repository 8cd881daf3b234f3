"""The messages of Raft, as in Figure 2 of the paper, with what the thesis adds.

Every message is frozen and names its sender and its sender's term. Who it goes to is said by
`Outgoing`, so that one message can be encoded once and sent to many. The structs are array-like:
on the wire a message is a short list that starts with its tag (see docs/protocol.md).
"""

from __future__ import annotations

from enum import IntEnum
from typing import Annotated

from msgspec import Meta, Struct

NUMBER_MAX = 2**62  # no cluster gets there, and one more still fits the 64 bits of wire and disk

NodeId = str
Number = Annotated[int, Meta(ge=0, le=NUMBER_MAX)]  # a term, an index, a time: decoding refuses others
Small = Annotated[int, Meta(ge=0, le=255)]  # a kind, a version


class EntryKind(IntEnum):
    """What an entry is. Raft itself looks at no `data`; those above it know what each kind's is.

    A number is never used again for anything else.
    """

    NOOP = 0  # begins a leader's term; no data
    COMMAND = 1
    BOOTSTRAP = 2  # the first entry of all: begins the first leader's term in place of a no-op
    MEMBERSHIP = 3  # kept for changes of the set of servers; nobody writes it yet
    FEATURE_LEVEL = 4


ENTRY_VERSION = 1  # of what is in the entries of every kind, and of the rules by which they are decided


class Entry(Struct, frozen=True, kw_only=True, array_like=True, gc=False):
    """One entry of the replicated log; `data` is opaque to Raft.

    `kind` is an `EntryKind`, or a number that a newer release knows: decoding takes any, so that whoever
    meets one can say so.
    """

    index: Number
    term: Number
    time_us: Number  # stamped by the leader, in microseconds since 1970, rising strictly with the index
    kind: Small
    version: Small = ENTRY_VERSION
    data: bytes


class Message(Struct, frozen=True, kw_only=True, array_like=True, gc=False):
    """What all messages have in common."""

    sender: NodeId
    term: Number


class RequestVote(Message, frozen=True, kw_only=True, array_like=True, gc=False, tag=1):
    """A candidate asks for a vote (section 5.2); with `pre_vote`, whether it would get one (thesis 9.6).

    A pre-vote carries the term that the sender *would* campaign in; nobody adopts that term.
    """

    last_log_index: Number
    last_log_term: Number
    pre_vote: bool


class RequestVoteResponse(Message, frozen=True, kw_only=True, array_like=True, gc=False, tag=2):
    """The answer to a `RequestVote`; `term` is the campaign's term if granted, else the voter's own."""

    granted: bool
    pre_vote: bool


class AppendEntries(Message, frozen=True, kw_only=True, array_like=True, gc=False, tag=3):
    """A leader replicates entries; without any, this is a heartbeat (section 5.3).

    `round` is the leader's newest heartbeat round. The response echoes it: once a majority has, the leader
    knows that it still led after that round began (ReadIndex, thesis 6.4).
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
    to go on: the follower's log holds `conflict_term` from `conflict_index` on, or, with a
    `conflict_term` of 0, ends before `conflict_index` (section 5.3, end). To an append of an older term all
    of these are 0, and `round` too: only the response's own term is meant.
    """

    success: bool
    match_index: Number
    conflict_index: Number
    conflict_term: Number
    round: Number


RaftMessage = RequestVote | RequestVoteResponse | AppendEntries | AppendEntriesResponse


class HardState(Struct, frozen=True, kw_only=True, gc=False):
    """What must be on disk before any answer leaves (Figure 2, persistent state).

    Term and vote are one value and are saved as one. `commit_index` is a hint that rides along: a lower
    bound from which a restart may apply without waiting for a leader; losing it is harmless.
    """

    term: int = 0
    voted_for: NodeId | None = None
    commit_index: int = 0


class Outgoing(Struct, frozen=True, gc=False):
    """A message and whom it goes to."""

    to: NodeId
    message: RaftMessage


class CatchUp(Struct, frozen=True, kw_only=True, gc=False):
    """An append whose entries are no longer in memory: whoever performs it reads them from the disk.

    Read entries `append.prev_log_index + 1` to at most `last_index`, at least one and no more than fit
    a frame, put them into `append.entries`, and send it `to`.
    """

    to: NodeId
    append: AppendEntries
    last_index: int


class ConfirmedRead(Struct, frozen=True, gc=False):
    """A read that may be answered from the state as of now: everything up to `index` has been applied."""

    read_id: int
    index: int
