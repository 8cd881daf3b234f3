"""Why a listener cannot listen, in a line that says what to do."""

from __future__ import annotations

import errno
import logging
import socket
import socketserver
from collections.abc import Iterator

import pytest

from atm.config import Address, NodeConfig
from atm.server.logger.logger import EventRecord
from atm.server.net import listener
from atm.server.net.connection import Connection
from atm.server.net.listener import LINES_MAX, AddressUnavailable, Listener, check_reachable
from atm.server.net.places import Places
from atm.tls.tls_socket import TlsSocket
from tests.support.collecting import collecting, collecting_events
from tests.support.server_parts import DEADLINE_S, wait_until


@pytest.mark.parametrize(
    ("host", "line"),
    [
        ("192.0.2.7", "cannot listen on 192.0.2.7:5000: this machine does not have that address"),
        ("no-such-host.invalid", r"cannot listen on no-such-host.invalid:5000: .*Check the address"),
    ],
)
def test_an_address_that_is_not_of_this_machine_is_not_called_a_taken_port(host: str, line: str) -> None:
    with pytest.raises(AddressUnavailable, match=line):
        Listener[Connection](Address(host, 5000), places=Places(1), logger=collecting([]), verbose=False)


# -- without a descriptor for another connection ---------------------------------------------------------


class Silent(Listener[Connection]):
    """Its connections wait for their end."""

    refusal = b"refused"

    def connect(self, sock: socket.socket | TlsSocket) -> Connection:
        return Connection(sock, 1024, set())

    def serve(self, connection: Connection) -> None:
        connection.sock.recv(1)


class Descriptors:
    """The system has none left for a connection, as often as the test says."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.missing = 0
        accept = socketserver.TCPServer.get_request

        def accept_if_possible(server: socketserver.TCPServer) -> object:
            if self.missing:
                self.missing -= 1
                raise OSError(errno.EMFILE, "Too many open files")
            return accept(server)

        monkeypatch.setattr(socketserver.TCPServer, "get_request", accept_if_possible)


@pytest.fixture
def silent() -> Iterator[Silent]:
    silent = Silent(Address("127.0.0.1", 0), places=Places(4), logger=collecting([]), verbose=False)
    silent.start()
    yield silent
    silent.stop()
    silent.drop_connections()


def test_a_connection_that_has_no_descriptor_is_refused_and_the_next_one_is_served(
    silent: Silent, monkeypatch: pytest.MonkeyPatch
) -> None:
    descriptors = Descriptors(monkeypatch)
    for _ in range(2):
        descriptors.missing = 1
        with socket.create_connection(("127.0.0.1", silent.port), DEADLINE_S) as refused:
            assert refused.recv(100) == b"refused"
            assert refused.recv(100) == b""
    with socket.create_connection(("127.0.0.1", silent.port), DEADLINE_S):
        wait_until(lambda: len(silent._connections) == 1)


def test_it_is_counted_who_found_no_place_and_who_did_not_read(silent: Silent) -> None:
    silent.places = Places(0)
    with socket.create_connection(("127.0.0.1", silent.port), DEADLINE_S) as refused:
        assert refused.recv(100) == b"refused"
    silent.places = Places(4)
    with socket.create_connection(("127.0.0.1", silent.port), DEADLINE_S):
        wait_until(lambda: silent.connection_count == 1)
        [connection] = silent._connections
        connection.given_up = True
        connection.drop()
        wait_until(lambda: silent.connection_count == 0)
    assert (silent.turned_away, silent.given_up) == (1, 1)


def test_who_finds_no_place_is_told_to_the_operator() -> None:
    told: list[EventRecord] = []
    logger = collecting_events(told, "connection.no_place")
    full = Silent(Address("127.0.0.1", 0), places=Places(0), logger=logger, verbose=False)
    full.start()
    try:
        with socket.create_connection(("127.0.0.1", full.port), DEADLINE_S) as refused:
            assert refused.recv(100) == b"refused"
    finally:
        full.stop()
    [event] = told
    assert (event.levelno, event.fields) == (logging.WARNING, {"owner": "127.0.0.1", "port": full.port})
    assert (
        event.msg == f"refused a connection of 127.0.0.1 to port {full.port}: there are too many connections"
    )
    assert event.lines_max == LINES_MAX, "a flood of connections is no flood of lines"


def test_a_connection_that_has_no_descriptor_gets_that_of_one_that_has_shown_nothing(
    silent: Silent, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.create_connection(("127.0.0.1", silent.port), DEADLINE_S) as stranger:
        wait_until(lambda: len(silent._connections) == 1)
        Descriptors(monkeypatch).missing = 1
        with socket.create_connection(("127.0.0.1", silent.port), DEADLINE_S):
            assert stranger.recv(100) == b""
            wait_until(lambda: len(silent._connections) == 1)


# -- whether other machines can reach it -----------------------------------------------------------------

NAMES = {"h1.bank": "127.0.1.1", "h2.bank": "10.0.0.2", "h3.bank": "10.0.0.3"}


def resolve_by_names(host: str, port: int) -> tuple[socket.AddressFamily, tuple[str, int]]:
    if host == "unknown.bank":
        raise OSError("no such name")
    return socket.AF_INET, (NAMES.get(host, host), port)


def node_at(host: str, listen: str | None = None) -> NodeConfig:
    peer = Address(host, 6000)
    return NodeConfig("n", Address(host, 5000), peer, listen_peer=Address(listen, 6000) if listen else None)


def test_a_name_that_means_the_loopback_here_is_refused_where_others_are_elsewhere(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(listener, "resolve", resolve_by_names)
    others = [node_at("h2.bank"), node_at("h3.bank")]
    with pytest.raises(
        AddressUnavailable, match=r"h1\.bank means 127\.0\.1\.1 on this machine.*/etc/hosts.*listen_peer"
    ):
        check_reachable(node_at("h1.bank"), others)
    with pytest.raises(AddressUnavailable, match="where no other machine can connect"):
        check_reachable(node_at("h2.bank", listen="h1.bank"), others)


@pytest.mark.parametrize(
    ("node", "others"),
    [
        (node_at("h2.bank"), [node_at("h3.bank")]),
        (node_at("h1.bank", listen="0.0.0.0"), [node_at("h2.bank")]),
        (node_at("h1.bank"), [node_at("h1.bank")]),  # all on this machine
        (node_at("h1.bank"), [node_at("localhost")]),
        (node_at("h1.bank"), []),
        (node_at("127.0.0.1"), [node_at("h2.bank")]),  # as written: whoever writes that means it
        (node_at("unknown.bank"), [node_at("h2.bank")]),  # the listener says so
    ],
)
def test_other_addresses_are_left_alone(
    node: NodeConfig, others: list[NodeConfig], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listener, "resolve", resolve_by_names)
    check_reachable(node, others)
