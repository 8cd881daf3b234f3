"""An inbound connection of a peer: its messages and forwarded requests, gathered for the inbox."""

from __future__ import annotations

import socket
from threading import Event

from atm.raft.messages import NodeId
from atm.server.group.inbox import Inbox, PendingRequest
from atm.server.net.connection import PARTIAL_FRAME_S
from atm.server.net.framed_connection import FramedConnection
from atm.server.net.reader import Reader
from atm.server.peers.links import Links
from atm.server.security.pins import holds_plain_pin
from atm.tls.tls_socket import TlsSocket
from atm.wire.client_messages import ErrorReply
from atm.wire.codec import Malformed, encode
from atm.wire.framing import CLIENT_FRAME_BYTES_MAX, PEER_FRAME_BYTES_MAX
from atm.wire.peer_messages import Forward, ForwardReply, PeerReport, decode_peer_message
from atm.wire.request_decoding import decode_for_lane, decode_forwardable

OUTBOX_BYTES_MAX = 64 * 1024  # the reply to the hello is all that is sent on an inbound connection


class PeerConnection(FramedConnection):
    """The inbound connection of a peer, and the `ReplyChannel` of the requests that the peer forwards.

    Its own thread does the handshake; then the reader reads it. Replies are sent on the outbound link to that
    peer, but only while this connection is open: a restarted peer does not know the numbers.
    """

    def __init__(self, stream: socket.socket | TlsSocket, inbox: Inbox, links: Links) -> None:
        super().__init__(
            stream,
            OUTBOX_BYTES_MAX,
            set(),
            frame_bytes_max=PEER_FRAME_BYTES_MAX,
            partial_frame_s=PARTIAL_FRAME_S,
        )
        self._inbox = inbox
        self._links = links
        self._peer: NodeId = ""  # not known before the hello
        self._ended = Event()
        self._error: Exception | None = None

    def reply(self, number: int, payload: bytes) -> None:
        """Queue a reply for the next flush of the links. Only within an iteration."""
        if self.open:
            self._links.send_reply(self._peer, number, payload)

    # -- its own thread ------------------------------------------------------------------------------

    def serve(self, peer: NodeId, reader: Reader) -> None:
        """Receive `peer`'s messages until the connection ends; raise the error if one ended it."""
        self._peer = peer
        reader.add_source(self)
        self._ended.wait()
        if self._error is not None:
            raise self._error

    # -- the reader's thread -------------------------------------------------------------------------

    def on_frame(self, payload: bytes) -> None:
        """Gather a message; raise `Malformed`."""
        message = decode_peer_message(payload)
        self.check_sender(message.sender)
        gathered = self._inbox.gathered
        if isinstance(message, Forward):
            for number, actor, roles, request in message.each():
                self.gather_forwarded(number, actor, request, roles)
        elif isinstance(message, ForwardReply):
            gathered.forward_replies += message.answers
        elif isinstance(message, PeerReport):
            gathered.peer_reports.append(message)
        else:
            gathered.add_message(message, len(payload))

    def check_sender(self, sender: NodeId) -> None:
        """Raise `Malformed` if a message is not in the peer's own name."""
        if sender != self._peer:
            raise Malformed(f"node {self._peer} sent a message in the name of {sender[:64]!r}")

    def gather_forwarded(
        self, number: int, actor: str, payload: bytes, roles: int, lane: int | None = None
    ) -> None:
        """Gather a request that the peer forwarded, to a lane of this server if one is given."""
        try:
            self._inbox.gathered.add_request(self._forwarded(number, actor, payload, roles, lane))
        except Malformed as error:
            fault = ErrorReply(id="", outcome="bad_request", message=f"not a request: {error}")
            self._inbox.gathered.refused.append((self, number, encode(fault)))

    def _forwarded(
        self, number: int, actor: str, payload: bytes, roles: int, lane: int | None
    ) -> PendingRequest:
        if len(payload) > CLIENT_FRAME_BYTES_MAX:
            raise Malformed(f"{len(payload)} bytes are over the limit")
        request = decode_forwardable(payload) if lane is None else decode_for_lane(payload)
        if holds_plain_pin(request):
            raise Malformed("a forwarded request has a plain PIN: the server that received it must seal it")
        if request.end_user is not None:
            raise Malformed("a forwarded request names its end user: its actor says who that is")
        return PendingRequest(self, number, request, payload, actor, forwarded=True, roles=roles, lane=lane)

    def on_error(self, error: Exception, payload: bytes) -> None:
        """Keep the error: `serve` raises it in the connection's own thread."""
        self._error = error

    def on_end(self) -> None:
        """Let the connection's own thread close the socket."""
        self._ended.set()
