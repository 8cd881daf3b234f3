"""No file of the bank holds a PIN: not the log, not the ledger, nor what the nodes print."""

from __future__ import annotations

import socket
from collections import Counter
from pathlib import Path

import pytest
from msgspec import msgpack

from atm.client import Client
from atm.ledger.commands import Leg
from atm.local_cluster import LocalCluster, write_cluster_ini
from atm.wire.framing import CLIENT_FRAME_BYTES_MAX, frame
from tests.cluster.tellers import tellers
from tests.cluster.traces import disguises, traces

FIRST, SECOND, WRONG, TOO_LONG = "730264819551", "918273640552", "640551928373", "5519283746037"
PINS = (FIRST, SECOND, WRONG, TOO_LONG)
FILES = {"raft.log.000001", "ledger.db", "ledger.db-wal", "node.json", "peers.json"}


def use_every_request_that_takes_a_pin(cluster: LocalCluster) -> list[object]:
    """Use right and wrong ones, each request at another node; return the receipts."""
    with tellers(cluster) as at_each:
        at = list(at_each.values())
        at[0].open("alice")
        at[0].credit("alice", 50_000)
        receipts = [
            at[0].set_pin("alice", FIRST),
            at[1].login("alice", WRONG),
            at[2].login("alice", FIRST),
            at[3].debit("alice", 100, pin=WRONG),
            at[4].debit("alice", 100, pin=FIRST),
            at[0].transfer("alice", "main", 100, pin=FIRST),
            at[1].hold("alice", 100, pin=FIRST),
            at[2].batch([Leg(account="alice", target="main", amount=100, pin=FIRST)]),
            at[3].set_pin("alice", SECOND, WRONG),
            at[4].set_pin("alice", SECOND, FIRST),
        ]
        assert Counter(receipt.outcome for receipt in receipts) == {"ok": 7, "wrong_pin": 3}
        lookups = [at[0].lookup(receipt.request_id) for receipt in receipts]
        again = at[1].debit("alice", 100, pin=SECOND, request_id=receipts[4].request_id)
        return [*receipts, *lookups, again, at[2].statement("alice"), at[3].query("alice")]


def send_what_is_no_request(cluster: LocalCluster, node: str) -> list[bytes]:
    """Send PINs in requests that are refused as such; return the answers."""
    debit = {"op": "debit", "id": "no-request", "account": "alice", "amount": 100}
    refused: list[dict[str, object]] = [
        {**debit, "pin": TOO_LONG},
        {**debit, "pin": int(WRONG)},
        {**debit, "secret": WRONG},
        {**debit, "amount": WRONG},
    ]
    answers = []
    for request in refused:
        with socket.create_connection(cluster.cluster.nodes[node].client.pair, timeout=10) as connection:
            connection.sendall(frame(msgpack.encode(request)))
            answers.append(connection.recv(CLIENT_FRAME_BYTES_MAX))
            assert b"bad_request" in answers[-1]
    return answers


def test_no_pin_is_found_in_any_file_of_any_node_nor_in_any_answer(tmp_path: Path) -> None:
    with LocalCluster(write_cluster_ini(tmp_path)) as cluster:
        for name in cluster.cluster.nodes:
            cluster.start(name, "-v")
        leader = cluster.wait_for_leader()
        told = "".join(map(repr, use_every_request_that_takes_a_pin(cluster))).encode()
        told += b"".join(send_what_is_no_request(cluster, leader))
        cluster.kill(leader)  # as it is: its -wal stays
        with Client(cluster.cluster, timeout=15.0) as client:
            assert client.login("alice", SECOND).outcome == "ok"
            assert client.login("alice", FIRST).outcome == "wrong_pin"
        for name in cluster.cluster.nodes:
            found = {path.name for path in (cluster.cluster.data_dir / name).iterdir()}
            assert found >= FILES
            assert "request" in cluster.output(name), "a node that is told to say what it does says it"
            assert b"alice" in (cluster.cluster.data_dir / name / "raft.log.000001").read_bytes()
        assert [trace for pin in PINS for trace in traces(pin, tmp_path)] == []
        assert [form for pin in PINS for form, needle in disguises(pin).items() if needle in told] == []
        cluster.stop_all()  # which moves what is in the -wal
        assert [trace for pin in PINS for trace in traces(pin, tmp_path)] == []


@pytest.mark.parametrize(
    "written",
    [
        f"login {FIRST}\n".encode(),
        msgpack.encode({"op": "debit", "pin": FIRST}),
        msgpack.encode([int(FIRST)]),
        msgpack.encode({"pin": FIRST}).hex().encode(),
        disguises(FIRST)["sha256"],
        *(disguises(FIRST)[f"base64, shifted by {shift}"] for shift in range(3)),
    ],
)
def test_a_pin_that_is_written_down_is_found(tmp_path: Path, written: bytes) -> None:
    (tmp_path / "n1").mkdir()
    (tmp_path / "n1" / "file").write_bytes(b"before " + written + b" after")
    assert traces(FIRST, tmp_path)
    assert not traces(SECOND, tmp_path)
