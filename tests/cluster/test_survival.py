"""Five real processes lose servers under load; what was acknowledged is there, once, everywhere."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from atm.client import Client, OutcomeUnknown, Unavailable
from atm.local_cluster import LocalCluster, write_cluster_ini
from tests.cluster.mixed_customers import MixedCustomers
from tests.support.folders import delete_folder
from tests.support.ledgers import assert_kept, wait_until_equal


def follower(cluster: LocalCluster) -> str:
    leader = cluster.wait_for_leader()
    return next(name for name in cluster.running() if name != leader)


def test_any_two_servers_die_the_leader_included_and_nothing_is_lost(cluster: LocalCluster) -> None:
    with MixedCustomers(cluster.cluster.path) as customers:
        customers.wait_for_more()
        leader = cluster.wait_for_leader()
        cluster.kill(leader)
        customers.wait_for_more()
        second = follower(cluster)
        cluster.kill(second)
        customers.wait_for_more()
        cluster.start(leader)
        cluster.start(second)
        customers.wait_for_more()
    assert_kept(wait_until_equal(cluster), customers)


def test_leader_after_leader_dies_and_nothing_is_lost(cluster: LocalCluster) -> None:
    with MixedCustomers(cluster.cluster.path) as customers:
        for _ in range(3):
            customers.wait_for_more()
            leader = cluster.wait_for_leader()
            cluster.kill(leader)
            customers.wait_for_more()
            cluster.start(leader)
    assert_kept(wait_until_equal(cluster), customers)


def test_all_five_are_killed_at_once_and_nothing_is_lost(cluster: LocalCluster) -> None:
    with MixedCustomers(cluster.cluster.path) as customers:
        customers.wait_for_more(200)
        for name in cluster.cluster.nodes:
            cluster.kill(name)
        acknowledged = len(customers.receipts)
        cluster.start_all()
        customers.wait_for_more()
    assert acknowledged >= 200
    assert_kept(wait_until_equal(cluster), customers)


def test_a_leader_that_hung_until_another_was_elected_reads_and_writes_nothing_stale(
    cluster: LocalCluster,
) -> None:
    """Scenario 34."""
    hung = cluster.wait_for_leader()
    with Client(cluster.cluster, node=hung, timeout=2.0) as at_the_hung_one:
        assert at_the_hung_one.credit("main", 100).balance == 100
        cluster.pause(hung)
        with Client(cluster.cluster, node=follower(cluster)) as elsewhere:
            assert elsewhere.credit("main", 23).balance == 123
        cluster.resume(hung)
        assert at_the_hung_one.query("main").balance == 123
        assert at_the_hung_one.debit("main", 3).balance == 120
    wait_until_equal(cluster)


def test_a_minority_serves_nobody_and_the_majority_is_back_without_a_person(cluster: LocalCluster) -> None:
    """Scenario 33."""
    dead = [follower(cluster), cluster.wait_for_leader()]
    dead.append(next(name for name in cluster.running() if name not in dead))
    for name in dead:
        cluster.kill(name)
    with Client(cluster.cluster, timeout=1.0) as client:
        with pytest.raises(
            Unavailable, match=r"^The bank is not available: no majority of servers answered$"
        ):
            client.query("main")
        with pytest.raises((Unavailable, OutcomeUnknown)):
            client.credit("main", 5)
        cluster.start(dead[0])
        cluster.wait_for_leader()
        assert client.credit("main", 7).outcome == "ok"


def test_a_repeated_id_is_answered_the_same_by_every_server_and_by_the_next_leader(
    cluster: LocalCluster,
) -> None:
    """Scenarios 36 and 41."""
    with Client(cluster.cluster) as client:
        first = client.credit("main", 500, request_id="the-one")
        declined = client.debit("main", 900, request_id="the-other")
        assert (first.outcome, declined.outcome) == ("ok", "insufficient_funds")
        client.credit("main", 1000)
    cluster.kill(cluster.wait_for_leader())
    cluster.wait_for_leader()
    for name in cluster.running():
        with Client(cluster.cluster, node=name) as client:
            assert client.credit("main", 500, request_id="the-one") == first
            assert client.debit("main", 900, request_id="the-other") == declined
            assert client.credit("main", 501, request_id="the-one").outcome == "id_reused"
            assert client.query("main").balance == 1500


def test_a_server_that_lost_its_disk_catches_up_but_has_no_vote(cluster: LocalCluster) -> None:
    """Scenario 26."""
    wiped = follower(cluster)
    with Client(cluster.cluster) as client:
        for amount in range(1, 200):
            client.credit("main", amount)
    cluster.kill(wiped)
    delete_folder(cluster.cluster.data_dir / wiped)
    cluster.start(wiped)
    wait_until_equal(cluster)
    voters = [name for name in cluster.running() if name != wiped]
    for name in voters[:2]:
        cluster.kill(name)
    with Client(cluster.cluster, timeout=1.5) as client, pytest.raises(Unavailable):
        client.query("main")  # two voters and one that may have forgotten are no majority
    cluster.start(voters[0])
    cluster.wait_for_leader()
    with Client(cluster.cluster) as client:
        assert client.query("main").balance == sum(range(1, 200))


def test_a_lost_ledger_is_rebuilt_from_the_log(cluster: LocalCluster) -> None:
    name = follower(cluster)
    with Client(cluster.cluster) as client:
        for amount in range(1, 50):
            client.credit("main", amount)
    assert cluster.stop(name) == 0
    for path in (cluster.cluster.data_dir / name).glob("ledger.db*"):
        path.unlink()
    cluster.start(name)
    wait_until_equal(cluster)


@pytest.mark.parametrize("count", [1, 2, 3, 4])
def test_a_cluster_of_another_size_serves(tmp_path: Path, count: int) -> None:
    """Scenario 8."""
    with LocalCluster(write_cluster_ini(tmp_path, count)) as local:
        local.start_all()
        local.wait_for_leader()
        with Client(local.cluster) as client:
            assert client.credit("main", 5).outcome == "ok"
        wait_until_equal(local)


def test_a_node_that_is_told_to_stop_stops_at_once_with_exit_code_0(cluster: LocalCluster) -> None:
    started = time.monotonic()
    assert set(cluster.stop_all().values()) == {0}
    assert time.monotonic() - started < 5
    for name in cluster.cluster.nodes:
        assert "Traceback" not in cluster.output(name)


def test_a_node_says_the_lines_of_the_report(cluster: LocalCluster) -> None:
    leader = cluster.wait_for_leader()
    nodes = cluster.cluster.nodes
    address = nodes[leader].client
    others = ", ".join(str(node.client.port) for name, node in nodes.items() if name != leader)
    term = cluster.status(leader)
    assert term is not None
    of_stdout = [line for line in cluster.output(leader).splitlines() if f"Z INFO {leader} " not in line]
    assert of_stdout == [
        f"Running server on port {address.port}",
        f"Expects neighbours to be on {others}",
        f"Listening on ('{address.host}', {address.port})",
        f"Leader on ('{address.host}', {address.port}) in term {term.term}",
    ]
