"""A bank with a faulty peer: three real nodes of five, and a test that sends valid hellos for the others.

What a faulty peer sends may cost an election. It must never stop the bank: `assert_serves` makes a credit.
"""

from __future__ import annotations

import contextlib
import socket
import tempfile
import time
from pathlib import Path
from types import TracebackType
from typing import Self

import msgspec

from atm.client import Client
from atm.local_cluster import LocalCluster, write_cluster_ini
from atm.raft.messages import Entry, EntryKind
from atm.server.security.peppers import read_peppers
from atm.storage.data_folder import PEERS_FILE
from atm.version import FEATURE_LEVEL_MAX, PROTOCOL_MAX, PROTOCOL_MIN, RELEASE
from atm.wire.client_messages import StatusReply
from atm.wire.codec import encode
from atm.wire.framing import FrameReader, frame
from atm.wire.peer_messages import Hello, Refused, Welcome, decode_hello_reply
from tests.support.certificates import Authority, add_tls

SERVED_WITHIN_S = 8.0
ANSWERED_WITHIN_S = 5.0
NODES = ("n1", "n2", "n3")
FAULTY_PEER, OTHER_FAULTY_PEER = "n4", "n5"  # nodes that never run, so that their names are free


class Bank:
    """Nodes n1 to n3, running; of n4 and n5 there is only what a test says in their names.

    With TLS if there is a CA; the files of all are in the folder of `cluster.ini` then.
    """

    def __init__(self, authority: Authority | None = None) -> None:
        self._authority = authority

    def __enter__(self) -> Self:
        self._temporary = tempfile.TemporaryDirectory()
        path = write_cluster_ini(Path(self._temporary.name), heartbeat_ms=30, election_timeout_ms="150-300")
        if self._authority is not None:
            add_tls(path, self._authority)
        self.cluster = LocalCluster(path)
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.cluster.stop_all()
        self._temporary.cleanup()

    def start(self) -> None:
        """Start all three and wait until a credit is acknowledged."""
        for name in NODES:
            self.cluster.start(name)
        self.assert_serves()

    def restart(self) -> None:
        """Stop all three, and start them from what they have saved."""
        codes = self.cluster.stop_all()
        assert set(codes.values()) == {0}, (codes, self.said())
        self.start()

    def assert_serves(self) -> None:
        """Assert that no node has ended and that a credit is acknowledged within `SERVED_WITHIN_S`."""
        with Client(self.cluster.cluster, timeout=SERVED_WITHIN_S) as client:
            assert client.credit("main", 1).outcome == "ok"
        assert self.cluster.running() == list(NODES), self.said()

    def said(self) -> dict[str, list[str]]:
        """Return what each node has printed."""
        return {name: self.cluster.output(name).splitlines() for name in NODES}

    def has_said(self, part: str, name: str) -> bool:
        """Return whether the node has printed a line with `part` in it."""
        return any(part in line for line in self.said()[name])

    def wait_until_all_have_met(self) -> None:
        """Wait until each node knows the data folders of the two others."""
        deadline = time.monotonic() + ANSWERED_WITHIN_S
        for name in NODES:
            path = self.cluster.cluster.data_dir / name / PEERS_FILE
            while not (path.exists() and set(msgspec.json.decode(path.read_bytes())) >= {*NODES} - {name}):
                assert time.monotonic() < deadline, name
                time.sleep(0.02)

    def wait_until_said(self, part: str, *names: str) -> None:
        """Wait until each of the nodes has printed a line with `part` in it."""
        deadline = time.monotonic() + ANSWERED_WITHIN_S
        for name in names or NODES:
            while not self.has_said(part, name):
                assert time.monotonic() < deadline, (name, part, self.said())
                time.sleep(0.02)

    def status(self, name: str) -> StatusReply:
        """Return what a node says of itself."""
        deadline = time.monotonic() + ANSWERED_WITHIN_S
        while (status := self.cluster.status(name)) is None:
            assert time.monotonic() < deadline, (name, self.said())
        return status

    def roles(self) -> tuple[str, str]:
        """Return the names of the leader and of one of its followers, once all agree on it."""
        leader = self.cluster.wait_for_leader()
        return leader, next(name for name in NODES if name != leader)

    def hello(self, node: str = FAULTY_PEER, store: str = "of the faulty peer") -> Hello:
        cluster = self.cluster.cluster
        return Hello(
            protocol_min=PROTOCOL_MIN,
            protocol_max=PROTOCOL_MAX,
            release=RELEASE,
            feature_level=FEATURE_LEVEL_MAX,
            cluster="",
            config=cluster.identity(),
            node=node,
            store=store,
            pepper=read_peppers(cluster.pepper_file).names[0],
        )

    def greet(self, to: str, hello: Hello) -> tuple[socket.socket, Welcome | Refused]:
        """Say hello to a node; return the connection and the answer."""
        connection = socket.create_connection(
            self.cluster.cluster.nodes[to].peer.pair, timeout=ANSWERED_WITHIN_S
        )
        try:
            connection.sendall(frame(encode(hello)))
            reader, payloads = FrameReader(2**20), list[bytes]()
            while not payloads and (piece := connection.recv(65536)):
                payloads.extend(reader.feed(piece))
            return connection, decode_hello_reply(payloads[0])
        except BaseException:
            connection.close()
            raise

    def send_as_peer(self, to: str, *messages: object, node: str = FAULTY_PEER) -> None:
        """Send a hello and then `messages`; return once the node has read them, or has closed."""
        connection, answer = self.greet(to, self.hello(node))
        assert isinstance(answer, Welcome), answer
        with connection, contextlib.suppress(OSError):  # it may close in the middle
            connection.sendall(b"".join(frame(encode(message)) for message in messages))
            connection.shutdown(socket.SHUT_WR)
            while connection.recv(65536):
                pass


def entry(index: int, term: int, data: bytes = b"", time_us: int = 0) -> Entry:
    """Return an entry, stamped by the clock unless it says otherwise."""
    kind = EntryKind.COMMAND if data else EntryKind.NOOP
    return Entry(index=index, term=term, time_us=time_us or time.time_ns() // 1000, kind=kind, data=data)
