"""A follower: it believes a leader, checks what comes from it, and says where the logs part."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import Struct

from atm.raft.errors import SafetyViolated
from atm.raft.log import Log
from atm.raft.messages import Entry, NodeId
from atm.raft.ready import Role


class Follower(Struct):
    """A follower's own data: whom it follows, once it knows."""

    leader: NodeId | None

    role = Role.FOLLOWER


def first_new(entries: Sequence[Entry], log: Log, commit_index: int) -> int:
    """Return the position in `entries` of the first that is not in the log (Figure 2, AppendEntries 3).

    Whatever stands at its index in the log conflicts with it. A conflict with a committed entry cannot
    be: some server forgot what it promised.
    """
    if not entries or entries[0].index > log.last_index:
        return 0
    for position, entry in enumerate(entries):
        if log.term_at(entry.index) != entry.term:
            if entry.index <= commit_index:
                raise SafetyViolated(
                    f"the leader's entry {entry.index} of term {entry.term} conflicts with a committed entry "
                    f"of term {log.term_at(entry.index)}: a server has lost part of its log"
                )
            return position
    return len(entries)


def conflict_hint(log: Log, prev_log_index: int, commit_index: int) -> tuple[int, int]:
    """Return (conflict_index, conflict_term) for a refusal, so that back-up takes one round a term."""
    term = log.term_at(prev_log_index)
    if term is None:
        return log.last_index + 1, 0
    return max(log.first_index_of_run(prev_log_index), commit_index + 1), term
