"""One teller's connection: its requests on their way to the node, and the answers on their way back."""

from __future__ import annotations

import socket
from collections.abc import Callable
from functools import partial
from queue import SimpleQueue
from typing import Protocol

from msgspec import DecodeError, Struct
from msgspec.msgpack import Decoder

from atm.ledger.commands import LOCAL
from atm.server.group.inbox import Inbox, Inputs, PendingRequest
from atm.server.net.connection import Connection, StalledFrame
from atm.server.net.framed_connection import FramedConnection
from atm.server.security.pins import has_pin
from atm.wire.client_messages import ClientRequest, ErrorReply, Verify, decode_client_request
from atm.wire.codec import Malformed, encode
from atm.wire.framing import CLIENT_FRAME_BYTES_MAX, FrameTooLarge, frame

IN_FLIGHT_MAX = 1_024  # answers that one connection waits for, in slots: a page of postings takes several
JOBS_MAX = 1_024  # audits that wait for the connection's own thread; all else there has slots
OUTBOX_BYTES_MAX = 1024 * 1024
SLOT_BYTES = 1024  # hold any receipt
BUSY = "too much is under way: ask again later"

assert IN_FLIGHT_MAX * SLOT_BYTES <= OUTBOX_BYTES_MAX, "the answers to all under way fit the outbox"


class _Named(Struct):
    """Of a request that is none, the id, if that much can be told."""

    id: str


_named: Decoder[_Named] = Decoder(_Named)


class ConnectionOwner(Protocol):
    """What a connection needs of the server that it belongs to."""

    blocked: set[Connection]
    touched: list[ClientConnection]  # with gathered answers
    partial_frame_s: float
    inbox: Inbox

    def seal(self, pending: PendingRequest) -> PendingRequest:
        """Return a request with its PINs sealed, which takes long."""

    def audit(self, connection: ClientConnection, request: Verify) -> None:
        """Answer when the audit is done, which takes very long."""


class ClientConnection(FramedConnection):
    """One teller: the `ReplyChannel` of its requests, read by the reader.

    Its own thread does what may take long, in the order in which it came; all else is done by the reader.
    """

    def __init__(self, sock: socket.socket, tellers: ConnectionOwner) -> None:
        super().__init__(
            sock,
            OUTBOX_BYTES_MAX,
            tellers.blocked,
            frame_bytes_max=CLIENT_FRAME_BYTES_MAX,
            partial_frame_s=tellers.partial_frame_s,
        )
        self._tellers = tellers
        self._inbox = tellers.inbox
        self._gathered: list[bytes] = []
        self._taken = 0  # slots; counted by the reader only
        self._answered = 0  # counted within turns only
        self._jobs: SimpleQueue[Callable[[], None] | None] = SimpleQueue()  # for its own thread; at last None
        self._given = 0  # jobs; counted by the reader only
        self._done = 0  # jobs; counted by its own thread only

    def reply(self, number: int, payload: bytes) -> None:
        """Take an answer; it leaves with all others of the turn at `Tellers.flush`. Within a turn only.

        `number` is how many slots its request had taken.
        """
        if not self._gathered:
            self._tellers.touched.append(self)
        self._gathered.append(frame(payload))
        self._answered += number

    def flush(self) -> None:
        """Send what was gathered. Within a turn only."""
        data = b"".join(self._gathered)
        self._gathered.clear()
        self.send(data)

    # -- its own thread ------------------------------------------------------------------------------

    def work(self) -> None:
        """Do what takes long until the connection has ended; a job that fails ends it.

        Returns, or raises, once the reader is through with the socket: closed while it is registered, the
        next connection under its number could not be read.
        """
        try:
            while (job := self._jobs.get()) is not None:
                job()
                self._done += 1
        except BaseException:
            self.drop()
            while self._jobs.get() is not None:
                pass
            raise

    def _seal_and_put(self, pending: PendingRequest) -> None:
        self._put(self._tellers.seal(pending))

    def _put(self, pending: PendingRequest) -> None:
        inputs = Inputs()
        inputs.add(pending)
        self._inbox.put(inputs)

    def _reject(self, request_id: str, message: str) -> None:
        """Say why, and end the connection so that the words arrive."""
        self.send(frame(fault(request_id, "bad_request", message)))
        self.linger()

    # -- the reader's thread -------------------------------------------------------------------------

    def on_error(self, error: Exception, payload: bytes) -> None:
        """Tell the teller why, after all that it asked before."""
        if isinstance(error, Malformed):
            self._give(partial(self._reject, _id_of(payload), f"not a request: {error}"))
        elif isinstance(error, FrameTooLarge | StalledFrame):
            self._give(partial(self._reject, "", str(error)))
        else:
            self._give(partial(_fail, error))

    def on_end(self) -> None:
        """Nothing more is read."""
        self._jobs.put(None)

    def on_frame(self, payload: bytes) -> None:
        """Take a request."""
        request = decode_client_request(payload)
        if isinstance(request, Verify):
            if self._given - self._done < JOBS_MAX:
                self._give(partial(self._tellers.audit, self, request))
            else:
                self.send(frame(fault(request.id, "busy", BUSY)))
            return
        number = slots(request)
        if number > IN_FLIGHT_MAX - (self._taken - self._answered) or self._inbox.full:
            self.send(frame(fault(request.id, "busy", BUSY)))
            return
        self._taken += number
        if has_pin(request):
            self._give(partial(self._seal_and_put, PendingRequest(self, number, request, payload, LOCAL)))
        elif self._given != self._done:  # what came before is not through yet
            self._give(partial(self._put, PendingRequest(self, number, request, payload, LOCAL)))
        else:
            self._inbox.gathered.add(PendingRequest(self, number, request, payload, LOCAL))

    def _give(self, job: Callable[[], None]) -> None:
        self._inbox.put_gathered()  # or the job might overtake what came before it
        self._given += 1
        self._jobs.put(job)


def slots(request: ClientRequest) -> int:
    """Return how many slots of a connection the answer may fill."""
    return -(-request.answer_bytes_max // SLOT_BYTES)  # rounded up


def fault(request_id: str, outcome: str, message: str) -> bytes:
    """Return the frame's payload that says so."""
    return encode(ErrorReply(id=request_id, outcome=outcome, message=message))


def _fail(error: Exception) -> None:
    raise error


def _id_of(payload: bytes) -> str:
    try:
        return _named.decode(payload).id[:64]
    except (DecodeError, UnicodeDecodeError, RecursionError):
        return ""
