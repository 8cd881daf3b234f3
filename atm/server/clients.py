"""Tellers' connections: a thread each that reads requests, and answers written by the run loop."""

from __future__ import annotations

import contextlib
import math
import socket
import socketserver
import time
from bisect import bisect_right
from collections.abc import Callable, Sequence
from itertools import accumulate
from threading import Lock

from msgspec import DecodeError, Struct
from msgspec.msgpack import Decoder

from atm.config import Address
from atm.ledger.commands import Exceptions, Lookup, Statement
from atm.server.auditor import Auditor
from atm.server.connection import (
    PARTIAL_FRAME_S,
    Connection,
    Incoming,
    StalledFrame,
    tune,
)
from atm.server.inbox import Asked, Inbox
from atm.server.listener import Listener
from atm.server.pins import PinSealer
from atm.wire.framing import CLIENT_FRAME_BYTES_MAX, FrameTooLarge, frame
from atm.wire.serializer import Fault, Malformed, TellerRequest, Verify, decode_teller_request, encode

CONNECTIONS_MAX = 2_000
IN_FLIGHT_MAX = 1_024  # answers that one connection waits for, in slots: a page of postings takes several
OUTBOX_BYTES_MAX = 1024 * 1024
SLOT_BYTES = 1024  # hold any receipt
LINE_BYTES_MAX = 384  # of a page
LOOKUP_SLOTS = 12  # for the longest batch, with the longest names

assert IN_FLIGHT_MAX * SLOT_BYTES <= OUTBOX_BYTES_MAX, "the answers to all under way fit the outbox"


class _Named(Struct):
    """Of a request that is none, the id, if that much can be told."""

    id: str


_named: Decoder[_Named] = Decoder(_Named)


class TellerConnection(Connection):
    """One teller; the `Channel` of its requests."""

    def __init__(
        self, sock: socket.socket, blocked: set[Connection], touched: list[TellerConnection]
    ) -> None:
        super().__init__(sock, OUTBOX_BYTES_MAX, blocked)
        self._touched = touched
        self._gathered: list[bytes] = []
        self._taken = 0  # counted by the reading thread only
        self._answered = 0  # counted by the run loop only

    def room(self) -> int:
        """How many more slots may be under way."""
        return IN_FLIGHT_MAX - (self._taken - self._answered)

    def took(self, slots: int) -> None:
        """Count the slots of requests that will be answered by `answer`."""
        self._taken += slots

    def answer(self, number: int, payload: bytes) -> None:
        """Take an answer; it leaves with all others of the turn at `Tellers.flush`. Run loop only.

        `number` is how many slots its request had taken.
        """
        if not self._gathered:
            self._touched.append(self)
        self._gathered.append(frame(payload))
        self._answered += number

    def flush(self) -> None:
        """Send what was gathered. Run loop only."""
        data = b"".join(self._gathered)
        self._gathered.clear()
        self.send(data)

    def fault(self, fault: Fault) -> None:
        """Send a fault that the reading thread found by itself."""
        self.send(frame(encode(fault)))


class Tellers:
    """The server for tellers."""

    def __init__(
        self,
        address: Address,
        inbox: Inbox,
        sealer: PinSealer,
        auditor: Auditor,
        *,
        report: Callable[[str], None],
        verbose: bool = False,
        connections_max: int = CONNECTIONS_MAX,
        partial_frame_s: float = PARTIAL_FRAME_S,
    ) -> None:
        self._inbox = inbox
        self._sealer = sealer
        self._auditor = auditor
        self._partial_frame_s = partial_frame_s
        self._touched: list[TellerConnection] = []
        self._blocked: set[Connection] = set()
        self._lock = Lock()  # guards _connections
        self._connections: set[TellerConnection] = set()
        tellers = self

        class Handler(socketserver.BaseRequestHandler):
            def handle(self) -> None:
                tellers._serve(self.request)

        self._listener = _TellerListener(
            address, Handler, connections_max=connections_max, report=report, verbose=verbose
        )

    @property
    def port(self) -> int:
        """The port that tellers connect to."""
        return self._listener.port

    def start(self) -> None:
        """Accept tellers from now on."""
        self._listener.start()

    def flush(self) -> None:
        """Send every connection's answers of this turn, joined. Run loop only."""
        for connection in self._touched:
            connection.flush()
        self._touched.clear()

    def retry(self) -> None:
        """Send more to those who did not take all. Run loop only."""
        for connection in list(self._blocked):
            connection.retry()

    def close(self, grace_s: float = 0.5) -> None:
        """Stop accepting, give waiting answers a moment, and drop every connection."""
        self._listener.stop()
        deadline_s = time.monotonic() + grace_s
        while self._blocked and time.monotonic() < deadline_s:
            self.retry()
            time.sleep(0.01)
        with self._lock:
            connections = list(self._connections)
        for connection in connections:
            connection.drop()

    # -- a connection's own thread --------------------------------------------------------------------

    def _serve(self, sock: socket.socket) -> None:
        tune(sock)
        connection = TellerConnection(sock, self._blocked, self._touched)
        with self._lock:
            self._connections.add(connection)
        try:
            self._read(connection, sock)
        except FrameTooLarge as error:
            _reject(connection, "", str(error))
        except StalledFrame as error:
            _reject(connection, "", str(error))
        finally:
            with self._lock:
                self._connections.discard(connection)
            connection.close()

    def _read(self, connection: TellerConnection, sock: socket.socket) -> None:
        incoming = Incoming(sock, CLIENT_FRAME_BYTES_MAX, partial_frame_s=self._partial_frame_s)
        while (payloads := incoming.read()) is not None:
            requests: list[Asked] = []
            for payload in payloads:
                try:
                    request = decode_teller_request(payload)
                    if isinstance(request, Verify):
                        self._put(connection, requests)  # they need not wait for the audit
                        requests = []
                        connection.send(frame(encode(self._auditor.answer(request))))
                    else:
                        requests.append(self._asked(connection, request, payload))
                except Malformed as error:
                    self._put(connection, requests)
                    _reject(connection, _id_of(payload), f"not a request: {error}")
                    return
            if requests:
                self._put(connection, requests)

    def _asked(self, connection: TellerConnection, request: TellerRequest, payload: bytes) -> Asked:
        sealed = self._sealer.seal(request)
        return Asked(connection, slots(request), sealed, payload if sealed is request else encode(sealed))

    def _put(self, connection: TellerConnection, requests: Sequence[Asked]) -> None:
        room = connection.room()
        filled = list(accumulate(asked.number for asked in requests))
        fitting = bisect_right(filled, room)
        taken, refused = requests[:fitting], requests[fitting:]
        taken_slots = filled[fitting - 1] if fitting else 0
        connection.took(taken_slots)
        if not self._inbox.put_requests(taken):
            connection.took(-taken_slots)
            refused = requests
        for asked in refused:
            connection.fault(
                Fault(id=asked.request.id, outcome="busy", message="too much is under way: ask again later")
            )


class _TellerListener(Listener):
    def refuse(self, sock: socket.socket) -> None:
        busy = Fault(id="", outcome="busy", message="too many connections: try another node")
        with contextlib.suppress(OSError):
            sock.send(frame(encode(busy)), socket.MSG_DONTWAIT)


def slots(request: TellerRequest) -> int:
    """Return how many slots of a connection the answer may fill."""
    match request:
        case Statement() | Exceptions():
            return 1 + math.ceil(request.limit * LINE_BYTES_MAX / SLOT_BYTES)
        case Lookup():
            return LOOKUP_SLOTS
        case _:
            return 1


def _reject(connection: TellerConnection, request_id: str, message: str) -> None:
    """Say why, and end the connection so that the words arrive."""
    connection.fault(Fault(id=request_id, outcome="bad_request", message=message))
    connection.linger()


def _id_of(payload: bytes) -> str:
    try:
        return _named.decode(payload).id[:64]
    except (DecodeError, UnicodeDecodeError, RecursionError):
        return ""
