"""A handshake shows each end who the other is, or ends with one line; what is sent arrives, in any pieces."""

from __future__ import annotations

import random
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path

import pytest

from atm.tls.credentials import Credentials
from atm.tls.errors import CertificateRefused, HandshakeEnded, NotTls, TlsFailed, Untrusted
from atm.tls.tls_socket import TlsSocket, connect_tls
from tests.support.certificates import SERVER, Authority

WITHIN_S = 30.0

Pair = tuple[socket.socket, socket.socket]


@pytest.fixture
def pair() -> Iterator[Pair]:
    here, there = socket.socketpair()
    with here, there:
        yield here, there


@pytest.fixture(scope="module")
def bank() -> Authority:
    return Authority()


@pytest.fixture
def server(bank: Authority, tmp_path: Path) -> Credentials:
    return bank.credentials(tmp_path, bank.node(tmp_path, "n1"), "n1")


@pytest.fixture
def teller(bank: Authority, tmp_path: Path) -> Credentials:
    return bank.credentials(tmp_path, bank.person(tmp_path, "ann", "teller"))


def server_context(credentials: Credentials) -> ssl.SSLContext:
    context = credentials.loaded.server
    assert context is not None
    return context


def accepted(sock: socket.socket, credentials: Credentials) -> TlsSocket:
    tls = TlsSocket(sock, server_context(credentials), server_side=True)
    tls.handshake(time.monotonic() + WITHIN_S)
    return tls


def connected(
    pair: Pair, server: Credentials, client: Credentials, node: str = "n1"
) -> tuple[TlsSocket, TlsSocket]:
    """Return the server's end and the client's."""
    with ThreadPoolExecutor() as pool:
        accepting = pool.submit(accepted, pair[0], server)
        client_end = connect_tls(pair[1], client.for_dialling(), node, time.monotonic() + WITHIN_S)
        return accepting.result(WITHIN_S), client_end


def failures(
    pair: Pair, server: Credentials, client: Credentials, node: str = "n1"
) -> tuple[Exception | None, Exception | None]:
    """Return why the server's handshake failed, and why the client's, or its first receiving."""

    def serve() -> None:
        try:
            accepted(pair[0], server).sendall(b"welcome")
        finally:
            pair[0].shutdown(socket.SHUT_WR)

    def call() -> None:
        connect_tls(pair[1], client.for_dialling(), node, time.monotonic() + WITHIN_S).recv(100)

    with ThreadPoolExecutor() as pool:
        serving = pool.submit(serve)
        calling = pool.submit(call)
        calling_failed = calling.exception(WITHIN_S)
        pair[1].close()
        return serving.exception(WITHIN_S), calling_failed  # type: ignore[return-value]


def test_each_end_learns_who_the_other_is(pair: Pair, server: Credentials, teller: Credentials) -> None:
    server_end, client_end = connected(pair, server, teller)
    assert (server_end.identity.name, {role.value for role in server_end.identity.roles}) == (
        "ann",
        {"teller"},
    )
    assert client_end.identity.is_node
    assert client_end.identity.name == "n1"


def test_it_is_tls_1_3_and_no_session_can_be_resumed(
    pair: Pair, server: Credentials, teller: Credentials
) -> None:
    server_end, client_end = connected(pair, server, teller)
    server_end.sendall(b"x")
    client_end.recv(100)
    assert client_end._object.version() == "TLSv1.3"
    assert client_end._object.session is None or not client_end._object.session.has_ticket


def test_an_older_tls_is_refused_on_both_sides(pair: Pair, server: Credentials, teller: Credentials) -> None:
    context = teller.loaded.client
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    refused, failed = failures(pair, server, teller)
    assert isinstance(refused, TlsFailed)
    assert str(refused) == str(failed) == "it does not speak TLS 1.3"


def test_a_server_of_another_name_is_told_nothing(
    pair: Pair, bank: Authority, server: Credentials, teller: Credentials
) -> None:
    _, failed = failures(pair, server, teller, node="n2")
    assert isinstance(failed, Untrusted)
    assert str(failed) == "its certificate is that of node n1, not of node n2"


def test_a_person_is_no_server(pair: Pair, bank: Authority, tmp_path: Path, teller: Credentials) -> None:
    cert, key = bank.issue(tmp_path, "eve", "atm:teller/n1")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert, key)
    with ThreadPoolExecutor() as pool:
        serving = pool.submit(
            TlsSocket(pair[0], context, server_side=True).handshake, time.monotonic() + WITHIN_S
        )
        with pytest.raises(Untrusted, match="is that of person or program n1, not of node n1"):
            connect_tls(pair[1], teller.for_dialling(), "n1", time.monotonic() + WITHIN_S)
        serving.result(WITHIN_S)


def test_a_certificate_of_another_ca_is_refused_on_both_sides(
    pair: Pair, bank: Authority, server: Credentials, tmp_path: Path
) -> None:
    other = Authority("another bank")
    (tmp_path / "other").mkdir()
    stranger = other.credentials(tmp_path / "other", other.person(tmp_path / "other", "eve", "teller"))
    refused, failed = failures(pair, server, stranger)
    assert isinstance(failed, Untrusted)
    assert "of another CA" in str(failed)
    # A client that does not look whom it talks to is refused all the same.
    stranger.loaded.client.verify_mode = ssl.CERT_NONE
    assert refused is not None


def refusing(client_end: Callable[[], ssl.SSLContext], pair: Pair, server: Credentials) -> tuple[str, str]:
    """Return the server's line and the client's for a client that looks at nothing."""
    context = client_end()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE

    def serve() -> None:
        try:
            accepted(pair[0], server)
        finally:
            pair[0].shutdown(socket.SHUT_WR)

    def call() -> None:
        tls = TlsSocket(pair[1], context, server_side=False)
        tls.handshake(time.monotonic() + WITHIN_S)
        tls.recv(100)

    with ThreadPoolExecutor() as pool:
        serving, calling = pool.submit(serve), pool.submit(call)
        why, failed = serving.exception(WITHIN_S), calling.exception(WITHIN_S)
    assert isinstance(why, TlsFailed)
    assert isinstance(failed, CertificateRefused)
    return str(why), str(failed)


def context_with(cert_and_key: tuple[Path, Path] | None) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    if cert_and_key is not None:
        context.load_cert_chain(*cert_and_key)
    return context


def test_each_wrong_certificate_gets_one_line_at_both_ends(
    bank: Authority, server: Credentials, tmp_path: Path
) -> None:
    day = timedelta(days=1)
    other = Authority("another bank")
    made = {
        "no certificate": None,
        "another CA": other.issue(tmp_path, "stranger", "atm:teller/ann"),
        "expired": bank.issue(tmp_path, "late", "atm:teller/ann", begins=-2 * day, ends=-day),
        "too early": bank.issue(tmp_path, "early", "atm:teller/ann", begins=day, ends=2 * day),
        "a server's only": bank.issue(tmp_path, "server", "atm:teller/ann", uses=[SERVER]),
    }
    lines: dict[str, tuple[str, str]] = {}
    for what, files in made.items():
        here, there = socket.socketpair()
        with here, there:
            lines[what] = refusing(lambda files=files: context_with(files), (here, there), server)  # type: ignore[misc]
    assert lines == {
        "no certificate": ("it shows no certificate", "it wants a certificate"),
        "another CA": ("its certificate is of another CA", "it does not know the CA of this certificate"),
        "expired": (
            "its certificate has expired: renew it with bin/admin certs",
            "it says this certificate has expired: renew it, or compare clocks",
        ),
        "too early": (
            "its certificate is not valid yet: compare the clocks of both machines",
            "it says that this certificate is damaged or of a wrong kind",
        ),
        "a server's only": (
            "its certificate is not made for this end of a connection",
            "this certificate is not made for this end of a connection",
        ),
    }


def test_plain_bytes_are_no_tls(pair: Pair, server: Credentials) -> None:
    pair[1].sendall(b"\x00\x00\x00\x05hello")
    with pytest.raises(NotTls):
        accepted(pair[0], server)


def test_who_has_said_nothing_yet_is_known_without_reading(pair: Pair, server: Credentials) -> None:
    tls = TlsSocket(pair[0], server_context(server), server_side=True)
    assert tls.is_silent
    pair[1].sendall(b"\x16")
    assert not tls.is_silent
    assert pair[0].recv(10) == b"\x16"


def test_silence_and_drops_end_a_handshake_in_time(pair: Pair, server: Credentials) -> None:
    tls = TlsSocket(pair[0], server_context(server), server_side=True)
    stop = threading.Event()

    def drip() -> None:
        for byte in b"\x16\x03\x01\x7f\xff" + b"\x00" * 10_000:
            if stop.wait(0.02):
                return
            pair[1].sendall(bytes([byte]))

    with ThreadPoolExecutor() as pool:
        dripping = pool.submit(drip)
        with pytest.raises(HandshakeEnded, match="in time"):
            tls.handshake(time.monotonic() + 0.3)
        stop.set()
        dripping.result(WITHIN_S)


def test_what_follows_the_handshake_at_once_is_not_read_with_it(
    pair: Pair, server: Credentials, teller: Credentials
) -> None:
    """Else it would wait in memory, where `select` does not see it."""
    with ThreadPoolExecutor() as pool:
        accepting = pool.submit(accepted, pair[0], server)
        client_end = connect_tls(pair[1], teller.for_dialling(), "n1", time.monotonic() + WITHIN_S)
        client_end.sendall(b"first")
        server_end = accepting.result(WITHIN_S)
    assert server_end._incoming.pending == 0
    assert server_end.recv(100) == b"first"


@pytest.mark.parametrize("piece_bytes", [1, 3, 100, 5_000, 1_000_000])
def test_all_that_has_arrived_is_decrypted_however_it_is_cut(
    pair: Pair, server: Credentials, teller: Credentials, piece_bytes: int
) -> None:
    server_end, client_end = connected(pair, server, teller)
    chance = random.Random(piece_bytes)
    messages = [chance.randbytes(chance.choice([1, 5, 200, 16_384, 40_000])) for _ in range(8)]
    if piece_bytes < 100:
        messages = [message[:50] for message in messages]
    sent = b"".join(client_end.encrypt(message) for message in messages)
    received = b"".join(
        server_end.decrypt(sent[at : at + piece_bytes]) for at in range(0, len(sent), piece_bytes)
    )
    assert received == b"".join(messages)


def test_two_threads_send_and_one_receives(pair: Pair, server: Credentials, teller: Credentials) -> None:
    """Two threads on one SSLSocket break it; here each direction may be busy at once."""
    server_end, client_end = connected(pair, server, teller)
    count, size = 300, 1_000

    def send(end: TlsSocket) -> None:
        for number in range(count):
            end.sendall(bytes([number % 256]) * size)

    def receive(end: TlsSocket) -> bytes:
        received = bytearray()
        while len(received) < count * size:
            piece = end.recv(10_000)
            assert piece
            received += piece
        return bytes(received)

    with ThreadPoolExecutor() as pool:
        jobs = [pool.submit(send, end) for end in (server_end, client_end)]
        received = [pool.submit(receive, end) for end in (server_end, client_end)]
        for job in jobs:
            job.result(WITHIN_S)
        expected = b"".join(bytes([number % 256]) * size for number in range(count))
        assert [each.result(WITHIN_S) for each in received] == [expected, expected]


def test_after_the_end_nothing_follows(pair: Pair, server: Credentials, teller: Credentials) -> None:
    server_end, client_end = connected(pair, server, teller)
    with pytest.raises(ssl.SSLWantReadError):
        client_end._object.unwrap()  # says that nothing follows
    closing = client_end._outgoing.read()
    assert server_end.decrypt(closing) == b""
    assert server_end.ended
    assert server_end.recv(10) == b""


def test_a_forged_record_ends_the_connection(pair: Pair, server: Credentials, teller: Credentials) -> None:
    server_end, client_end = connected(pair, server, teller)
    record = bytearray(client_end.encrypt(b"credit 5"))
    record[-1] ^= 1
    with pytest.raises(TlsFailed):
        server_end.decrypt(bytes(record))
