"""Inbound connections of the other servers: a hello that is checked, then messages into the inbox."""

from __future__ import annotations

import contextlib
import socket
import socketserver
from collections.abc import Callable, Collection, Sequence
from threading import Lock

from atm.config import Address
from atm.raft.messages import NodeId, RaftMessage
from atm.server.connection import Connection, Incoming, StalledFrame, tune
from atm.server.data_folder import DataFolder, FolderRefused
from atm.server.inbox import Asked, Channel, Inbox
from atm.server.links import Links, receive_hello
from atm.server.listener import Listener
from atm.server.pins import holds_plain_pin
from atm.wire.framing import CLIENT_FRAME_BYTES_MAX, PEER_FRAME_BYTES_MAX, FrameTooLarge, frame
from atm.wire.serializer import (
    PROTOCOL_VERSION,
    Fault,
    Forward,
    Hello,
    Malformed,
    Refused,
    Returned,
    Welcome,
    decode_hello,
    decode_passable,
    decode_peer_message,
    encode,
)

CONNECTIONS_MAX = 64
REPORTS_MAX = 64  # different refusals that are reported; a stranger may think of more
OUTBOX_BYTES_MAX = 64 * 1024  # a greeting is all that goes out on an inbound connection


class Session:
    """One welcomed connection of a peer; the `Channel` of what the peer passes on through it.

    Answers go out on our own link to that peer, but only while the connection that brought the requests
    stands: the numbers mean nothing to a peer that has started anew.
    """

    def __init__(self, peer: NodeId, connection: Connection, links: Links) -> None:
        self.peer = peer
        self.connection = connection
        self._links = links

    def answer(self, number: int, payload: bytes) -> None:
        """Take an answer for the next flush of the links. Within turns only."""
        if self.connection.open:
            self._links.give_back(self.peer, number, payload)


class Peers:
    """The server for the other servers of the cluster."""

    def __init__(
        self,
        address: Address,
        *,
        hello: Hello,
        peers: Collection[NodeId],
        folder: DataFolder,
        inbox: Inbox,
        links: Links,
        report: Callable[[str], None],
        verbose: bool = False,
    ) -> None:
        self._hello = hello  # our own
        self._peers = frozenset(peers)
        self._folder = folder
        self._inbox = inbox
        self._links = links
        self._report = report
        self._reported: set[str] = set()
        self._lock = Lock()  # guards _sessions and _connections
        self._sessions: dict[NodeId, Session] = {}
        self._connections: set[Connection] = set()
        peers_server = self

        class Handler(socketserver.BaseRequestHandler):
            def handle(self) -> None:
                peers_server._serve(self.request)

        self._listener = Listener(
            address, Handler, connections_max=CONNECTIONS_MAX, report=report, verbose=verbose
        )

    @property
    def port(self) -> int:
        """The port that peers connect to."""
        return self._listener.port

    def start(self) -> None:
        """Accept peers from now on."""
        self._listener.start()

    def close(self) -> None:
        """Stop accepting and drop every connection."""
        self._listener.stop()
        with self._lock:
            connections = list(self._connections)
        for connection in connections:
            connection.drop()

    # -- a connection's own thread --------------------------------------------------------------------

    def _serve(self, sock: socket.socket) -> None:
        tune(sock)
        connection = Connection(sock, OUTBOX_BYTES_MAX, set())
        with self._lock:
            self._connections.add(connection)
        try:
            peer = self._greet(connection, sock)
            if peer is not None:
                self._read(self._replace_session(peer, connection), sock)
        except (FrameTooLarge, StalledFrame, Malformed) as error:
            self._report_once(f"a peer's connection was closed: {error}")
        except FolderRefused as error:
            self._report_once(str(error))
        finally:
            with self._lock:
                self._connections.discard(connection)
            connection.close()

    def _greet(self, connection: Connection, sock: socket.socket) -> NodeId | None:
        try:
            hello = decode_hello(receive_hello(sock))
        except (FrameTooLarge, StalledFrame, Malformed):
            self._refuse(connection, "this is the port for servers, and that was no hello of one", None)
            return None
        refusal = self._objection(hello)
        if refusal is not None:
            self._refuse(connection, refusal, hello)
            return None
        known = self._folder.knows_as(hello.node, hello.store)
        if not known:
            self._inbox.put_demotion(hello.node)
            self._report_once(
                f"node {hello.node} came back with an empty data folder: it catches up, but its vote is not "
                "counted, because it may have forgotten a promise"
            )
        connection.send(frame(encode(Welcome(node=self._hello.node, learner=not known))))
        return hello.node

    def _objection(self, hello: Hello) -> str | None:
        if hello.version != PROTOCOL_VERSION:
            return (
                f"protocol version {hello.version}, not {PROTOCOL_VERSION}: run the same release everywhere"
            )
        if hello.cluster != self._hello.cluster:
            return "it belongs to another cluster: compare the nodes and peers of both cluster.ini files"
        if hello.pepper != self._hello.pepper:
            return "it seals PINs with another pepper: copy the pepper file of one machine to all others"
        if hello.node == self._hello.node:
            return f"it says it is node {hello.node}, and so is this node: each name may run once"
        if hello.node not in self._peers:
            return f"no node {hello.node[:64]!r} in this cluster.ini"
        return None

    def _refuse(self, connection: Connection, reason: str, hello: Hello | None) -> None:
        if hello is not None:
            self._report_once(f"refused node {hello.node[:64]!r}: {reason}")
        connection.send(frame(encode(Refused(reason=reason))))
        connection.linger()

    def _replace_session(self, peer: NodeId, connection: Connection) -> Session:
        session = Session(peer, connection, self._links)
        with self._lock:
            before = self._sessions.get(peer)
            self._sessions[peer] = session
        if before is not None:
            before.connection.drop()
        return session

    def _read(self, session: Session, sock: socket.socket) -> None:
        incoming = Incoming(sock, PEER_FRAME_BYTES_MAX)
        with contextlib.suppress(ConnectionError):
            while (payloads := incoming.read()) is not None:
                if payloads:
                    self._take(session, payloads)

    def _take(self, session: Session, payloads: Sequence[bytes]) -> None:
        messages: list[RaftMessage] = []
        for payload in payloads:
            message = decode_peer_message(payload)
            if message.sender != session.peer:
                raise Malformed(f"node {session.peer} sent a message in the name of {message.sender[:64]!r}")
            if isinstance(message, Forward):
                self._take_passed_on(session, message)
            elif isinstance(message, Returned):
                self._inbox.put_returned(message.answers)
            else:
                messages.append(message)
        if messages:
            self._inbox.put_messages(messages, sum(map(len, payloads)))

    def _take_passed_on(self, session: Session, forward: Forward) -> None:
        requests: list[Asked] = []
        refusals: list[tuple[Channel, int, bytes]] = []
        for number, payload in forward.requests:
            try:
                requests.append(_passed_on(session, number, payload))
            except Malformed as error:
                fault = Fault(id="", outcome="bad_request", message=f"not a request: {error}")
                refusals.append((session, number, encode(fault)))
        self._inbox.put_passed_on(requests, refusals)

    def _report_once(self, line: str) -> None:
        if line not in self._reported and len(self._reported) < REPORTS_MAX:
            self._reported.add(line)
            self._report(line)


def _passed_on(session: Session, number: int, payload: bytes) -> Asked:
    if len(payload) > CLIENT_FRAME_BYTES_MAX:
        raise Malformed(f"{len(payload)} bytes are over the limit")
    request = decode_passable(payload)
    if holds_plain_pin(request):
        raise Malformed("a PIN is sealed by the server that it came to")
    return Asked(session, number, request, payload, passed_on=True)
