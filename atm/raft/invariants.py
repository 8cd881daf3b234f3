"""What must hold of a server after any step, and of all servers together; tests check it, all the time."""

from __future__ import annotations

from collections.abc import Iterable

from atm.raft.leader import Leader
from atm.raft.raft import Raft
from atm.raft.ready import Role


def check_server(raft: Raft) -> None:
    """Assert what one server can know of itself."""
    log = raft.log
    assert log.base_index <= raft.applied_index <= raft.commit_index <= raft.last_index
    assert raft.saved_index <= raft.last_index
    assert log.last_term <= raft.term, "no entry is newer than the term"
    if isinstance(raft._role, Leader):
        assert raft.voted_for == raft.node_id, "a leader has voted for itself"
        _check_leader(raft, raft._role)


def _check_leader(raft: Raft, role: Leader) -> None:
    assert raft.log.term_at(role.term_start_index) == raft.term, "a term starts with an entry of its own"
    for progress in role.progress.values():
        assert progress.match_index < progress.next_index <= raft.last_index + 1
        assert len(progress.in_flight) <= raft.config.window_batches
        assert list(progress.in_flight) == sorted(progress.in_flight)
        assert all(progress.match_index < index < progress.next_index for index in progress.in_flight)
        assert not (progress.probing and progress.in_flight)


def check_cluster(rafts: Iterable[Raft]) -> None:
    """Assert election safety (section 5.2): no two leaders of one term."""
    leaders = [raft for raft in rafts if raft.role is Role.LEADER]
    terms = {raft.term for raft in leaders}
    assert len(terms) == len(leaders), f"two leaders in one term: {[(r.node_id, r.term) for r in leaders]}"
