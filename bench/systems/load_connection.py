"""A teller's connection, as the load program wants it: with as little work a request as possible."""

from __future__ import annotations

import secrets
import socket
import time
from collections.abc import Callable, Iterable
from functools import cache

import msgspec
from msgspec.msgpack import Decoder

from atm.config import Address
from atm.ledger.commands import Batch, Credit, Leg, Open, Query, Transfer
from atm.wire.codec import encode
from atm.wire.framing import CLIENT_FRAME_BYTES_MAX, FrameReader, frame
from bench.work import FUNDS_MINOR, Kind, Request, transfers_of

TIME_CHARS, NAME_CHARS, NUMBER_CHARS = 11, 8, 8  # of a request id: time first, as in those of our client
PLACE = "x" * (TIME_CHARS + NAME_CHARS + NUMBER_CHARS)
CONNECT_S = 5.0

Template = Callable[[Kind, str], tuple[bytes, bytes]]


class Reply(msgspec.Struct):
    """As much of an answer as is looked at."""

    id: str
    outcome: str
    message: str = ""


_reply = Decoder(Reply)


def split_at_id(payload: bytes) -> tuple[bytes, bytes]:
    """Return the frame of a request whose id is `PLACE`, up to its id, and from there on."""
    before, after = frame(payload).split(PLACE.encode())
    return before, after


@cache
def around_the_id(kind: Kind, account: str) -> tuple[bytes, bytes]:
    """Return the frame of such a request up to its id, and from there on."""
    match kind:
        case Kind.OPEN:
            payload = encode(Open(id=PLACE, account=account))
        case Kind.CREDIT:
            payload = encode(Credit(id=PLACE, account=account, amount=1))
        case Kind.FUND:
            payload = encode(Credit(id=PLACE, account=account, amount=FUNDS_MINOR))
        case Kind.TRANSFER:
            [(payer, payee)] = transfers_of(kind, account)
            payload = encode(Transfer(id=PLACE, account=payer, target=payee, amount=1))
        case Kind.BULK:
            pairs = transfers_of(kind, account)
            legs = tuple(Leg(account=payer, target=payee, amount=1) for payer, payee in pairs)
            payload = encode(Batch(id=PLACE, legs=legs))
        case Kind.QUERY:
            payload = encode(Query(id=PLACE, account=account))
    return split_at_id(payload)


class LoadConnection:
    """A `Connection` to one node, or to whatever else speaks the tellers' protocol.

    `template` returns what stands around the id in the frame of such a request.
    """

    retried = 0

    def __init__(self, address: Address, template: Template = around_the_id) -> None:
        self.refused: list[str] = []
        self._socket = socket.create_connection(address.pair, timeout=CONNECT_S)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._name = secrets.token_hex(NAME_CHARS // 2)
        self._template = template
        self._sent = 0
        self._frames = FrameReader(CLIENT_FRAME_BYTES_MAX)

    def fileno(self) -> int:
        return self._socket.fileno()

    def send(self, requests: Iterable[Request]) -> None:
        pieces: list[bytes] = []
        time_and_name = f"{time.time_ns() // 1_000_000:0{TIME_CHARS}x}{self._name}"
        for kind, account in requests:
            before, after = self._template(kind, account)
            pieces += (before, f"{time_and_name}{self._sent:0{NUMBER_CHARS}}".encode(), after)
            self._sent += 1
        self._send(b"".join(pieces))

    def receive(self) -> list[int]:
        piece = self._receive()
        if not piece:
            raise ConnectionError("the server closed the connection")
        numbers = []
        for payload in self._frames.feed(piece):
            reply = _reply.decode(payload)
            if reply.outcome == "ok":
                numbers.append(int(reply.id[-NUMBER_CHARS:]))
            else:
                self.refused.append(f"{reply.outcome}: {reply.message}")
        return numbers

    def close(self) -> None:
        self._socket.close()

    def _send(self, data: bytes) -> None:
        self._socket.sendall(data)

    def _receive(self) -> bytes:
        return self._socket.recv(CLIENT_FRAME_BYTES_MAX)
