"""Assembles one server of a bank on PostgreSQL: the ports of any server, and a worker for each lane."""

from __future__ import annotations

import random
import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, closing
from threading import Lock
from typing import Protocol, TypeVar

from atm.config import Cluster
from atm.events.event import Header
from atm.events.recorder import FlightRecorder
from atm.lanes.bank import check_pepper, open_bank
from atm.lanes.engine import EngineConnection
from atm.lanes.lane_ledger import LaneLedger
from atm.lanes.share import lane_of
from atm.ledger.peppers import PepperState
from atm.ledger.roles import RoleChange
from atm.raft import Member
from atm.server.clients.client_server import ClientServer, clients_acceptor
from atm.server.clients.event_source import EventSource
from atm.server.clients.pin_service import PinService
from atm.server.group.inbox import Inbox, PendingRequest
from atm.server.group.pepper_watch import PepperWatch, lack_of
from atm.server.group.roster import Roster
from atm.server.lanes.database_watch import current_pepper
from atm.server.lanes.keeper import Keeper
from atm.server.lanes.lane_events import LaneEvents
from atm.server.lanes.lane_loop import LaneLoop
from atm.server.lanes.lane_worker import Answered, LaneWorker, OfBank
from atm.server.lanes.not_here import NO_SNAPSHOTS, BackupNotes, NoAudits, NoBackups
from atm.server.lanes.peer_port import PeerPort
from atm.server.lanes.routes import HOME
from atm.server.limits import connection_limits
from atm.server.logger.logger import Logger
from atm.server.metrics.counters import Counters, Histogram
from atm.server.metrics.endpoint import MetricsEndpoint
from atm.server.metrics.health import Health, Published, silent_s_max
from atm.server.metrics.node_metrics import NodeMetrics, Parts
from atm.server.net.certificate_watch import CertificateWatch
from atm.server.net.listener import check_reachable
from atm.server.net.reader import Reader
from atm.server.peers.handshake import Handshake
from atm.server.peers.links import Links
from atm.server.peers.peer_server import peers_acceptor
from atm.server.security.peppers import PepperRefused, read_peppers
from atm.server.security.pins import PinSealer
from atm.tls.of_cluster import node_credentials
from atm.version import FEATURE_LEVEL_MAX, PROTOCOL_MAX, PROTOCOL_MIN, RELEASE
from atm.wire.client_messages import MemberView, StatusReply
from atm.wire.peer_messages import Hello

FORWARD_NUMBER_BITS = 62
WORKER_STOP_S = 5.0

Say = Callable[[str], None]


class Closable(Protocol):
    """A part of a server."""

    def close(self) -> None: ...


P = TypeVar("P", bound=Closable)


class LaneServer:
    """One server, open from construction to `close`. Construction raises what its parts raise."""

    ended_because = ledger_is_wrong = ""  # what ends a server of a bank on Raft ends none here

    def __init__(
        self, cluster: Cluster, name: str, *, say: Say, logger: Logger, verbose: bool = False
    ) -> None:
        self._cluster, self._name, self._node = cluster, name, cluster.nodes[name]
        self._say, self._logger, self._verbose = say, logger, verbose
        self._started_s = time.monotonic()
        self._parts = ExitStack()
        self._recorder = FlightRecorder(name, time.monotonic_ns)
        self._counters = Counters()
        self._health = Health(silent_s_max=silent_s_max(cluster.heartbeat_ms / 1000), clock=time.monotonic)
        self._metrics = NodeMetrics(self._health, time.monotonic)
        try:
            self._assemble()
        except BaseException:
            self._parts.close()
            raise

    def _assemble(self) -> None:
        cluster, node = self._cluster, self._node
        cluster.check_secure(self._name)
        self._credentials = node_credentials(cluster, self._name)
        self._certificates: CertificateWatch | None = None
        if self._credentials is not None:
            self._certificates = self._add_part(CertificateWatch(self._credentials, self._logger))
        if node.metrics is not None:
            endpoint = MetricsEndpoint(
                node.metrics, self._health, self._metrics, logger=self._logger, verbose=self._verbose
            )
            self._add_part(endpoint).start()
        check_reachable(node, [other for other in cluster.nodes.values() if other is not node])
        peppers = read_peppers(cluster.pepper_file, may_make=lambda: cluster.is_on_one_machine)
        sealer = self._sealer = PinSealer(peppers)
        self._pepper_watch = self._add_part(
            PepperWatch(cluster.pepper_file, sealer, self._pepper, self._logger)
        )
        with closing(EngineConnection(cluster.engine.url)) as engine:
            self.bank = open_bank(engine, cluster.engine.lanes)
            check_pepper(engine, peppers.names[0])
        lacking = lack_of(cluster.pepper_file, peppers, current_pepper(cluster.engine.urls))
        if lacking:
            raise PepperRefused(lacking)
        lock = Lock()
        inbox = Inbox(lock)
        self._reader = self._add_part(Reader(inbox.put_gathered, self._fail))
        self._workers = {lane: self._make_worker(lane) for lane in range(self.bank.lanes)}
        self._keeper = Keeper(
            cluster.engine.urls,
            self.bank.id,
            node,
            self._workers,
            peppers=lambda: sealer.peppers.names,
            tell=self._tell_engine,
        )
        self._events = LaneEvents(self._recorder, self._name, self._workers, lambda: self._keeper.seen)
        self._keeper.check_alone()
        members = [
            Member(node=each.name, voter=True, peer=str(each.peer), client=str(each.client))
            for each in cluster.nodes.values()
        ]
        handshake = Handshake(
            self._hello(peppers.names[0]),
            Roster(0, tuple(members), {}, cluster.nodes),
            credentials=self._credentials,
            peppers=lambda: sealer.peppers.names,
            current_pepper=self._pepper,
        )
        self._links = self._add_part(Links(handshake, inbox, self._logger))
        self._links.follow(
            {other: (each.peer,) for other, each in cluster.nodes.items() if other != self._name}
        )
        self._client_server = self._make_client_server(sealer, inbox)
        self._peer_port = self._add_part(
            PeerPort(
                node.listen_peer or node.peer,
                handshake=handshake,
                inbox=inbox,
                reader=self._reader,
                links=self._links,
                logger=self._logger,
                verbose=self._verbose,
                acceptor=None
                if self._credentials is None
                else peers_acceptor(self._credentials, self._logger),
            )
        )
        self._loop = LaneLoop(
            self._name,
            inbox=inbox,
            lock=lock,
            links=self._links,
            clients=self._client_server,
            workers=self._workers,
            holder=self._holder,
            look=self._keeper.look,
            status=self._status,
            known_peppers=self._known_peppers,
            first_number=random.SystemRandom().getrandbits(FORWARD_NUMBER_BITS),
            counters=self._counters,
            on_tick=self._on_tick,
            recorder=self._recorder,
        )
        self._metrics.parts = self._counted_parts(sealer)

    def _make_worker(self, lane: int) -> LaneWorker:
        node = self._name
        return LaneWorker(
            lane,
            node,
            lambda epoch: LaneLedger(self._keeper.url_of(lane), lane, node, seen_epoch=epoch),
            lanes=self.bank.lanes,
            of_bank=None if lane == HOME else self._of_bank,
            peppers=lambda: self._sealer.peppers,
            now_us=self._now_us,
            send=self._send,
            on_answers=self._answer,
            on_taken=self._tell_taken,
            on_fault=self._tell_engine,
            on_failure=self._fail,
        )

    def _make_client_server(self, sealer: PinSealer, inbox: Inbox) -> ClientServer:
        limits = connection_limits()
        server = ClientServer(
            self._node.listen_client or self._node.client,
            inbox,
            self._reader,
            PinService(sealer, inbox, feature_level=lambda: FEATURE_LEVEL_MAX, pepper=self._pepper),
            NoAudits(),
            NoBackups(),
            BackupNotes(
                self._name,
                inbox,
                feature_level=lambda: FEATURE_LEVEL_MAX,
                applied_index=lambda: 2**63,  # what was answered can be read in the database
            ),
            EventSource(self._recorder, self.events_header),
            take_snapshot=lambda: (0, NO_SNAPSHOTS),
            role_changes=self._role_changes,
            logger=self._logger,
            verbose=self._verbose,
            connections_max=limits.clients,
            requests_per_s=self._cluster.requests_per_s,
            acceptor=None if self._credentials is None else clients_acceptor(self._credentials, self._logger),
            refused=self._counters.refused,
        )
        return self._add_part(server)

    def _hello(self, pepper: str) -> Hello:
        return Hello(
            protocol_min=PROTOCOL_MIN,
            protocol_max=PROTOCOL_MAX,
            release=RELEASE,
            feature_level=FEATURE_LEVEL_MAX,
            cluster=self.bank.id,
            config=self._cluster.identity(),
            node=self._name,
            store=secrets.token_hex(8),
            pepper=pepper,
            peer_address=str(self._node.peer),
            client_address=str(self._node.client),
        )

    def _add_part(self, part: P) -> P:
        """Close `part` with this server; parts are closed in reverse order."""
        self._parts.callback(part.close)
        return part

    def _now_us(self) -> int:
        return self._keeper.now_us()

    def _send(self, requests: Sequence[tuple[str, PendingRequest]]) -> None:
        lanes = self.bank.lanes
        self._loop.to_lanes([(lane_of(account, lanes), pending) for account, pending in requests])

    def _answer(self, answers: Sequence[Answered]) -> None:
        self._loop.answer(answers)

    def _holder(self, lane: int) -> str | None:
        return self._keeper.seen.holder(lane)

    # -- what is known of the bank; any thread --------------------------------------------------------

    def _of_bank(self) -> OfBank:
        seen = self._keeper.seen
        return self._role_changes(), seen.approval_limits, self._pepper()

    def _role_changes(self) -> Mapping[str, RoleChange]:
        worker = self._workers[HOME]
        return worker.role_changes if worker.mine else self._keeper.seen.role_changes

    def _pepper(self) -> PepperState:
        worker = self._workers[HOME]
        return worker.pepper if worker.mine else self._keeper.seen.pepper

    def _known_peppers(self) -> Mapping[str, Sequence[str] | None]:
        known = self._keeper.seen.peppers
        return {name: known.get(name) for name in self._cluster.nodes}

    def _alarms(self) -> tuple[str, ...]:
        lacking = lack_of(self._cluster.pepper_file, self._sealer.peppers, self._pepper())
        return (*self._keeper.faults, *([lacking] if lacking else []))

    def _status(self, request_id: str) -> StatusReply:
        worker, seen = self._workers[HOME], self._keeper.seen
        known = {each.lane: each for each in seen.lanes}
        epoch = worker.epoch if worker.mine else known[HOME].epoch if HOME in known else 0
        index = sum(
            each.applied_index if each.mine else known[each.lane].applied if each.lane in known else 0
            for each in self._workers.values()
        )
        several = len(self._workers) > 1
        credentials = self._credentials
        return StatusReply(
            id=request_id,
            outcome="ok",
            node=self._name,
            role="leader" if worker.mine else "follower",
            term=epoch,
            leader=self._name if worker.mine else seen.holder(0),
            commit_index=index,
            applied_index=index,
            last_index=index,
            matched={},
            version=RELEASE,
            feature_level=FEATURE_LEVEL_MAX,
            cluster=self.bank.id,
            voter=True,
            members=tuple(
                MemberView(node=each.name, voter=True, peer=str(each.peer), client=str(each.client), since=0)
                for each in self._cluster.nodes.values()
            ),
            members_index=0,
            peer=str(self._node.peer),
            client=str(self._node.client),
            uptime_s=round(time.monotonic() - self._started_s, 3),
            alarms=self._alarms(),
            pepper=self._sealer.peppers.names[0],
            further_peppers=tuple(self._sealer.peppers.names[1:]),
            clock_us=time.time_ns() // 1000,
            config=self._cluster.identity(),
            certificate_ends_us=None if credentials is None else int(credentials.loaded.ends_s * 1e6),
            last_backup_us=worker.last_backup_us if worker.mine else None,
            lanes=len(self._workers) if several else None,
            lanes_here=self._lanes_here() if several else None,
        )

    def _lanes_here(self) -> tuple[int, ...]:
        return tuple(lane for lane, worker in self._workers.items() if worker.mine)

    def _on_tick(self) -> None:
        self._events.on_tick()
        self._publish()

    # -- metrics --------------------------------------------------------------------------------------

    def _publish(self) -> None:
        status, now_s = self._status(""), time.monotonic()
        others = frozenset(self._cluster.nodes) - {self._name}
        self._health.published = Published(
            at_s=now_s,
            role=status.role,
            term=status.term,
            leader=status.leader,
            voter=True,
            heard_s=now_s,
            level_s=now_s,
            installing=False,
            commit_index=status.commit_index,
            applied_index=status.applied_index,
            last_index=status.last_index,
            snapshot_index=0,
            matched={},
            connected=frozenset(self._links.connected()),
            members=others,
            waiting=self._loop.waiting,
            leader_changes=status.term,
            step_downs={},
            alarms={"engine": bool(self._keeper.faults)},
            clock_offset_us=None,
            last_backup_us=status.last_backup_us,
        )

    def _counted_parts(self, sealer: PinSealer) -> Parts:
        credentials, clients, peers = self._credentials, self._client_server, self._peer_port
        workers = list(self._workers.values())
        return Parts(
            counters=self._counters,
            sync_seconds=lambda: Histogram.of_all([each.seconds for each in workers]),
            lanes_here=lambda: len(self._lanes_here()),
            sizes=dict,
            connections=lambda: clients.connection_count,
            peer_connections=lambda: peers.connection_count,
            refused={"client": lambda: clients.turned_away, "peer": lambda: peers.turned_away},
            given_up={"client": lambda: clients.given_up, "peer": lambda: self._links.given_up},
            pin_requests=lambda: sealer.queue.requests,
            certificate_ends_s=lambda: None if credentials is None else credentials.loaded.ends_s,
        )

    # -- lines ----------------------------------------------------------------------------------------

    def _tell_taken(self, lane: int, epoch: int) -> None:
        if lane == HOME:
            self._say(f"Leader on {self._node.client.pair} in term {epoch}")

    def _tell_engine(self, line: str) -> None:
        self._events.on_engine(line)
        self._logger.about("engine", 20).warning("engine.fault", line)

    def tell_started(self) -> None:
        """Write what an operator wants to know of a start."""
        self._logger.info(
            "node.started",
            f"node {self._name} started: release {RELEASE}, bank {self.bank.id} on PostgreSQL",
            release=RELEASE,
            cluster=self.bank.id,
        )

    def events_header(self, reason: str | None = None) -> Header:
        """Return what stands above this node's events now; any thread may ask."""
        return Header(
            node=self._name,
            cluster=self.bank.id,
            version=RELEASE,
            wall_us=time.time_ns() // 1000,
            monotonic_us=time.monotonic_ns() // 1000,
            recorder=self._recorder.name,
            reason=reason,
        )

    def dump_events(self, why: str) -> None:
        """Write nothing: what happened to this bank is in its database and in the lines above."""

    # -- its life -------------------------------------------------------------------------------------

    def run(self) -> None:
        """Serve until `stop`."""
        self._recorder.on_begun(tuple(self._cluster.nodes), RELEASE)
        self._reader.start()
        if self._certificates is not None:
            self._certificates.start()
        self._pepper_watch.start()
        self._peer_port.start()
        self._client_server.start()
        self._links.start()
        self._keeper.start()
        self._loop.run(before_end=self._end_work)

    def _end_work(self) -> None:
        until_s = time.monotonic() + WORKER_STOP_S
        for worker in self._workers.values():
            worker.stop(0.0)
        for worker in self._workers.values():
            worker.stop(max(0.0, until_s - time.monotonic()))
        self._keeper.stop()

    def stop(self) -> None:
        """Make `run` return within a tick; a signal handler may call it."""
        self._health.stopping = True
        self._loop.stop()

    def read_files_again(self) -> None:
        """Read the pepper, and certificates if there are any, soon; a signal handler may call it."""
        self._pepper_watch.read_again()
        if self._certificates is not None:
            self._certificates.read_again()

    def _fail(self, error: BaseException) -> None:
        self._loop.fail(error)

    def close(self) -> None:
        """Drop all connections."""
        self._parts.close()
