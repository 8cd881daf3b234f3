"""Fetching a snapshot over real sockets: from its end after any interruption, with time-outs of its own."""

from __future__ import annotations

import logging
import socket
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from threading import Event, Lock, Thread

import pytest

from atm.config import Address, Cluster
from atm.raft import Member
from atm.raft.messages import Snapshot
from atm.server.group.inbox import Inbox
from atm.server.group.roster import Roster
from atm.server.logger.logger import EventRecord
from atm.server.net.reader import Reader
from atm.server.peers import snapshot_server
from atm.server.peers.handshake import Handshake
from atm.server.peers.links import Links
from atm.server.peers.peer_server import PeerServer
from atm.server.peers.snapshot_fetcher import FetchFailed, Interrupted, SnapshotFetcher
from atm.server.peers.snapshot_server import SnapshotServer
from atm.storage.data_folder import DataFolder
from atm.version import PROTOCOL_MAX, PROTOCOL_MIN, RELEASE
from atm.wire.codec import encode
from atm.wire.framing import LENGTH_BYTES, frame
from atm.wire.peer_messages import (
    CHUNK_BYTES_MAX,
    FETCH,
    AskForSnapshot,
    FetchSnapshot,
    Hello,
    SnapshotChunk,
    SnapshotGone,
    SnapshotThere,
    Welcome,
    decode_fetch,
    decode_fetched,
    decode_hello,
    decode_hello_reply,
)
from tests.support.collecting import collecting, collecting_events
from tests.support.server_parts import DEADLINE_S, Wire, cluster_of, wait_until
from tests.support.snapshot_files import FakeFiles, SomeBytes, some_bytes

FILE_BYTES = 3 * CHUNK_BYTES_MAX + 17


def hello(cluster: Cluster, node: str, *, purpose: str = "") -> Hello:
    return Hello(
        protocol_min=PROTOCOL_MIN,
        protocol_max=PROTOCOL_MAX,
        release=RELEASE,
        feature_level=2,
        cluster="",
        config=cluster.identity(),
        node=node,
        store=f"store of {node}",
        pepper="",
        purpose=purpose,
    )


ROSTER = Roster(0, (Member("n1", voter=True), Member("n2", voter=True)), {}, {})


class Leader:
    """The peer port of n1, which has snapshots; n2 fetches them."""

    def __init__(self, folder: Path) -> None:
        self.cluster = cluster_of(folder, "n1", "n2")
        self.files = FakeFiles()
        self.reported: list[str] = []
        self.snapshots = SnapshotServer(self.files, collecting(self.reported))
        self._folder = DataFolder(self.cluster, "n1")
        self.inbox = Inbox(Lock())
        self._reader = Reader(self.inbox.put_gathered, lambda error: self.reported.append(repr(error)))
        self._reader.start()
        handshake = Handshake(hello(self.cluster, "n1"), ROSTER)
        self.server = PeerServer(
            self.cluster.nodes["n1"].peer,
            handshake=handshake,
            folder=self._folder,
            inbox=self.inbox,
            reader=self._reader,
            links=Links(handshake, self.inbox, collecting(self.reported)),
            snapshots=self.snapshots,
            logger=collecting(self.reported),
        )
        self.server.start()

    def close(self) -> None:
        self.server.close()
        self._reader.close()
        self._folder.close()

    def offer(self, snapshot: SomeBytes) -> SomeBytes:
        self.files.put(snapshot, self.cluster.path.parent)
        return snapshot

    def fetcher(self, **settings: float) -> SnapshotFetcher:
        return fetcher_of(self.cluster, self.cluster.nodes["n1"].peer, **settings)

    def dial(self) -> Wire:
        wire = Wire(self.cluster.nodes["n1"].peer)
        wire.send(hello(self.cluster, "n2", purpose=FETCH))
        payload = wire.payload()
        assert payload is not None
        assert decode_hello_reply(payload) == Welcome(node="n1", learner=False, protocol=PROTOCOL_MAX)
        return wire


def fetcher_of(cluster: Cluster, address: Address | None, **settings: float) -> SnapshotFetcher:
    handshake = Handshake(hello(cluster, "n2"), ROSTER)
    return SnapshotFetcher(handshake, lambda peer: address, **settings)  # type: ignore[arg-type]


@pytest.fixture
def leader(tmp_path: Path) -> Iterator[Leader]:
    leader = Leader(tmp_path)
    yield leader
    leader.close()


@pytest.fixture
def port(tmp_path: Path) -> Iterator[ScriptedPort]:
    port = ScriptedPort(tmp_path)
    yield port
    port.close()


class ScriptedPort:
    """A port of n1 where the test says what each connection does after its hello."""

    def __init__(self, folder: Path) -> None:
        self.cluster = cluster_of(folder, "n1", "n2")
        self.asked: list[FetchSnapshot] = []
        self.was_hung_up_on = False
        self._listening = socket.create_server(self.cluster.nodes["n1"].peer.pair)
        self._thread = Thread(daemon=True)

    def act(self, *acts: Callable[[socket.socket], None]) -> None:
        """Accept a connection for each."""
        self._thread = Thread(target=self._run, args=acts, daemon=True)
        self._thread.start()

    def fetcher(self, **settings: float) -> SnapshotFetcher:
        return fetcher_of(self.cluster, self.cluster.nodes["n1"].peer, **settings)

    def close(self) -> None:
        self._thread.join(DEADLINE_S)
        self._listening.close()

    def _run(self, *acts: Callable[[socket.socket], None]) -> None:
        for act in acts:
            sock, _ = self._listening.accept()
            with sock, suppress(OSError):
                assert decode_hello(_payload(sock)).purpose == FETCH
                sock.sendall(frame(encode(Welcome(node="n1", learner=False, protocol=PROTOCOL_MAX))))
                act(sock)

    def chunks(self, snapshot: SomeBytes, count: int) -> Callable[[socket.socket], None]:
        """Send so many chunks of 1,000 bytes, then hang up."""

        def act(sock: socket.socket) -> None:
            for _ in range(count):
                request = self._asked(sock)
                data = snapshot.data[request.offset : request.offset + 1000]
                sock.sendall(
                    frame(
                        encode(
                            SnapshotChunk(index=request.index, offset=request.offset, data=data, end=False)
                        )
                    )
                )

        return act

    def silence(self, sock: socket.socket) -> None:
        """Take the request, and send nothing until the other end hangs up."""
        self._asked(sock)
        sock.settimeout(DEADLINE_S)
        self.was_hung_up_on = sock.recv(1) == b""

    def _asked(self, sock: socket.socket) -> FetchSnapshot:
        request = decode_fetch(_payload(sock))
        assert isinstance(request, FetchSnapshot)
        self.asked.append(request)
        return request


def _payload(sock: socket.socket) -> bytes:
    length = int.from_bytes(_exactly(sock, LENGTH_BYTES), "big")
    return _exactly(sock, length)


def _exactly(sock: socket.socket, length: int) -> bytes:
    data = b""
    while len(data) < length:
        piece = sock.recv(length - len(data))
        if not piece:
            raise ConnectionError
        data += piece
    return data


def test_a_file_arrives_as_it_is_and_is_read_from_one_descriptor(leader: Leader, tmp_path: Path) -> None:
    snapshot = leader.offer(some_bytes(7, FILE_BYTES))
    leader.fetcher().fetch(snapshot, "n1", tmp_path / "part", Event())
    assert (tmp_path / "part").read_bytes() == snapshot.data
    assert leader.files.opened == 1
    assert leader.snapshots.being_fetched() == {7}


def test_the_last_piece_of_a_snapshot_is_told_and_no_other(
    leader: Leader, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[EventRecord] = []
    monkeypatch.setattr(leader.snapshots, "_logger", collecting_events(told, "snapshot.sent"))
    snapshot = leader.offer(some_bytes(7, FILE_BYTES))
    leader.fetcher().fetch(snapshot, "n1", tmp_path / "part", Event())
    wait_until(lambda: bool(told))
    [event] = told
    assert (event.levelno, event.fields) == (logging.INFO, {"peer": "n2", "index": 7})
    assert event.msg == "sent the snapshot up to entry 7 to node n2"


def test_a_download_goes_on_from_where_it_ended(leader: Leader, tmp_path: Path) -> None:
    snapshot = leader.offer(some_bytes(7, FILE_BYTES))
    (tmp_path / "part").write_bytes(
        b"?" * 1000
    )  # fetched by an earlier process; the contents are not looked at
    leader.fetcher().fetch(snapshot, "n1", tmp_path / "part", Event())
    assert (tmp_path / "part").read_bytes() == b"?" * 1000 + snapshot.data[1000:]


def test_more_than_there_is_was_of_another_file_and_is_dropped(leader: Leader, tmp_path: Path) -> None:
    snapshot = leader.offer(some_bytes(7, 5000))
    (tmp_path / "part").write_bytes(b"?" * 5001)
    leader.fetcher().fetch(snapshot, "n1", tmp_path / "part", Event())
    assert (tmp_path / "part").read_bytes() == snapshot.data


def test_lost_connections_cost_no_byte_twice(port: ScriptedPort, tmp_path: Path) -> None:
    """The loop of others, whose installs begin at chunk 0 after each time-out."""
    snapshot = some_bytes(7, 5000)
    port.act(port.chunks(snapshot, 2), port.chunks(snapshot, 1), port.chunks(snapshot, 2))
    port.fetcher().fetch(snapshot, "n1", tmp_path / "part", Event())
    assert [request.offset for request in port.asked] == [0, 1000, 2000, 3000, 4000]
    assert (tmp_path / "part").read_bytes() == snapshot.data


def test_a_leader_that_sends_no_byte_is_dialled_again(port: ScriptedPort, tmp_path: Path) -> None:
    snapshot = some_bytes(7, 2000)
    port.act(port.silence, port.chunks(snapshot, 2))
    port.fetcher(silence_s=0.2).fetch(snapshot, "n1", tmp_path / "part", Event())
    assert [request.offset for request in port.asked] == [0, 0, 1000]
    assert port.was_hung_up_on


def test_without_progress_it_fails_and_what_has_arrived_stays(port: ScriptedPort, tmp_path: Path) -> None:
    snapshot = some_bytes(7, 5000)
    port.act(port.chunks(snapshot, 2))
    with pytest.raises(
        FetchFailed, match=r"sent nothing of snapshot 7 for 0.3 s .*2000 of 5000 bytes have come"
    ):
        port.fetcher(give_up_s=0.3).fetch(snapshot, "n1", tmp_path / "part", Event())
    assert (tmp_path / "part").read_bytes() == snapshot.data[:2000]


def test_what_is_gone_is_said_at_once(leader: Leader, tmp_path: Path) -> None:
    leader.offer(some_bytes(8, 100))
    with pytest.raises(FetchFailed, match="snapshot 7 is not there any more"):
        leader.fetcher().fetch(some_bytes(7, 100), "n1", tmp_path / "part", Event())


def test_another_file_at_the_same_index_is_gone_too(leader: Leader, tmp_path: Path) -> None:
    leader.offer(some_bytes(7, 100))
    with pytest.raises(FetchFailed, match="snapshot 7 is not there any more"):
        leader.fetcher().fetch(SomeBytes(7, b"other"), "n1", tmp_path / "part", Event())


def test_a_file_that_is_shorter_than_was_said_ends_the_fetch(leader: Leader, tmp_path: Path) -> None:
    snapshot = leader.offer(some_bytes(7, 5000))
    leader.files.paths[7, snapshot.sha256].write_bytes(snapshot.data[:4000])
    with pytest.raises(FetchFailed, match="not as long as was said"):
        leader.fetcher().fetch(snapshot, "n1", tmp_path / "part", Event())


def test_a_file_that_is_removed_while_it_is_fetched_stays_readable(leader: Leader) -> None:
    snapshot = leader.offer(some_bytes(7, CHUNK_BYTES_MAX + 5))
    request = FetchSnapshot(index=7, sha256=snapshot.sha256, offset=0)
    with leader.dial() as wire:
        first = answer(wire, request)
        leader.files.paths.pop((7, snapshot.sha256)).unlink()
        last = answer(wire, FetchSnapshot(index=7, sha256=snapshot.sha256, offset=CHUNK_BYTES_MAX))
        gone = answer(wire, FetchSnapshot(index=8, sha256=snapshot.sha256, offset=0))
    assert first == SnapshotChunk(index=7, offset=0, data=snapshot.data[:CHUNK_BYTES_MAX], end=False)
    assert last == SnapshotChunk(
        index=7, offset=CHUNK_BYTES_MAX, data=snapshot.data[CHUNK_BYTES_MAX:], end=True
    )
    assert gone == SnapshotGone(index=8)


def test_who_does_not_want_it_any_more_is_not_waited_for(leader: Leader, tmp_path: Path) -> None:
    snapshot = leader.offer(some_bytes(7, FILE_BYTES))
    stop = Event()
    stopped: list[BaseException] = []

    def fetch() -> None:
        try:
            leader.fetcher(bytes_per_s=CHUNK_BYTES_MAX / DEADLINE_S).fetch(
                snapshot, "n1", tmp_path / "part", stop
            )
        except Interrupted as error:
            stopped.append(error)

    thread = Thread(target=fetch, daemon=True)
    thread.start()
    wait_until(lambda: leader.snapshots.being_fetched() == {7})
    stop.set()
    thread.join(DEADLINE_S / 2)
    assert stopped


def test_a_download_is_paced(leader: Leader, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    snapshot = leader.offer(some_bytes(7, 4 * CHUNK_BYTES_MAX))
    waits: list[float] = []

    class Watched(Event):
        def wait(self, timeout: float | None = None) -> bool:
            assert timeout is not None
            waits.append(timeout)
            return False

    leader.fetcher(bytes_per_s=CHUNK_BYTES_MAX).fetch(snapshot, "n1", tmp_path / "part", Watched())
    assert len(waits) >= 4
    assert all(at - 1 < wait <= at for at, wait in enumerate(waits[:4], 1)), waits


def test_fetching_is_no_message_and_changes_nothing_between_the_servers(leader: Leader) -> None:
    """It neither takes the place of the peer's own connection nor counts as one."""
    with Wire(leader.cluster.nodes["n1"].peer) as first:
        first.send(hello(leader.cluster, "n2"))
        assert first.payload() is not None
        with leader.dial() as fetching:
            assert answer(fetching, FetchSnapshot(index=1, sha256="", offset=0)) == SnapshotGone(index=1)
            with leader.server._lock:
                assert len(leader.server._connections) == 2
            first.socket.setblocking(False)
            with pytest.raises(BlockingIOError):
                first.socket.recv(1)
        wait_until(lambda: len(leader.server._connections) == 1)
    assert leader.reported == []


def test_a_second_fetch_of_a_peer_takes_the_place_of_its_first(leader: Leader) -> None:
    with leader.dial() as first:
        assert answer(first, FetchSnapshot(index=1, sha256="", offset=0)) == SnapshotGone(index=1)
        with leader.dial() as second:
            assert answer(second, FetchSnapshot(index=2, sha256="", offset=0)) == SnapshotGone(index=2)
            assert first.payload() is None


def described(index: int) -> Snapshot:
    return Snapshot(
        index=index,
        term=2,
        time_us=3,
        size_bytes=4,
        sha256="ab" * 32,
        chain_hash="cd" * 32,
        membership=b"",
        cluster_id="",
    )


def test_a_snapshot_can_be_asked_for_and_counts_as_being_fetched(leader: Leader) -> None:
    leader.files.newest = described(7)
    assert leader.fetcher().ask("n1", 7) == described(7)
    assert leader.snapshots.being_fetched() == {7}


def test_a_snapshot_that_is_too_old_is_made_anew(leader: Leader) -> None:
    def make() -> None:
        leader.files.newest = described(9)

    leader.files.newest = described(7)
    leader.snapshots.make = make
    assert leader.fetcher().ask("n1", 8) == described(9)


def test_without_a_snapshot_so_late_there_is_none(leader: Leader) -> None:
    with pytest.raises(FetchFailed, match="node n1 has no snapshot of entry 8 or later"):
        leader.fetcher().ask("n1", 8)
    leader.files.newest = described(7)
    with pytest.raises(FetchFailed, match="node n1 has no snapshot of entry 8 or later"):
        leader.fetcher().ask("n1", 8)


def test_a_server_that_cannot_be_asked_is_told(leader: Leader) -> None:
    nobody = leader.cluster.nodes["n2"].peer
    with pytest.raises(FetchFailed, match="node n1 gives no snapshot"):
        fetcher_of(leader.cluster, nobody).ask("n1", 7)
    with pytest.raises(FetchFailed, match="the address of node n1 is not known"):
        fetcher_of(leader.cluster, None).ask("n1", 7)


def test_garbage_on_a_connection_for_fetching_ends_it(leader: Leader) -> None:
    with leader.dial() as wire:
        wire.socket.sendall(frame(b"\xc1"))
        assert wire.payload() is None
    wait_until(lambda: bool(leader.reported))
    assert "a peer's connection was closed" in leader.reported[0]


def test_who_asks_for_nothing_any_more_is_hung_up_on(leader: Leader, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(snapshot_server, "IDLE_S", 0.1)
    with leader.dial() as wire:
        assert wire.payload() is None
    assert leader.reported == []


def test_a_snapshot_counts_as_fetched_for_a_while_after_the_last_chunk(tmp_path: Path) -> None:
    now_s = [100.0]
    snapshots = SnapshotServer(FakeFiles(), collecting([]), clock=lambda: now_s[0])
    snapshots._fetched_s[7] = 100.0
    now_s[0] += snapshot_server.FETCHED_S
    assert snapshots.being_fetched() == {7}
    now_s[0] += 0.1
    assert snapshots.being_fetched() == set()


def answer(
    wire: Wire, request: FetchSnapshot | AskForSnapshot
) -> SnapshotChunk | SnapshotThere | SnapshotGone:
    wire._reader._frame_bytes_max = 2 * CHUNK_BYTES_MAX
    wire.send(request)
    payload = wire.payload()
    assert payload is not None
    return decode_fetched(payload)
