"""Outbound links: one connection to each peer, dialled by its own thread, written within iterations."""

from __future__ import annotations

import socket
import time
from collections.abc import Collection, Mapping, Sequence
from threading import Event, Thread
from typing import TypeVar

from atm.checkout import command_here
from atm.config import Address
from atm.raft.messages import NodeId, Outgoing, RaftMessage
from atm.server.group.inbox import Inbox, Inputs
from atm.server.logger.logger import Logger
from atm.server.net.connection import Connection, StalledFrame, Stream
from atm.server.peers.handshake import Handshake, HandshakeRefused
from atm.tls.errors import HandshakeEnded, TlsFailed
from atm.tls.tls_socket import TlsSocket
from atm.wire.codec import Malformed, encode
from atm.wire.framing import PEER_FRAME_BYTES_MAX, FrameTooLarge, frame
from atm.wire.peer_messages import (
    NEWER,
    PEER_REPORTS_PROTOCOL,
    Forward,
    ForwardedRequest,
    ForwardReply,
    ForwardToLane,
    PeerReport,
)

OUTBOX_BYTES_MAX = 32 * 1024 * 1024
BATCH_BYTES_MAX = 1024 * 1024  # requests or replies in one frame, the sum of their payloads
DIAL_S = 1.0
BACK_OFF_S_MIN, BACK_OFF_S_MAX = 0.05, 0.5
UNREACHED_S = 10.0  # from the start of this node until it tells that it has not reached a peer
LINES_MAX = 20  # a minute, of each event, about one peer
UNACKNOWLEDGED_MS_MAX = (
    3_000  # a link whose peer acknowledges no bytes for so long is dropped and dialled again
)

NUMBERED_BYTES = 16 + 64  # a number and an actor, at most

assert BATCH_BYTES_MAX * 2 < PEER_FRAME_BYTES_MAX, (
    "a batch fits a frame, although its last payload may exceed the limit"
)
assert PEER_FRAME_BYTES_MAX < OUTBOX_BYTES_MAX


class Link:
    """The connection to one peer, written within iterations, and dialled by its own thread."""

    def __init__(
        self,
        peer: NodeId,
        places: Sequence[Address],
        handshake: Handshake,
        inbox: Inbox,
        logger: Logger,
    ) -> None:
        """`places` are the addresses to try, in turn; they may be replaced as a whole."""
        self._peer = peer
        self.places = places
        self._handshake = handshake
        self._node = handshake.hello.node
        self._inbox = inbox
        self._logger = logger.about(peer, LINES_MAX)
        self._told: dict[Address, str] = {}  # what is wrong there
        self._down_s: float | None = time.monotonic()  # since when, unless that was told
        self._lost_s: float | None = None  # when the last connection ended
        self._stopping = Event()
        self._blocked: set[Connection] = set()
        self._connection: Connection | None = None
        self._reached: Address | None = None
        self._protocol = 0  # of the connection
        self._gathered: list[bytes] = []
        self._replies: list[tuple[int, bytes]] = []
        self.given_up = 0  # connections whose peer did not take what was sent; counted by its thread

    # -- only within an iteration ----------------------------------------------------------------------

    @property
    def up(self) -> bool:
        """Whether the peer has accepted the hello and the connection is open."""
        connection = self._connection
        return connection is not None and connection.open

    @property
    def reached(self) -> Address | None:
        """The address at which the peer was reached, None if the link is down."""
        return self._reached if self.up else None

    def speaks(self, protocol: int) -> bool:
        """Whether the link is up, and both ends know this version of the protocol."""
        return self.up and protocol <= self._protocol

    def drop(self) -> None:
        """End the connection, so that another hello is sent."""
        connection = self._connection
        if connection is not None:
            connection.drop()

    def gather(self, framed: bytes) -> None:
        """Queue a frame for the next flush."""
        self._gathered.append(framed)

    def gather_reply(self, number: int, payload: bytes) -> None:
        """Queue the reply to a request that the peer forwarded."""
        self._replies.append((number, payload))

    def flush(self) -> None:
        """Send all that was gathered in one piece; if the link is down, it is dropped."""
        if self._replies:
            for batch in batches(self._replies):
                self._gathered.append(frame(encode(ForwardReply(sender=self._node, answers=batch))))
            self._replies = []
        if self._gathered:
            connection = self._connection
            if connection is not None:
                connection.send(b"".join(self._gathered))
            self._gathered.clear()

    def retry(self) -> None:
        """Send more of what the peer has not taken yet."""
        for connection in list(self._blocked):
            connection.retry()

    # -- the link's thread ----------------------------------------------------------------------------

    def start(self) -> None:
        """Dial, and dial again whenever the connection ends, until `close`."""
        Thread(target=self._run, name=f"link {self._peer}", daemon=True).start()

    def close(self) -> None:
        """End the link and its thread."""
        self._stopping.set()
        self.drop()

    def _run(self) -> None:
        back_off_s, tries = BACK_OFF_S_MIN, 0
        while not self._stopping.is_set():
            places = self.places
            place = places[tries % len(places)]
            tries += 1
            store = self._handshake.hello.store
            try:
                stream = self._dial(place)
            except HandshakeEnded as error:
                self._note_down(place, error)
            except TlsFailed as error:
                line = f"no TLS connection to node {self._peer} at {place}: {error}"
                self._warn_once(place, "peer.no_tls", line)
            except HandshakeRefused as error:
                self._warn_once(place, "peer.refuses", str(error))
                if error.removed_at:
                    self._inbox.put(Inputs(standings=[(self._peer, error.removed_at)]))
            except (OSError, Malformed, FrameTooLarge, StalledFrame) as error:
                self._note_down(place, error)  # or another program has its port: dial again
            except Exception as error:
                failure = f"the link to node {self._peer} failed: {type(error).__name__}: {error}"
                self._warn_once(place, "peer.link_failed", failure)
            else:
                back_off_s, tries = BACK_OFF_S_MIN, 0
                self._hold(stream, place, store)
            self._stopping.wait(back_off_s)
            if tries % len(places) == 0:
                back_off_s = min(2 * back_off_s, BACK_OFF_S_MAX)

    def _dial(self, place: Address) -> socket.socket | TlsSocket:
        stream = self._handshake.dial(self._peer, place, DIAL_S)
        try:
            if hasattr(socket, "TCP_USER_TIMEOUT"):
                stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, UNACKNOWLEDGED_MS_MAX)
            self._say_hello(stream, place)
        except BaseException:
            stream.close()
            raise
        return stream

    def _say_hello(self, sock: Stream, place: Address) -> None:
        welcome = self._handshake.say_hello(sock, self._peer, place)
        self._protocol = welcome.protocol
        self._inbox.put(Inputs(standings=[(self._peer, welcome)]))
        if welcome.learner:
            self._warn_once(
                place,
                "peer.knows_another_folder",
                f"node {self._peer} knows this node by another data folder: this node catches up, but its "
                "vote is not counted, because the votes that it gave were in the old folder. If that still "
                f"exists, stop this node and put it back; else: {command_here('admin')} replace {self._node}",
            )
        else:
            self._told.clear()

    def _hold(self, stream: socket.socket | TlsSocket, place: Address, store: str) -> None:
        """Let messages be sent until the connection's end; at once if it was greeted with an old store id."""
        connection = Connection(stream, OUTBOX_BYTES_MAX, self._blocked)
        self._reached = place
        self._connection = connection
        if self._stopping.is_set() or store != self._handshake.hello.store:
            connection.drop()
        self._note_up(place)
        why = "that node ended it"
        try:
            connection.sock.recv(1)  # a peer sends nothing on this connection, so any return is its end
        except OSError as error:
            why = reason_of(error)
        self._connection = None
        self.given_up += connection.given_up
        connection.close()
        self._inbox.put(Inputs(lost_links=[self._peer]))
        if not self._stopping.is_set():
            self._lost_s, self._down_s = time.monotonic(), None
            line = f"lost the connection to node {self._peer} at {place}: {why}"
            self._logger.warning("peer.lost", line, peer=self._peer, address=str(place), why=why)

    def _note_up(self, place: Address) -> None:
        away_s = None if self._lost_s is None else round(time.monotonic() - self._lost_s, 3)
        again = "" if away_s is None else f" again, after {away_s:.1f} s"
        self._lost_s = self._down_s = None
        line = f"connected to node {self._peer} at {place}{again}"
        self._logger.info("peer.connected", line, peer=self._peer, address=str(place), away_s=away_s)

    def _note_down(self, place: Address, error: Exception) -> None:
        """Tell once of a peer that was not reached since the start; of one that was lost it was told."""
        if self._down_s is None or time.monotonic() < self._down_s + UNREACHED_S:
            return
        self._down_s = None
        line = f"node {self._peer} was not reached at {place} for {UNREACHED_S:g} s: {reason_of(error)}"
        self._logger.warning("peer.unreached", line, peer=self._peer, address=str(place))

    def _warn_once(self, place: Address, event: str, line: str) -> None:
        if line != self._told.get(place):
            self._told[place] = line
            self._logger.warning(event, line, peer=self._peer, address=str(place))


class Links:
    """All outbound links: the `Network` of perform.py, the router's `Forwarder`. Only within an iteration."""

    def __init__(self, handshake: Handshake, inbox: Inbox, logger: Logger) -> None:
        self._handshake = handshake
        self._inbox = inbox
        self._logger = logger
        self._node = handshake.hello.node
        self._touched: set[Link] = set()  # with something gathered
        self._links: dict[NodeId, Link] = {}
        self._started = False

    def follow(self, places: Mapping[NodeId, Sequence[Address]]) -> None:
        """Keep a link to each of these nodes, at these addresses, and to no other."""
        for peer in [peer for peer in self._links if peer not in places]:
            link = self._links.pop(peer)
            self._touched.discard(link)
            link.close()
        for peer, addresses in places.items():
            known = self._links.get(peer)
            if known is not None:
                known.places = addresses
                continue
            self._links[peer] = link = Link(peer, addresses, self._handshake, self._inbox, self._logger)
            if self._started:
                link.start()

    def reached(self, node: NodeId) -> Address | None:
        """Return the address at which `node` is connected, None if it is not."""
        link = self._links.get(node)
        return None if link is None else link.reached

    def send(self, outgoing: Sequence[Outgoing]) -> None:
        """Send messages, with all else that was gathered for the same peer, in one piece per peer.

        A peer whose release does not know a message does not get it.
        """
        if not outgoing:
            return
        message: RaftMessage | None = None
        framed = b""
        for each in outgoing:
            link = self._links.get(each.to)
            if link is None or (type(each.message) in NEWER and not link.speaks(NEWER[type(each.message)])):
                continue
            if each.message is not message:
                message = each.message
                framed = frame(encode(message))
            self._touched.add(link)
            link.gather(framed)
        self.flush()

    def forward(self, to: NodeId, requests: Sequence[ForwardedRequest], lane: int | None = None) -> bool:
        """Send requests at the next flush; return False, with nothing queued, if the link is down.

        With a `lane`, to its writer.
        """
        link = self._links.get(to)
        if link is None or not link.up:
            return False
        self._touched.add(link)
        for batch in batches(requests):
            message = (
                Forward.of(self._node, batch)
                if lane is None
                else ForwardToLane.of(self._node, batch, lane=lane)
            )
            link.gather(frame(encode(message)))
        return True

    def send_reply(self, to: NodeId, number: int, payload: bytes) -> None:
        """Send the reply to a request that `to` forwarded, at the next flush."""
        link = self._links.get(to)
        if link is not None:
            self._touched.add(link)
            link.gather_reply(number, payload)

    def connected(self) -> Collection[NodeId]:
        """Return the peers that are connected."""
        return [peer for peer, link in self._links.items() if link.up]

    @property
    def given_up(self) -> int:
        """How many connections were dropped because a peer did not take what was sent; any thread."""
        return sum(link.given_up for link in self._links.copy().values())

    def send_report(self, report: PeerReport) -> None:
        """Send a report to all peers that know such messages, at the next flush."""
        framed = frame(encode(report))
        for link in self._links.values():
            if link.speaks(PEER_REPORTS_PROTOCOL):
                self._touched.add(link)
                link.gather(framed)

    def flush(self) -> None:
        """Send what was gathered for each peer."""
        for link in self._touched:
            link.flush()
        self._touched.clear()

    def retry(self) -> None:
        """Send more to the peers that have not taken everything."""
        for link in self._links.values():
            link.retry()

    def start(self) -> None:
        self._started = True
        for link in self._links.values():
            link.start()

    def redial(self) -> None:
        """End all connections, so that each peer gets another hello."""
        for link in self._links.values():
            link.drop()

    def close(self) -> None:
        for link in self._links.values():
            link.close()


def reason_of(error: Exception) -> str:
    """Return in a few words why a connection is not there."""
    return (isinstance(error, OSError) and error.strerror) or str(error) or type(error).__name__


Numbered = TypeVar("Numbered", tuple[int, bytes], ForwardedRequest)


def batches(numbered: Sequence[Numbered]) -> list[tuple[Numbered, ...]]:
    """Split tuples that start with a number and end with a payload into batches that fit a frame each."""
    runs: list[tuple[Numbered, ...]] = []
    start = run_bytes = 0
    for position, (_, *_, payload) in enumerate(numbered):
        if run_bytes > BATCH_BYTES_MAX:
            runs.append(tuple(numbered[start:position]))
            start, run_bytes = position, 0
        run_bytes += len(payload) + NUMBERED_BYTES
    if start < len(numbered):
        runs.append(tuple(numbered[start:]))
    return runs
