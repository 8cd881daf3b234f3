"""Connections to a server, and the pool that keeps them open.

A connection is used by one thread at a time, which reads its answers from its own socket: one request after
the other, or many at once (pipeline.py). A connection of which an answer did not come in time is closed: a
late answer is fetched by asking again with the same id.
"""

from __future__ import annotations

import contextlib
import select
import socket
import time
from collections import defaultdict
from threading import Lock
from typing import TYPE_CHECKING, Any

from atm.client.errors import ClientClosed, NotAllowed
from atm.config import NodeConfig
from atm.tls.errors import CertificateRefused, HandshakeEnded, TlsFailed
from atm.wire.client_messages import AdminReply, ClientReply, ErrorReply, decode_client_reply
from atm.wire.codec import Malformed
from atm.wire.framing import CLIENT_FRAME_BYTES_MAX, FrameReader, FrameTooLarge, frame

if TYPE_CHECKING:
    from atm.tls.credentials import Credentials
    from atm.tls.tls_socket import TlsSocket

IDLE_CONNECTIONS_MAX = 64  # kept open per server; more are opened when needed and closed after use
PIECE_BYTES = 16 * 1024

Pair = tuple[str, int]
Place = tuple[str, int, str]  # host, port, and the server's name if that is checked


class NotSent(Exception):
    """The server certainly did not receive the whole request."""


class NotTrusted(NotSent):
    """What answers cannot be trusted, or does not trust this client; `str()` of it is one line for people."""

    def __init__(self, line: str, *, by_server: bool) -> None:
        """`by_server` tells whether it is the server that does not trust this client."""
        super().__init__(line)
        self.by_server = by_server


class Lost(Exception):
    """The request was sent and no answer came: it may or may not have arrived."""


class ServerConnection:
    """A TCP connection to a server's client port; used by one thread at a time."""

    def __init__(
        self,
        pair: Pair,
        until: float,
        *,
        frame_bytes_max: int = CLIENT_FRAME_BYTES_MAX,
        credentials: Credentials | None = None,
        node: str = "",
    ) -> None:
        """Connect by the time `until` (of `time.monotonic`); raise `NotSent`.

        With credentials the connection is encrypted, and to the server `node` or none: else `NotTrusted` is
        raised. An answer may have up to `frame_bytes_max` bytes.
        """
        self.place: Place = (*pair, node)
        self._tls: TlsSocket | None = None
        self._confirmed = credentials is None  # whether the server is known to accept this end's certificate
        self._where = f"node {node} at {pair[0]}:{pair[1]}" if node else f"{pair[0]}:{pair[1]}"
        try:
            host: Any = pair[0].encode("ascii")  # as text it loads the tables of international names
            self.socket = socket.create_connection((host, pair[1]), timeout=_remaining_s(until))
            self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        except (OSError, UnicodeError) as error:
            raise NotSent(str(error)) from error
        self._frames = FrameReader(frame_bytes_max)
        if credentials is not None:
            self._encrypt(credentials, node, until)

    def _encrypt(self, credentials: Credentials, node: str, until: float) -> None:
        # Imported here because it loads `ssl`, which takes longer than a request to a bank without TLS.
        from atm.tls.tls_socket import connect_tls  # noqa: PLC0415

        try:
            self._tls = connect_tls(self.socket, credentials.for_dialling(), node, until)
        except BaseException as error:
            self.socket.close()
            if isinstance(error, TlsFailed) and not isinstance(error, HandshakeEnded):
                raise self._not_trusted(error) from error
            if isinstance(error, OSError):
                raise NotSent(str(error)) from error
            raise

    def _not_trusted(self, error: TlsFailed) -> NotTrusted:
        by_server = isinstance(error, CertificateRefused)
        return NotTrusted(f"TLS to {self._where}: {error}", by_server=by_server)

    def exchange(self, payload: bytes, request_id: str, until: float) -> ClientReply:
        """Send a request and return the answer that has its id; raise `NotSent`, `Lost` or `NotAllowed`.

        An error without an id is an answer too: it is about the connection, and this is its only request.
        """
        return self.answer_in(self.exchange_payload(payload, until), request_id)

    def answer_in(self, payload: bytes, request_id: str) -> ClientReply:
        """Return the answer in a frame, the only one to its only request; raise as `exchange`."""
        answer = self.decoded(payload)
        if isinstance(answer, AdminReply) and answer.outcome == "not_allowed" and answer.id == request_id:
            raise NotAllowed(answer.message)
        if answer.id == request_id or (isinstance(answer, ErrorReply) and not answer.id):
            return answer
        raise Lost("the server answered another request")

    def exchange_payload(self, payload: bytes, until: float) -> bytes:
        """Send a frame and return the payload of the one that comes back; raise `NotSent` or `Lost`."""
        self.send(frame(payload), until)
        return only_one(self.receive(until))

    def decoded(self, payload: bytes) -> ClientReply:
        """Return the answer in a frame; raise `Lost` if it is none, `NotTrusted` if the server says so."""
        try:
            answer = decode_client_reply(payload)
        except Malformed as error:
            raise Lost(str(error)) from error
        if isinstance(answer, ErrorReply) and answer.outcome == "untrusted":
            raise NotTrusted(f"{self._where}: {answer.message}", by_server=True)
        return answer

    def is_idle(self) -> bool:
        """Return whether the connection can be reused: it is open, and no unexpected bytes came."""
        poll = select.poll()  # unlike select.select it takes descriptors above 1023
        try:
            poll.register(self.socket, select.POLLIN)
            return not self._frames.unfinished and not poll.poll(0)
        except (OSError, ValueError):
            return False

    def shut_down(self) -> None:
        """Wake the thread that waits on this connection, which then closes it."""
        with contextlib.suppress(OSError):
            self.socket.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Close the socket; a second call does nothing."""
        self.socket.close()

    def encrypted(self, data: bytes) -> bytes:
        """Return what to send for `data`."""
        return data if self._tls is None else self._tls.encrypt(data)

    def send(self, data: bytes, until: float) -> None:
        """Hand all of `data` to the kernel; raise `NotSent`: no server can act on a frame without its end."""
        try:
            unsent = memoryview(self.encrypted(data))
            while unsent:
                self.socket.settimeout(_remaining_s(until))
                unsent = unsent[self.socket.send(unsent) :]
        except OSError as error:
            raise NotSent(str(error)) from error

    def receive(self, until: float) -> list[bytes]:
        """Wait for frames and return the payloads of those that have come, at least one; raise `Lost`."""
        try:
            while True:
                self.socket.settimeout(_remaining_s(until))
                payloads = self.payloads_in(self.socket.recv(PIECE_BYTES))
                if payloads:
                    return payloads
        except OSError as error:
            raise Lost(str(error)) from error

    def payloads_in(self, piece: bytes) -> list[bytes]:
        """Return the payloads of the frames that a piece from the socket completes.

        Raise `Lost` or `NotTrusted`.
        """
        if self._tls is not None:
            piece = self._decrypted(piece)
        elif not piece:
            raise Lost("the server closed the connection")
        try:
            return list(self._frames.feed(piece))  # all of them, or the reader keeps the first
        except FrameTooLarge as error:
            raise Lost(str(error)) from error

    def _decrypted(self, piece: bytes) -> bytes:
        """Return what `piece` completes, perhaps nothing; raise `NotTrusted` or `Lost`."""
        assert self._tls is not None
        if not piece:
            raise Lost("the server closed the connection")
        try:
            data = self._tls.decrypt(piece)
        except TlsFailed as error:
            # The last step of the handshake is the server's check of this end's certificate. Before it has
            # succeeded, a server takes nothing of what was sent.
            if not self._confirmed and isinstance(error, CertificateRefused):
                raise self._not_trusted(error) from error
            raise Lost(str(error)) from error
        if self._tls.ended and not data:
            raise Lost("the server closed the connection")
        self._confirmed = self._confirmed or bool(data)
        return data


class Pool:
    """Open connections to the servers, kept for the next request; safe to use from many threads."""

    def __init__(self, credentials: Credentials | None = None) -> None:
        """With credentials, connections are encrypted, and each is to the server that was asked for."""
        self._credentials = credentials
        self._lock = Lock()  # guards the fields below; never held over I/O that waits
        self._idle: defaultdict[Place, list[ServerConnection]] = defaultdict(list)
        self._in_use: set[ServerConnection] = set()
        self._closed = False

    def acquire(self, node: NodeConfig, until: float) -> ServerConnection:
        """Return a connection to a server; raise `NotSent`, or `ClientClosed` after `close`."""
        return self.take(self.reuse(node) or self.connect(node, until))

    def take(self, connection: ServerConnection) -> ServerConnection:
        """Return the connection, which is in use from now on; raise `ClientClosed` after `close`."""
        with self._lock:
            if not self._closed:
                self._in_use.add(connection)
                return connection
        connection.close()
        raise ClientClosed

    def release(self, connection: ServerConnection) -> None:
        """Keep a connection whose request was answered."""
        with self._lock:
            self._in_use.discard(connection)
            idle = self._idle[connection.place]
            if not self._closed and len(idle) < IDLE_CONNECTIONS_MAX:
                idle.append(connection)
                return
        connection.close()

    def discard(self, connection: ServerConnection) -> None:
        """Close a connection that broke, or that got no answer."""
        with self._lock:
            self._in_use.discard(connection)
        connection.close()

    def close(self) -> None:
        """Close idle connections and wake the threads that wait for an answer."""
        with self._lock:
            self._closed = True
            idle = [connection for connections in self._idle.values() for connection in connections]
            self._idle.clear()
            in_use = list(self._in_use)
        for connection in idle:
            connection.close()
        for connection in in_use:
            connection.shut_down()

    def connect(self, node: NodeConfig, until: float) -> ServerConnection:
        """Return a new connection; raise `NotSent`."""
        if self._credentials is None:
            return ServerConnection(node.client.pair, until)
        return ServerConnection(node.client.pair, until, credentials=self._credentials, node=node.name)

    def reuse(self, node: NodeConfig) -> ServerConnection | None:
        """Return an idle connection, None if there is none; raise `ClientClosed` after `close`."""
        place = (*node.client.pair, self._name_to_check(node))
        while True:
            with self._lock:
                if self._closed:
                    raise ClientClosed
                idle = self._idle[place]
                if not idle:
                    return None
                connection = idle.pop()
            if connection.is_idle():
                return connection
            connection.close()

    def _name_to_check(self, node: NodeConfig) -> str:
        return "" if self._credentials is None else node.name


def only_one(payloads: list[bytes]) -> bytes:
    """Return the payload that came for one request; raise `Lost` if more came."""
    if len(payloads) > 1:
        raise Lost("the server sent more than one answer to one request")
    return payloads[0]


def _remaining_s(until: float) -> float:
    """Return the seconds left; raise `TimeoutError` when there are none (0 would mean non-blocking)."""
    remaining_s = until - time.monotonic()
    if remaining_s <= 0:
        raise TimeoutError("timed out")
    return remaining_s
