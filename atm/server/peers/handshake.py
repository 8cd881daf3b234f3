"""The hello between two servers: sent, received, and answered or objected to."""

from __future__ import annotations

import socket
from collections.abc import Collection

from msgspec.structs import replace

from atm.config import Address
from atm.raft.messages import NodeId
from atm.server.net.connection import Incoming, receive_timeout
from atm.wire.codec import Malformed, encode
from atm.wire.framing import frame
from atm.wire.peer_messages import Hello, Refused, Welcome, decode_hello_reply

HELLO_S = 5.0
HELLO_BYTES_MAX = 4 * 1024


class LinkRefused(Exception):
    """The other side will not have us, or is not who we were looking for."""


class Handshake:
    """What this node says and asks for at the beginning of a connection. Any thread may use it."""

    def __init__(self, hello: Hello, peers: Collection[NodeId]) -> None:
        """`hello` is this node's own; `peers` are the others that cluster.ini names."""
        self.hello = hello  # replaced as a whole, by whoever has the turn
        self._peers = frozenset(peers)

    def join(self, cluster_id: str) -> None:
        """Belong to this cluster from now on."""
        self.hello = replace(self.hello, cluster=cluster_id)

    def introduce(self, sock: socket.socket, peer: NodeId, address: Address) -> Welcome:
        """Say hello to `peer` and return its welcome; raise `LinkRefused`, or what `receive_hello` raises."""
        sock.sendall(frame(encode(self.hello)))
        answer = decode_hello_reply(receive_hello(sock))
        if isinstance(answer, Refused):
            raise LinkRefused(f"node {peer} at {address} refuses this node: {answer.reason[:300]!r}")
        if answer.node != peer:
            raise LinkRefused(f"at {address} answers node {answer.node[:64]!r}, not node {peer}")
        if not self.speaks(answer.protocol):
            raise LinkRefused(
                f"node {peer} at {address} wants protocol {answer.protocol}, which this release "
                "does not speak: install releases that have one in common"
            )
        return answer

    def welcome(self, hello: Hello, *, learner: bool) -> Welcome:
        """Return the answer to a hello that there is no objection to."""
        protocol = min(hello.protocol_max, self.hello.protocol_max)
        return Welcome(node=self.hello.node, learner=learner, protocol=protocol)

    def speaks(self, protocol: int) -> bool:
        """Whether this node knows that version of the protocol."""
        return self.hello.protocol_min <= protocol <= self.hello.protocol_max

    def objection(self, hello: Hello) -> str | None:
        """Return why the caller is refused, in a line for people, or None."""
        ours = self.hello
        if hello.protocol_max < ours.protocol_min or hello.protocol_min > ours.protocol_max:
            return (
                f"its release {hello.release[:32]!r} speaks protocol {_range(hello)}, and release "
                f"{ours.release!r} here speaks {_range(ours)}: install releases that have one in common"
            )
        if self._is_of_another_cluster(hello):
            return "it belongs to another cluster: compare the nodes and peers of both cluster.ini files"
        if hello.pepper != ours.pepper:
            return "it seals PINs with another pepper: copy the pepper file of one machine to all others"
        if hello.node == ours.node:
            return f"it says it is node {hello.node}, and so is this node: each name may run once"
        if hello.node not in self._peers:
            return f"no node {hello.node[:64]!r} in this cluster.ini"
        return None

    def _is_of_another_cluster(self, hello: Hello) -> bool:
        """The ids tell, once both have one; till then cluster.ini has to name the same servers."""
        if hello.cluster and self.hello.cluster:
            return hello.cluster != self.hello.cluster
        return hello.config != self.hello.config


def _range(hello: Hello) -> str:
    low, high = hello.protocol_min, hello.protocol_max
    return str(high) if low in (0, high) else f"{low} to {high}"


def receive_hello(sock: socket.socket) -> bytes:
    """Return the payload of the one frame that comes first; raise `Malformed` for more or less than that."""
    receive_timeout(sock, HELLO_S)
    incoming = Incoming(sock, HELLO_BYTES_MAX, partial_frame_s=HELLO_S)
    while True:
        payloads = incoming.read()
        if payloads is None or len(payloads) > 1 or (payloads and incoming.unfinished):
            raise Malformed("a hello is one frame, and nothing follows it before it is answered")
        if payloads:
            receive_timeout(sock, 0)
            return payloads[0]
