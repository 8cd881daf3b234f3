"""Rows of one node's ledger go wrong: that is found by comparison, and it rebuilds its ledger by itself."""

from __future__ import annotations

import hashlib
import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from atm.client import Client
from atm.local_cluster import LocalCluster, write_cluster_ini
from atm.server.group.rebuild import move_ledger_aside
from atm.server.peers.snapshot_fetcher import FetchFailed
from atm.server.peers.snapshot_of_peer import roster_of, take_over_snapshot
from atm.storage.data_folder import DataFolder
from atm.storage.log_file import LogFile
from atm.storage.snapshots import SnapshotStore
from tests.support.backups import admin
from tests.support.ledgers import right_ledger
from tests.support.server_parts import Wire, credit, wait_until

REBUILT = "and a new one is made from the log"
BORROWED = "and a new one is made from the snapshot of node "
COMPARED_WITHIN_S = 60.0  # all rows, twice


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[LocalCluster]:
    """Three nodes with all kinds of rows, written into the ledger's file itself."""
    with LocalCluster(write_cluster_ini(tmp_path, 3)) as local:
        local.start_all()
        local.wait_for_leader()
        with Client(local.cluster, timeout=15.0) as client:
            client.open("ann")
            for number in range(40):
                client.credit("ann", 100 + number, request_id=f"credit-{number:02}")
            client.debit("ann", 1_000_000, request_id="refused")
            client.hold("ann", 5, request_id="held")
            client.reverse("credit-07")
        right_ledger(local)
        assert set(local.stop_all().values()) == {0}
        local.start_all()
        local.wait_for_leader()
        yield local


def other_than(cluster: LocalCluster, leader: str) -> str:
    return next(name for name in cluster.cluster.nodes if name != leader)


def ledger_of(cluster: LocalCluster, name: str) -> Path:
    return cluster.cluster.data_dir / name / "ledger.db"


def wait_until_rebuilt(cluster: LocalCluster, name: str, why: str) -> None:
    """Wait until the node has said what is wrong, and its ledger is as the others' are, and right."""
    wait_until(lambda: REBUILT in cluster.output(name), COMPARED_WITHIN_S)
    [line] = [line for line in cluster.output(name).splitlines() if REBUILT in line]
    assert f" ERROR {name} " in line, line
    assert why in line, line
    right_ledger(cluster)
    assert cluster.processes[name].poll() is None, "it is the same process"
    assert ledger_of(cluster, name).with_name("ledger.db.wrong-1").exists(), "it is kept"


CHANGES = {
    "balances": (
        "update balance set amount = amount + iif(account = 'ann', 5, -5) where account <> 'main' "
        "and account <> 'writeoff'",
        "differs from that of a majority",
    ),
    "one balance": ("update balance set amount = amount + 1 where account = 'ann'", "do not add up to 0"),
    "posting": (
        "update journal set amount = amount + 1 where request_id = 'credit-09'",
        "(the rows of its file)",
    ),
    "last posting": (
        "update journal set hash = zeroblob(32) where posting = (select max(posting) from journal)",
        "(its postings and the rows of its file)",
    ),
    "receipt": (
        "update receipt set outcome = 'locked' where request_id = 'refused'",
        "(the rows of its file)",
    ),
    "hold": ("update hold set expires_us = expires_us + 1", "(the rows of its file)"),
    "missing": ("delete from exception; delete from reversal", "(the rows of its file)"),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_row_that_changed_while_a_follower_was_down_is_found_and_mended(
    cluster: LocalCluster, change: str
) -> None:
    sql, why = CHANGES[change]
    name = other_than(cluster, cluster.wait_for_leader())
    assert cluster.stop(name) == 0
    with closing(sqlite3.connect(ledger_of(cluster, name))) as ledger:
        ledger.executescript(sql)
    cluster.start(name)
    wait_until_rebuilt(cluster, name, why)
    others = [each for each in cluster.cluster.nodes if each != name]
    if "majority" in why or "rows" in why:
        told = f"the ledger of node {name} differs from that of a majority"
        wait_until(lambda: all(told in cluster.output(each) for each in others), COMPARED_WITHIN_S)
        alarms = [alarm for each in others if (status := cluster.status(each)) for alarm in status.alarms]
        assert len(alarms) == 2
        assert all(alarm.startswith(told) for alarm in alarms)


@pytest.mark.parametrize("leads", [False, True])
def test_a_page_that_rots_under_a_running_node_is_found_and_mended(
    cluster: LocalCluster, leads: bool
) -> None:
    leader = cluster.wait_for_leader()
    name = leader if leads else other_than(cluster, leader)
    flip_a_bit(ledger_of(cluster, name), b"credit-23")
    wait_until_rebuilt(cluster, name, "(the rows of its file)")
    with Client(cluster.cluster, timeout=15.0) as client:
        assert client.credit("ann", 1).outcome == "ok"
    right_ledger(cluster)


def flip_a_bit(path: Path, text: bytes) -> None:
    """Flip a bit of `text` wherever it stands in the file."""
    content = path.read_bytes()
    assert text in content
    with path.open("r+b") as file:
        start = 0
        while (start := content.find(text, start)) >= 0:
            file.seek(start)
            file.write(bytes([text[0] ^ 1]))
            start += 1


def test_a_ledger_that_is_wrong_again_and_again_is_rebuilt_from_each_other_server_and_then_stops_the_node(
    cluster: LocalCluster,
) -> None:
    name = other_than(cluster, cluster.wait_for_leader())
    flip_a_bit(ledger_of(cluster, name), b"credit-23")
    wait_until_rebuilt(cluster, name, "(the rows of its file)")
    for rebuilt in (1, 2):
        rot(cluster, name)
        wait_until(lambda: cluster.output(name).count(BORROWED) == rebuilt, COMPARED_WITHIN_S)  # noqa: B023
        book(cluster)
        right_ledger(cluster)
    rot(cluster, name)
    assert cluster.processes[name].wait(COMPARED_WITHIN_S) == 1
    said = cluster.output(name).splitlines()
    assert {line.partition(BORROWED)[2][:2] for line in said if BORROWED in line} == {
        each for each in cluster.cluster.nodes if each != name
    }
    assert "rebuilt only just before: memory or disk of this machine may be faulty" in said[-1]


def rot(cluster: LocalCluster, name: str) -> None:
    """Flip a bit of a running node's ledger, in its file or in what is not yet moved into that."""
    files = [path for path in ledger_of(cluster, name).parent.glob("ledger.db*") if "wrong" not in path.name]
    for path in files:
        if b"credit-23" in path.read_bytes():
            flip_a_bit(path, b"credit-23")


def test_a_ledger_is_rebuilt_from_its_snapshot_where_the_log_was_cut(tmp_path: Path) -> None:
    with LocalCluster(write_cluster_ini(tmp_path, 3, snapshot_log_mb=0.1)) as cluster:
        cluster.start_all()
        leader = cluster.wait_for_leader()
        name = other_than(cluster, leader)
        cut_the_log(cluster, leader, name)
        right_ledger(cluster)
        take_snapshot(cluster, name)
        assert cluster.stop(name) == 0
        with closing(sqlite3.connect(ledger_of(cluster, name))) as ledger, ledger:
            ledger.execute("update receipt set actor = 'eve' where request_id = 'c00007'")
        cluster.start(name)
        wait_until_rebuilt(cluster, name, "(the rows of its file)")


def test_a_snapshot_that_holds_the_damage_is_replaced_by_that_of_another_server(tmp_path: Path) -> None:
    """The ledger's file rotted, was copied into a snapshot, and the log was cut behind that.

    Nothing was booked since, so the other's snapshot is of the same entry.
    """
    with LocalCluster(write_cluster_ini(tmp_path, 3, snapshot_log_mb=0.1)) as cluster:
        cluster.start_all()
        leader = cluster.wait_for_leader()
        name = other_than(cluster, leader)
        cut_the_log(cluster, leader, name)
        right_ledger(cluster)
        take_snapshot(cluster, name)
        assert cluster.stop(name) == 0
        folder = ledger_of(cluster, name).parent
        [told] = (folder / "snapshot").glob("*.json")
        for path in (folder / "ledger.db", told.with_suffix(".db")):
            with closing(sqlite3.connect(path)) as ledger, ledger:
                ledger.execute("update receipt set actor = 'eve' where request_id = 'c00007'")
        describe_anew(told)
        cluster.start(name)
        wait_until(lambda: BORROWED in cluster.output(name), COMPARED_WITHIN_S)
        right_ledger(cluster)
        assert cluster.processes[name].poll() is None, "it is the same process"
        assert REBUILT in cluster.output(name), "its own snapshot was tried first"
        assert "eve" not in actors(told.with_suffix(".db"))
        book(cluster)
        right_ledger(cluster)
        assert cluster.stop(name) == 0
        cluster.start(name)
        right_ledger(cluster)


def take_snapshot(cluster: LocalCluster, name: str) -> None:
    """Let the node take one of all that was booked: then no other is due, which could hold the damage."""
    assert admin("snapshot", name, "--config", cluster.cluster.path) == 0


def book(cluster: LocalCluster) -> None:
    with Client(cluster.cluster, timeout=15.0) as client:
        assert client.credit("main", 1).outcome == "ok"


def cut_the_log(cluster: LocalCluster, leader: str, name: str) -> None:
    first_segment = cluster.cluster.data_dir / name / "raft.log.000001"
    sent = 0
    with Wire(cluster.cluster.nodes[leader].client) as wire:
        while first_segment.exists():
            assert sent < 40_000
            for number in range(sent, sent + 500):
                wire.send(credit(f"c{number:05}", 1))
            assert {(wire.answer() or {})["outcome"] for _ in range(500)} == {"ok"}
            sent += 500


def describe_anew(told: Path) -> None:
    """Make a snapshot's description that of its file as it is now."""
    record = json.loads(told.read_bytes())
    data = told.with_suffix(".db").read_bytes()
    record |= {"size_bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
    told.write_text(json.dumps(record))


def actors(path: Path) -> set[str]:
    with closing(sqlite3.connect(path)) as ledger:
        return {actor for (actor,) in ledger.execute("select distinct actor from receipt")}


def test_a_snapshot_of_a_later_term_is_taken_over_with_that_term_and_without_a_vote(
    cluster: LocalCluster,
) -> None:
    leader = cluster.wait_for_leader()
    name = other_than(cluster, leader)
    assert cluster.stop(name) == 0
    term = term_of(cluster, leader)
    cluster.kill(leader)
    cluster.start(leader)
    with Client(cluster.cluster, timeout=15.0) as client:
        assert client.credit("main", 1).outcome == "ok"
    with closing(DataFolder(cluster.cluster, name)) as folder:
        index = take_over_snapshot(cluster.cluster, folder, roster_of(cluster.cluster, name), leader)
        with closing(LogFile(folder.path, base=SnapshotStore(folder.path / "snapshot").base)) as log:
            assert log.hard_state.term > term
            assert log.hard_state.voted_for is None
            assert log.first_index == index + 1
        move_ledger_aside(folder.path)
    cluster.start(name)
    right_ledger(cluster)


def test_a_snapshot_of_another_cluster_is_not_taken_over(cluster: LocalCluster, tmp_path: Path) -> None:
    leader = cluster.wait_for_leader()
    name = other_than(cluster, leader)
    assert cluster.stop(name) == 0
    node_file = cluster.cluster.data_dir / name / "node.json"
    mine = json.loads(node_file.read_text())
    node_file.write_text(json.dumps(mine | {"cluster_id": "0" * 32}))
    with closing(DataFolder(cluster.cluster, name)) as folder, pytest.raises(FetchFailed, match="cluster"):
        take_over_snapshot(cluster.cluster, folder, roster_of(cluster.cluster, name), leader)


def term_of(cluster: LocalCluster, node: str) -> int:
    status = cluster.status(node)
    assert status is not None
    return status.term
