"""The handshake between two servers: a hello is sent, checked, and welcomed or refused."""

from __future__ import annotations

import socket
from collections.abc import Collection

from msgspec.structs import replace

from atm.config import Address
from atm.raft.messages import NodeId
from atm.server.net.connection import Incoming, set_receive_timeout
from atm.wire.codec import Malformed, encode
from atm.wire.framing import frame
from atm.wire.peer_messages import Hello, Refused, Welcome, decode_hello_reply

HELLO_S = 5.0
HELLO_BYTES_MAX = 4 * 1024


class HandshakeRefused(Exception):
    """The peer refused this node's hello, or another node answered; `str()` of it is one line for people."""


class Handshake:
    """What this node says in a hello, and what it requires of one. Any thread may use it."""

    def __init__(self, hello: Hello, peers: Collection[NodeId]) -> None:
        """`hello` is this node's own; `peers` are the others that cluster.ini names."""
        self.hello = hello  # replaced as a whole, within an iteration
        self._peers = frozenset(peers)

    def join(self, cluster_id: str) -> None:
        """Send this cluster id in hellos, and require it of peers, from now on."""
        self.hello = replace(self.hello, cluster=cluster_id)

    def say_hello(self, sock: socket.socket, peer: NodeId, address: Address) -> Welcome:
        """Send the hello, return the welcome; raise `HandshakeRefused`, and as `receive_hello`."""
        sock.sendall(frame(encode(self.hello)))
        answer = decode_hello_reply(receive_hello(sock))
        if isinstance(answer, Refused):
            raise HandshakeRefused(f"node {peer} at {address} refuses this node: {answer.reason[:300]!r}")
        if answer.node != peer:
            raise HandshakeRefused(
                f"at {address} node {answer.node[:64]!r} answers, not node {peer}: correct the address of "
                f"node {peer} in cluster.ini"
            )
        if not self.speaks(answer.protocol):
            raise HandshakeRefused(
                f"node {peer} at {address} wants protocol {answer.protocol}, which this release "
                "does not speak: install releases that have one in common"
            )
        return answer

    def welcome(self, hello: Hello, *, learner: bool) -> Welcome:
        """Return the reply to an accepted hello."""
        protocol = min(hello.protocol_max, self.hello.protocol_max)
        return Welcome(node=self.hello.node, learner=learner, protocol=protocol)

    def speaks(self, protocol: int) -> bool:
        """Whether this node knows that version of the protocol."""
        return self.hello.protocol_min <= protocol <= self.hello.protocol_max

    def reason_to_refuse(self, hello: Hello) -> str | None:
        """Return why a peer with this hello is refused, in a line for people, or None."""
        ours = self.hello
        if hello.protocol_max < ours.protocol_min or hello.protocol_min > ours.protocol_max:
            return (
                f"its release {hello.release[:32]!r} speaks protocol {_range(hello)}, and release "
                f"{ours.release!r} here speaks {_range(ours)}: install releases that have one in common"
            )
        if self._is_of_another_cluster(hello):
            return self._another_cluster(hello)
        if hello.pepper != ours.pepper:
            return "its PIN pepper is not the one here: copy the pepper_file of one machine to all others"
        if hello.node == ours.node:
            return f"it has the name of this node, {hello.node}: run each name once"
        if hello.node not in self._peers:
            return f"no node {hello.node[:64]!r} in this cluster.ini: use one cluster.ini for all nodes"
        return None

    def _another_cluster(self, hello: Hello) -> str:
        if hello.cluster and self.hello.cluster:
            return (
                f"its data folder belongs to another cluster, {hello.cluster[:32]!r}, and the one here to "
                f"{self.hello.cluster!r}: check data_dir on both machines"
            )
        return "it belongs to another cluster: compare the nodes and peers of both cluster.ini files"

    def _is_of_another_cluster(self, hello: Hello) -> bool:
        """Compare the cluster ids once both have one; until then, what both cluster.ini files say."""
        if hello.cluster and self.hello.cluster:
            return hello.cluster != self.hello.cluster
        return hello.config != self.hello.config


def _range(hello: Hello) -> str:
    low, high = hello.protocol_min, hello.protocol_max
    return str(high) if low in (0, high) else f"{low} to {high}"


def receive_hello(sock: socket.socket) -> bytes:
    """Return the payload of the first frame. Raise `Malformed` if the stream ends or more than it arrives."""
    set_receive_timeout(sock, HELLO_S)
    incoming = Incoming(sock, HELLO_BYTES_MAX, partial_frame_s=HELLO_S)
    while True:
        payloads = incoming.read()
        if payloads is None or len(payloads) > 1 or (payloads and incoming.unfinished):
            raise Malformed("a hello is one frame, and nothing may follow it before the reply")
        if payloads:
            set_receive_timeout(sock, 0)
            return payloads[0]
