"""Rows of one node's ledger go wrong: that is found by comparison, and it rebuilds its ledger by itself."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from atm.client import Client
from atm.local_cluster import LocalCluster, write_cluster_ini
from tests.support.ledgers import right_ledger
from tests.support.server_parts import Wire, credit, wait_until

REBUILT = "and a new one is made from the log"


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
    wait_until(lambda: REBUILT in cluster.output(name))
    [line] = [line for line in cluster.output(name).splitlines() if REBUILT in line]
    assert line.startswith(f"node {name}: "), line
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
        wait_until(lambda: all(told in cluster.output(each) for each in others))
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


def test_a_ledger_that_is_wrong_again_right_after_it_was_rebuilt_stops_the_node(
    cluster: LocalCluster,
) -> None:
    name = other_than(cluster, cluster.wait_for_leader())
    flip_a_bit(ledger_of(cluster, name), b"credit-23")
    wait_until_rebuilt(cluster, name, "(the rows of its file)")
    wal = ledger_of(cluster, name).with_name("ledger.db-wal")
    flip_a_bit(wal, b"credit-23")
    assert cluster.processes[name].wait(15) == 1
    assert "rebuilt from the log only just before" in cluster.output(name).splitlines()[-1]


def test_a_ledger_is_rebuilt_from_its_snapshot_where_the_log_was_cut(tmp_path: Path) -> None:
    with LocalCluster(write_cluster_ini(tmp_path, 3, snapshot_log_mb=0.1)) as cluster:
        cluster.start_all()
        leader = cluster.wait_for_leader()
        name = other_than(cluster, leader)
        first_segment = cluster.cluster.data_dir / name / "raft.log.000001"
        sent = 0
        with Wire(cluster.cluster.nodes[leader].client) as wire:
            while first_segment.exists():
                assert sent < 40_000
                for number in range(sent, sent + 500):
                    wire.send(credit(f"c{number:05}", 1))
                assert {(wire.answer() or {})["outcome"] for _ in range(500)} == {"ok"}
                sent += 500
        right_ledger(cluster)
        assert cluster.stop(name) == 0
        with closing(sqlite3.connect(ledger_of(cluster, name))) as ledger, ledger:
            ledger.execute("update receipt set actor = 'eve' where request_id = 'c00007'")
        cluster.start(name)
        wait_until_rebuilt(cluster, name, "(the rows of its file)")
