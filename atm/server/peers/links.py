"""Outbound links: one connection to each peer, dialled by its own thread, written within iterations."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Callable, Mapping, Sequence
from threading import Event, Thread
from typing import TypeVar

from atm.config import Address
from atm.raft.messages import NodeId, Outgoing, RaftMessage
from atm.server.group.inbox import Inbox, Inputs
from atm.server.net.connection import Connection, StalledFrame, resolve, tune
from atm.server.peers.handshake import Handshake, HandshakeRefused
from atm.wire.codec import Malformed, encode
from atm.wire.framing import PEER_FRAME_BYTES_MAX, FrameTooLarge, frame
from atm.wire.peer_messages import PEER_REPORTS_PROTOCOL, Forward, ForwardReply, PeerReport

OUTBOX_BYTES_MAX = 32 * 1024 * 1024
BATCH_BYTES_MAX = 1024 * 1024  # requests or replies in one frame, the sum of their payloads
DIAL_S = 1.0
BACK_OFF_S_MIN, BACK_OFF_S_MAX = 0.05, 0.5
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
        address: Address,
        handshake: Handshake,
        inbox: Inbox,
        report: Callable[[str], None],
    ) -> None:
        self._peer = peer
        self._address = address
        self._handshake = handshake
        self._node = handshake.hello.node
        self._inbox = inbox
        self._report = report
        self._reported: str | None = None
        self._stopping = Event()
        self._blocked: set[Connection] = set()
        self._connection: Connection | None = None
        self._protocol = 0  # agreed on for the newest connection
        self._gathered: list[bytes] = []
        self._replies: list[tuple[int, bytes]] = []

    # -- only within an iteration ----------------------------------------------------------------------

    @property
    def up(self) -> bool:
        """Whether the peer has accepted the hello and the connection is open."""
        connection = self._connection
        return connection is not None and connection.open

    @property
    def protocol(self) -> int:
        """The version of the protocol on this link, 0 while it is down."""
        return self._protocol if self.up else 0

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
        connection = self._connection
        if connection is not None:
            connection.drop()

    def _run(self) -> None:
        back_off_s = BACK_OFF_S_MIN
        while not self._stopping.is_set():
            try:
                sock = self._dial()
            except HandshakeRefused as error:
                self._report_once(str(error))
            except (OSError, Malformed, FrameTooLarge, StalledFrame):
                pass  # the peer is down, or another program has its port: dial again
            except Exception as error:
                self._report_once(f"the link to node {self._peer} failed: {type(error).__name__}: {error}")
            else:
                back_off_s = BACK_OFF_S_MIN
                self._hold(sock)
            self._stopping.wait(back_off_s)
            back_off_s = min(2 * back_off_s, BACK_OFF_S_MAX)

    def _dial(self) -> socket.socket:
        family, address = resolve(self._address.host, self._address.port)
        sock = socket.socket(family, socket.SOCK_STREAM)
        try:
            sock.settimeout(DIAL_S)
            sock.connect(address)
            sock.settimeout(None)
            tune(sock)
            if hasattr(socket, "TCP_USER_TIMEOUT"):
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, UNACKNOWLEDGED_MS_MAX)
            self._say_hello(sock)
        except BaseException:
            sock.close()
            raise
        return sock

    def _say_hello(self, sock: socket.socket) -> None:
        answer = self._handshake.say_hello(sock, self._peer, self._address)
        self._protocol = answer.protocol
        if answer.learner:
            self._report_once(
                f"node {self._peer} knows this node by another data folder: this node catches up, but its "
                "vote is not counted, because the votes that it gave were in the old folder. If that still "
                "exists, stop this node and put it back"
            )
        else:
            self._reported = None

    def _hold(self, sock: socket.socket) -> None:
        connection = Connection(sock, OUTBOX_BYTES_MAX, self._blocked)
        self._connection = connection
        if self._stopping.is_set():
            connection.drop()
        with contextlib.suppress(OSError):
            sock.recv(1)  # a peer sends nothing on this connection, so any return of `recv` is its end
        self._connection = None
        connection.close()
        self._inbox.put(Inputs(lost_links=[self._peer]))

    def _report_once(self, line: str) -> None:
        if line != self._reported:
            self._reported = line
            self._report(line)


class Links:
    """All outbound links: the `Network` of perform.py, the router's `Forwarder`. Only within an iteration."""

    def __init__(
        self,
        handshake: Handshake,
        addresses: Mapping[NodeId, Address],
        inbox: Inbox,
        report: Callable[[str], None],
    ) -> None:
        self._node = handshake.hello.node
        self._touched: set[Link] = set()  # with something gathered
        self._links = {
            peer: Link(peer, address, handshake, inbox, report) for peer, address in addresses.items()
        }

    def send(self, outgoing: Sequence[Outgoing]) -> None:
        """Send messages, with all else that was gathered for the same peer, in one piece per peer."""
        if not outgoing:
            return
        message: RaftMessage | None = None
        framed = b""
        for each in outgoing:
            if each.message is not message:
                message = each.message
                framed = frame(encode(message))
            self._touch(each.to).gather(framed)
        self.flush()

    def forward(self, to: NodeId, requests: Sequence[tuple[int, str, bytes]]) -> bool:
        """Send requests at the next flush; return False, with nothing queued, if the link is down."""
        if not self._links[to].up:
            return False
        for batch in batches(requests):
            self._touch(to).gather(frame(encode(Forward(sender=self._node, requests=batch))))
        return True

    def send_reply(self, to: NodeId, number: int, payload: bytes) -> None:
        """Send the reply to a request that `to` forwarded, at the next flush."""
        self._touch(to).gather_reply(number, payload)

    def send_report(self, report: PeerReport) -> None:
        """Send a report to all peers that know such messages, at the next flush."""
        framed = frame(encode(report))
        for peer, link in self._links.items():
            if link.protocol >= PEER_REPORTS_PROTOCOL:
                self._touch(peer).gather(framed)

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
        for link in self._links.values():
            link.start()

    def close(self) -> None:
        for link in self._links.values():
            link.close()

    def _touch(self, peer: NodeId) -> Link:
        link = self._links[peer]
        self._touched.add(link)
        return link


Numbered = TypeVar("Numbered", tuple[int, bytes], tuple[int, str, bytes])


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
