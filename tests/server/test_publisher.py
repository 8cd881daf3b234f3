"""What a run loop publishes: how old its ledger is, how its leaderships ended, what its alarms are."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from atm.raft import AppendEntries, Role
from atm.raft.events import Cause
from atm.server.group.guards import DISK_LOW
from atm.server.group.leaderships import Leaderships
from atm.server.group.publisher import LOOK_S, PEPPER_MISSING, Publisher
from atm.server.metrics.health import BEHIND_S, Health, Published
from tests.support.core_events import change


class Follower:
    """A server with a publisher, at 100 s."""

    def __init__(self) -> None:
        self.now_s = 100.0
        self.health = Health(silent_s_max=1.0, clock=lambda: self.now_s)
        self.core: Any = SimpleNamespace(
            node_id="n1", role=Role.FOLLOWER, term=3, leader=None, commit_index=0, last_index=0,
            installing=None, configuration=(1, ()), matched=dict,
        )  # fmt: skip
        self.ledger = SimpleNamespace(applied_index=0, last_backup_us=None)
        self.leaderships = Leaderships()
        self.guards: Any = SimpleNamespace(alarm_kinds=frozenset(), clock_offset_us=None)
        self.publisher = Publisher(
            self.health,
            self.core,
            self.ledger,
            SimpleNamespace(connected=lambda: ["n2"]),
            self.guards,
            self.leaderships,
            has_vote=lambda: True,
            snapshot_index=lambda: 0,
            waiting=lambda: 0,
            lacks_pepper=lambda: True,
            clock=lambda: self.now_s,
        )

    def hear(self, commit_index: int, *, sender: str = "n2", term: int = 3) -> None:
        """Have an append of that leader been stepped."""
        self.publisher.heed([append(commit_index, sender=sender, term=term)])

    def tick(self, after_s: float = 0.01) -> Published:
        self.now_s += after_s
        self.publisher.tick()
        assert self.health.published is not None
        return self.health.published

    @property
    def is_behind(self) -> bool:
        return any(check.fault.startswith("the ledger is behind") for check in self.health.ready())


def append(leader_commit: int, *, sender: str, term: int) -> AppendEntries:
    return AppendEntries(
        sender=sender, term=term, prev_log_index=0, prev_log_term=0, entries=(), leader_commit=leader_commit,
        round=1,
    )  # fmt: skip


def test_a_server_that_has_not_caught_up_with_its_leader_is_behind_from_its_first_tick_on() -> None:
    node = Follower()
    for _ in range(3):
        node.tick()
    node.core.leader = "n2"
    node.hear(1000)
    node.tick()
    assert node.is_behind
    node.ledger.applied_index = 1000
    node.tick()
    assert not node.is_behind


def test_a_ledger_that_follows_a_busy_leader_a_little_later_is_not_behind() -> None:
    node = Follower()
    node.core.leader = "n2"
    for number in range(1, 400):
        node.hear(100 * number)
        node.tick()
        node.ledger.applied_index = 100 * (number - 5)  # 50 ms later
    assert not node.is_behind
    assert node.tick().level_s >= node.now_s - 0.15


def test_a_ledger_that_stands_still_is_behind_after_a_second() -> None:
    node = Follower()
    node.core.leader = "n2"
    node.hear(10)
    node.ledger.applied_index = 10
    node.tick()
    node.hear(11)
    node.tick(BEHIND_S / 2)
    assert not node.is_behind
    node.tick(BEHIND_S)
    assert node.is_behind


def test_only_the_leader_of_the_term_says_what_is_committed() -> None:
    node = Follower()
    node.core.leader = "n2"
    node.hear(0)
    heard_s = node.tick().heard_s
    node.now_s += 0.2
    node.hear(500, sender="n3")
    node.hear(500, term=2)
    seen = node.tick()
    assert seen.heard_s == heard_s
    assert not node.is_behind


def test_a_leader_counts_by_its_own_commit_index() -> None:
    node = Follower()
    node.core.role, node.core.leader, node.core.commit_index = Role.LEADER, "n1", 7
    seen = node.tick()
    assert node.is_behind
    assert seen.heard_s == node.now_s
    node.ledger.applied_index = 7
    node.tick()
    assert not node.is_behind


def test_a_leadership_within_one_tick_is_published() -> None:
    node = Follower()
    node.tick()
    node.leaderships.note(change(Role.CANDIDATE, Role.LEADER, Cause.ELECTION_WON, leader="n1"))
    node.leaderships.note(change(Role.LEADER, Role.FOLLOWER, Cause.HIGHER_TERM))
    seen = node.tick()
    assert (seen.leader_changes, seen.step_downs["newer_term"]) == (1, 1)


def test_alarms_are_told_by_their_kind() -> None:
    node = Follower()
    assert node.tick().alarms[DISK_LOW] is False
    node.guards.alarm_kinds = frozenset({DISK_LOW})
    assert node.tick(LOOK_S).alarms[DISK_LOW] is True
    assert node.tick().alarms[PEPPER_MISSING] is True
