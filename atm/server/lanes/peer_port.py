"""The servers' port in a bank on PostgreSQL: others connect and forward what is for lanes of this server.

Messages, handshake and outbound links are those of a bank on Raft; there is no data folder and no vote.
"""

from __future__ import annotations

from atm.config import Address
from atm.server.group.inbox import Inbox
from atm.server.logger.logger import Logger
from atm.server.net.connection import StalledFrame
from atm.server.net.reader import Reader
from atm.server.net.tls_acceptor import TlsAcceptor
from atm.server.peers.handshake import HELLO_S, Handshake, receive_hello
from atm.server.peers.links import Links
from atm.server.peers.peer_connection import PeerConnection
from atm.server.peers.peer_server import PeerListener, of_another
from atm.wire.codec import Malformed, encode
from atm.wire.framing import FrameTooLarge, frame
from atm.wire.peer_messages import ForwardReply, Hello, Refused, decode_hello, decode_lane_message

REFUSALS_A_MINUTE = 20  # lines; any stranger may cause one


class LaneConnection(PeerConnection):
    """A connection of another server, which forwards what is for lanes of this one."""

    def on_frame(self, payload: bytes) -> None:
        """Gather a message; raise `Malformed`."""
        message = decode_lane_message(payload)
        self.check_sender(message.sender)
        if isinstance(message, ForwardReply):
            self._inbox.gathered.forward_replies += message.answers
            return
        for number, actor, roles, request in message.each():
            self.gather_forwarded(number, actor, request, roles, message.lane)


class PeerPort(PeerListener):
    """Listens on the peers' port."""

    connection_kind = LaneConnection

    def __init__(
        self,
        address: Address,
        *,
        handshake: Handshake,
        inbox: Inbox,
        reader: Reader,
        links: Links,
        logger: Logger,
        verbose: bool = False,
        acceptor: TlsAcceptor | None = None,
    ) -> None:
        super().__init__(address, inbox=inbox, links=links, logger=logger, verbose=verbose, acceptor=acceptor)
        self._handshake = handshake
        self._reader = reader

    # -- a connection's own thread --------------------------------------------------------------------

    def serve(self, connection: PeerConnection) -> None:
        """Do the handshake, and receive what the peer forwards until the connection's end."""
        try:
            hello = self._accepted(connection)
            if hello is not None:
                connection.serve(hello.node, self._reader)
        except (FrameTooLarge, StalledFrame, Malformed) as error:
            line = f"a peer's connection was closed: {error}"
            self._logger.warning("peer.closed", line, why=str(error))

    def _accepted(self, connection: PeerConnection) -> Hello | None:
        try:
            hello = decode_hello(receive_hello(connection.stream, HELLO_S))
        except (FrameTooLarge, StalledFrame, Malformed):
            reason = "expected a peer handshake on this port"
            self._logger.debug("peer.no_hello", f"closed a connection to the peers' port: {reason}")
            self._refuse(connection, reason)
            return None
        refusal = of_another(connection, hello) or self._handshake.reason_to_refuse(hello)
        if refusal is not None:
            self._logger.about("refused peers", REFUSALS_A_MINUTE).warning(
                "peer.refused", f"refused node {hello.node[:64]!r}: {refusal}", peer=hello.node, why=refusal
            )
            self._refuse(connection, refusal)
            return None
        if connection.place is not None:
            connection.place.leave()  # the strangers' places: a server's connection stays
        connection.send(frame(encode(self._handshake.welcome(hello, learner=False))))
        return hello

    def _refuse(self, connection: PeerConnection, reason: str) -> None:
        connection.send(frame(encode(Refused(reason=reason))))
        connection.linger()
