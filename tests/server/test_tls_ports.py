"""A node with TLS: who shows no certificate of the bank's gets one line and no more, and others are served.

Each of these was believed, or held a thread, on the tree before: there was no encryption at all.
"""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
import time
from collections import deque
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path

import pytest
from msgspec import structs

from atm.client.connection import NotSent, NotTrusted, ServerConnection
from atm.client.each_node import ask_one
from atm.config import Address, TlsConfig
from atm.server.clients import client_places, client_server
from atm.server.net import listener, places, tls_acceptor
from atm.server.net.tls_acceptor import HalfOpen
from atm.server.peers import peer_server
from atm.tls.credentials import Credentials
from atm.tls.errors import CertificateRefused
from atm.tls.tls_socket import TlsSocket, connect_tls
from atm.wire.client_messages import ErrorReply, Reply, Status, StatusReply
from atm.wire.codec import encode
from atm.wire.framing import CLIENT_FRAME_BYTES_MAX, FrameReader, frame
from atm.wire.peer_messages import Refused, decode_hello_reply
from tests.support.certificates import CLIENT, Authority
from tests.support.server_parts import RunningServer, Wire, cluster_of, credit, query, wait_until

WITHIN_S = 30.0
DAY = timedelta(days=1)


class TlsBank:
    """One node with TLS, and certificates of its CA."""

    def __init__(self, folder: Path, server: RunningServer, authority: Authority) -> None:
        self.folder, self.server, self.authority = folder, server, authority
        self.client = server.client
        self.peer: Address = server.peer
        self.ann = authority.credentials(folder, authority.person(folder, "ann", "teller"))

    def wait_for_lines(self, port: str, *reasons: str) -> None:
        """Wait until connections to a port were refused for these reasons, and no other."""
        start = f"refused a connection to the {port}' port from 127.0.0.1: "

        def said() -> bool:
            lines = [line.removeprefix(start) for line in self.server.reported if line.startswith(start)]
            return lines == list(reasons)

        wait_until(said, WITHIN_S)

    def is_served(self, request_id: str) -> bool:
        """Whether an honest client is served now."""
        until = time.monotonic() + WITHIN_S
        with contextlib.closing(
            ServerConnection(self.client.pair, until, credentials=self.ann, node="n1")
        ) as connection:
            answer = connection.exchange(encode(query(request_id)), request_id, until)
        return isinstance(answer, Reply) and answer.outcome == "ok"


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority()


@contextlib.contextmanager
def running_bank(tmp_path: Path, authority: Authority) -> Iterator[TlsBank]:
    cert, key = authority.node(tmp_path, "n1")
    tls = TlsConfig(tmp_path / "cluster.ini", authority.write(tmp_path / "ca.pem"), cert, key)
    cluster = structs.replace(cluster_of(tmp_path, "n1"), tls=tls)
    with RunningServer(cluster, "n1") as running:
        yield TlsBank(tmp_path, running.wait_for_leader(), authority)
        assert not [line for line in running.reported if "internal error" in line]


@pytest.fixture
def bank(tmp_path: Path, authority: Authority) -> Iterator[TlsBank]:
    with running_bank(tmp_path, authority) as bank:
        yield bank
        assert bank.is_served("at-the-end")
    wait_until(lambda: not _threads_of_connections(), WITHIN_S)


def _threads_of_connections() -> list[str]:
    return [thread.name for thread in threading.enumerate() if "process_request_thread" in thread.name]


def test_a_client_with_a_certificate_is_served(bank: TlsBank) -> None:
    assert bank.is_served("q1")
    assert isinstance(ask_one(bank.client, Status(id="s"), WITHIN_S, bank.ann, "n1"), StatusReply)
    assert bank.server.reported == []


def test_large_answers_and_many_requests_at_once(bank: TlsBank) -> None:
    until = time.monotonic() + WITHIN_S
    sock = socket.create_connection(bank.client.pair)
    with connect_tls(sock, bank.ann.for_dialling(), "n1", until) as tls:
        count = 400
        tls.sendall(b"".join(frame(encode(credit(f"c{number}"))) for number in range(count)))
        frames, payloads = FrameReader(CLIENT_FRAME_BYTES_MAX), list[bytes]()
        while len(payloads) < count:
            piece = tls.recv(65536)
            assert piece
            payloads += frames.feed(piece)


def a_plain_hello(address: Address) -> bytes:
    """Return what is said to one who sends a frame without TLS."""
    with socket.create_connection(address.pair, timeout=WITHIN_S) as sock:
        sock.sendall(frame(encode(query("plain"))))
        received = bytearray()
        while piece := sock.recv(1000):
            received += piece
        return bytes(received)


def test_who_speaks_plainly_to_either_port_is_told_what_to_do(bank: TlsBank) -> None:
    assert b"this port speaks TLS only: add [tls] to cluster.ini" in a_plain_hello(bank.client)
    [payload] = FrameReader(CLIENT_FRAME_BYTES_MAX).feed(a_plain_hello(bank.peer))
    refused = decode_hello_reply(payload)
    assert isinstance(refused, Refused)
    assert refused.reason.startswith("this port speaks TLS only")
    for port in ("clients", "peers"):
        bank.wait_for_lines(port, "it does not speak TLS")


def wrong_contexts(bank: TlsBank) -> dict[str, ssl.SSLContext]:
    """Return contexts whose certificate is wrong, by what the server says of it."""
    folder = bank.folder / "wrong"
    folder.mkdir()
    files = {
        "it shows no certificate": None,
        "its certificate is of another CA": Authority("another").issue(folder, "a", "atm:teller/ann"),
        "its certificate has expired: renew it with bin/admin certs": bank.authority.issue(
            folder, "b", "atm:teller/ann", begins=-2 * DAY, ends=-DAY
        ),
        "its certificate is not valid yet: compare the clocks of both machines": bank.authority.issue(
            folder, "c", "atm:teller/ann", begins=DAY, ends=2 * DAY
        ),
    }
    contexts = {}
    for what, each in files.items():
        contexts[what] = context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        if each is not None:
            context.load_cert_chain(*each)
    return contexts


def test_each_wrong_certificate_is_refused_with_a_line_at_both_ports(bank: TlsBank) -> None:
    contexts = wrong_contexts(bank)
    for port, address in (("clients", bank.client), ("peers", bank.peer)):
        for context in contexts.values():
            with socket.create_connection(address.pair, timeout=WITHIN_S) as sock:
                tls = TlsSocket(sock, context, server_side=False)
                tls.handshake(time.monotonic() + WITHIN_S)
                tls.sendall(frame(encode(credit("stolen"))))
                with pytest.raises(CertificateRefused):
                    tls.recv(100)
        bank.wait_for_lines(port, *contexts)
    assert bank.is_served("q2")


def refused_by_the_port(bank: TlsBank, credentials: Credentials, address: Address) -> bytes:
    sock = socket.create_connection(address.pair, timeout=WITHIN_S)
    with connect_tls(sock, credentials.for_dialling(), "n1", time.monotonic() + WITHIN_S) as tls:
        tls.sendall(frame(encode(credit("stolen"))))
        received = bytearray()
        while piece := tls.recv(1000):
            received += piece
        return bytes(received)


def test_a_nodes_certificate_opens_no_clients_port(bank: TlsBank) -> None:
    n2 = bank.authority.credentials(bank.folder, bank.authority.node(bank.folder, "n2"), "n2")
    why = "this is the clients' port, and the certificate is that of node n2"
    assert why.encode() in refused_by_the_port(bank, n2, bank.client)
    bank.wait_for_lines("clients", why)
    until = time.monotonic() + WITHIN_S
    with (
        contextlib.closing(
            ServerConnection(bank.client.pair, until, credentials=n2, node="n1")
        ) as connection,
        pytest.raises(NotTrusted, match=r"node n1 at 127.0.0.1:.* TLS: this is the clients' port") as refused,
    ):
        connection.exchange(encode(credit("stolen")), "stolen", until)
    assert refused.value.by_server


def test_a_tellers_certificate_opens_no_peers_port(bank: TlsBank) -> None:
    why = "this is the servers' port, and the certificate is that of ann, no server"
    assert why.encode() in refused_by_the_port(bank, bank.ann, bank.peer)
    bank.wait_for_lines("peers", why)


def test_a_certificate_that_names_nobody_is_refused(bank: TlsBank) -> None:
    nobody = bank.authority.issue(bank.folder, "nobody", uses=[CLIENT])
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.load_cert_chain(*nobody)
    with socket.create_connection(bank.client.pair, timeout=WITHIN_S) as sock:
        tls = TlsSocket(sock, context, server_side=False)
        tls.handshake(time.monotonic() + WITHIN_S)
        assert b"its certificate names nobody" in tls.recv(1000)


def test_a_node_cannot_speak_for_another(bank: TlsBank) -> None:
    n2 = bank.authority.credentials(bank.folder, bank.authority.node(bank.folder, "n2"), "n2")
    hello = hello_of(bank, "n3")
    sock = socket.create_connection(bank.peer.pair, timeout=WITHIN_S)
    with connect_tls(sock, n2.for_dialling(), "n1", time.monotonic() + WITHIN_S) as tls:
        tls.sendall(hello)
        [payload] = FrameReader(CLIENT_FRAME_BYTES_MAX).feed(tls.recv(10_000))
    refused = decode_hello_reply(payload)
    assert isinstance(refused, Refused)
    assert refused.reason == "its certificate is that of node n2"
    assert "refused node 'n3': its certificate is that of node n2" in bank.server.reported


def hello_of(bank: TlsBank, node: str) -> bytes:
    """Return the framed hello of this name, right in all else."""
    own = bank.server.server._links._handshake.hello
    return frame(encode(structs.replace(own, node=node, store="0" * 32)))


def test_half_a_handshake_and_silence_hold_no_place_for_long(
    bank: TlsBank, monkeypatch: pytest.MonkeyPatch
) -> None:
    """H3, H5: silent strangers, more than there are places at the peers' port, keep nobody out."""
    with contextlib.ExitStack() as held:
        for number in range(600):
            address = bank.peer if number % 2 else bank.client
            sock = held.enter_context(socket.create_connection(address.pair, timeout=WITHIN_S))
            if number % 3:
                sock.sendall(b"\x16\x03\x01\x02\x00\x01\x00")
        assert bank.is_served("q3")
        n2 = bank.authority.credentials(bank.folder, bank.authority.node(bank.folder, "n2"), "n2")
        sock = held.enter_context(socket.create_connection(bank.peer.pair, timeout=WITHIN_S))
        connect_tls(sock, n2.for_dialling(), "n1", time.monotonic() + WITHIN_S)


def test_five_thousand_broken_handshakes_leave_no_thread_and_few_lines(bank: TlsBank) -> None:
    kinds = [b"", b"\x16\x03\x01", b"GET / HTTP/1.0\r\n\r\n", b"\x16\x03\x01\x00\x05hello", b"\x00" * 50]

    def attack(number: int) -> None:
        for index in range(number, 5_000, 8):
            address = bank.peer if index % 2 else bank.client
            with (
                contextlib.suppress(OSError),
                socket.create_connection(address.pair, timeout=WITHIN_S) as sock,
            ):
                sock.sendall(kinds[index % len(kinds)])

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(attack, range(8)))
    wait_until(lambda: len(_threads_of_connections()) < 20, WITHIN_S)
    assert bank.is_served("q4")
    assert len(bank.server.reported) < 100


def test_five_thousand_half_handshakes_and_silence_keep_nobody_out_and_leave_no_thread(
    bank: TlsBank,
) -> None:
    """The fixture asserts that there is none at the end."""
    standing: deque[socket.socket] = deque()
    try:
        for number in range(5_000):
            address = bank.client if number % 4 else bank.peer
            sock = socket.create_connection(address.pair, timeout=WITHIN_S)
            standing.append(sock)
            with contextlib.suppress(OSError):  # it may have been dropped for a newer one
                sock.sendall(b"\x16\x03\x01\x02\x00\x01\x00")
            if len(standing) > 400:
                standing.popleft().close()
            if number % 1_000 == 999:
                assert bank.is_served(f"q{number}")
    finally:
        for sock in standing:
            sock.close()
    assert len(bank.server.reported) < 100


def test_what_comes_after_the_end_is_ignored(bank: TlsBank) -> None:
    sock = socket.create_connection(bank.client.pair, timeout=WITHIN_S)
    with connect_tls(sock, bank.ann.for_dialling(), "n1", time.monotonic() + WITHIN_S) as tls:
        with contextlib.suppress(ssl.SSLError):
            tls._object.unwrap()
        sock.sendall(tls._outgoing.read() + b"\x17\x03\x03\x00\x05hello")
        assert tls.recv(100) == b""


def test_an_unfinished_record_is_given_up_in_time(bank: TlsBank) -> None:
    bank.server.server._client_server.partial_frame_s = 0.2
    sock = socket.create_connection(bank.client.pair, timeout=WITHIN_S)
    with connect_tls(sock, bank.ann.for_dialling(), "n1", time.monotonic() + WITHIN_S) as tls:
        record = tls.encrypt(frame(encode(query("cut"))))
        sock.sendall(record[:-1])
        assert b"waiting for the rest of a frame" in tls.recv(1000)


def test_tls_to_a_plain_port_is_one_line(tmp_path: Path, authority: Authority) -> None:
    ann = authority.credentials(tmp_path, authority.person(tmp_path, "ann", "teller"))
    with RunningServer(cluster_of(tmp_path, "n1"), "n1") as running:
        running.wait_for_leader()
        with pytest.raises(
            NotTrusted, match=r"TLS to node n1 at 127.0.0.1:.*: it does not speak TLS"
        ) as failed:
            ServerConnection(running.client.pair, time.monotonic() + WITHIN_S, credentials=ann, node="n1")
        assert not failed.value.by_server
        with Wire(running.client) as wire:
            assert wire.ask(query("q"))["outcome"] == "ok"


def test_of_two_servers_one_with_tls_and_one_without_each_says_so(
    tmp_path: Path, authority: Authority
) -> None:
    cluster = cluster_of(tmp_path, "n1", "n2")
    cert, key = authority.node(tmp_path, "n1")
    tls = TlsConfig(tmp_path / "cluster.ini", authority.write(tmp_path / "ca.pem"), cert, key)
    with RunningServer(structs.replace(cluster, tls=tls), "n1") as one, RunningServer(cluster, "n2") as two:
        peer = cluster.nodes["n2"].peer
        lines = {
            f"no TLS connection to node n2 at {peer}: it does not speak TLS",
            "refused a connection to the peers' port from 127.0.0.1: it does not speak TLS",
        }
        wait_until(lambda: set(one.reported) == lines, WITHIN_S)
        wait_until(lambda: len(two.reported) == 1, WITHIN_S)
        assert "this port speaks TLS only: add [tls] to cluster.ini" in two.reported[0]
        assert len(one.reported) == len(lines)


# -- no place ------------------------------------------------------------------------------------------------


@pytest.fixture
def full(tmp_path: Path, authority: Authority, monkeypatch: pytest.MonkeyPatch) -> Iterator[TlsBank]:
    """Return a bank whose only place is taken; it tells one at a time that there is none."""
    monkeypatch.setattr(client_server, "CONNECTIONS_MAX", 1)
    monkeypatch.setattr(client_places, "RESERVED", 0)
    monkeypatch.setattr(places, "IDLE_S_MIN", 1000.0)
    monkeypatch.setattr(listener, "TELLING_MAX", 1)
    with running_bank(tmp_path, authority) as bank:
        holder = asking(bank)
        with contextlib.closing(holder):
            assert isinstance(holder.exchange(encode(query("q")), "q", time.monotonic() + WITHIN_S), Reply)
            yield bank


def asking(bank: TlsBank) -> ServerConnection:
    until = time.monotonic() + WITHIN_S
    return ServerConnection(bank.client.pair, until, credentials=bank.ann, node="n1")


def test_a_client_for_whom_there_is_no_place_is_told_so(full: TlsBank) -> None:
    """On the tree before, its connection was closed without a word."""
    for _ in range(3):
        wait_until(lambda: full.server.server._client_server._telling._value == 1, WITHIN_S)
        with contextlib.closing(asking(full)) as refused:
            told = refused.exchange(encode(query("q")), "q", time.monotonic() + WITHIN_S)
        assert isinstance(told, ErrorReply)
        assert (told.id, told.outcome, told.message) == ("", "busy", "too many connections: try another node")


def test_so_many_are_told_at_a_time_that_there_is_no_place_and_no_more(full: TlsBank) -> None:
    """A handshake costs the server something, so a crowd without places must not get one each."""
    with socket.create_connection(full.client.pair, timeout=WITHIN_S):
        wait_until(lambda: full.server.server._client_server._telling._value == 0, WITHIN_S)
        with pytest.raises(NotSent):
            asking(full)
    wait_until(lambda: full.server.server._client_server._telling._value == 1, WITHIN_S)


# -- parts ---------------------------------------------------------------------------------------------------


class FakeTls:
    def __init__(self, *, is_silent: bool = True) -> None:
        self.is_silent, self.ended = is_silent, False
        self.sock = self

    def shutdown(self, how: int) -> None:
        self.ended = True


@pytest.mark.parametrize("_", range(10))  # a choice by chance would be right one time in three
def test_the_silent_one_makes_room_for_a_newcomer(_: int) -> None:
    half_open = HalfOpen(3, 3)
    with contextlib.ExitStack() as stack:
        ends = [FakeTls(is_silent=False), FakeTls(), FakeTls()]
        for tls in ends:
            stack.enter_context(half_open.holding(tls, "h"))  # type: ignore[arg-type]
        assert not any(tls.ended for tls in ends)
        stack.enter_context(half_open.holding(FakeTls(), "h"))  # type: ignore[arg-type]
        assert [tls.ended for tls in ends] == [False, True, False]


def test_many_of_one_host_make_room_among_themselves() -> None:
    half_open = HalfOpen(10, 2)
    with contextlib.ExitStack() as stack:
        honest = FakeTls()
        stack.enter_context(half_open.holding(honest, "honest"))  # type: ignore[arg-type]
        flood = [FakeTls() for _ in range(20)]
        for tls in flood:
            stack.enter_context(half_open.holding(tls, "flood"))  # type: ignore[arg-type]
        assert sum(tls.ended for tls in flood) == 18
        assert not honest.ended
        half_open.drop_all()
        assert honest.ended


def test_strangers_leave_room_at_the_peers_port() -> None:
    assert peer_server.HALF_OPEN_BY_HOST_MAX < peer_server.HALF_OPEN_MAX < peer_server.PLACES_MAX
    assert tls_acceptor.HALF_OPEN_MAX < 2_000
