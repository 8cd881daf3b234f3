"""The status of a whole cluster: who leads, and whether the bank is available."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from atm.client import Client, ClusterStatus
from atm.client.each_node import ask_each
from atm.client.node_status import missing_lines
from atm.config import Address, NodeConfig
from atm.wire.client_messages import Status
from tests.support.fake_cluster import FakeCluster
from tests.support.fake_node import FakeNode, Map

QUICK = "heartbeat_ms = 10\nelection_timeout_ms = 40-100\n"


def status_of(cluster: FakeCluster) -> ClusterStatus:
    with Client(cluster.config) as client:
        return client.cluster_status()


def quick(cluster: FakeCluster) -> None:
    text = cluster.config.read_text()
    cluster.config.write_text(text.replace("[cluster]\n", "[cluster]\n" + QUICK))


def member(node: FakeNode | str, *, voter: bool = True, client: str = "") -> Map:
    name = node if isinstance(node, str) else node.name
    return {"node": name, "voter": voter, "peer": "", "client": client, "since": 0}


def test_a_leader_that_a_majority_follows_makes_the_bank_available(cluster: FakeCluster) -> None:
    cluster.follow("5001")
    cluster["5002"].stop()
    status = status_of(cluster)
    assert (status.available, status.leader, status.term, status.answering) == (True, "5001", 3, 2)


def test_what_a_busy_node_says_is_in_the_status_in_place_of_its_own(cluster: FakeCluster) -> None:
    cluster.follow("5001")
    cluster["5002"].always = cluster["5002"].fault("busy", message="too many\x1b connections")
    status = status_of(cluster)
    assert (status.available, status.answering) == (True, 3)
    node = status.node("5002")
    assert node is not None
    assert (node.role, node.term, node.said) == ("busy", None, "too many\x1b connections")
    assert missing_lines(status) == ["5002 is busy: too many? connections"]


def test_answers_without_a_leader_are_no_bank(cluster: FakeCluster) -> None:
    status = status_of(cluster)
    assert (status.available, status.leader, status.answering) == (False, None, 3)


def test_a_leader_of_an_older_term_is_none(cluster: FakeCluster) -> None:
    quick(cluster)
    cluster.follow("5001")
    cluster["5000"].told = cluster["5002"].told = {"term": 4, "leader": None, "role": "candidate"}
    cluster["5001"].script.extend([cluster["5001"].answer])
    cluster["5001"].always = cluster["5001"].map(outcome="busy")  # it stepped down meanwhile
    assert not status_of(cluster).available


def test_a_leader_that_others_cannot_be_asked_about_is_asked_again_after_check_quorum(
    cluster: FakeCluster,
) -> None:
    """The followers answer the leader, and not this machine: a firewall, perhaps."""
    quick(cluster)
    cluster.follow("5001")
    for name in ("5000", "5002"):
        cluster[name].stop()
    started = time.monotonic()
    assert status_of(cluster).available
    assert time.monotonic() - started >= 2 * 0.1
    assert len(cluster["5001"].requests) == 2


def test_a_leader_that_steps_down_meanwhile_is_not_believed(cluster: FakeCluster) -> None:
    quick(cluster)
    cluster.follow("5001")
    for name in ("5000", "5002"):
        cluster[name].stop()
    leader = cluster["5001"]

    def step_down(request: Map) -> bytes | None:
        data = leader.answer(request)
        leader.told = {"role": "follower", "leader": None}
        return data

    leader.script.append(step_down)
    status = status_of(cluster)
    assert (status.available, status.leader, status.answering) == (False, None, 1)


@pytest.mark.parametrize(
    ("followers", "available"), [(["5000"], False), (["5000", "5002"], True)], ids=["one", "two"]
)
def test_the_majority_is_one_of_the_voters_that_the_log_names(
    cluster: FakeCluster, followers: list[str], available: bool
) -> None:
    """There are five voters, two of which are not in cluster.ini and do not run."""
    cluster.follow("5001")
    members = [member(name) for name in ("5000", "5001", "5002", "5003", "5004")]
    for node in cluster.nodes.values():
        node.told = {"members": members}
        if node.name not in ("5001", *followers):
            node.told |= {"leader": None}
    cluster["5001"].script.append(cluster["5001"].answer)
    cluster["5001"].always = cluster["5001"].map(outcome="busy")
    assert status_of(cluster).available is available


def test_a_learner_counts_for_no_majority(cluster: FakeCluster) -> None:
    cluster.follow("5001")
    members = [member("5000"), member("5001"), member("5002", voter=False)]
    for node in cluster.nodes.values():
        node.told = {"members": members, "voter": node.name != "5002"}
    cluster["5000"].told |= {"leader": None}
    cluster["5001"].script.append(cluster["5001"].answer)
    cluster["5001"].always = cluster["5001"].map(outcome="busy")
    status = status_of(cluster)
    assert not status.available
    assert status.nodes[2].role == "learner"


@pytest.mark.parametrize("newest", ["5000", "5001", "5002"])
def test_the_members_are_those_of_the_node_that_knows_the_newest_entry(
    cluster: FakeCluster, newest: str
) -> None:
    """A leader knows of a removal before it is written, and `applied_index` says what is written."""
    cluster.follow("5001")
    members = [member(name) for name in ("5000", "5001", "5002")]
    for node in cluster.nodes.values():
        node.told = {"members": [*members, member("5003")], "members_index": 7, "applied_index": 7}
    cluster[newest].told |= {"members": members, "members_index": 8}
    assert [row.node for row in status_of(cluster).members] == ["5000", "5001", "5002"]


def test_members_that_the_file_does_not_name_are_asked_too(cluster: FakeCluster, tmp_path: Path) -> None:
    text = cluster.config.read_text()
    cluster.config.write_text(text[: text.index("[node 5002]")])
    cluster.follow("5001")
    for node in cluster.nodes.values():
        node.told = {
            "members": [
                member("5000"),
                member("5001"),
                member("5002", client=f"127.0.0.1:{cluster['5002'].port}"),
                member("5003"),  # without an address
            ]
        }
    status = status_of(cluster)
    assert [(node.node, node.role) for node in status.nodes] == [
        ("5000", "follower"),
        ("5001", "leader"),
        ("5002", "follower"),
        ("5003", "down"),
    ]


def test_a_member_that_moved_is_found_at_its_new_address(cluster: FakeCluster) -> None:
    moved = cluster["5002"]
    text = cluster.config.read_text()
    cluster.config.write_text(text.replace(f"127.0.0.1:{moved.port}", "127.0.0.1:1"))
    cluster.follow("5001")
    for node in cluster.nodes.values():
        rows = [member(each, client=f"127.0.0.1:{each.port}") for each in cluster.nodes.values()]
        node.told = {"members": rows}
    status = status_of(cluster)
    assert [node.role for node in status.nodes] == ["follower", "leader", "follower"]
    assert status.nodes[2].address == f"127.0.0.1:{moved.port}"


def test_nodes_that_hang_are_not_waited_for_longer_than_said(
    monkeypatch: pytest.MonkeyPatch, unblocked: threading.Event
) -> None:
    """To find a host's address takes as long as it takes."""

    def hanging(*_arguments: Any, **_named: Any) -> Any:
        unblocked.wait(10)
        raise OSError

    monkeypatch.setattr("socket.create_connection", hanging)
    nodes = [NodeConfig(name, Address("h1.bank", 5000), Address("h1.bank", 6000)) for name in "abc"]
    started = time.monotonic()
    assert ask_each(nodes, Status(id="1"), 0.2) == {"a": None, "b": None, "c": None}
    assert time.monotonic() - started < 2


@pytest.fixture
def unblocked() -> Iterator[threading.Event]:
    event = threading.Event()
    yield event
    event.set()
