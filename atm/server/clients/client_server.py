"""The server for clients: one reader for all connections, and a thread for each connection's long jobs."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import Protocol

from atm.config import Address, is_loopback
from atm.identity import LOCAL_IDENTITY, Identity
from atm.ledger.roles import RoleChange
from atm.server.clients.backup_source import Record
from atm.server.clients.client_connection import TOO_MANY, ClientConnection, error_payload
from atm.server.clients.client_places import ClientPlaces
from atm.server.clients.deed_notes import DeedNotes
from atm.server.clients.event_source import EventSource
from atm.server.clients.pin_service import PinService
from atm.server.clients.rates import Rates
from atm.server.clients.slots import SlotCount
from atm.server.group.inbox import Inbox, PendingRequest
from atm.server.logger.logger import Logger
from atm.server.metrics.counters import RefusedRequests
from atm.server.net.connection import PARTIAL_FRAME_S, Connection, tune
from atm.server.net.listener import Listener
from atm.server.net.reader import Reader
from atm.server.net.tls_acceptor import TlsAcceptor
from atm.tls.credentials import Credentials
from atm.tls.tls_socket import TlsSocket
from atm.wire.backup_messages import BackupRequest
from atm.wire.client_messages import (
    AdminReply,
    ClientRequest,
    ErrorReply,
    Events,
    TakeSnapshot,
    Verify,
    VerifyReply,
)
from atm.wire.codec import encode
from atm.wire.framing import frame

CONNECTIONS_MAX = 2_000
REQUESTS_PER_S = 5_000  # of one identity, or one address without TLS

TakeSnapshotNow = Callable[[], tuple[int, str]]  # up to which log entry it is, and why there is none, or ""


def clients_acceptor(credentials: Credentials, logger: Logger) -> TlsAcceptor:
    """Let in people and programs, and no server."""
    return TlsAcceptor(
        credentials,
        port="the clients' port",
        refusal_frame=lambda why: frame(error_payload("", "untrusted", why)),
        reason_to_refuse=_reason_to_refuse,
        logger=logger,
    )


def _reason_to_refuse(identity: Identity) -> str | None:
    if identity.is_node:
        return f"this is the clients' port, and the certificate is that of node {identity.name}"
    return None


class Audits(Protocol):
    """What the client port needs of who audits."""

    def audit(self, request: Verify, actor: str) -> VerifyReply | ErrorReply: ...


class Backups(Protocol):
    """What the client port needs of who gives to backups."""

    def reply(self, owner: object, request: BackupRequest, record: Record) -> bytes: ...
    def release(self, owner: object) -> None: ...


class ClientServer(Listener[ClientConnection]):
    """Listens on the clients' port; the `Outboxes` of all clients' connections."""

    refusal = frame(error_payload("", "busy", TOO_MANY))

    def __init__(
        self,
        address: Address,
        inbox: Inbox,
        reader: Reader,
        pins: PinService,
        auditor: Audits,
        backups: Backups,
        notes: DeedNotes,
        events: EventSource,
        *,
        take_snapshot: TakeSnapshotNow,
        role_changes: Callable[[], Mapping[str, RoleChange]] = dict,
        logger: Logger,
        verbose: bool = False,
        connections_max: int = CONNECTIONS_MAX,
        requests_per_s: int | None = None,
        partial_frame_s: float = PARTIAL_FRAME_S,
        acceptor: TlsAcceptor | None = None,
        refused: RefusedRequests | None = None,
    ) -> None:
        """`requests_per_s` is for each client; None: `REQUESTS_PER_S`, and no limit for the own machine."""
        self._client_places = ClientPlaces(connections_max)
        super().__init__(
            address, places=self._client_places, logger=logger, verbose=verbose, acceptor=acceptor
        )
        self._rates = Rates(requests_per_s or REQUESTS_PER_S, tell=self._tell_limited)
        self._limits_loopback = requests_per_s is not None
        self.slot_count = SlotCount(self._all_connections)
        self.refused = refused or RefusedRequests()
        self.inbox = inbox
        self._reader = reader
        self._pins = pins
        self._auditor = auditor
        self._backups = backups
        self._notes = notes
        self._events = events
        self._take_snapshot = take_snapshot
        self.role_changes = role_changes
        self.partial_frame_s = partial_frame_s
        self.touched: list[ClientConnection] = []
        self.blocked: set[Connection] = set()

    def flush(self) -> None:
        """Send each connection's replies of this iteration in one piece. Only within an iteration."""
        for connection in self.touched:
            connection.flush()
        self.touched.clear()

    def retry(self) -> None:
        """Send more to the clients that have not taken everything. Only within an iteration."""
        for connection in list(self.blocked):
            connection.retry()

    def close(self, grace_s: float = 0.5) -> None:
        """Stop accepting, try for `grace_s` to send the waiting replies, and drop every connection."""
        self.stop()
        deadline_s = time.monotonic() + grace_s
        while self.blocked and time.monotonic() < deadline_s:
            self.retry()
            time.sleep(0.01)
        self.drop_connections()

    # -- the reader's thread ---------------------------------------------------------------------------

    def may_ask(self, connection: ClientConnection, request: ClientRequest) -> bool:
        """Return whether a connection may send this request, as its first, with the place that it has."""
        place = connection.place
        return place is None or self._client_places.may_ask(place, connection.identity, request)

    def _all_connections(self) -> list[ClientConnection]:
        with self._lock:
            return list(self._connections)

    # -- a connection's own thread --------------------------------------------------------------------

    def connect(self, sock: socket.socket | TlsSocket) -> ClientConnection:
        connection = ClientConnection(sock, self)
        tune(connection.sock)
        return connection

    def serve(self, connection: ClientConnection) -> None:
        """Let the reader read it, and run its jobs, until its end."""
        if not self._identify(connection):
            self._tell_no_place(connection.identity.name)
            connection.turn_out(TOO_MANY)
            return
        owner = "" if connection.place is None else connection.place.owner
        self._logger.debug("client.connected", f"a connection of {owner}", owner=owner)
        self._reader.add_source(connection)
        connection.is_read = True
        try:
            connection.run_jobs()
        finally:
            self._backups.release(connection)

    def _tell_limited(self, owner: str, refusal: str) -> None:
        self._limited.warning("client.limited", f"requests are refused: {refusal}", owner=owner)

    def _identify(self, connection: ClientConnection) -> bool:
        """Count the connection for whom it belongs to; return False if that one has all the places it may."""
        place = connection.place
        if place is None:
            return True
        is_limited = self._limits_loopback or not is_loopback(place.owner)
        named = connection.identity is not LOCAL_IDENTITY
        if named and not place.pool.give_to(place, f"identity {connection.identity.name}"):
            return False
        if is_limited:
            connection.rate = self._rates.of(place.owner)
        return True

    def displace(self, connection: ClientConnection) -> None:
        """End a connection that lost its place; by the reader: no request is read and not answered."""
        if connection.is_read:
            self._reader.dismiss(connection)
        else:
            connection.drop()

    def seal(
        self, pending: PendingRequest, owner: str, wanted: Callable[[], bool]
    ) -> PendingRequest | ErrorReply | None:
        """Return a request with its PINs sealed, or its refusal; None once it is not wanted any more."""
        return self._pins.seal(pending, owner, wanted)

    def audit(self, connection: ClientConnection, request: Verify) -> None:
        """Audit, and reply."""
        reply = self._auditor.audit(request, connection.identity.name)
        self.refused.count(type(request), reply.outcome)
        connection.send(frame(encode(reply)))

    def give_events(self, connection: ClientConnection, request: Events) -> None:
        """Decode what has happened, reply, and wait until that is sent: the outbox holds one reply."""
        connection.send(frame(self._events.reply(request)))
        connection.wait_until_sent()

    def give_to_backup(
        self, connection: ClientConnection, request: BackupRequest, actor: str, roles: int
    ) -> None:
        """Read what a backup asks for, reply, and wait until that is sent: the outbox holds one reply."""
        record = partial(self._notes.refusal, actor=actor, roles=roles)
        connection.send(frame(self._backups.reply(connection, request, record)))
        connection.wait_until_sent()

    def take_snapshot(
        self, connection: ClientConnection, request: TakeSnapshot, actor: str, roles: int
    ) -> None:
        """Take a snapshot of this server's ledger, once it is recorded who asked for it, and reply."""
        not_recorded = self._notes.refusal(request, actor, roles)
        if not_recorded is not None:
            self.refused.count(type(request), not_recorded.outcome)
            connection.send(frame(encode(not_recorded)))
            return
        index, refusal = self._take_snapshot()
        reply = AdminReply(
            id=request.id,
            outcome="refused" if refusal else "ok",
            message=refusal or f"the snapshot holds the ledger up to log entry {index}",
            index=index,
        )
        self.refused.count(type(request), reply.outcome)
        connection.send(frame(encode(reply)))
