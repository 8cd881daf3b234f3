"""/livez depends on no other server and no disk; /readyz says what keeps a server from serving."""

from __future__ import annotations

from typing import Any

import pytest

from atm.server.metrics.endpoint import verdict
from atm.server.metrics.health import BEHIND_S, HUNG_S, STALE_S, Health, Published, silent_s_max


class Node:
    """A follower that is all right at 100 s, and its health."""

    def __init__(self) -> None:
        self.now_s = 100.0
        self.sync_began_s: float | None = None
        self.health = Health(
            silent_s_max=silent_s_max(0.05), clock=lambda: self.now_s, sync_began_s=lambda: self.sync_began_s
        )
        self.health.published = published()

    def publish(self, **changes: Any) -> None:
        self.health.published = published(at_s=self.now_s, **changes)

    @property
    def unready(self) -> str:
        """Why it is not ready, as one line."""
        answer = verdict(self.health.ready(), verbose=False)
        return answer.body.strip() if answer.status == 503 else ""

    @property
    def dead(self) -> str:
        answer = verdict(self.health.alive(), verbose=False)
        return answer.body.strip() if answer.status == 503 else ""


def published(**changes: Any) -> Published:
    return Published(
        at_s=100.0, role="follower", term=3, leader="n2", voter=True, heard_s=100.0, level_s=100.0,
        installing=False, commit_index=9, applied_index=9, last_index=9, snapshot_index=0, matched={},
        connected=frozenset({"n2"}), members=frozenset({"n2", "n3"}), waiting=0, leader_changes=1,
        step_downs={}, alarms={}, last_backup_us=None, clock_offset_us=None,
    )._replace(**changes)  # fmt: skip


def test_a_follower_with_a_leader_and_a_fresh_ledger_is_ready() -> None:
    node = Node()
    assert (node.unready, node.dead) == ("", "")


def test_a_server_that_starts_lives_and_is_not_ready_however_long_it_takes() -> None:
    node = Node()
    node.health.published = None
    node.now_s += 10 * HUNG_S
    assert (node.unready, node.dead) == ("the node starts", "")


def test_a_server_that_stops_is_not_ready() -> None:
    node = Node()
    node.health.stopping = True
    assert (node.unready, node.dead) == ("the node stops", "")


@pytest.mark.parametrize("role", ["follower", "candidate", "pre-candidate"])
def test_without_a_leader_a_server_lives_and_is_not_ready(role: str) -> None:
    node = Node()
    node.publish(leader=None, role=role)
    assert (node.unready, node.dead) == ("no leader is known in term 3", "")


def test_a_silent_leader_is_taken_for_gone_before_a_long_election_timeout_ends() -> None:
    node = Node()
    node.now_s += 0.9
    node.publish(level_s=node.now_s)
    assert node.unready == "the leader, node n2, has not been heard for 0.9 s"
    node.publish(level_s=node.now_s, role="leader", leader="n1")
    assert node.unready == ""
    assert silent_s_max(10.0) > 10.0, "a leader may be silent between two heartbeats"


def test_a_ledger_that_is_a_second_behind_is_not_ready() -> None:
    node = Node()
    node.now_s += BEHIND_S + 0.01
    node.publish(heard_s=node.now_s)
    assert node.unready == "the ledger is behind: it is applied up to entry 9"
    node.publish(heard_s=node.now_s, level_s=node.now_s - BEHIND_S + 0.01)
    assert node.unready == ""


def test_a_server_that_fetches_a_snapshot_is_not_ready() -> None:
    node = Node()
    node.publish(installing=True)
    assert node.unready == "the ledger is behind: a snapshot is being fetched"


def test_a_run_loop_that_does_not_turn_is_told_within_a_second() -> None:
    node = Node()
    node.now_s += STALE_S + 0.05
    assert STALE_S + 0.05 < 1
    assert node.unready == "the run loop has not turned for 0.8 s"
    node.sync_began_s = 100.0
    assert node.unready == "the run loop has not turned for 0.8 s: it waits for its disk"
    assert node.dead == ""


def test_a_run_loop_that_hangs_for_long_is_dead_unless_it_is_the_disk_that_hangs() -> None:
    node = Node()
    node.now_s += HUNG_S - 1
    assert node.dead == ""
    node.now_s += 2
    assert node.dead == "the run loop has not turned for 61 s: restart this node"
    node.sync_began_s = 100.0
    assert node.dead == "", "a restart would wait for the same disk"


def test_a_verbose_verdict_has_a_line_for_each_check() -> None:
    node = Node()
    node.publish(leader=None)
    answer = verdict(node.health.ready(), verbose=True)
    assert answer.status == 503
    assert answer.body.splitlines() == [
        "started: ok",
        "not_stopping: ok",
        "run_loop: ok",
        "leader: no leader is known in term 3",
        "ledger: ok",
    ]
