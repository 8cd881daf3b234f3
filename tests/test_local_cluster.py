"""The nodes of a cluster as processes: begun, hung, ended, and never left behind."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from atm.config import load
from atm.local_cluster import LocalCluster, NoLeader, ask_status, write_cluster_ini, write_cluster_ini_for
from tests.support.synced import Synced

STARTER = """
import sys, time
from atm.local_cluster import LocalCluster
cluster = LocalCluster(sys.argv[1])
cluster.start_all()
cluster.wait_for_leader()
print(*(process.pid for process in cluster.processes.values()), flush=True)
sys.stdin.read()
"""


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[LocalCluster]:
    with LocalCluster(write_cluster_ini(tmp_path, count=3)) as local:
        yield local


def test_a_written_file_has_what_was_asked_for(tmp_path: Path) -> None:
    path = write_cluster_ini(tmp_path, count=9, heartbeat_ms=20, election_timeout_ms="100-200", data_dir="d")
    cluster = load(path)
    assert list(cluster.nodes) == [f"n{number}" for number in range(1, 10)]
    assert (cluster.heartbeat_ms, cluster.election_timeout_ms) == (20, (100, 200))
    assert cluster.data_dir == tmp_path / "d"


def test_a_written_file_has_the_names_that_were_asked_for(tmp_path: Path) -> None:
    assert list(load(write_cluster_ini_for(tmp_path, ["north", "south"])).nodes) == ["north", "south"]


def test_all_nodes_start_and_follow_one_leader_and_stop(cluster: LocalCluster) -> None:
    cluster.start_all()
    leader = cluster.wait_for_leader()
    assert sorted(cluster.running()) == ["n1", "n2", "n3"]
    assert f"Leader on {cluster.cluster.nodes[leader].client.pair}" in cluster.output(leader)
    assert cluster.stop_all() == {"n1": 0, "n2": 0, "n3": 0}
    assert cluster.running() == []


def test_the_folder_of_all_nodes_survives_a_power_cut(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced = Synced(monkeypatch)
    with LocalCluster(write_cluster_ini(tmp_path, data_dir="new/data")) as cluster:
        cluster.start("n1")
        assert synced.survives(tmp_path / "new" / "data", tmp_path)


def test_a_killed_node_is_gone_and_comes_back(cluster: LocalCluster) -> None:
    cluster.start_all()
    first = cluster.wait_for_leader()
    cluster.kill(first)
    assert cluster.processes[first].returncode == -signal.SIGKILL
    assert cluster.status(first) is None
    second = cluster.wait_for_leader()
    assert second != first
    cluster.start(first)
    deadline = time.monotonic() + 10
    while cluster.status(first) is None:
        assert time.monotonic() < deadline
    assert cluster.output(first).count("Running server on port") == 2


def test_a_paused_node_does_not_answer_until_it_is_resumed_and_can_be_stopped(cluster: LocalCluster) -> None:
    cluster.start_all()
    cluster.wait_for_leader()
    cluster.pause("n1")
    assert cluster.status("n1") is None
    cluster.resume("n1")
    assert ask_status(cluster.cluster.nodes["n1"].client, timeout_s=10.0) is not None
    cluster.pause("n2")
    assert cluster.stop("n2") == 0


def test_a_minority_has_no_leader(cluster: LocalCluster) -> None:
    cluster.start("n2")
    deadline = time.monotonic() + 30
    while (status := cluster.status("n2")) is None or "candidate" not in status.role:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    with pytest.raises(NoLeader, match=r"of 3 nodes, these answer: n2 \(.*candidate, term"):
        cluster.wait_for_leader(1.0)


def test_waiting_ends_as_soon_as_it_is_in_vain(cluster: LocalCluster) -> None:
    with pytest.raises(NoLeader, match="of 3 nodes, these answer: none"):
        cluster.wait_for_leader(while_true=lambda: False)


def test_what_is_said_by_one_cluster_object_is_not_taken_for_anothers(tmp_path: Path) -> None:
    path = write_cluster_ini(tmp_path, count=1)
    for _ in range(2):
        with LocalCluster(path) as cluster:
            cluster.start_all()
            cluster.wait_for_leader()
            assert cluster.output("n1").count("Running server on port") == 1
    assert cluster.log_path("n1").read_text().count("Running server on port") == 2


def test_nodes_end_with_a_starter_that_was_killed(tmp_path: Path) -> None:
    path = write_cluster_ini(tmp_path, count=3)
    with subprocess.Popen(
        [sys.executable, "-P", "-c", STARTER, path], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as starter:
        assert starter.stdout is not None
        nodes = [os.pidfd_open(int(pid)) for pid in starter.stdout.readline().split()]
        assert len(nodes) == 3
        starter.kill()
    for node in nodes:
        poll = select.poll()
        poll.register(node, select.POLLIN)
        assert poll.poll(10_000), "the node outlived its starter"
        os.close(node)
