"""The connections between simulated servers: one from each to each other, dialled, greeted and lost.

What is said in a hello, who is let in, and what follows from it is decided by the production code.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Mapping, Sequence
from threading import Lock
from typing import TYPE_CHECKING, cast

from atm.config import Address
from atm.raft.messages import NodeId, Outgoing
from atm.server.group.inbox import Inbox, Inputs
from atm.server.logger.logger import Logger
from atm.server.peers.handshake import Handshake, HandshakeRefused
from atm.server.peers.links import Links
from atm.server.peers.peer_connection import PeerConnection
from atm.server.peers.peer_server import PeerServer
from atm.storage.data_folder import DataFolder
from atm.wire.codec import encode
from atm.wire.framing import frame
from atm.wire.peer_messages import Hello, PeerReport
from tests.simulation.fuse import Fuse
from tests.support.checks import Checks

if TYPE_CHECKING:
    from tests.simulation.sim_server import SimServer


class SimSocket:
    """A socket from which one frame is read."""

    def __init__(self, framed: bytes) -> None:
        self._framed = framed

    def setsockopt(self, *_options: object) -> None: ...

    def sendall(self, data: bytes) -> None: ...

    def recv(self, _length: int) -> bytes:
        framed, self._framed = self._framed, b""
        return framed


def socket_with(framed: bytes) -> socket.socket:
    return cast(socket.socket, SimSocket(framed))


class SimConnection(PeerConnection):
    """A connection from `dialer` to `acceptor`, as each process of theirs has it."""

    def __init__(
        self,
        dialer: SimServer,
        acceptor: SimServer,
        disk: int,
        store: str,
        lost: Callable[[SimConnection, int], None],
    ) -> None:
        """`disk` is the number of the dialer's disk, `store` what it says in its hello.

        `lost(connection, after_us)` is called when the acceptor has dropped it.
        """
        self.dialer, self.acceptor, self.disk, self.store = dialer, acceptor, disk, store
        self.processes = dialer.process, acceptor.process
        self.tls = None
        self.place = None  # it came to no port
        self.sent = b""  # by the acceptor: the reply to the hello
        self._lost = lost
        self._open = True

    def send(self, data: bytes) -> None:
        self.sent += data

    def drop(self, after_us: int = 0) -> None:
        """The dialer notices after a while."""
        if self._open:
            self._open = False
            self._lost(self, after_us)

    def linger(self) -> None:
        self.drop()


class SimPeerServer(PeerServer):
    """The production server for peers, without its port and its threads."""

    def __init__(
        self,
        *,
        handshake: Handshake,
        folder: DataFolder,
        inbox: Inbox,
        links: SimLinks,
        acknowledged: Callable[[NodeId], int],
        logger: Logger,
    ) -> None:
        self._handshake, self._folder, self._inbox = handshake, folder, inbox
        self._links = cast(Links, links)
        self._acknowledged, self._logger = acknowledged, logger
        self._lock = Lock()
        self._current = {}

    def accept(self, connection: SimConnection, framed: bytes) -> bytes:
        """Return the reply to a hello."""
        hello = self._welcome(connection, socket_with(framed))
        if hello is None:
            self._forget_connection(connection)
        else:
            self._publish_hello(hello.node)
        return connection.sent

    def _about(self, connection: PeerConnection, hello: Hello | None) -> Logger:
        """Tell every line: how many there are in a minute must not matter."""
        return self._logger

    def forget(self, connection: SimConnection) -> None:
        """The connection has ended."""
        connection._open = False
        self._forget_connection(connection)

    def current(self, peer: NodeId) -> tuple[SimConnection, Hello] | None:
        """Return the newest connection of `peer`, and its hello, while it is open."""
        connection, hello = self._current.get(peer, (None, None))
        if connection is None or hello is None or not connection.open:
            return None
        return cast(SimConnection, connection), hello

    def inbound(self) -> list[SimConnection]:
        return [cast(SimConnection, connection) for connection, _ in self._current.values()]


class Link:
    """The way to one peer."""

    def __init__(self, places: Sequence[Address]) -> None:
        self.places = places
        self.tries = 0
        self.connection: SimConnection | None = None
        self.reached: Address | None = None
        self.is_closed = False


class SimLinks:
    """A server's way to the others: every message is encoded as in production, and may be the last."""

    def __init__(
        self,
        name: NodeId,
        *,
        handshake: Handshake,
        inbox: Inbox,
        dial: Callable[[Address, bytes, Callable[[SimConnection | None, bytes], None]], None],
        later: Callable[[Callable[[], None]], None],
        send: Callable[[SimConnection, bytes, bool], None],
        checks: Checks,
        fuse: Fuse,
    ) -> None:
        """`dial(place, hello, take)` calls `take(connection, reply)`, with None if nobody answers there."""
        self._name, self._handshake, self._inbox = name, handshake, inbox
        self._dial_at, self._later, self._send = dial, later, send
        self._checks, self._fuse = checks, fuse
        self._links: dict[NodeId, Link] = {}

    # -- who the others are --------------------------------------------------------------------------

    def follow(self, places: Mapping[NodeId, Sequence[Address]]) -> None:
        for peer in [peer for peer in self._links if peer not in places]:
            link = self._links.pop(peer)
            link.is_closed = True
            self._end(link)
        for peer, addresses in places.items():
            known = self._links.get(peer)
            if known is not None:
                known.places = addresses
                continue
            self._links[peer] = link = Link(addresses)
            self._dial(peer, link)

    def redial(self) -> None:
        for peer, link in list(self._links.items()):
            self._drop(peer, link)

    def _dial(self, peer: NodeId, link: Link) -> None:
        if link.is_closed:
            return
        place = link.places[link.tries % len(link.places)]
        link.tries += 1

        hello = self._handshake.hello

        def take(connection: SimConnection | None, reply: bytes) -> None:
            self._take_reply(peer, link, place, connection, reply)
            if hello.store != self._handshake.hello.store:  # as `Link._hold`
                self._drop(peer, link)

        self._dial_at(place, frame(encode(hello)), take)

    def _take_reply(
        self, peer: NodeId, link: Link, place: Address, connection: SimConnection | None, reply: bytes
    ) -> None:
        """Go on as the thread of a link does."""
        try:
            if connection is not None:
                welcome = self._handshake.say_hello(socket_with(reply), peer, place)
                self._inbox.put(Inputs(standings=[(peer, welcome)]))
                link.connection, link.reached, link.tries = connection, place, 0
        except HandshakeRefused as error:
            if error.removed_at:
                self._inbox.put(Inputs(standings=[(peer, error.removed_at)]))
        if link.is_closed:
            self._end(link)
        elif link.connection is None or not link.connection.open:
            link.connection = None
            self._later(lambda: self._dial(peer, link))

    def lost(self, connection: SimConnection) -> None:
        """The other end of a connection has gone."""
        for peer, link in self._links.items():
            if link.connection is connection:
                self._drop(peer, link)
                return

    def lose(self, peer: NodeId) -> None:
        """The connection to `peer` breaks."""
        if peer in self._links:
            self._drop(peer, self._links[peer])

    def _drop(self, peer: NodeId, link: Link) -> None:
        if link.connection is not None:
            self._end(link)
            self._inbox.put(Inputs(lost_links=[peer]))
            self._later(lambda: self._dial(peer, link))

    @staticmethod
    def _end(link: Link) -> None:
        connection, link.connection = link.connection, None
        if connection is not None:
            connection.acceptor.peer_is_gone(connection)

    def outbound(self) -> list[SimConnection]:
        return [link.connection for link in self._links.values() if link.connection is not None]

    # -- within an iteration ---------------------------------------------------------------------------

    def reached(self, node: NodeId) -> Address | None:
        link = self._links.get(node)
        return link.reached if link is not None and link.connection is not None else None

    def send(self, outgoing: Sequence[Outgoing]) -> None:
        for out in outgoing:
            connection = self._connection(out.to)
            if connection is None:
                continue
            self._fuse.burn()
            self._checks.sent(self._name, (out,))
            self._send(connection, encode(out.message), False)

    def send_frame(self, to: NodeId, message: object) -> bool:
        """Send requests and replies, which TCP never doubles; return False if there is no link."""
        connection = self._connection(to)
        if connection is None:
            return False
        self._fuse.burn()
        self._send(connection, encode(message), True)
        return True

    def connected(self) -> Sequence[NodeId]:
        return [peer for peer, link in self._links.items() if link.connection is not None]

    def send_report(self, report: PeerReport) -> None:
        """Send what servers say about themselves to all others."""
        for to in self.connected():
            self.send_frame(to, report)

    def flush(self) -> None: ...

    def retry(self) -> None: ...

    def _connection(self, to: NodeId) -> SimConnection | None:
        link = self._links.get(to)
        return link.connection if link is not None else None
