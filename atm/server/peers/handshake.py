"""The handshake between two servers: a hello is sent, checked, and welcomed or refused."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Sequence

from msgspec.structs import replace

from atm.checkout import command_here
from atm.config import Address, Cluster
from atm.ledger.peppers import FIRST_GENERATION, PepperState
from atm.raft.messages import NodeId
from atm.server.group.roster import Roster
from atm.server.net.connection import Incoming, Stream, dial, set_receive_timeout
from atm.storage.data_folder import DataFolder
from atm.tls.credentials import Credentials
from atm.tls.tls_socket import HANDSHAKE_S, TlsSocket, connect_tls
from atm.version import FEATURE_LEVEL_MAX, PROTOCOL_MAX, PROTOCOL_MIN, RELEASE
from atm.wire.codec import Malformed, encode
from atm.wire.framing import frame
from atm.wire.peer_messages import Hello, Refused, Welcome, decode_hello_reply, incarnations_of

HELLO_S = 2.0  # for the first byte of a hello, and again for the rest of it
WELCOME_S = 5.0  # likewise for the reply: the other server may have to write to its disk first
HELLO_BYTES_MAX = 4 * 1024


class HandshakeRefused(Exception):
    """The peer refused this node's hello, or another node answered; `str()` of it is one line for people.

    `removed_at` is the log index at which this node was removed from the cluster, by the peer's word; else 0.
    """

    def __init__(self, line: str, removed_at: int = 0) -> None:
        super().__init__(line)
        self.removed_at = removed_at


def own_hello(cluster: Cluster, folder: DataFolder, pepper: str) -> Hello:
    """Return what the node that runs on `folder` says in a hello; `pepper` is its first pepper's name."""
    node = cluster.nodes[folder.owner.node]
    *earlier, incarnation = incarnations_of(folder.incarnation, folder.drawn) or (0,)
    return Hello(
        protocol_min=PROTOCOL_MIN,
        protocol_max=PROTOCOL_MAX,
        release=RELEASE,
        feature_level=FEATURE_LEVEL_MAX,
        cluster=folder.cluster_id,
        config=cluster.identity(),
        node=node.name,
        store=folder.store,
        pepper=pepper,
        peer_address=str(node.peer),
        client_address=str(node.client),
        incarnation=incarnation,
        earlier=tuple(earlier),
    )


class Handshake:
    """What this node says in a hello, and what it requires of one. Any thread may use it."""

    def __init__(
        self,
        hello: Hello,
        roster: Roster,
        last_index: Callable[[], int] = lambda: 0,
        *,
        credentials: Credentials | None = None,
        peppers: Callable[[], Sequence[str]] = tuple,
        current_pepper: Callable[[], PepperState] = PepperState,
    ) -> None:
        """`hello` is this node's own; `last_index` tells where its log ends on its disk.

        `peppers` tells the names of the peppers in its file, `current_pepper` which is current by its ledger.
        """
        self._credentials = credentials
        self._hello = hello  # replaced as a whole, within an iteration
        self._last_index = last_index
        self._peppers = peppers
        self._current_pepper = current_pepper
        self.roster = roster  # replaced as a whole, within an iteration

    @property
    def hello(self) -> Hello:
        """This node's hello, as of now."""
        member_at = self.roster.member_at(self._hello.node)
        return replace(
            self._hello,
            last_index=self._last_index(),
            member_at=member_at,
            further_peppers=tuple(self._peppers()[1:]),
        )

    def join(self, cluster_id: str) -> None:
        """Send this cluster id in hellos, and require it of peers, from now on."""
        self._hello = replace(self._hello, cluster=cluster_id)

    def show_store(self, store: str) -> None:
        """Send this store id in hellos from now on."""
        self._hello = replace(self._hello, store=store)

    def dial(self, peer: NodeId, address: Address, within_s: float) -> socket.socket | TlsSocket:
        """Return a connection to `peer`, over TLS if this node has it; raise `TlsFailed` and OSError."""
        sock = dial(address, within_s)
        if self._credentials is None:
            return sock
        try:
            until_s = time.monotonic() + HANDSHAKE_S
            return connect_tls(sock, self._credentials.for_dialling(), peer, until_s)
        except BaseException:
            sock.close()
            raise

    def say_hello(self, sock: Stream, peer: NodeId, address: Address, *, purpose: str = "") -> Welcome:
        """Send the hello, return the welcome; raise `HandshakeRefused`, and as `receive_hello`."""
        sock.sendall(frame(encode(replace(self.hello, purpose=purpose))))
        answer = decode_hello_reply(receive_hello(sock, WELCOME_S))
        if isinstance(answer, Refused):
            line = f"node {peer} at {address} refuses this node: {answer.reason[:300]!r}"
            raise HandshakeRefused(line, answer.removed_at)
        if answer.node != peer:
            raise HandshakeRefused(
                f"at {address} node {answer.node[:64]!r} answers, not node {peer}: correct the address of "
                f"node {peer} in cluster.ini, or move it"
            )
        if not self.speaks(answer.protocol):
            raise HandshakeRefused(
                f"node {peer} at {address} wants protocol {answer.protocol}, which this release "
                "does not speak: install releases that have one in common"
            )
        return answer

    def welcome(self, hello: Hello, *, learner: bool, stale: bool = False) -> Welcome:
        """Return the reply to an accepted hello."""
        protocol = min(hello.protocol_max, self._hello.protocol_max)
        return Welcome(node=self._hello.node, learner=learner, protocol=protocol, stale=stale)

    def speaks(self, protocol: int) -> bool:
        """Whether this node knows that version of the protocol."""
        return self._hello.protocol_min <= protocol <= self._hello.protocol_max

    def reason_to_refuse(self, hello: Hello) -> str | None:
        """Return why a peer with this hello is refused, in a line for people, or None."""
        ours = self._hello
        if hello.protocol_max < ours.protocol_min or hello.protocol_min > ours.protocol_max:
            return (
                f"its release {hello.release[:32]!r} speaks protocol {_range(hello)}, and release "
                f"{ours.release!r} here speaks {_range(ours)}: install releases that have one in common"
            )
        refusal = self._refusal_of_cluster(hello)
        if refusal is not None:
            return refusal
        if hello.pepper != ours.pepper:
            return "its PIN pepper is not the one here: copy the pepper_file of one machine to all others"
        current = self._current_pepper()
        if current.generation != FIRST_GENERATION and current.name not in hello.further_peppers:
            return (
                f"its pepper file lacks the current pepper, {current.name}: copy the pepper_file of another "
                "machine there"
            )
        if hello.node == ours.node:
            return f"it has the name of this node, {hello.node}: run each name once"
        return self._refusal_of_membership(hello)

    def _refusal_of_cluster(self, hello: Hello) -> str | None:
        """Compare the cluster ids once both have one; while none has, what both cluster.ini files say.

        If one has, the other has an empty data folder: it is a member that joins.
        """
        ours = self._hello
        if hello.cluster and ours.cluster:
            if hello.cluster == ours.cluster:
                return None
            return (
                f"its data folder belongs to another cluster, {hello.cluster[:32]!r}, and the one here to "
                f"{ours.cluster!r}: check data_dir on both machines"
            )
        if hello.cluster or ours.cluster or hello.config == ours.config:
            return None
        return "it belongs to another cluster: compare the nodes and peers of both cluster.ini files"

    def _refusal_of_membership(self, hello: Hello) -> str | None:
        """Return why a node is refused that is no member as far as this node's log says, or None.

        One of this very cluster may be a member by a newer entry than this node has; so may any, if this node
        has an empty data folder.
        """
        removed_at = self.removed_at(hello)
        if removed_at:
            return (
                f"node {hello.node} was removed from the cluster in log entry {removed_at}: it can be added "
                f"again with {command_here('admin')} add"
            )
        if self.roster.member(hello.node) is not None or hello.cluster:
            return None
        if self._hello.cluster:
            return (
                f"node {hello.node[:64]!r} is no member of this cluster: "
                f"add it first, with {command_here('admin')} add"
            )
        return f"no node {hello.node[:64]!r} in this cluster.ini: use one cluster.ini for all nodes"

    def removed_at(self, hello: Hello) -> int:
        """Return the index of the entry that removed the peer from the cluster, 0 if none has.

        A peer that was added again may lead, and is let in although this node's log ends before that: it is
        the leader that sends the rest.
        """
        return self.roster.removed_at(hello.node, hello.member_at)


def _range(hello: Hello) -> str:
    low, high = hello.protocol_min, hello.protocol_max
    return str(high) if low in (0, high) else f"{low} to {high}"


def receive_hello(sock: Stream, within_s: float) -> bytes:
    """Return the payload of the first frame. Raise `Malformed` if the stream ends or more than it arrives."""
    set_receive_timeout(sock, within_s)
    incoming = Incoming(sock, HELLO_BYTES_MAX, partial_frame_s=within_s)
    while True:
        payloads = incoming.read()
        if payloads is None or len(payloads) > 1 or (payloads and incoming.unfinished):
            raise Malformed("a hello is one frame, and nothing may follow it before the reply")
        if payloads:
            set_receive_timeout(sock, 0)
            return payloads[0]
