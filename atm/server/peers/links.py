"""Outbound links: one connection to each peer, dialled by a thread of its own, written within turns."""

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
from atm.server.peers.handshake import Handshake, LinkRefused
from atm.wire.codec import Malformed, encode
from atm.wire.framing import PEER_FRAME_BYTES_MAX, FrameTooLarge, frame
from atm.wire.peer_messages import Forward, ForwardReply

OUTBOX_BYTES_MAX = 32 * 1024 * 1024
BATCH_BYTES_MAX = 1024 * 1024  # requests or answers in one frame, as a sum of their payloads
DIAL_S = 1.0
BACK_OFF_S_MIN, BACK_OFF_S_MAX = 0.05, 0.5
UNACKNOWLEDGED_MS_MAX = 3_000  # a link whose bytes nobody acknowledges is given up and dialled anew

NUMBERED_BYTES = 16 + 64  # a number and who asks, at most

assert BATCH_BYTES_MAX * 2 < PEER_FRAME_BYTES_MAX, "a batch, its last payload over, fits a frame"
assert PEER_FRAME_BYTES_MAX < OUTBOX_BYTES_MAX


class Link:
    """The way to one peer, gathered and flushed within turns, and dialled by a thread of its own."""

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
        self._gathered: list[bytes] = []
        self._answers: list[tuple[int, bytes]] = []

    # -- within turns ----------------------------------------------------------------------------------

    @property
    def up(self) -> bool:
        """Whether the peer has welcomed us and the connection stands."""
        connection = self._connection
        return connection is not None and connection.open

    def gather(self, framed: bytes) -> None:
        """Take a frame for the next flush."""
        self._gathered.append(framed)

    def gather_answer(self, number: int, payload: bytes) -> None:
        """Take an answer to a request that the peer passed on."""
        self._answers.append((number, payload))

    def flush(self) -> None:
        """Send all that was gathered in one piece; with the link down it is lost."""
        if self._answers:
            for batch in batches(self._answers):
                self._gathered.append(frame(encode(ForwardReply(sender=self._node, answers=batch))))
            self._answers = []
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
        """Dial from now on, again and again."""
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
            except LinkRefused as error:
                self._report_once(str(error))
            except (OSError, Malformed, FrameTooLarge, StalledFrame):
                pass  # not there at the moment, or none of ours: asked again
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
            self._greet(sock)
        except BaseException:
            sock.close()
            raise
        return sock

    def _greet(self, sock: socket.socket) -> None:
        answer = self._handshake.introduce(sock, self._peer, self._address)
        if answer.learner:
            self._report_once(
                f"node {self._peer} knew this node by another data folder: this node catches up, but its "
                "vote is not counted, because with the old folder it may have lost a promise"
            )
        else:
            self._reported = None

    def _hold(self, sock: socket.socket) -> None:
        connection = Connection(sock, OUTBOX_BYTES_MAX, self._blocked)
        self._connection = connection
        if self._stopping.is_set():
            connection.drop()
        with contextlib.suppress(OSError):
            sock.recv(1)  # nothing ever comes back this way, so whatever ends this wait is the end
        self._connection = None
        connection.close()
        self._inbox.put(Inputs(lost_links=[self._peer]))

    def _report_once(self, line: str) -> None:
        if line != self._reported:
            self._reported = line
            self._report(line)


class Links:
    """All outbound links: the `Network` of perform.py and the `Forwarder` of the desk. Within turns only."""

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
        """Send messages, with all else that was gathered for the same peer, in one piece each."""
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
        """Pass requests on at the next flush; return False, with nothing sent, if the link is down."""
        if not self._links[to].up:
            return False
        for batch in batches(requests):
            self._touch(to).gather(frame(encode(Forward(sender=self._node, requests=batch))))
        return True

    def send_reply(self, to: NodeId, number: int, payload: bytes) -> None:
        """Send the answer to a request that `to` passed on, at the next flush."""
        self._touch(to).gather_answer(number, payload)

    def flush(self) -> None:
        """Send what was gathered."""
        for link in self._touched:
            link.flush()
        self._touched.clear()

    def retry(self) -> None:
        """Send more to those who did not take all."""
        for link in self._links.values():
            link.retry()

    def start(self) -> None:
        """Dial every peer from now on."""
        for link in self._links.values():
            link.start()

    def close(self) -> None:
        """End all links."""
        for link in self._links.values():
            link.close()

    def _touch(self, peer: NodeId) -> Link:
        link = self._links[peer]
        self._touched.add(link)
        return link


Numbered = TypeVar("Numbered", tuple[int, bytes], tuple[int, str, bytes])


def batches(numbered: Sequence[Numbered]) -> list[tuple[Numbered, ...]]:
    """Cut tuples that start with a number and end with a payload into runs that fit a frame each."""
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
