"""A connection never blocks who writes, and never waits for ever for the rest of a frame."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest

from atm.server.net.connection import Connection, Incoming, StalledFrame
from atm.wire.framing import FrameTooLarge, frame
from tests.support.server_parts import DEADLINE_S

Pair = tuple[socket.socket, socket.socket]


@pytest.fixture
def pair() -> Iterator[Pair]:
    ours, theirs = socket.socketpair()
    ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 8192)
    theirs.settimeout(DEADLINE_S)
    with ours, theirs:
        yield ours, theirs


def receive(sock: socket.socket, length: int) -> bytes:
    received = bytearray()
    while len(received) < length:
        piece = sock.recv(length - len(received))
        assert piece, "the stream ended early"
        received += piece
    return bytes(received)


def test_what_does_not_fit_waits_and_arrives_in_order(pair: Pair) -> None:
    ours, theirs = pair
    blocked: set[Connection] = set()
    connection = Connection(ours, 1_000_000, blocked)
    pieces = [bytes([number]) * 10_000 for number in range(50)]
    for piece in pieces:
        connection.send(piece)
    assert blocked == {connection}
    received = bytearray()
    while blocked:
        received += theirs.recv(4096)
        connection.retry()
    received += receive(theirs, 500_000 - len(received))
    assert bytes(received) == b"".join(pieces)


def test_an_outbox_over_its_limit_ends_the_connection(pair: Pair) -> None:
    ours, theirs = pair
    blocked: set[Connection] = set()
    connection = Connection(ours, 100_000, blocked)
    for _ in range(100):
        connection.send(b"x" * 10_000)
    assert not connection.open
    assert connection.given_up
    assert not blocked
    while theirs.recv(65536):
        pass  # until the end of the stream, which is what this waits for


def test_a_peer_that_takes_nothing_for_too_long_is_dropped(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("atm.server.net.connection.STALLED_OUTBOX_S", 0.0)
    connection = Connection(pair[0], 1_000_000, set())
    connection.send(b"x" * 500_000)
    assert connection.open
    connection.retry()
    connection.retry()
    assert not connection.open
    assert connection.given_up


def test_a_drop_wakes_the_reading_thread_and_sends_go_nowhere(pair: Pair) -> None:
    connection = Connection(pair[0], 1000, set())
    connection.drop()
    assert Incoming(pair[0], 100).read() is None
    connection.send(b"lost")
    connection.close()
    connection.send(b"lost")


def test_frames_before_one_that_is_too_large_are_returned(pair: Pair) -> None:
    ours, theirs = pair
    incoming = Incoming(ours, 100)
    theirs.sendall(frame(b"good") + (4 * 1024**3 - 1).to_bytes(4, "big"))
    assert incoming.read() == [b"good"]
    with pytest.raises(FrameTooLarge):
        incoming.read()


def test_half_a_frame_and_silence_is_given_up(pair: Pair) -> None:
    ours, theirs = pair
    incoming = Incoming(ours, 100, partial_frame_s=0.05)
    theirs.sendall(frame(b"good")[:5])
    assert incoming.read() == []
    with pytest.raises(StalledFrame):
        incoming.read()


def test_the_deadline_counts_from_the_first_byte_of_a_frame(pair: Pair) -> None:
    ours, theirs = pair
    now_s = [0.0]
    incoming = Incoming(ours, 100, partial_frame_s=10.0, clock=lambda: now_s[0])
    dripping = frame(b"slowly")
    for byte in dripping[:5]:
        theirs.sendall(bytes([byte]))
        assert incoming.read() == []
        now_s[0] += 2.4
    theirs.sendall(dripping[5:6])
    with pytest.raises(StalledFrame):
        incoming.read()


def test_a_frame_that_ends_stops_the_clock(pair: Pair) -> None:
    ours, theirs = pair
    now_s = [0.0]
    incoming = Incoming(ours, 100, partial_frame_s=10.0, clock=lambda: now_s[0])
    theirs.sendall(frame(b"one")[:5])
    assert incoming.read() == []
    now_s[0] = 9.0
    theirs.sendall(frame(b"one")[5:] + frame(b"two")[:5])
    assert incoming.read() == [b"one"]
    now_s[0] = 18.0
    theirs.sendall(frame(b"two")[5:])
    assert incoming.read() == [b"two"]
    now_s[0] = 1000.0
    theirs.sendall(frame(b"three"))
    assert incoming.read() == [b"three"]
