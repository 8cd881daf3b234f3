"""The server for peers: the handshake of inbound connections, then their messages into the inbox."""

from __future__ import annotations

import socket
from collections.abc import Callable

from atm.checkout import command_here
from atm.config import Address
from atm.identity import Identity
from atm.raft.messages import NodeId
from atm.server.group.inbox import Inbox, Inputs
from atm.server.group.roster import Roster
from atm.server.logger.logger import Logger
from atm.server.net.connection import StalledFrame, Stream, tune
from atm.server.net.listener import Listener
from atm.server.net.places import Places
from atm.server.net.reader import Reader
from atm.server.net.tls_acceptor import TlsAcceptor
from atm.server.peers.handshake import HELLO_S, Handshake, receive_hello
from atm.server.peers.links import Links
from atm.server.peers.peer_connection import PeerConnection
from atm.server.peers.snapshot_server import SnapshotServer
from atm.storage.data_folder import DataFolder, FolderRefused
from atm.tls.credentials import Credentials
from atm.tls.tls_socket import TlsSocket
from atm.wire.codec import Malformed, encode
from atm.wire.framing import FrameTooLarge, frame
from atm.wire.peer_messages import FETCH, Hello, Refused, decode_hello, starts_of

PLACES_MAX = 64  # of connections without a member's hello
PLACES_OF_ONE_MAX = 8  # of these, from one address; the loopback's may have all
HALF_OPEN_MAX, HALF_OPEN_BY_HOST_MAX = 32, 16  # of them: strangers must leave room for the servers
# Two followers exchange no messages, so TCP keep-alives detect a dead peer.
PEER_IDLE_S, PEER_PROBE_S, PEER_PROBES = 1, 1, 3
PEER_GONE_S = PEER_IDLE_S + PEER_PROBE_S * PEER_PROBES
SILENT_S = 3  # a server sends its hello at once; who does not costs no thread until then
NO_MEMBERS = "no members"  # no node can have this name
LINES_OF_ONE_MAX = 5  # a minute, about each member, and about all that are none together


def peers_acceptor(credentials: Credentials, logger: Logger) -> TlsAcceptor:
    """Let in servers only."""
    return TlsAcceptor(
        credentials,
        port="the peers' port",
        refusal_frame=lambda why: frame(encode(Refused(reason=why))),
        reason_to_refuse=_reason_to_refuse,
        logger=logger,
        half_open_max=HALF_OPEN_MAX,
        half_open_by_host_max=HALF_OPEN_BY_HOST_MAX,
    )


def _reason_to_refuse(identity: Identity) -> str | None:
    if not identity.is_node:
        return f"this is the servers' port, and the certificate is that of {identity.name}, no server"
    return None


def of_another(connection: PeerConnection, hello: Hello) -> str | None:
    """Return why an encrypted connection may not speak for the node that its hello names, or None."""
    if connection.tls is None or connection.tls.identity.name == hello.node:
        return None
    return f"its certificate is that of node {connection.tls.identity.name}"


class PeerListener(Listener[PeerConnection]):
    """A peers' port, whatever is said at it."""

    silent_s = SILENT_S
    connection_kind = PeerConnection

    def __init__(
        self,
        address: Address,
        *,
        inbox: Inbox,
        links: Links,
        logger: Logger,
        verbose: bool = False,
        places_max: int = PLACES_MAX,
        acceptor: TlsAcceptor | None = None,
    ) -> None:
        places = Places(places_max, of_one_max=PLACES_OF_ONE_MAX)
        super().__init__(address, places=places, logger=logger, verbose=verbose, acceptor=acceptor)
        self._inbox = inbox
        self._links = links

    def close(self) -> None:
        """Stop accepting and drop every connection."""
        self.stop()
        self.drop_connections()

    def connect(self, sock: socket.socket | TlsSocket) -> PeerConnection:
        connection = self.connection_kind(sock, self._inbox, self._links)
        tune(connection.sock, idle_s=PEER_IDLE_S, interval_s=PEER_PROBE_S, probes=PEER_PROBES)
        return connection


class PeerServer(PeerListener):
    """Listens on the peers' port."""

    def __init__(
        self,
        address: Address,
        *,
        handshake: Handshake,
        folder: DataFolder,
        inbox: Inbox,
        reader: Reader,
        links: Links,
        acknowledged: Callable[[NodeId], int] = lambda peer: 0,
        snapshots: SnapshotServer,
        logger: Logger,
        verbose: bool = False,
        places_max: int = PLACES_MAX,
        acceptor: TlsAcceptor | None = None,
    ) -> None:
        """`acknowledged` tells up to where this node, if it leads, has committed what that peer has saved."""
        super().__init__(
            address,
            inbox=inbox,
            links=links,
            logger=logger,
            verbose=verbose,
            places_max=places_max,
            acceptor=acceptor,
        )
        self._handshake = handshake
        self._folder = folder
        self._reader = reader
        self._acknowledged = acknowledged
        self._snapshots = snapshots
        self._current: dict[
            NodeId, tuple[PeerConnection, Hello]
        ] = {}  # the newest of each peer; guarded by _lock

    def follow(self, roster: Roster) -> None:
        """Drop the connections of servers that were removed; only within an iteration.

        A server that shows another data folder than the newest configuration names is demoted at once.
        """
        with self._lock:
            current = list(self._current.items())
        for peer, (connection, hello) in current:
            named = roster.store(peer)
            if roster.removed_at(peer, hello.member_at):
                connection.drop()
            elif named and named != hello.store:
                self._inbox.put(Inputs(demotions=[(peer, hello.store)]))

    # -- a connection's own thread --------------------------------------------------------------------

    def serve(self, connection: PeerConnection) -> None:
        """Do the handshake, and receive the peer's messages, or let it fetch, until the connection's end."""
        hello: Hello | None = None
        try:
            hello = self._welcome(connection, connection.stream)
            if hello is not None and hello.purpose == FETCH:
                self._snapshots.serve(connection, hello.node)
            elif hello is not None:
                self._publish_hello(hello.node)
                connection.serve(hello.node, self._reader)
        except (FrameTooLarge, StalledFrame, Malformed) as error:
            self._about(connection, hello).warning(
                "peer.closed", f"a peer's connection was closed: {error}", why=str(error)
            )
        except FolderRefused as error:
            self._about(connection, hello).error("folder.unusable", str(error))
        finally:
            self._forget_connection(connection)

    def _welcome(self, connection: PeerConnection, stream: Stream) -> Hello | None:
        try:
            hello = decode_hello(receive_hello(stream, HELLO_S))
        except (FrameTooLarge, StalledFrame, Malformed):
            self._refuse(connection, "expected a peer handshake on this port", None)
            return None
        refusal = of_another(connection, hello) or self._handshake.reason_to_refuse(hello)
        if refusal is None and hello.purpose != FETCH:
            refusal = self._replace_connection(hello, connection)
        if refusal is not None:
            self._refuse(connection, refusal, hello)
            return None
        self._leave_the_strangers(connection, hello)
        if hello.purpose == FETCH:  # beside the peer's other connection, which says what there is to say
            connection.send(frame(encode(self._handshake.welcome(hello, learner=False))))
            return hello
        if self._is_stale(connection, hello):
            connection.send(frame(encode(self._handshake.welcome(hello, learner=True, stale=True))))
            connection.linger()
            return None
        counted = self._note_store(connection, hello)
        self._logger.debug(
            "peer.accepted",
            f"accepted node {hello.node}, release {hello.release}",
            peer=hello.node,
            release=hello.release,
            counted=counted,
        )
        connection.send(frame(encode(self._handshake.welcome(hello, learner=not counted))))
        return hello

    def _leave_the_strangers(self, connection: PeerConnection, hello: Hello) -> None:
        """Let a member's connection stay whoever comes: there is one for each member, and one that fetches.

        Another server of this cluster, which a newer log may name, may have to give way, and connects again.
        """
        if connection.place is not None and self._handshake.roster.member(hello.node) is not None:
            connection.place.leave()

    def _is_stale(self, connection: PeerConnection, hello: Hello) -> bool:
        """Return whether the peer runs on an old copy of its data folder, which lacks promises that it made.

        A folder knows its last starts by random numbers. So one that does not know a start that was seen here
        is older than that, however often it was started since; and so is one whose log lacks what this leader
        committed with its acknowledgement.
        """
        if not hello.incarnation or self._is_of_another_store(hello):
            return False
        highest = self._folder.highest_incarnation(hello.node, hello.store)
        known = (*hello.earlier, hello.incarnation)
        lacks_start = highest not in known and starts_of(highest) >= starts_of(known[0])
        if not lacks_start and hello.last_index >= self._acknowledged(hello.node):
            self._folder.register_incarnation(hello.node, hello.store, hello.incarnation)
            return False
        self._about(connection, hello).error(
            "peer.old_copy",
            f"node {hello.node} runs on an old copy of its data folder: what it promised later is not in it, "
            "so its vote will not be counted. If the right folder exists, stop that node and put it back; "
            f"else: {command_here('admin')} replace {hello.node}",
            peer=hello.node,
        )
        return True

    def _note_store(self, connection: PeerConnection, hello: Hello) -> bool:
        """Record the store id that a peer shows; return whether its promises count, as far as is known here.

        The core is told before any message of that peer, unless it is the peer's first that is shown.
        """
        first = self._folder.register_peer_store(hello.node, hello.store)
        named = self._handshake.roster.store(hello.node)
        if named or not first:
            self._inbox.put(Inputs(demotions=[(hello.node, hello.store)]))
        if hello.store == named or (first and not named):
            return True
        self._about(connection, hello).error(
            "peer.empty_folder",
            f"node {hello.node} came back with an empty data folder: it catches up, but its vote is not "
            "counted, because the votes that it gave were in the old folder. If that still exists, stop that "
            f"node and put it back; else: {command_here('admin')} replace {hello.node}",
            peer=hello.node,
        )
        return False

    def _replace_connection(self, hello: Hello, connection: PeerConnection) -> str | None:
        """Make `connection` the peer's current one and drop the one before; return why not, or None.

        A peer that lost its disk has no other open connection. Without this rule, any stranger who sends a
        hello with a living peer's name and a new store id would make that peer lose its vote.
        """
        with self._lock:
            before, shown = self._current.get(hello.node, (None, hello))
            another = shown.store != hello.store and self._is_of_another_store(hello)
            if before is not None and before.open and another:
                return (
                    f"it comes from another data folder, and node {hello.node} is connected: each name may "
                    f"run once. If the other one has gone, that is noticed within {PEER_GONE_S} s"
                )
            self._current[hello.node] = connection, hello
        if before is not None:
            before.drop()
        return None

    def _is_of_another_store(self, hello: Hello) -> bool:
        named = self._handshake.roster.store(hello.node)
        return named != hello.store if named else self._folder.knows_another_store(hello.node, hello.store)

    def _forget_connection(self, connection: PeerConnection) -> None:
        """Forget the hello of a peer that has disconnected: it may return as an older release."""
        with self._lock:
            gone = [peer for peer, (current, _) in self._current.items() if current is connection]
            for peer in gone:
                del self._current[peer]
        for peer in gone:
            self._publish_hello(peer)

    def _publish_hello(self, peer: NodeId) -> None:
        """Put the hello of `peer` into the inbox, again if it changed meanwhile."""
        published: Hello | bool | None = False  # nothing yet
        while True:
            with self._lock:
                hello = self._current[peer][1] if peer in self._current else None
            if hello == published:
                return
            self._inbox.put(Inputs(hellos=[(peer, hello)]))
            published = hello

    def _refuse(self, connection: PeerConnection, reason: str, hello: Hello | None) -> None:
        if hello is None:
            self._logger.debug("peer.no_hello", f"closed a connection to the peers' port: {reason}")
        else:
            self._about(connection, hello).warning(
                "peer.refused",
                f"refused node {hello.node[:64]!r}: {reason}",
                peer=hello.node,
                address=connection.place.owner if connection.place is not None else "",
                release=hello.release,
                why=reason,
            )
        removed_at = 0 if hello is None else self._handshake.removed_at(hello)
        connection.send(frame(encode(Refused(reason=reason, removed_at=removed_at))))
        connection.linger()

    def _about(self, connection: PeerConnection, hello: Hello | None) -> Logger:
        """Return a logger for so many lines a minute about whoever is at the other end, which hide no others.

        Who that is, the certificate says or, without TLS, the hello.
        """
        name = "" if hello is None else hello.node
        if connection.tls is not None:
            name = connection.tls.identity.name
        if self._handshake.roster.member(name) is None:
            name = ""
        return self._logger.about(name or NO_MEMBERS, LINES_OF_ONE_MAX)
