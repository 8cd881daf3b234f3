"""H1: what a stranger at the clients' port can do to an account with a PIN: with TLS, nothing.

In plain mode of this tree, as in release 1.1.0 (e233312), all of it is done: the first test here.
"""

from __future__ import annotations

import contextlib
import socket
import ssl
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from atm.client import Client
from atm.config import Address
from atm.ledger.commands import (
    Close,
    Command,
    Freeze,
    Lookup,
    Query,
    Read,
    Reverse,
    SetLimit,
    SetPin,
    Unlock,
    Void,
    WriteOff,
)
from atm.local_cluster import LocalCluster, write_cluster_ini
from atm.tls.tls_socket import TlsSocket
from atm.wire.codec import encode
from atm.wire.framing import frame
from tests.support.certificates import Authority, write_tls_ini
from tests.support.server_parts import Wire

PIN = "86420975"
WITHIN_S = 10.0
ATTACKS: list[Command | Read] = [
    Query(id="x1", account="victim"),
    Lookup(id="x2", request_id="hers"),
    Void(id="x3", hold="held"),
    Reverse(id="x4", original="hers"),
    Unlock(id="x5", account="victim"),
    SetLimit(id="x6", account="victim", amount=1),
    SetPin(id="x7", account="main", pin="1111"),
    WriteOff(id="x8", account="main", amount=99_999_999),
    Close(id="x9", account="empty"),
    Freeze(id="x10", account="victim"),
]


def furnish(config: Path) -> None:
    """Let the victim have a PIN, money and a hold."""
    with Client(config, timeout=WITHIN_S) as client:
        client.open("victim")
        client.open("empty")
        client.credit("victim", 500, request_id="hers")
        client.hold("victim", 100, request_id="held")
        client.set_pin("victim", PIN)


def test_without_tls_whoever_reaches_the_clients_port_may_do_all(tmp_path: Path) -> None:
    with LocalCluster(write_cluster_ini(tmp_path, 1)) as cluster:
        cluster.start_all()
        leader = cluster.wait_for_leader()
        furnish(cluster.cluster.path)
        with Wire(cluster.cluster.nodes[leader].client) as stranger:
            outcomes = {request.id: stranger.ask(request)["outcome"] for request in ATTACKS}
        assert set(outcomes.values()) == {"ok"}, outcomes


@pytest.fixture(scope="module")
def bank(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalCluster]:
    authority = Authority()
    config = write_tls_ini(tmp_path_factory.mktemp("bank"), authority, 1)
    authority.person(config.parent, "tim", "teller")
    with LocalCluster(config) as cluster:
        cluster.start_all()
        cluster.wait_for_leader()
        furnish(config)
        yield cluster


def files_of(bank: LocalCluster) -> tuple[Address, Path]:
    [node] = bank.cluster.nodes.values()
    return node.client, bank.cluster.path.parent


def stranger_tls(sock: socket.socket, cert: tuple[Path, Path] | None) -> TlsSocket:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    if cert is not None:
        context.load_cert_chain(*cert)
    return TlsSocket(sock, context, server_side=False)


def state_of(bank: LocalCluster) -> list[object]:
    """Return what the attacks would change."""
    with Client(bank.cluster, timeout=WITHIN_S) as client:
        accounts = [client.query(name) for name in ("victim", "main", "empty")]
        return [(found.balance, found.available, found.state, found.pin) for found in accounts]


@pytest.mark.parametrize("who", ["no certificate", "another CA's teller", "plain"])
def test_with_tls_a_stranger_without_a_certificate_of_the_banks_does_and_learns_nothing(
    bank: LocalCluster, tmp_path: Path, who: str
) -> None:
    before = state_of(bank)
    address, _ = files_of(bank)
    cert = Authority("eve's").person(tmp_path, "ann", "teller", "operator") if "CA" in who else None
    said = bytearray()
    for request in ATTACKS:
        with (
            socket.create_connection(address.pair, timeout=WITHIN_S) as sock,
            contextlib.suppress(OSError),
        ):
            stream: socket.socket | TlsSocket = sock
            if who != "plain":
                stream = tls = stranger_tls(sock, cert)
                tls.handshake(time.monotonic() + WITHIN_S)
            stream.sendall(frame(encode(request)))
            while piece := stream.recv(65536):
                said += piece
    assert state_of(bank) == before
    assert (b"this port speaks TLS only" in said) == (who == "plain")
    assert b"balance" not in said


def test_with_tls_a_teller_does_not_do_what_is_an_operators(bank: LocalCluster) -> None:
    address, folder = files_of(bank)
    operators = [
        request for request in ATTACKS if isinstance(request, Unlock | SetLimit | WriteOff | Close | Freeze)
    ]
    before = state_of(bank)
    with socket.create_connection(address.pair, timeout=WITHIN_S) as sock:
        tls = stranger_tls(sock, (folder / "tim.pem", folder / "tim.key"))
        tls.handshake(time.monotonic() + WITHIN_S)
        for request in operators:
            tls.sendall(frame(encode(request)))
            assert b"not_allowed" in tls.recv(65536)
    assert state_of(bank) == before
