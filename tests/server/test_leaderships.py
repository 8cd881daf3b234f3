"""Leaders and ends of leaderships are counted from what the core reports, by cause."""

from __future__ import annotations

import pytest

from atm.raft import Role
from atm.raft.events import Cause, LeaderLearned
from atm.server.group.leaderships import Leaderships
from tests.support.core_events import change


@pytest.mark.parametrize(
    ("cause", "label"),
    [
        (Cause.HANDED_OVER, "handed_over"),
        (Cause.NO_MAJORITY, "no_majority"),
        (Cause.HIGHER_TERM, "newer_term"),
        (Cause.REMOVED, "removed"),
        (Cause.DISK_LOST, "disk_lost"),
    ],
)
def test_the_end_of_a_leadership_is_counted_by_its_cause(cause: Cause, label: str) -> None:
    leaderships = Leaderships()
    before = leaderships.step_downs
    leaderships.note(change(Role.CANDIDATE, Role.LEADER, Cause.ELECTION_WON, leader="n1"))
    assert not any(leaderships.step_downs.values())
    leaderships.note(change(Role.LEADER, Role.FOLLOWER, cause))
    assert leaderships.step_downs == dict.fromkeys(before, 0) | {label: 1}
    leaderships.note(change(Role.FOLLOWER, Role.PRE_CANDIDATE, Cause.ELECTION_TIMEOUT))
    assert sum(leaderships.step_downs.values()) == 1
    assert not any(before.values()), "what was published is never changed"


def test_leader_changes_are_counted_once_each() -> None:
    leaderships = Leaderships()
    changes = []
    for event in (
        change(Role.FOLLOWER, Role.FOLLOWER, Cause.HIGHER_TERM, "n2"),
        change(Role.CANDIDATE, Role.FOLLOWER, Cause.LEADER_FOUND, "n2", leader="n2"),
        LeaderLearned(term=4, leader="n2"),
        change(Role.FOLLOWER, Role.FOLLOWER, Cause.NOT_CAMPAIGNING, "n2"),
        LeaderLearned(term=4, leader="n2"),  # it is the same one, in the same term
        LeaderLearned(term=5, leader="n2"),
        change(Role.CANDIDATE, Role.LEADER, Cause.ELECTION_WON, leader="n1", term=6),
    ):
        leaderships.note(event)
        changes.append(leaderships.leader_changes)
    assert changes == [0, 1, 1, 1, 1, 2, 3]
