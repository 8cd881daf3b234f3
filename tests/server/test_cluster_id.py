"""Which cluster a node belongs to: drawn once, learned from the log, and kept when servers move."""

from __future__ import annotations

import json
import re
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from time import sleep

import pytest
from msgspec import structs

from atm.config import Cluster
from atm.server.group.recovery import ClusterMismatch
from atm.server.server import Server
from atm.wire.client_messages import Status
from tests.support.collecting import collecting
from tests.support.server_parts import RunningServer, Wire, cluster_of, credit, query, wait_until

NAMES = ("n1", "n2", "n3")


def written_id(cluster: Cluster, name: str) -> str:
    path = cluster.data_dir / name / "node.json"
    return str(json.loads(path.read_text())["cluster_id"]) if path.exists() else ""


def served(server: RunningServer, request_id: str) -> bool:
    with Wire(server.client) as wire:
        return bool(wire.ask(credit(request_id))["outcome"] == "ok")


def run_once(cluster: Cluster, request_id: str) -> str:
    """Run all nodes until one has served and all have written the cluster's id; return that."""
    with ExitStack() as nodes:
        servers = [nodes.enter_context(RunningServer(cluster, name)) for name in cluster.nodes]
        wait_until(lambda: all(written_id(cluster, name) for name in cluster.nodes))
        wait_until(partial(served, servers[0], request_id))
        assert all(line.startswith("cluster.ini ") for server in servers for line in server.reported)
    [found] = {written_id(cluster, name) for name in cluster.nodes}
    return found


def stop_line(cluster: Cluster, name: str) -> str:
    with pytest.raises(ClusterMismatch) as refused:
        Server(cluster, name, say=print, logger=collecting([]))
    assert "\n" not in str(refused.value)
    return str(refused.value)


def test_all_nodes_learn_the_same_id_and_two_clusters_have_two(tmp_path: Path) -> None:
    ids = {run_once(cluster_of(tmp_path / folder, *NAMES), "c1") for folder in ("one", "other")}
    assert len(ids) == 2
    assert all(re.fullmatch("[0-9a-f]{32}", each) for each in ids)


def test_a_node_writes_no_id_before_a_majority_has_it(tmp_path: Path) -> None:
    cluster = cluster_of(tmp_path, *NAMES)
    with RunningServer(cluster, "n1") as alone:
        with Wire(alone.client) as wire:
            assert wire.ask(query("q1"))["outcome"] == "unavailable"
        assert written_id(cluster, "n1") == ""


def test_servers_move_to_other_addresses_with_all_they_have(tmp_path: Path) -> None:
    cluster = cluster_of(tmp_path, *NAMES)
    before = run_once(cluster, "c1")
    moved = structs.replace(cluster_of(tmp_path, *NAMES), data_dir=cluster.data_dir)
    assert moved.identity() != cluster.identity()
    assert run_once(moved, "c2") == before


def test_one_server_moves_while_the_others_still_read_of_its_old_address(tmp_path: Path) -> None:
    """It dials them, and they let it in by the cluster's id: it follows again as soon as they can dial it."""
    cluster = cluster_of(tmp_path, *NAMES)
    run_once(cluster, "c1")
    others = cluster_of(tmp_path / "spare", "n3").nodes
    moved = structs.replace(cluster, nodes=cluster.nodes | others)
    with (
        RunningServer(cluster, "n1") as one,
        RunningServer(cluster, "n2"),
        RunningServer(moved, "n3") as three,
    ):
        wait_until(partial(served, one, "c2"))
        with Wire(three.client) as wire:
            assert wire.ask(query("q"))["id"] == "q"
        assert one.reported == [], "a refusal of the moved server's hello would be reported"
        assert all(line.startswith("cluster.ini gives node n3 the ") for line in three.reported)


def test_a_server_of_another_cluster_at_the_very_addresses_is_refused(tmp_path: Path) -> None:
    cluster = cluster_of(tmp_path, *NAMES)
    run_once(cluster, "c1")
    again = structs.replace(cluster, data_dir=tmp_path / "another life")
    again.data_dir.mkdir()
    run_once(again, "c1")
    with RunningServer(cluster, "n1") as one, RunningServer(again, "n2") as two:
        wait_until(lambda: bool(one.reported and two.reported))
        assert "another cluster" in one.reported[0]
        assert "another cluster" in two.reported[0]


@pytest.mark.parametrize("names", [("n1", "n2"), ("n1", "n2", "n4"), (*NAMES, "n4")])
def test_the_log_says_who_is_a_member_and_a_difference_of_cluster_ini_is_said(
    tmp_path: Path, names: tuple[str, ...]
) -> None:
    cluster = cluster_of(tmp_path, *NAMES)
    run_once(cluster, "c1")
    nodes = cluster.nodes | cluster_of(tmp_path / "spare", "n4").nodes
    other = structs.replace(cluster, nodes={name: nodes[name] for name in names})
    with RunningServer(other, "n1") as one, RunningServer(cluster, "n2"), RunningServer(cluster, "n3"):
        wait_until(partial(served, one, "c2"))
        with Wire(one.client) as wire:
            members = wire.ask({"op": "members", "id": "m"})["members"]
        assert [member["node"] for member in members] == list(NAMES)
        different = {*NAMES} ^ {*names}
        wait_until(lambda: {line.split(" node ")[1].split(",")[0] for line in one.reported} == different)


def test_a_log_of_another_cluster_in_the_folder_is_refused(tmp_path: Path) -> None:
    cluster, other = (cluster_of(tmp_path / folder, *NAMES) for folder in ("one", "other"))
    run_once(cluster, "c1")
    run_once(other, "c1")
    log = "raft.log.000001"
    (cluster.data_dir / "n1" / log).write_bytes((other.data_dir / "n1" / log).read_bytes())
    assert stop_line(cluster, "n1").startswith("these files are of different clusters: ")


def test_a_server_known_by_another_folder_does_not_lead_by_what_old_entries_say(
    tmp_path: Path,
) -> None:
    """A wiped server that catches up may meet a configuration in which it was the only voter."""
    cluster = cluster_of(tmp_path, "n1")
    with RunningServer(cluster, "n1") as one:
        one.wait_for_leader()
    path = cluster.data_dir / "n1" / "node.json"
    written = json.loads(path.read_text())
    assert written["is_not_first"] is False
    path.write_text(json.dumps({**written, "is_not_first": True}))
    with RunningServer(cluster, "n1") as one, Wire(one.client) as wire:
        for _ in range(5):
            sleep(cluster.election_timeout_ms[1] / 1000)
            assert wire.ask(Status(id="s"))["role"] == "follower"
    assert one.said == []
