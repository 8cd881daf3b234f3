"""Assembles one node: its folder, log, ledger, core, run loop, servers and links."""

from __future__ import annotations

import random
import resource
import secrets
import time
from collections.abc import Callable, Collection
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from threading import Lock
from typing import Protocol, TypeVar

from msgspec.structs import replace

from atm.config import LEDGER_FILE, Address, Cluster
from atm.ledger.ledger import ClusterState, Ledger
from atm.raft.messages import NodeId
from atm.raft.raft import Raft
from atm.server.clients import client_server
from atm.server.clients.auditor import Auditor
from atm.server.clients.backup_source import BackupSource
from atm.server.clients.client_server import ClientServer, clients_acceptor
from atm.server.clients.deed_notes import DeedNotes
from atm.server.clients.pin_service import PinService
from atm.server.group.clock_guard import ClockGuard
from atm.server.group.disk_guard import MIB, DiskGuard, Room, check_room, room_in
from atm.server.group.entry_validator import EntryValidator
from atm.server.group.guards import Guards
from atm.server.group.inbox import Inbox, Inputs
from atm.server.group.installer import Installer
from atm.server.group.kept_snapshots import KeptSnapshots
from atm.server.group.ledger_comparison import LedgerComparison
from atm.server.group.ledger_file import copy_path, open_ledger
from atm.server.group.pepper_keeper import PepperKeeper
from atm.server.group.pepper_watch import PepperWatch, lack_of
from atm.server.group.recovery import check_feature_level, check_one_cluster, recover
from atm.server.group.rejection_reports import RejectionReports
from atm.server.group.request_router import RequestRouter
from atm.server.group.roster import Roster
from atm.server.group.run_loop import RunLoop
from atm.server.group.settings import raft_config
from atm.server.group.snapshot_maker import SnapshotMaker
from atm.server.group.snapshotter import Snapshotter
from atm.server.group.timed_disk import TimedDisk
from atm.server.group.vitals import Vitals
from atm.server.net.certificate_watch import CertificateWatch
from atm.server.net.listener import check_reachable
from atm.server.net.reader import Reader
from atm.server.net.report_limit import ReportLimit
from atm.server.peers import peer_server
from atm.server.peers.handshake import Handshake, own_hello
from atm.server.peers.links import Links
from atm.server.peers.neighbours import Neighbours
from atm.server.peers.peer_server import PeerServer, peers_acceptor
from atm.server.peers.snapshot_fetcher import SnapshotFetcher
from atm.server.peers.snapshot_preparing import SnapshotPreparer
from atm.server.peers.snapshot_server import SnapshotServer
from atm.server.security.peppers import PepperRefused, read_peppers
from atm.server.security.pins import PinSealer
from atm.storage.data_folder import DataFolder
from atm.storage.log_file import SEGMENT_BYTES_MAX, LogFile
from atm.storage.snapshots import SNAPSHOT_FOLDER, SnapshotStore
from atm.tls.credentials import node_credentials
from atm.wire.client_messages import StatusReply
from atm.wire.peer_messages import START_BITS

SEGMENTS_PER_SNAPSHOT = 8  # at least: only whole segments are cut
OTHER_FILES = (
    100  # files and sockets besides the connections of clients, and of strangers at the servers' port
)
CONNECTIONS_MIN = 8  # of each of these two, however few files the system allows
FORWARD_NUMBER_BITS = 62
LOOK_EVERY_S = 1.0  # at the log's files, whether they are in their places

Say = Callable[[str], None]


class Closable(Protocol):
    """A part of a server."""

    def close(self) -> None: ...


P = TypeVar("P", bound=Closable)


@dataclass(frozen=True)
class _Storage:
    """What a node keeps over a restart, opened, and the core recovered from it."""

    folder: DataFolder
    sealer: PinSealer
    kept: KeptSnapshots
    disk: TimedDisk
    log: LogFile
    ledger: Ledger
    validator: EntryValidator
    raft: Raft


class Server:
    """One node, open from construction to `close`. Construction raises what its parts raise."""

    def __init__(
        self,
        cluster: Cluster,
        name: str,
        *,
        say: Say,
        report: Say,
        verbose: bool = False,
        check_invariants: bool = False,
        room: Callable[[Path], Room] = room_in,
        wall_clock_us: Callable[[], int] = lambda: time.time_ns() // 1000,
    ) -> None:
        self._cluster, self._name, self._node = cluster, name, cluster.nodes[name]
        self._say, self._report, self._verbose = say, report, verbose
        self._check_invariants = check_invariants
        self._room, self._wall_clock_us = room, wall_clock_us
        self.ledger_is_wrong = ""  # why the ledger must be rebuilt, in a line for people
        self._snapshot_log_bytes = int(cluster.snapshot_log_mb * 1024 * 1024)
        self._random = random.Random(secrets.randbits(64))
        self._next_look_s = 0.0
        self._limits = _limits()
        self._parts = ExitStack()
        self.ended_because = ""  # a line, once this node is no member of the cluster any more
        try:
            self._assemble()
        except BaseException:
            self._parts.close()
            raise

    def _assemble(self) -> None:
        self._cluster.check_secure(self._name)
        self._credentials = node_credentials(self._cluster, self._name)
        # One for each port: strangers at the clients' must not hide what is said of the other one.
        self._client_reports, self._peer_reports = ReportLimit(self._report), ReportLimit(self._report)
        self._certificates: CertificateWatch | None = None
        if self._credentials is not None:
            self._certificates = self._add_part(
                CertificateWatch(self._credentials, (self._client_reports, self._peer_reports), self._report)
            )
        check_reachable(self._node, [node for node in self._cluster.nodes.values() if node is not self._node])
        storage = self._open_storage()
        check_feature_level(storage.ledger.cluster)
        lock = Lock()
        inbox = Inbox(lock)
        self._reader = self._add_part(Reader(inbox.put_gathered, self._fail))
        roster = Roster(*storage.raft.configuration, {}, self._cluster.nodes)
        handshake = Handshake(
            own_hello(self._cluster, storage.folder, storage.sealer.peppers.names[0]),
            roster,
            lambda: storage.log.last_index,
            credentials=self._credentials,
            peppers=lambda: storage.sealer.peppers.names,
            current_pepper=lambda: storage.ledger.pepper,
        )
        self._pepper_watch = self._add_part(
            PepperWatch(
                self._cluster.pepper_file, storage.sealer, lambda: storage.ledger.pepper, self._report
            )
        )
        self._links = self._add_part(Links(handshake, inbox, self._report))
        self._auditor = self._add_part(Auditor(self._name, storage.folder.path / LEDGER_FILE))
        snapshot_server = SnapshotServer(storage.kept)
        self._snapshotter = self._make_snapshotter(storage, lock, snapshot_server)
        snapshot_server.make = self._snapshotter.take
        self._installer = self._make_installer(storage, lock, handshake)
        self._vitals = Vitals(
            storage.folder.path,
            storage.log,
            storage.disk,
            storage.kept,
            incarnation=storage.folder.incarnation,
            config=self._cluster.identity(),
            peppers=lambda: storage.sealer.peppers.names,
            wall_clock_us=self._wall_clock_us,
            room=self._room,
        )
        self._client_server = self._make_client_server(storage, inbox)

        def acknowledged(peer: NodeId) -> int:
            with lock:
                return min(storage.raft.matched().get(peer, 0), storage.raft.commit_index)

        self._peer_server = self._make_peer_server(
            storage.folder, handshake, inbox, acknowledged, snapshot_server
        )
        neighbours = Neighbours(
            self._name,
            handshake,
            self._links,
            self._peer_server,
            storage.folder,
            report=self._report,
            on_removed=self._end_removed,
            on_not_first=lambda store: inbox.put(Inputs(demotions=[(self._name, store)])),
        )

        def follow(state: ClusterState) -> None:
            check_feature_level(state)
            if state.id:
                storage.folder.join(state.id)
                handshake.join(state.id)
            neighbours.note_cluster(state)

        self._run_loop = self._make_run_loop(storage, inbox, lock, neighbours, follow)
        follow(storage.ledger.cluster)

    def _end_removed(self, why: str) -> None:
        self.ended_because = why
        self._run_loop.stop()

    def _add_part(self, part: P) -> P:
        """Close `part` with this server; parts are closed in reverse order."""
        self._parts.callback(part.close)
        return part

    def _open_storage(self) -> _Storage:
        check_room(self._cluster.data_dir / self._name, self._room)
        folder = self._add_part(DataFolder(self._cluster, self._name))
        if folder.was_open:
            self._report(f"node {self._name}: {folder.was_open}")
        folder.count_start(secrets.randbits(START_BITS))
        sealer = PinSealer(
            read_peppers(
                self._cluster.pepper_file,
                may_make=lambda: self._cluster.is_on_one_machine and not folder.knows_a_pepper,
            )
        )
        snapshots = SnapshotStore(folder.path / SNAPSHOT_FOLDER)
        segment_bytes_max = min(SEGMENT_BYTES_MAX, self._snapshot_log_bytes // SEGMENTS_PER_SNAPSHOT)
        disk = TimedDisk()
        log = self._add_part(
            LogFile(folder.path, base=snapshots.base, segment_bytes_max=segment_bytes_max, disk=disk)
        )
        folder.check_pepper(sealer.peppers.names[0], log_is_empty=not log.last_index)
        ledger = self._add_part(open_ledger(folder.path / LEDGER_FILE, snapshots, log.first_index))
        check_one_cluster(
            log, folder_id=folder.cluster_id, ledger_id=ledger.cluster.id, snapshot=snapshots.newest
        )
        validator = EntryValidator()
        new_id = secrets.token_hex(16)  # the cluster's id, if this node is its first leader
        raft = recover(
            raft_config(self._cluster, self._name, new_id),
            log,
            ledger,
            self._random.randint,
            validator,
            snapshot=snapshots.newest,
            check_invariants=self._check_invariants,
        )
        lacking = lack_of(self._cluster.pepper_file, sealer.peppers, ledger.pepper)
        if lacking:
            raise PepperRefused(lacking)
        if folder.is_not_first:
            raft.demote(self._name, folder.store)
        return _Storage(folder, sealer, KeptSnapshots(snapshots), disk, log, ledger, validator, raft)

    def _make_client_server(self, storage: _Storage, inbox: Inbox) -> ClientServer:
        server = ClientServer(
            self._node.listen_client or self._node.client,
            inbox,
            self._reader,
            PinService(
                storage.sealer,
                inbox,
                feature_level=lambda: storage.ledger.cluster.feature_level,
                pepper=lambda: storage.ledger.pepper,
            ),
            self._auditor,
            self._add_part(BackupSource(storage.folder.path)),
            DeedNotes(
                self._name,
                inbox,
                feature_level=lambda: storage.ledger.cluster.feature_level,
                applied_index=lambda: storage.ledger.applied_index,
            ),
            take_snapshot=self._snapshotter.take,
            role_changes=lambda: storage.ledger.role_changes,
            report=self._report,
            verbose=self._verbose,
            connections_max=self._limits.clients,
            requests_per_s=self._cluster.requests_per_s,
            acceptor=None
            if self._credentials is None
            else clients_acceptor(self._credentials, self._client_reports),
        )
        return self._add_part(server)

    def _make_peer_server(
        self,
        folder: DataFolder,
        handshake: Handshake,
        inbox: Inbox,
        acknowledged: Callable[[NodeId], int],
        snapshots: SnapshotServer,
    ) -> PeerServer:
        server = PeerServer(
            self._node.listen_peer or self._node.peer,
            handshake=handshake,
            folder=folder,
            inbox=inbox,
            reader=self._reader,
            links=self._links,
            acknowledged=acknowledged,
            snapshots=snapshots,
            report=self._report,
            verbose=self._verbose,
            places_max=self._limits.strangers,
            acceptor=None
            if self._credentials is None
            else peers_acceptor(self._credentials, self._peer_reports),
        )
        return self._add_part(server)

    def _make_snapshotter(self, storage: _Storage, lock: Lock, served: SnapshotServer) -> Snapshotter:
        self._maker = self._add_part(SnapshotMaker(storage.folder.path / LEDGER_FILE))
        snapshotter = Snapshotter(
            raft=storage.raft,
            lock=lock,
            log=storage.log,
            ledger=storage.ledger,
            kept=storage.kept,
            maker=self._maker,
            limit_bytes=self._snapshot_log_bytes,
            being_fetched=served.being_fetched,
            random=self._random.uniform,
            report=self._report,
        )
        return self._add_part(snapshotter)

    def _make_installer(self, storage: _Storage, lock: Lock, handshake: Handshake) -> Installer:
        def address_of(peer: NodeId) -> Address | None:
            return self._links.reached(peer) or handshake.roster.announced(peer)

        copy = copy_path(storage.folder.path / LEDGER_FILE)
        installer = Installer(
            raft=storage.raft,
            lock=lock,
            log=storage.log,
            ledger=storage.ledger,
            kept=storage.kept,
            prepare=SnapshotPreparer(SnapshotFetcher(handshake, address_of), copy).prepare,
            before_swap=lambda: self._before_swap(storage.validator),
            say=self._say,
            report=self._report,
        )
        return self._add_part(installer)

    def _before_swap(self, validator: EntryValidator) -> None:
        """The ledger's file is about to be replaced: end who reads the old one, forget what was for it."""
        self._auditor.interrupt()
        self._maker.interrupt()
        validator.forget()

    def _on_tick(self, log: LogFile, keeper: PepperKeeper) -> None:
        keeper.look()
        self._installer.tick()
        self._snapshotter.tick()
        if time.monotonic() >= self._next_look_s:
            self._next_look_s = time.monotonic() + LOOK_EVERY_S
            log.check_present()
        self._vitals.tick()

    def _make_run_loop(
        self,
        storage: _Storage,
        inbox: Inbox,
        lock: Lock,
        neighbours: Neighbours,
        follow: Callable[[ClusterState], None],
    ) -> RunLoop:
        guards = self._make_guards(storage)
        credentials = self._credentials
        keeper = PepperKeeper(
            self._name,
            storage.raft,
            storage.ledger,
            own=lambda: storage.sealer.peppers,
            others=lambda: guards.peppers,
        )

        def extend_status(status: StatusReply) -> StatusReply:
            lacking = lack_of(self._cluster.pepper_file, storage.sealer.peppers, storage.ledger.pepper)
            return replace(
                self._vitals.completed(status),
                voter=neighbours.has_vote,
                peer=str(self._node.peer),
                client=str(self._node.client),
                alarms=(*guards.alarms, *([lacking] if lacking else ())),
                certificate_ends_us=None if credentials is None else int(credentials.loaded.ends_s * 1e6),
            )

        router = RequestRouter(
            self._name,
            storage.raft,
            storage.ledger,
            self._links,
            guards,
            keeper,
            listed=self._cluster.nodes,
            first_store=storage.folder.first_store,
            first_number=self._random.getrandbits(FORWARD_NUMBER_BITS),
            say=self._say if self._verbose else None,
            extend_status=extend_status,
            wall_clock_us=guards.time_us,
        )
        here = self._node.client.pair
        return RunLoop(
            raft=storage.raft,
            log=storage.log,
            ledger=storage.ledger,
            links=self._links,
            router=router,
            validator=storage.validator,
            clients=self._client_server,
            inbox=inbox,
            lock=lock,
            guards=guards,
            on_leadership=lambda term: self._say(f"Leader on {here} in term {term}"),
            on_cluster=follow,
            on_configuration=neighbours.note_configuration,
            on_peers=neighbours.note_peers,
            on_rejection=RejectionReports(time.monotonic, self._report).report,
            on_install=self._installer.begin,
            on_tick=partial(self._on_tick, storage.log, keeper),
        )

    def _make_guards(self, storage: _Storage) -> Guards:
        def voters() -> Collection[NodeId]:
            return storage.raft.membership.voters

        comparison = LedgerComparison(
            self._name,
            storage.raft,
            storage.ledger,
            self._links,
            voters=voters,
            clock=time.monotonic,
            on_wrong=self._stop_to_rebuild,
            report=self._report,
        )
        reserve_bytes = self._cluster.disk_reserve_mb * MIB
        disk = DiskGuard(lambda: self._room(storage.folder.path), reserve_bytes, self._report)
        clocks = ClockGuard(
            self._name,
            skew_us=self._cluster.max_clock_skew_ms * 1000,
            voters=voters,
            clock=time.monotonic,
            wall_clock_us=self._wall_clock_us,
            report=self._report,
        )
        return Guards(
            self._name,
            storage.ledger,
            self._links,
            comparison,
            disk,
            clocks,
            voters=voters,
            clock=time.monotonic,
            wall_clock_us=self._wall_clock_us,
            own_peppers=lambda: storage.sealer.peppers.names,
        )

    def _stop_to_rebuild(self, why: str) -> None:
        """Stop serving at once: what this ledger answers may be wrong. Only within an iteration."""
        self.ledger_is_wrong = self.ledger_is_wrong or why
        self._run_loop.stop()

    def run(self) -> None:
        """Serve until `stop`, or until `ledger_is_wrong` says why this server must not serve."""
        self._reader.start()
        if self._certificates is not None:
            self._certificates.start()
        self._pepper_watch.start()
        self._peer_server.start()
        self._client_server.start()
        self._links.start()
        self._run_loop.run()

    def stop(self) -> None:
        """Make `run` return within a tick; a signal handler may call it."""
        self._run_loop.stop()

    def read_files_again(self) -> None:
        """Read the pepper, and certificates if there are any, soon; a signal handler may call it."""
        self._pepper_watch.read_again()
        if self._certificates is not None:
            self._certificates.read_again()

    def _fail(self, error: BaseException) -> None:
        self._run_loop.fail(error)

    def close(self) -> None:
        """Drop all connections, close all files and unlock the folder."""
        self._parts.close()


@dataclass(frozen=True)
class _Limits:
    """How many connections a process may have that has so few descriptors."""

    clients: int
    strangers: int  # at the servers' port


def _limits() -> _Limits:
    """Raise the limit of open files as needed and allowed; return how many connections fit."""
    wanted = client_server.CONNECTIONS_MAX + peer_server.PLACES_MAX + OTHER_FILES
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        soft = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        strangers = max(CONNECTIONS_MIN, min(peer_server.PLACES_MAX, soft // 8))
        return _Limits(max(CONNECTIONS_MIN, soft - OTHER_FILES - strangers), strangers)
    return _Limits(client_server.CONNECTIONS_MAX, peer_server.PLACES_MAX)
