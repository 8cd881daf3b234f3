"""Assembles one node: its folder, log, ledger, core, run loop, servers and links."""

from __future__ import annotations

import random
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
from atm.events.event import Header
from atm.events.recorder import FlightRecorder
from atm.ledger.ledger import ClusterState, Ledger
from atm.raft.events import CoreEvent
from atm.raft.messages import NodeId
from atm.raft.raft import Raft
from atm.raft.rejection import Rejection
from atm.server.clients.auditor import Auditor
from atm.server.clients.backup_source import BackupSource
from atm.server.clients.client_server import ClientServer, clients_acceptor
from atm.server.clients.deed_notes import DeedNotes
from atm.server.clients.event_source import EventSource
from atm.server.clients.pin_service import PinService
from atm.server.group.clock_guard import ClockGuard
from atm.server.group.disk_guard import MIB, DiskGuard, Room, check_room, room_in
from atm.server.group.election_lines import ElectionLines
from atm.server.group.entry_validator import EntryValidator
from atm.server.group.flight_file import dump
from atm.server.group.guards import Guards
from atm.server.group.inbox import Inbox, Inputs
from atm.server.group.installer import Installer
from atm.server.group.kept_snapshots import KeptSnapshots
from atm.server.group.leaderships import Leaderships
from atm.server.group.ledger_comparison import LedgerComparison
from atm.server.group.ledger_file import copy_path, open_ledger
from atm.server.group.pepper_keeper import PepperKeeper
from atm.server.group.pepper_watch import PepperWatch, lack_of
from atm.server.group.publisher import Publisher
from atm.server.group.recovery import check_feature_level, check_one_cluster, recover
from atm.server.group.request_router import RequestRouter
from atm.server.group.roster import Roster
from atm.server.group.run_loop import RunLoop
from atm.server.group.settings import SEGMENTS_PER_SNAPSHOT, raft_config
from atm.server.group.snapshot_maker import SnapshotMaker
from atm.server.group.snapshotter import Snapshotter
from atm.server.group.timed_disk import TimedDisk
from atm.server.group.vitals import Vitals
from atm.server.limits import connection_limits
from atm.server.logger.logger import Field, Logger
from atm.server.metrics.counters import Counters
from atm.server.metrics.endpoint import MetricsEndpoint
from atm.server.metrics.health import Health, silent_s_max
from atm.server.metrics.node_metrics import NodeMetrics, Parts
from atm.server.net.certificate_watch import CertificateWatch
from atm.server.net.listener import check_reachable
from atm.server.net.reader import Reader
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
from atm.tls.of_cluster import node_credentials
from atm.version import RELEASE
from atm.wire.client_messages import StatusReply
from atm.wire.peer_messages import START_BITS

FORWARD_NUMBER_BITS = 62
SLOW_MS_MIN = 100  # what is told to be slow takes half the shortest election timeout, and at least this
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
        logger: Logger,
        verbose: bool = False,
        check_invariants: bool = False,
        room: Callable[[Path], Room] = room_in,
        wall_clock_us: Callable[[], int] = lambda: time.time_ns() // 1000,
    ) -> None:
        self._cluster, self._name, self._node = cluster, name, cluster.nodes[name]
        self._say, self._logger, self._verbose = say, logger, verbose
        self._check_invariants = check_invariants
        self._room, self._wall_clock_us = room, wall_clock_us
        self.ledger_is_wrong = ""  # why the ledger must be rebuilt, in a line for people
        self._snapshot_log_bytes = int(cluster.snapshot_log_mb * 1024 * 1024)
        self._random = random.Random(secrets.randbits(64))
        self._next_look_s = 0.0
        self._slow_ms = max(SLOW_MS_MIN, cluster.election_timeout_ms[0] / 2)
        self._limits = connection_limits()
        self.recorder = FlightRecorder(name, time.monotonic_ns)
        self._cluster_id = ""  # as far as the ledger knows it
        self._voters: Callable[[], Collection[NodeId]] = tuple  # once there is a core
        self._elections = ElectionLines(logger, name, self._known_voters)
        self._leaderships = Leaderships()
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
        self._certificates: CertificateWatch | None = None
        if self._credentials is not None:
            self._certificates = self._add_part(CertificateWatch(self._credentials, self._logger))
        self._serve_metrics()
        check_reachable(self._node, [node for node in self._cluster.nodes.values() if node is not self._node])
        self._storage = storage = self._open_storage()
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
                self._cluster.pepper_file, storage.sealer, lambda: storage.ledger.pepper, self._logger
            )
        )
        self._links = self._add_part(Links(handshake, inbox, self._logger))
        self._auditor = self._add_part(Auditor(self._name, storage.folder.path / LEDGER_FILE))
        snapshot_server = SnapshotServer(storage.kept, self._logger)
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
            logger=self._logger,
            on_removed=self._end_removed,
            on_not_first=lambda store: inbox.put(Inputs(demotions=[(self._name, store)])),
        )

        def follow(state: ClusterState) -> None:
            check_feature_level(state)
            self._cluster_id = state.id
            if state.id:
                storage.folder.join(state.id)
                handshake.join(state.id)
            neighbours.note_cluster(state)

        self._run_loop = self._make_run_loop(storage, inbox, lock, neighbours, follow)
        follow(storage.ledger.cluster)
        self._metrics.parts = self._counted_parts(storage)

    def _end_removed(self, why: str) -> None:
        self.ended_because = why
        self.stop()

    def _serve_metrics(self) -> None:
        """Tell how this node is, from now on: a start may take long."""
        self._disk = TimedDisk(self._logger, slow_s=self._slow_ms / 1000)
        self._counters = Counters()
        self._health = Health(
            silent_s_max=silent_s_max(self._cluster.heartbeat_ms / 1000),
            clock=time.monotonic,
            sync_began_s=lambda: self._disk.sync_began_s,
        )
        self._metrics = NodeMetrics(self._health, time.monotonic)
        if self._node.metrics is not None:
            endpoint = MetricsEndpoint(
                self._node.metrics, self._health, self._metrics, logger=self._logger, verbose=self._verbose
            )
            self._add_part(endpoint).start()

    def _add_part(self, part: P) -> P:
        """Close `part` with this server; parts are closed in reverse order."""
        self._parts.callback(part.close)
        return part

    def _open_storage(self) -> _Storage:
        check_room(self._cluster.data_dir / self._name, self._room)
        folder = self._add_part(DataFolder(self._cluster, self._name))
        if folder.was_open:
            self._logger.warning("folder.was_open", folder.was_open)
        folder.count_start(secrets.randbits(START_BITS))
        sealer = PinSealer(
            read_peppers(
                self._cluster.pepper_file,
                may_make=lambda: self._cluster.is_on_one_machine and not folder.knows_a_pepper,
            )
        )
        snapshots = SnapshotStore(folder.path / SNAPSHOT_FOLDER)
        segment_bytes_max = min(SEGMENT_BYTES_MAX, self._snapshot_log_bytes // SEGMENTS_PER_SNAPSHOT)
        disk = self._disk
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
            on_event=self._on_core_event,
        )
        self.recorder.on_started(
            raft.term, raft.last_index, raft.commit_index, raft.configuration, raft.snapshot, RELEASE
        )
        self._voters = lambda: raft.membership.voters
        lacking = lack_of(self._cluster.pepper_file, sealer.peppers, ledger.pepper)
        if lacking:
            raise PepperRefused(lacking)
        if folder.is_not_first:
            raft.demote(self._name, folder.store)
        return _Storage(folder, sealer, KeptSnapshots(snapshots), disk, log, ledger, validator, raft)

    def _known_voters(self) -> Collection[NodeId]:
        return self._voters()

    def _on_core_event(self, event: CoreEvent) -> None:
        self.recorder.on_core_event(event)
        self._elections.tell(event)
        self._leaderships.note(event)

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
            EventSource(self.recorder, self.events_header),
            take_snapshot=self._snapshotter.take,
            role_changes=lambda: storage.ledger.role_changes,
            logger=self._logger,
            verbose=self._verbose,
            connections_max=self._limits.clients,
            requests_per_s=self._cluster.requests_per_s,
            acceptor=None if self._credentials is None else clients_acceptor(self._credentials, self._logger),
            refused=self._counters.refused,
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
            logger=self._logger,
            verbose=self._verbose,
            places_max=self._limits.strangers,
            acceptor=None if self._credentials is None else peers_acceptor(self._credentials, self._logger),
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
            logger=self._logger,
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
            logger=self._logger,
        )
        return self._add_part(installer)

    def _counted_parts(self, storage: _Storage) -> Parts:
        credentials, clients, peers = self._credentials, self._client_server, self._peer_server
        return Parts(
            counters=self._counters,
            sync_seconds=lambda: self._disk.seconds,
            sizes=lambda: self._vitals.sizes,
            connections=lambda: clients.connection_count,
            peer_connections=lambda: peers.connection_count,
            refused={"client": lambda: clients.turned_away, "peer": lambda: peers.turned_away},
            given_up={"client": lambda: clients.given_up, "peer": lambda: self._links.given_up},
            pin_requests=lambda: storage.sealer.queue.requests,
            certificate_ends_s=lambda: None if credentials is None else credentials.loaded.ends_s,
        )

    def _before_swap(self, validator: EntryValidator) -> None:
        """The ledger's file is about to be replaced: end who reads the old one, forget what was for it."""
        self._auditor.interrupt()
        self._maker.interrupt()
        validator.forget()

    def _on_tick(self, raft: Raft, log: LogFile, keeper: PepperKeeper, publisher: Publisher) -> None:
        keeper.look()
        self._installer.tick()
        self._snapshotter.tick()
        self.recorder.on_snapshot(raft.snapshot)
        if time.monotonic() >= self._next_look_s:
            self._next_look_s = time.monotonic() + LOOK_EVERY_S
            log.check_present()
        self._vitals.tick()
        publisher.tick()

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

        def lacking() -> str:
            return lack_of(self._cluster.pepper_file, storage.sealer.peppers, storage.ledger.pepper)

        def extend_status(status: StatusReply) -> StatusReply:
            alarm = lacking()
            return replace(
                self._vitals.completed(status),
                voter=neighbours.has_vote,
                peer=str(self._node.peer),
                client=str(self._node.client),
                alarms=(*guards.alarms, *([alarm] if alarm else ())),
                certificate_ends_us=None if credentials is None else int(credentials.loaded.ends_s * 1e6),
                last_backup_us=storage.ledger.last_backup_us,
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
            on_refused=self.recorder.on_refused,
            wall_clock_us=guards.time_us,
            counters=self._counters,
        )
        publisher = Publisher(
            self._health,
            storage.raft,
            storage.ledger,
            self._links,
            guards,
            self._leaderships,
            has_vote=lambda: neighbours.has_vote,
            snapshot_index=lambda: storage.kept.newest_index,
            waiting=lambda: router.waiting_count,
            lacks_pepper=lambda: bool(lacking()),
            clock=time.monotonic,
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
            recorder=self.recorder,
            guards=guards,
            on_leadership=lambda term: self._say(f"Leader on {here} in term {term}"),
            on_cluster=follow,
            on_configuration=neighbours.note_configuration,
            on_peers=neighbours.note_peers,
            on_rejection=self._tell_rejection,
            on_install=self._installer.begin,
            on_messages=publisher.heed,
            on_tick=partial(self._on_tick, storage.raft, storage.log, keeper, publisher),
            on_stall=self._tell_stall,
        )

    def _tell_rejection(self, rejection: Rejection) -> None:
        """Tell of each kind once a minute: a faulty peer may send thousands."""
        kind = self._logger.about(f"{rejection.sender} {rejection.violation.value}", 1)
        line = f"dropped a message of node {rejection.sender}: {rejection.what}"
        kind.error("message.dropped", line, peer=rejection.sender, violation=rejection.violation.value)

    def _tell_stall(self, stalled_s: float) -> None:
        if stalled_s * 1000 >= self._slow_ms:
            line = (
                f"this node did nothing for {1000 * stalled_s:.0f} ms: it or its machine was paused or busy, "
                "or a disk was slow. Others may have elected a leader meanwhile"
            )
            self._logger.warning("node.stalled", line, stalled_ms=round(1000 * stalled_s))

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
            logger=self._logger,
        )
        reserve_bytes = self._cluster.disk_reserve_mb * MIB
        disk = DiskGuard(lambda: self._room(storage.folder.path), reserve_bytes, self._logger)
        clocks = ClockGuard(
            self._name,
            skew_us=self._cluster.max_clock_skew_ms * 1000,
            voters=voters,
            clock=time.monotonic,
            wall_clock_us=self._wall_clock_us,
            logger=self._logger,
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
        self.stop()

    def tell_started(self) -> None:
        """Write what an operator wants to know of a start: which release, on what, from where in the log."""
        folder, log, state = self._storage.folder, self._storage.log, self._storage.ledger.cluster
        fields: dict[str, Field] = {
            "release": RELEASE,
            "data_folder": str(folder.path),
            "cluster": folder.cluster_id,
            "feature_level": state.feature_level,
            "last_index": log.last_index,
            "term": self._storage.raft.term,
        }
        self._logger.info(
            "node.started",
            f"node {self._name} started: release {RELEASE}, data folder {folder.path}, cluster "
            f"{folder.cluster_id or 'not known yet'}, feature level {state.feature_level}, term "
            f"{self._storage.raft.term}, the log ends at entry {log.last_index}",
            **fields,
        )

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
        self._health.stopping = True
        self._run_loop.stop()

    def read_files_again(self) -> None:
        """Read the pepper, and certificates if there are any, soon; a signal handler may call it."""
        self._pepper_watch.read_again()
        if self._certificates is not None:
            self._certificates.read_again()

    def events_header(self, reason: str | None = None) -> Header:
        """Return what stands above this node's events now; any thread may ask."""
        return Header(
            node=self._name,
            cluster=self._cluster_id or None,
            version=RELEASE,
            wall_us=self._wall_clock_us(),
            monotonic_us=time.monotonic_ns() // 1000,
            recorder=self.recorder.name,
            reason=reason,
        )

    def dump_events(self, why: str) -> None:
        """Write what happened to a file, and report where it is. Once no iteration runs any more."""
        self.recorder.on_stopped(why)
        line = dump(self._cluster.data_dir / self._name, self.recorder, lambda: self.events_header(why))
        self._logger.info("events.dumped", line)

    def _fail(self, error: BaseException) -> None:
        self._run_loop.fail(error)

    def close(self) -> None:
        """Drop all connections, close all files and unlock the folder."""
        self._parts.close()
