"""A clock goes wrong for a while: it does not become the bank's time, and its server does not lead."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from atm.client import Client
from atm.local_cluster import write_cluster_ini
from tests.support.ledgers import right_ledger, wait_until_equal
from tests.support.odd_node import OddCluster
from tests.support.server_parts import wait_until

HOURS_26_S = 26 * 3600
SKEW_S = 2.0


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[OddCluster]:
    with OddCluster(write_cluster_ini(tmp_path, 3)) as local:
        local.start_all()
        local.wait_for_leader()
        yield local


def ahead_s(client: Client) -> float:
    """Return how far log time is ahead of the true time."""
    return client.credit("main", 100).time_us / 1e6 - time.time()


def test_a_leader_that_is_26_hours_ahead_for_a_second_neither_moves_log_time_nor_leads_on(
    cluster: OddCluster,
) -> None:
    leader = cluster.wait_for_leader()
    with Client(cluster.cluster, timeout=15.0) as client:
        assert abs(ahead_s(client)) < 1
        client.set_limit("main", 40)
        assert client.debit("main", 40).outcome == "ok"
        assert client.hold("main", 5, expires_ms=600_000, request_id="held").outcome == "limit_exceeded"
        client.set_limit("main", None)
        assert client.hold("main", 5, expires_ms=600_000, request_id="hold").outcome == "ok"
        cluster.set(leader, ahead_s=HOURS_26_S)
        until_s, most = time.monotonic() + 1.0, 0.0
        while time.monotonic() < until_s:
            most = max(most, ahead_s(client))
        assert most < SKEW_S + 0.5
        wait_until(lambda: cluster.wait_for_leader() != leader)
        status = cluster.status(leader)
        assert status is not None
        [alarm] = status.alarms
        assert alarm.startswith("this machine's clock is 936")
        assert "ahead of those of a majority" in alarm
        assert ahead_s(client) < SKEW_S + 0.5
        cluster.set(leader)
        wait_until(lambda: "this machine's clock is right again" in cluster.output(leader))
        assert ahead_s(client) < SKEW_S + 0.5
        assert client.void("hold").outcome == "ok", "ten minutes have not passed"
    right_ledger(cluster)


@pytest.mark.parametrize("off_s", [HOURS_26_S, -HOURS_26_S, 3.0])
def test_a_server_whose_clock_is_wrong_does_not_campaign_until_it_is_right(
    cluster: OddCluster, off_s: float
) -> None:
    leader = cluster.wait_for_leader()
    wrong, right = (name for name in cluster.cluster.nodes if name != leader)
    cluster.set(wrong, ahead_s=off_s)
    wait_until(lambda: "does not lead until it is right" in cluster.output(wrong))
    wait_until(
        lambda: all(
            len(status.alarms) == 1 and f"the clock of node {wrong} is" in status.alarms[0]
            for name in (leader, right)
            if (status := cluster.status(name))
        )
    )
    for _ in range(3):
        wait_until_equal(cluster)
        cluster.kill(leader)
        assert cluster.wait_for_leader() == right
        cluster.start(leader)
        leader, right = right, leader
        wait_until(lambda: all(map(cluster.status, cluster.cluster.nodes)))
    cluster.set(wrong)
    wait_until(lambda: "this machine's clock is right again" in cluster.output(wrong))


def test_a_new_leader_knows_the_clocks_before_it_stamps_anything(tmp_path: Path) -> None:
    """All start at once, two days ahead of two others: whoever leads first, log time is the majority's."""
    with OddCluster(write_cluster_ini(tmp_path, 3)) as cluster:
        cluster.set("n2", ahead_s=23 * 3600)
        cluster.start_all()
        cluster.wait_for_leader()
        with Client(cluster.cluster, timeout=15.0) as client:
            assert ahead_s(client) < SKEW_S + 0.5
            wait_until(lambda: cluster.wait_for_leader() != "n2")
