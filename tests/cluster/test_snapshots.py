"""Real nodes whose logs are cut: one that lacks what was cut is brought up by a snapshot."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cluster.cutting_cluster import LOG_MB, CuttingCluster, wait_until
from tests.cluster.dying_node import FETCHED_BYTES, STEPS
from tests.support.ledgers import wait_until_equal

LOG_BYTES = LOG_MB * 1024 * 1024
FROM_THE_FILE = ("adopted", "removed", "swapped", "installed", "reset")  # a restart needs nothing from others
DEADLINE_S = 90.0


@pytest.fixture
def cutting(tmp_path: Path) -> Iterator[CuttingCluster]:
    with CuttingCluster(tmp_path) as cluster:
        cluster.start_and_open()
        yield cluster


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[CuttingCluster, str]]:
    """A cluster whose nodes have cut their logs, and the one of them that may lose its folder."""
    with CuttingCluster(tmp_path_factory.mktemp("shared")) as cluster:
        cluster.start_and_open()
        cluster.pay_until(lambda: cluster.has_cut(*cluster.cluster.nodes))
        yield cluster, cluster.follower()


def assert_equal(cluster: CuttingCluster) -> None:
    """All nodes end with the same tables, and nothing acknowledged is missing."""
    tables = wait_until_equal(cluster, DEADLINE_S)
    [balance] = [row.amount for row in tables["balance"] if row.account == "alice"]
    assert cluster.balance_min <= balance <= cluster.balance_max


def leftovers(folder: Path) -> list[str]:
    return [path.name for path in folder.rglob("*") if path.suffix in (".part", ".new")]


def test_a_node_that_lost_its_folder_is_brought_up_by_a_snapshot(cutting: CuttingCluster) -> None:
    lost = cutting.follower()
    cutting.pay_until(lambda: cutting.has_cut(*cutting.cluster.nodes))
    cutting.lose_folder(lost)
    cutting.start(lost)
    cutting.pay_until(lambda: cutting.installs(lost))
    assert_equal(cutting)
    assert cutting.first_segment(lost) > 1
    wait_until(lambda: leftovers(cutting.folder(lost)) == [])  # it may be taking one of its own


def test_the_log_stays_within_its_bound_however_much_is_written(cutting: CuttingCluster) -> None:
    sizes: list[int] = []

    def three_more() -> bool:
        sizes.append(max(map(cutting.log_bytes, cutting.cluster.nodes)))
        return all(cutting.first_segment(name) > 30 for name in cutting.cluster.nodes)

    cutting.pay_until(three_more)
    assert max(sizes) < 4 * LOG_BYTES
    for name in cutting.cluster.nodes:
        assert len(cutting.snapshots(name)) <= 2
    assert_equal(cutting)


def test_a_node_with_a_cut_log_starts_from_its_own_ledger(cutting: CuttingCluster) -> None:
    """Nothing is restored at a start, however large the ledger is."""
    cutting.pay_until(lambda: cutting.has_cut(*cutting.cluster.nodes))
    for name in cutting.cluster.nodes:
        cutting.kill(name)
    inodes = {name: (cutting.folder(name) / "ledger.db").stat().st_ino for name in cutting.cluster.nodes}
    cutting.start_all()
    cutting.wait_for_leader()
    cutting.pay_until(lambda: True)
    assert_equal(cutting)
    for name, inode in inodes.items():
        assert (cutting.folder(name) / "ledger.db").stat().st_ino == inode
        assert not cutting.installs(name)


def test_a_node_with_a_cut_log_that_lost_its_ledger_alone_makes_it_of_the_snapshot(
    cutting: CuttingCluster,
) -> None:
    cutting.pay_until(lambda: cutting.has_cut(*cutting.cluster.nodes))
    name = cutting.follower()
    cutting.kill(name)
    for path in cutting.folder(name).glob("ledger.db*"):
        path.unlink()
    cutting.start(name)
    cutting.pay_until(lambda: True)
    assert_equal(cutting)
    assert not cutting.installs(name)


def test_a_node_that_hung_past_the_window_is_brought_up_and_keeps_its_vote(cutting: CuttingCluster) -> None:
    hung = cutting.follower()
    others = [name for name in cutting.cluster.nodes if name != hung]
    cutting.pause(hung)
    cutting.pay_until(lambda: all(cutting.first_segment(name) > 9 for name in others))
    cutting.resume(hung)
    wait_until(lambda: cutting.installs(hung))
    assert_equal(cutting)
    cutting.kill(others[0])
    cutting.pay_until(cutting.wait_for_leader)


@pytest.mark.parametrize("step", ["fetching", *STEPS])
def test_a_node_killed_while_it_installs_comes_back_with_the_old_or_the_new(
    shared: tuple[CuttingCluster, str], step: str
) -> None:
    cluster, lost = shared
    cluster.lose_folder(lost)
    cluster.dies_at = {lost: step}
    dying = cluster.start(lost)
    assert dying.wait(DEADLINE_S) == -signal.SIGKILL
    cluster.kill(lost)  # which closes the pipe to it
    cluster.dies_at = {}
    parts = [path.stat() for path in (cluster.folder(lost) / "snapshot").glob("*.part")]
    installs = cluster.installs(lost)
    cluster.start(lost)
    cluster.pay_until(lambda: True)
    assert_equal(cluster)
    assert cluster.installs(lost) - installs == (0 if step in FROM_THE_FILE else 1)
    # It may be taking a snapshot of its own at the moment.
    wait_until(lambda: leftovers(cluster.folder(lost)) == [])
    if step == "fetching":  # what had come was not fetched again: the file is the very one
        assert parts[0].st_size >= FETCHED_BYTES
        snapshots = (cluster.folder(lost) / "snapshot").glob("*.db")
        assert parts[0].st_ino in [path.stat().st_ino for path in snapshots]


def test_the_leader_dies_while_a_follower_fetches_and_the_next_one_brings_it_up(tmp_path: Path) -> None:
    with CuttingCluster(tmp_path) as cluster:
        cluster.dies_at = dict.fromkeys(cluster.cluster.nodes, "serving")
        cluster.start_and_open()
        hung = cluster.follower()
        others = [name for name in cluster.cluster.nodes if name != hung]
        cluster.pause(hung)
        cluster.pay_until(lambda: all(cluster.first_segment(name) > 9 for name in others))
        leader = cluster.wait_for_leader()
        (cluster.cluster.data_dir / f"{leader}.dies").touch()
        cluster.resume(hung)
        assert cluster.processes[leader].wait(DEADLINE_S) == -signal.SIGKILL
        cluster.kill(leader)
        wait_until(lambda: cluster.installs(hung))
        [other] = [name for name in others if name != leader]
        assert f"installed the snapshot of node {other}" in cluster.output(hung)
        cluster.dies_at = {}
        cluster.start(leader)
        cluster.pay_until(lambda: True)
        assert_equal(cluster)


def test_a_follower_that_fetches_for_long_is_not_taken_for_a_dead_one(tmp_path: Path) -> None:
    """It is one of a majority of two: if it counted as dead, the leader would step down."""
    with CuttingCluster(tmp_path) as cluster:
        cluster.dies_at = dict.fromkeys(cluster.cluster.nodes, "slow")
        cluster.start_and_open()
        hung = cluster.follower()
        others = [name for name in cluster.cluster.nodes if name != hung]
        cluster.pause(hung)
        cluster.pay_until(lambda: all(cluster.first_segment(name) > 9 for name in others))
        leader = cluster.wait_for_leader()
        cluster.resume(hung)
        wait_until(lambda: list((cluster.folder(hung) / "snapshot").glob("*.part")))
        cluster.kill(next(name for name in others if name != leader))
        begun_s = time.monotonic()
        wait_until(lambda: cluster.installs(hung))
        assert time.monotonic() - begun_s > 1.0, "it was no matter of some election timeouts"
        assert cluster.output(leader).count("Leader on") == 1
        cluster.pay_until(lambda: True)
        assert cluster.wait_for_leader() == leader
