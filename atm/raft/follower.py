"""A follower: which entries of an append are new, which conflict, and where the logs diverge."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import Struct

from atm.raft.log import Log
from atm.raft.messages import Entry, NodeId
from atm.raft.ready import Role


class Follower(Struct):
    """A follower's own data: whom it follows, once it knows.

    While `rejects_leader` is set, the last entries of that leader were rejected. Its messages then neither
    reset the election timer nor get an answer, so that it does not send them again and again. If a majority
    rejects them (its clock or its release differs), another is elected; later the leader may try again.
    """

    leader: NodeId | None
    rejects_leader: bool = False

    role = Role.FOLLOWER


def first_new(entries: Sequence[Entry], log: Log) -> int:
    """Return the position in `entries` of the first that is not in the log (Figure 2, AppendEntries 3).

    Whatever stands at its index in the log conflicts with it.
    """
    if not entries or entries[0].index > log.last_index:
        return 0
    for position, entry in enumerate(entries):
        if log.term_at(entry.index) != entry.term:
            return position
    return len(entries)


def committed_conflict(entry: Entry, log: Log) -> str:
    """Return what it means that an entry would replace a committed one."""
    return (
        f"its entry {entry.index} of term {entry.term} conflicts with a committed entry of term "
        f"{log.term_at(entry.index)}: if it is no lie, a server has lost part of its log"
    )


def conflict_hint(log: Log, prev_log_index: int, commit_index: int) -> tuple[int, int]:
    """Return (conflict_index, conflict_term) for a refusal, so that back-up takes one round a term."""
    term = log.term_at(prev_log_index)
    if term is None:
        return log.last_index + 1, 0
    return max(log.first_index_of_run(prev_log_index), commit_index + 1), term
