"""A connection to etcd's own API, gRPC over HTTP/2, as the load program wants it.

General clients were measured first (see docs/decisions.md): beside them etcd answers a fifth to a half
fewer, for they take from it the processor that they need. Its JSON gateway is cheap to ask, but makes etcd
itself work more. So the few frames that two fixed kinds of request need are made here.

Requests differ in stream id and message only. The server is asked to keep no table of headers, so that each
block of headers stands for itself, and one that was understood once need not be decoded again.
"""

from __future__ import annotations

import socket
from collections.abc import Iterable, Iterator
from functools import cache

from hpack import Decoder, Encoder, NeverIndexedHeaderTuple

from atm.config import Address
from bench.work import Kind, Request

CONNECT_S = 5.0
RECEIVE_BYTES = 256 * 1024
VALUE = (10**14).to_bytes(8, "big")  # a balance

# RFC 9113, section 6
ID_AT, HEAD_BYTES = 5, 9  # of a frame: where its stream id stands, and where its payload
DATA, HEADERS, RST_STREAM, SETTINGS, PING, GOAWAY, WINDOW_UPDATE = 0, 1, 3, 4, 6, 7, 8
END_STREAM, ACK, END_HEADERS = 1, 1, 4
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
NO_HEADER_TABLE = bytes([0, 1, 0, 0, 0, 0])  # SETTINGS_HEADER_TABLE_SIZE = 0
WINDOW = (2**31 - 1 - 65_535).to_bytes(4, "big")  # enough flow-control credit for all answers

METHOD = {
    Kind.OPEN: "Put",
    Kind.CREDIT: "Put",
    Kind.QUERY: "Range",
}  # a Range is linearizable unless told otherwise


def frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    """Return an HTTP/2 frame."""
    return len(payload).to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big") + payload


class EtcdConnection:
    """A `Connection` to one member."""

    retried = 0

    def __init__(self, address: Address) -> None:
        self.refused: list[str] = []
        self._socket = socket.create_connection(address.pair, timeout=CONNECT_S)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._socket.sendall(
            PREFACE + frame(SETTINGS, 0, 0, NO_HEADER_TABLE) + frame(WINDOW_UPDATE, 0, 0, WINDOW)
        )
        self._next_stream = 1
        self._unread = b""

    def fileno(self) -> int:
        return self._socket.fileno()

    def send(self, requests: Iterable[Request]) -> None:
        pieces: list[bytes] = []
        for kind, account in requests:
            stream = self._next_stream.to_bytes(4, "big")
            before, between, after = _pieces(kind, account)
            pieces += (before, stream, between, stream, after)
            self._next_stream += 2
        self._socket.sendall(b"".join(pieces))

    def receive(self) -> list[int]:
        piece = self._socket.recv(RECEIVE_BYTES)
        if not piece:
            raise ConnectionError("etcd closed the connection")
        numbers = []
        for kind, flags, stream, payload in self._frames(piece):
            if kind == HEADERS and flags & END_STREAM:
                assert flags & END_HEADERS, "trailers are short"
                if not (why := _refusal(payload)):
                    numbers.append(stream >> 1)
                else:
                    self.refused.append(why)
            elif kind == RST_STREAM:
                self.refused.append("etcd reset the stream")
            elif kind == GOAWAY:
                raise ConnectionError("etcd is going away")
            elif kind in (SETTINGS, PING) and not flags & ACK:
                self._socket.sendall(frame(kind, ACK, 0, payload if kind == PING else b""))
        return numbers

    def close(self) -> None:
        self._socket.close()

    def _frames(self, piece: bytes) -> Iterator[tuple[int, int, int, bytes]]:
        """Yield kind, flags, stream and payload of each frame that is whole now."""
        data = self._unread + piece if self._unread else piece
        start, end = 0, len(data)
        while end - start >= HEAD_BYTES:
            body = start + HEAD_BYTES
            after = body + int.from_bytes(data[start : start + 3], "big")
            if after > end:
                break
            yield (
                data[start + 3],
                data[start + 4],
                int.from_bytes(data[start + ID_AT : body], "big"),
                data[body:after],
            )
            start = after
        self._unread = data[start:]


@cache
def _pieces(kind: Kind, account: str) -> tuple[bytes, bytes, bytes]:
    """Return the two frames of such a request: what stands before, between and after their stream ids."""
    key = account.encode()
    message = (
        b"\x0a" + bytes([len(key)]) + key
    )  # protobuf: field 1, the key; and for a put field 2, the value
    if METHOD[kind] == "Put":
        message += b"\x12" + bytes([len(VALUE)]) + VALUE
    headers = frame(HEADERS, END_HEADERS, 0, _headers(METHOD[kind]))
    data = frame(DATA, END_STREAM, 0, b"\x00" + len(message).to_bytes(4, "big") + message)
    return headers[:ID_AT], headers[HEAD_BYTES:] + data[:ID_AT], data[HEAD_BYTES:]


@cache
def _headers(method: str) -> bytes:
    fields = [
        (":method", "POST"),
        (":scheme", "http"),
        (":path", f"/etcdserverpb.KV/{method}"),
        (":authority", "etcd"),
        ("content-type", "application/grpc"),
        ("te", "trailers"),
    ]
    block: bytes = Encoder().encode([NeverIndexedHeaderTuple(*field) for field in fields])
    return block


@cache
def _refusal(trailers: bytes) -> str:
    """Return what gRPC's trailers say, or nothing if they say that all is well."""
    fields = dict(Decoder().decode(trailers, raw=True))
    status = fields.get(b"grpc-status", b"missing").decode()
    return "" if status == "0" else f"gRPC status {status}: {fields.get(b'grpc-message', b'').decode()}"
