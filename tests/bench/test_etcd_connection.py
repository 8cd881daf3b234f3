"""The few HTTP/2 frames that are spoken with etcd, against a server of frames made here."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import closing

import pytest

from atm.config import Address
from bench.work import Kind

hpack = pytest.importorskip("hpack", reason="etcd's client needs the extra 'bench'")

from bench.systems.etcd_connection import (  # noqa: E402  (after the skip)
    ACK,
    DATA,
    END_HEADERS,
    END_STREAM,
    GOAWAY,
    HEADERS,
    PING,
    PREFACE,
    RST_STREAM,
    SETTINGS,
    EtcdConnection,
    frame,
)


class Server:
    """The other side of one connection."""

    def __init__(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            self.connection = EtcdConnection(Address(*listener.getsockname()))
            self.socket, _ = listener.accept()
        self.socket.settimeout(5)
        hello = self.read(len(PREFACE))
        assert hello == PREFACE
        self.frames()  # its settings
        self.frames()  # its window

    def read(self, count: int) -> bytes:
        return self.socket.recv(count, socket.MSG_WAITALL)

    def frames(self) -> tuple[int, int, int, bytes]:
        head = self.read(9)
        payload = self.read(int.from_bytes(head[:3], "big"))
        return head[3], head[4], int.from_bytes(head[5:], "big"), payload


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server()
    with closing(server.socket), closing(server.connection):
        yield server


def answer(stream: int, status: str = "0") -> bytes:
    def block(*fields: tuple[str, str]) -> bytes:
        encoder = hpack.Encoder()
        encoder.header_table_size = 0
        return bytes(encoder.encode(list(fields)))

    trailers = block(("grpc-status", status), ("grpc-message", "no"))
    return (
        frame(HEADERS, END_HEADERS, stream, block((":status", "200")))
        + frame(DATA, 0, stream, bytes(5))
        + frame(HEADERS, END_HEADERS | END_STREAM, stream, trailers)
    )


def test_a_request_is_headers_and_a_message_on_a_stream_of_its_own(server: Server) -> None:
    server.connection.send([(Kind.CREDIT, "main"), (Kind.QUERY, "customer-7")])
    for stream, path, message in (
        (1, "/etcdserverpb.KV/Put", b"\x0a\x04main\x12\x08"),
        (3, "/etcdserverpb.KV/Range", b"\x0a\x0acustomer-7"),
    ):
        kind, flags, of, payload = server.frames()
        assert (kind, flags, of) == (HEADERS, END_HEADERS, stream)
        assert (":path", path) in hpack.Decoder().decode(payload)
        kind, flags, of, payload = server.frames()
        assert (kind, flags, of) == (DATA, END_STREAM, stream)
        assert payload[5:].startswith(message)
        assert payload[0] == 0
        assert int.from_bytes(payload[1:5], "big") == len(payload) - 5


@pytest.mark.parametrize("cut", range(1, len(answer(1))))
def test_answers_count_when_they_are_whole_wherever_they_are_cut(server: Server, cut: int) -> None:
    both = answer(3) + answer(1)
    server.socket.sendall(both[:cut])
    numbers = list(server.connection.receive())
    server.socket.sendall(both[cut:])
    while len(numbers) < 2:
        numbers += server.connection.receive()
    assert numbers == [1, 0]
    assert not server.connection.refused


def test_a_status_other_than_0_is_a_refusal(server: Server) -> None:
    server.socket.sendall(answer(1, status="14") + answer(3))
    assert server.connection.receive() == [1]
    assert server.connection.refused == ["gRPC status 14: no"]


def test_pings_and_settings_are_answered(server: Server) -> None:
    server.socket.sendall(frame(SETTINGS, 0, 0, b"") + frame(PING, 0, 0, b"12345678"))
    assert server.connection.receive() == []
    assert server.frames() == (SETTINGS, ACK, 0, b"")
    assert server.frames() == (PING, ACK, 0, b"12345678")
    server.socket.sendall(frame(PING, ACK, 0, b"12345678") + answer(1))  # and their answers are not
    assert server.connection.receive() == [0]
    server.socket.setblocking(False)
    with pytest.raises(BlockingIOError):
        server.read(1)


def test_a_reset_stream_is_a_refusal_and_a_farewell_is_the_end(server: Server) -> None:
    server.socket.sendall(frame(RST_STREAM, 0, 1, bytes(4)))
    assert server.connection.receive() == []
    assert server.connection.refused == ["etcd reset the stream"]
    server.socket.sendall(frame(GOAWAY, 0, 0, bytes(8)))
    with pytest.raises(ConnectionError, match="going away"):
        server.connection.receive()
