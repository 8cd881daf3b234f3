"""A follower (section 5.3): which entries of an append are new, which conflict, where the logs diverge."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import Struct

from atm.raft.log import Log
from atm.raft.messages import Entry, NodeId, Snapshot
from atm.raft.ready import Role


class Follower(Struct):
    """A follower's own data: the leader of its term, if known.

    `rejects_leader` is set while the last new entries of that leader were rejected: its clock or its release
    may differ. The leader's appends then do not reset the election timer. They get no answer either, since
    the leader would send the rejected entries again at once. If a majority rejects them, it elects another
    leader. The flag is cleared when the leader's entries are accepted.
    """

    leader: NodeId | None
    rejects_leader: bool = False

    role = Role.FOLLOWER


def first_new(entries: Sequence[Entry], log: Log) -> int:
    """Return the position in `entries` of the first that is not in the log (Figure 2, AppendEntries 3).

    An entry of the log at the same index conflicts with it. Those from before the log's start are committed:
    we had them.
    """
    if not entries or entries[0].index > log.last_index:
        return 0
    for position, entry in enumerate(entries):
        if not log.agrees(entry.index, entry.term):
            return position
    return len(entries)


def committed_conflict(entry: Entry, log: Log) -> str:
    """Return the reason for which `entry`, which would replace a committed one, is rejected."""
    return (
        f"its entry {entry.index} of term {entry.term} conflicts with a committed entry of term "
        f"{log.term_at(entry.index)}: the sender is faulty, or a server has lost part of its log"
    )


def conflict_hint(log: Log, prev_log_index: int, commit_index: int) -> tuple[int, int]:
    """Return (conflict_index, conflict_term) for a refusal: the leader then goes back a term at a time."""
    term = log.term_at(prev_log_index)
    if term is None:
        return log.last_index + 1, 0
    return max(log.first_index_of_run(prev_log_index), commit_index + 1), term


def stale_offer(snapshot: Snapshot, log: Log, commit_index: int) -> str | None:
    """Return why no leader can offer `snapshot` to a server that has committed up to `commit_index`, or None.

    Along what is committed, terms never fall and time stamps rise.
    """
    index, term = snapshot.index, snapshot.term
    known_term = log.term_at(index if index <= commit_index else commit_index)
    if index <= commit_index:
        sound = known_term in (None, term)
    else:
        assert known_term is not None
        sound = term >= known_term and snapshot.time_us > log.time_us_at(commit_index)
    if sound:
        return None
    return (
        f"its snapshot of entry {index} of term {term} conflicts with what is committed here, up to "
        f"{commit_index}: the sender is faulty, or a server has lost part of its log"
    )
