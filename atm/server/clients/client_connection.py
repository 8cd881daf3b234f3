"""The server's end of a client's connection: its requests into the inbox, the replies back."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Mapping
from functools import partial
from queue import SimpleQueue
from typing import Protocol

from msgspec import DecodeError, Struct
from msgspec.msgpack import Decoder
from msgspec.structs import replace

from atm.identity import LOCAL_IDENTITY, Identity
from atm.ledger.roles import RoleChange, effective
from atm.permissions import bits_of, roles_of
from atm.server.clients.rates import Rate
from atm.server.clients.refusal import refusal_of
from atm.server.clients.slots import SLOT_BYTES, SlotCount, slots
from atm.server.group.inbox import Inbox, Inputs, PendingRequest
from atm.server.metrics.counters import RefusedRequests
from atm.server.net.connection import Connection, StalledFrame
from atm.server.net.framed_connection import FramedConnection
from atm.server.security.pins import has_pin
from atm.tls.tls_socket import TlsSocket
from atm.wire.backup_messages import BackupRequest
from atm.wire.client_messages import (
    ClientRequest,
    ErrorReply,
    Events,
    TakeSnapshot,
    Verify,
)
from atm.wire.codec import Malformed, encode
from atm.wire.framing import CLIENT_FRAME_BYTES_MAX, FrameTooLarge, frame
from atm.wire.request_decoding import decode_client_request

IN_FLIGHT_MAX = 1_024  # replies that one connection may wait for, in slots: a page of postings takes several
# Audits, snapshots, events and pieces of backups for the connection's own thread; slots bound other jobs.
JOBS_MAX = 1_024
WAITING_BYTES_MAX = 128 * 1024  # of a connection's requests that wait behind a PIN or another job
OUTBOX_BYTES_MAX = 1024 * 1024
BUSY = "too many requests are under way: try again later"
TOO_MANY = "too many connections: try another node"
PLACE_WANTED = "too many connections, and this one was idle: connect again, or to another node"

assert IN_FLIGHT_MAX * SLOT_BYTES <= OUTBOX_BYTES_MAX, "the replies to all requests under way fit the outbox"


class _RequestId(Struct):
    """Best-effort id of an undecodable request."""

    id: str


_request_id: Decoder[_RequestId] = Decoder(_RequestId)


class NoPlace(Exception):
    """A connection has no place, or not any more; `str()` of it is for its client."""


class ConnectionOwner(Protocol):
    """What a connection needs of the server that it belongs to."""

    blocked: set[Connection]
    touched: list[ClientConnection]  # with gathered replies
    partial_frame_s: float
    inbox: Inbox
    slot_count: SlotCount
    refused: RefusedRequests

    def role_changes(self) -> Mapping[str, RoleChange]:
        """Return what the log says about roles, as far as this server's ledger has applied it."""

    def may_ask(self, connection: ClientConnection, request: ClientRequest) -> bool:
        """Return whether a connection may send this request, as its first, with the place that it has."""

    def seal(
        self, pending: PendingRequest, owner: str, wanted: Callable[[], bool]
    ) -> PendingRequest | ErrorReply | None:
        """Return a request with its PINs sealed, or its refusal; None once it is not `wanted`. Takes long.

        `owner` is the identity or address that asks.
        """

    def audit(self, connection: ClientConnection, request: Verify) -> None:
        """Audit, and reply; may take minutes."""

    def give_events(self, connection: ClientConnection, request: Events) -> None:
        """Decode what has happened, reply, and wait until that is sent."""

    def give_to_backup(
        self, connection: ClientConnection, request: BackupRequest, actor: str, roles: int
    ) -> None:
        """Read what a backup asks for, reply, and wait until that is sent. `roles`: of `PendingRequest`."""

    def take_snapshot(
        self, connection: ClientConnection, request: TakeSnapshot, actor: str, roles: int
    ) -> None:
        """Take a snapshot, and reply; may take minutes."""


class ClientConnection(FramedConnection):
    """The server's end of a client's connection, and the `ReplyChannel` of its requests; a `Source`.

    What takes long is a job of the connection's own thread, in order of arrival; the reader does the rest.
    """

    def __init__(self, stream: socket.socket | TlsSocket, owner: ConnectionOwner) -> None:
        super().__init__(
            stream,
            OUTBOX_BYTES_MAX,
            owner.blocked,
            frame_bytes_max=CLIENT_FRAME_BYTES_MAX,
            partial_frame_s=owner.partial_frame_s,
        )
        # Whose connection this is, as its certificate says.
        self.identity: Identity = LOCAL_IDENTITY if self.tls is None else self.tls.identity
        self.rate: Rate | None = None  # None: it may ask as often as it likes
        self.is_read = False  # it was given to the reader
        self._is_new = True  # it has sent no request
        self._asked = 0  # requests; counted by the reader only
        self._has_ended = False  # for the reader
        self._owner = owner
        self._inbox = owner.inbox
        self._gathered: list[bytes] = []
        self._slots_taken = 0  # slots; counted by the reader only
        self._slots_answered = 0  # counted only within an iteration
        self._jobs: SimpleQueue[Callable[[], None] | None] = SimpleQueue()  # for its own thread; None ends it
        self._jobs_given = 0  # jobs; counted by the reader only
        self._jobs_done = 0  # jobs; counted by its own thread only
        self._waiting_bytes_taken = 0  # of requests given to its own thread; counted by the reader only
        self._waiting_bytes_given = 0  # of those that it has put or dropped; counted by its own thread only
        self._ended_by_client = False

    @property
    def gone(self) -> bool:
        """Whether nobody reads what would be sent."""
        return self._ended_by_client or not self.open

    def reply(self, number: int, payload: bytes) -> None:
        """Gather a reply; it is sent by `ClientServer.flush`. Only within an iteration.

        `number` is how many slots its request had taken.
        """
        if not self._gathered:
            self._owner.touched.append(self)
        self._gathered.append(frame(payload))
        self._slots_answered += number

    def flush(self) -> None:
        """Send what was gathered. Only within an iteration."""
        self.send(b"".join(self._gathered))
        self._gathered.clear()

    # -- any thread ----------------------------------------------------------------------------------

    @property
    def slots_under_way(self) -> int:
        """How many slots its requests have taken and not given back."""
        return self._slots_taken - self._slots_answered

    def activity(self) -> int | None:
        """Return how many requests it has had; None while one is under way, or its reply is not sent."""
        if self.slots_under_way or self._gathered or self._jobs_given != self._jobs_done or self._outbox:
            return None
        return self._asked

    # -- its own thread ------------------------------------------------------------------------------

    def run_jobs(self) -> None:
        """Run the jobs until the connection has ended; a job that fails ends it.

        Returns, or raises, once the reader has unregistered the socket: if it were closed earlier, the next
        connection with the same file descriptor could not be read.
        """
        try:
            while (job := self._jobs.get()) is not None:
                job()
                job = None  # it may hold a PIN, and the next one may be hours away
                self._jobs_done += 1
        except BaseException:
            self.drop()
            while self._jobs.get() is not None:
                pass
            raise

    def _seal_and_put(self, pending: PendingRequest, size_bytes: int) -> None:
        owner = "" if self.place is None else self.place.owner
        sealed = self._owner.seal(pending, owner, lambda: not self.gone)
        if isinstance(sealed, ErrorReply):
            self._owner.refused.count(type(pending.request), sealed.outcome)
            inputs = Inputs()
            inputs.refused.append((self, pending.number, encode(sealed)))
            self._inbox.put(inputs)
            self._waiting_bytes_given += size_bytes
        else:
            self._put(sealed, size_bytes)

    def _put(self, pending: PendingRequest | None, size_bytes: int) -> None:
        """Put a request that has waited, unless the client has gone: it may still be refused then."""
        if pending is not None and not self.gone:
            inputs = Inputs()
            inputs.add_request(pending)
            self._inbox.put(inputs)
        self._waiting_bytes_given += size_bytes

    def turn_out(self, message: str, request_id: str = "") -> None:
        """Tell the client why the connection ends, and end it."""
        self.send(frame(error_payload(request_id, "busy", message)))
        self.drop()

    def _reject(self, request_id: str, message: str) -> None:
        """Send the error, and end the connection in such a way that the error arrives."""
        self.send(frame(error_payload(request_id, "bad_request", message)))
        self.linger()

    # -- the reader's thread -------------------------------------------------------------------------

    def receive(self, piece: bytes) -> bool:
        self._ended_by_client = self._ended_by_client or not piece
        return super().receive(piece)

    def on_error(self, error: Exception, payload: bytes) -> None:
        """Reply with the error and end the connection, after the jobs of earlier requests."""
        self._owner.refused.count(None, "busy" if isinstance(error, NoPlace) else "bad_request")
        if isinstance(error, Malformed):
            self._give_job(partial(self._reject, _id_of(payload), f"not a request: {error}"))
        elif isinstance(error, NoPlace):
            self._give_job(partial(self.turn_out, str(error), _id_of(payload)))
        elif isinstance(error, FrameTooLarge | StalledFrame):
            self._give_job(partial(self._reject, "", str(error)))
        else:
            self._give_job(partial(_fail, error))

    def on_end(self) -> None:
        """End the connection's own thread after its jobs."""
        self._has_ended = True
        self._jobs.put(None)

    def on_dismissed(self) -> bool:
        """End unless a request came since its place was given away: one that is not read is not done."""
        if self._has_ended:
            return False
        before = 0 if self.place is None else self.place.mark or 0
        if self.activity() is None or (self.place is not None and self._asked != before):
            if self.place is not None and not self.place.regain():
                self.drop()
            return False
        self.on_error(NoPlace(PLACE_WANTED), b"")
        return True

    def on_frame(self, payload: bytes) -> None:
        request = decode_client_request(payload)
        refusal = self._refusal(request)
        if refusal is not None:
            self._refuse_as_busy(request, refusal)
            return
        self._asked += 1
        if self.identity is LOCAL_IDENTITY and request.end_user is None:
            self._take(request, payload, self.identity.name, 0)
        else:
            self._judge(request, payload)

    def _judge(self, request: ClientRequest, payload: bytes) -> None:
        """Take the request if its sender may send it, and refuse it otherwise."""
        identity = self.identity
        bits = bits_of(identity.roles)
        certified = 0 if identity is LOCAL_IDENTITY else bits
        now = effective(identity.name, bits, self._owner.role_changes())
        roles = identity.roles if identity.is_node else roles_of(now)
        refusal = refusal_of(request, roles)
        if refusal is not None:
            self._owner.refused.count(type(request), "not_allowed")
            self.send(frame(refusal))
        elif request.end_user is None:
            self._take(request, payload, identity.name, certified)
        else:
            asked = replace(request, end_user=None)
            self._take(asked, encode(asked), f"{identity.name}/{request.end_user}", certified)

    def _take(self, request: ClientRequest, payload: bytes, actor: str, roles: int) -> None:
        if isinstance(request, Verify | Events | TakeSnapshot | BackupRequest):
            if self._jobs_given - self._jobs_done >= JOBS_MAX:
                self._refuse_as_busy(request, BUSY)
            elif isinstance(request, Verify):
                self._give_job(partial(self._owner.audit, self, request))
            elif isinstance(request, Events):
                self._give_job(partial(self._owner.give_events, self, request))
            elif isinstance(request, BackupRequest):
                self._give_job(partial(self._owner.give_to_backup, self, request, actor, roles))
            else:
                self._give_job(partial(self._owner.take_snapshot, self, request, actor, roles))
            return
        number, size_bytes = slots(request, len(payload)), len(payload)
        has_jobs = self._jobs_given != self._jobs_done  # which are earlier, and order must be kept
        waits = has_pin(request) or has_jobs
        waiting_bytes = self._waiting_bytes_taken - self._waiting_bytes_given
        if (
            number > IN_FLIGHT_MAX - self.slots_under_way
            or self._inbox.full
            or (waits and waiting_bytes + size_bytes > WAITING_BYTES_MAX)
            or not self._owner.slot_count.take(number)
        ):
            self._refuse_as_busy(request, BUSY)
            return
        self._slots_taken += number
        pending = PendingRequest(
            self, number, request, payload, actor, roles=roles, arrived_s=time.monotonic()
        )
        if not waits:
            self._inbox.gathered.add_request(pending)
            return
        self._waiting_bytes_taken += size_bytes
        work = self._seal_and_put if has_pin(request) else self._put
        self._give_job(partial(work, pending, size_bytes))

    def _refuse_as_busy(self, request: ClientRequest, why: str) -> None:
        self._owner.refused.count(type(request), "busy")
        self.send(frame(error_payload(request.id, "busy", why)))

    def _refusal(self, request: ClientRequest) -> str | None:
        """Return why the client may not ask this now, or None; raise `NoPlace`."""
        if self._is_new:
            if not self._owner.may_ask(self, request):
                raise NoPlace(TOO_MANY)  # on a new connection it may find one
            self._is_new = False
            if self.place is not None:
                self.place.keep()
        if self.rate is not None and not self.rate.allows():
            return self.rate.refusal
        return None

    def _give_job(self, job: Callable[[], None]) -> None:
        self._inbox.put_gathered()  # or the job might overtake earlier requests
        self._jobs_given += 1
        self._jobs.put(job)


def error_payload(request_id: str, outcome: str, message: str) -> bytes:
    """Return the payload of an error frame."""
    return encode(ErrorReply(id=request_id, outcome=outcome, message=message))


def _fail(error: Exception) -> None:
    raise error


def _id_of(payload: bytes) -> str:
    try:
        return _request_id.decode(payload).id[:64]
    except (DecodeError, UnicodeDecodeError, RecursionError):
        return ""
