"""All that an exercise imports: the messages of Figure 2, `Ready`, and what the judge calls.

These are the types of the project's own core. It knows more messages and fields than the paper; those that
an exercise does not need have defaults here.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from atm.raft.config import RaftConfig
from atm.raft.messages import (
    AppendEntries,
    AppendEntriesResponse,
    Entry,
    EntryKind,
    HardState,
    NodeId,
    Outgoing,
    RaftMessage,
    RequestVote,
    RequestVoteResponse,
)
from atm.raft.ready import Ready, Role

__all__ = [
    "AppendEntries",
    "AppendEntriesResponse",
    "Core",
    "Entry",
    "HardState",
    "MakeCore",
    "NodeId",
    "Outgoing",
    "RaftConfig",
    "RaftMessage",
    "Ready",
    "RequestVote",
    "RequestVoteResponse",
    "Role",
    "append",
    "append_response",
    "entry_after",
    "vote_request",
    "vote_response",
]


def vote_request(sender: NodeId, term: int, *, last_log_index: int, last_log_term: int) -> RequestVote:
    """Return the arguments of RequestVote (Figure 2)."""
    return RequestVote(
        sender=sender, term=term, last_log_index=last_log_index, last_log_term=last_log_term, pre_vote=False
    )


def vote_response(sender: NodeId, term: int, *, granted: bool) -> RequestVoteResponse:
    """Return the results of RequestVote (Figure 2)."""
    return RequestVoteResponse(sender=sender, term=term, granted=granted, pre_vote=False)


def append(
    sender: NodeId,
    term: int,
    *,
    prev_log_index: int,
    prev_log_term: int,
    entries: Sequence[Entry],
    leader_commit: int,
) -> AppendEntries:
    """Return the arguments of AppendEntries (Figure 2); without entries it is a heartbeat."""
    return AppendEntries(
        sender=sender,
        term=term,
        prev_log_index=prev_log_index,
        prev_log_term=prev_log_term,
        entries=tuple(entries),
        leader_commit=leader_commit,
        round=0,
    )


def append_response(sender: NodeId, term: int, *, success: bool, match_index: int) -> AppendEntriesResponse:
    """Return the results of AppendEntries (Figure 2), with what the leader needs to know besides.

    On success `match_index` is the index up to which the request showed the two logs to be equal:
    `prev_log_index + len(entries)` of the request. On refusal it is the request's `prev_log_index`.
    """
    return AppendEntriesResponse(
        sender=sender,
        term=term,
        success=success,
        match_index=match_index,
        conflict_index=0,
        conflict_term=0,
        round=0,
    )


def entry_after(last: Entry | None, *, term: int, data: bytes, now_us: int = 0) -> Entry:
    """Return a new entry behind `last`, the last one of the log, or None in an empty log.

    Its time stamp is later than that of `last`, whatever the clock says.
    """
    index, time_us = (last.index, last.time_us) if last else (0, 0)
    return Entry(
        index=index + 1,
        term=term,
        time_us=max(now_us, time_us + 1),
        kind=EntryKind.COMMAND if data else EntryKind.NOOP,
        data=data,
    )


class Core(Protocol):
    """What the judge calls. `exercise.py` says what each call means."""

    @property
    def role(self) -> Role: ...
    @property
    def term(self) -> int: ...
    @property
    def commit_index(self) -> int: ...
    def step(self, message: RaftMessage) -> object: ...
    def tick(self) -> None: ...
    def propose(self, data: Sequence[bytes], now_us: int) -> int: ...
    def ready(self) -> Ready | None: ...
    def advance(self, ready: Ready) -> None: ...


class MakeCore(Protocol):
    """The class that the judge instantiates."""

    def __call__(
        self,
        config: RaftConfig,
        *,
        hard_state: HardState,
        entries: Sequence[Entry],
        random: Callable[[int, int], int],
    ) -> Core: ...
