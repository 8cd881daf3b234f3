"""One simulated server: the production node, from run loop to log file, over a simulated disk and network."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from random import Random
from threading import Event, Lock
from typing import cast

from msgspec.structs import replace

from atm.config import Address, NodeConfig
from atm.ledger.commands import Founding
from atm.ledger.ledger import ClusterState
from atm.raft.config import RaftConfig
from atm.raft.messages import NodeId, Snapshot
from atm.raft.ready import Role
from atm.server.clients.deed_notes import note_of
from atm.server.group.clock_guard import ClockGuard
from atm.server.group.disk_guard import DiskGuard, Room
from atm.server.group.entry_validator import EntryValidator
from atm.server.group.guards import Guards
from atm.server.group.inbox import Inbox, Inputs, PendingRequest, ReplyChannel
from atm.server.group.installer import Installer, Job, Prepare
from atm.server.group.kept_snapshots import KeptSnapshots
from atm.server.group.ledger_comparison import LedgerComparison
from atm.server.group.pepper_keeper import PepperKeeper
from atm.server.group.recovery import check_one_cluster, recover
from atm.server.group.request_router import RequestRouter
from atm.server.group.roster import Roster
from atm.server.group.run_loop import RunLoop
from atm.server.group.snapshot_maker import SnapshotMaker
from atm.server.group.snapshotter import Snapshotter
from atm.server.logger.logger import Collected, EventRecord, Logger
from atm.server.peers.handshake import Handshake
from atm.server.peers.links import Links
from atm.server.peers.neighbours import Neighbours
from atm.storage.log_file import LogFailed
from atm.wire.backup_messages import BackupBegin
from atm.wire.client_messages import Status, TakeSnapshot
from atm.wire.codec import encode
from atm.wire.framing import PEER_FRAME_BYTES_MAX, FrameReader, frame
from atm.wire.peer_messages import (
    START_BITS,
    Forward,
    ForwardedRequest,
    ForwardReply,
    Hello,
    PeerReport,
    decode_peer_message,
    incarnations_of,
    starts_of,
)
from atm.wire.request_decoding import decode_client_request, decode_forwardable
from tests.simulation.bank_model import BankModel
from tests.simulation.fuse import Died, Fuse
from tests.simulation.loop import Loop
from tests.simulation.people import caller
from tests.simulation.peppers import peppers, sealed
from tests.simulation.plan import BEGIN_US, TICK_US, Plan
from tests.simulation.sim_folder import SimFolder
from tests.simulation.sim_links import SimConnection, SimLinks, SimPeerServer
from tests.simulation.sim_network import SimNetwork
from tests.simulation.sim_snapshots import Fetching, Making
from tests.simulation.sim_storage import SimStorage
from tests.simulation.watched import WatchedCore
from tests.support.checks import Checks, require
from tests.support.hellos import hello_of
from tests.support.sim_disk import PowerCut, SimDisk

FEATURE_LEVELS = 2  # of two releases; the older is replaced by the newer at some restart
UPGRADE_SHARE = 0.5  # of the restarts
CLOCK_SKEW_US = 2_000_000  # by which clocks may differ; the plan's are out by an hour, or right
SERVED_ELECTIONS = 5  # election timeouts for which a snapshot is kept after a piece of it was fetched
WAKE_US_MAX = 200  # from the arrival of something to the iteration that takes it


ENDED = object()


def address_of(name: NodeId, place: int = 1) -> NodeConfig:
    return NodeConfig(name, Address(f"n{name}", 1000 + place), Address(f"n{name}", place))


class Clients:
    """Replies are sent at once."""

    def flush(self) -> None: ...

    def retry(self) -> None: ...


def no_preparation(snapshot: Snapshot, leader: NodeId, part: Path, stop: Event) -> Path:
    raise AssertionError("a snapshot is prepared in simulated time, by `Fetching`")


class ForwardedBy:
    """The channel of requests that another server forwarded."""

    def __init__(self, sender: NodeId, server: SimServer, process: int) -> None:
        self._sender = sender
        self._server = server
        self._process = process

    def reply(self, number: int, payload: bytes) -> None:
        server = self._server
        if server.process == self._process:
            server.decided(payload)
            server.links.send_frame(
                self._sender, ForwardReply(sender=server.name, answers=((number, payload),))
            )


class SimServer:
    """What belongs to `name` and outlives its crashes is its disk, and how far its ledger is durable."""

    def __init__(
        self,
        name: NodeId,
        loop: Loop,
        plan: Plan,
        checks: Checks,
        model: BankModel,
        digests: dict[int, str],
        network: SimNetwork,
        decided: Callable[[SimServer, bytes], None],
    ) -> None:
        self.name = name
        self.others: Sequence[SimServer] = ()
        is_old = Random(f"release {name} of {plan.luck}").random() < plan.old_release_share
        self.feature_level_max = 1 if is_old else FEATURE_LEVELS
        self.storage = SimStorage(name, plan, checks, model, digests)
        self.peppers = peppers(1)  # in its file
        self.up = False
        self.process = 0  # the number of the process
        self.retired = name not in plan.names  # it does not run: it was removed, or not added yet
        self.place = 1  # where it runs: the port of its address
        self.links: SimLinks
        self.peer_server: SimPeerServer
        self.folder: SimFolder
        self.core: WatchedCore
        self.guards: Guards
        self.fuse = Fuse()
        self.wall_clock_ahead_us = Random(f"wall {name} of {plan.luck}").randint(
            -plan.wall_skew_us, plan.wall_skew_us
        )
        self.slow_us = 0  # how long each iteration takes, from now on
        self.sync_us = 0  # how long each sync of the disk takes, from now on
        self.crashes = 0
        self._loop, self._plan, self._checks, self._model = loop, plan, checks, model
        self._network = network
        self._decided = decided
        self._clock_rate = Random(f"clock {name} of {plan.luck}").uniform(*plan.clock_rates)
        self._random = Random(f"timeouts {name} of {plan.luck}")
        self._busy_until_us = 0
        self._iteration_is_due = False
        self._node: RunLoop
        self._router: RequestRouter
        self._logger = Logger(Collected(self._tell))
        self.fired = Counter[str]()
        self._served_us: dict[int, int] = {}  # when a piece of which snapshot was last asked for
        self._ending: Iterator[None] | None = None  # while it stops
        self._was_removed = False

    @property
    def disk(self) -> SimDisk:
        return self.storage.disk

    # -- life ----------------------------------------------------------------------------------------

    def start(self) -> None:
        """Start from the disk, as the production server does."""
        assert not self.up
        assert not self.retired
        self.process += 1
        self.fuse.put_out()
        self._ending, self._was_removed = None, False
        self.folder = self.storage.folder(self.fuse)
        self.folder.count_start(self._random.getrandbits(START_BITS))
        self._checks.disks[self.name] = self.folder.store
        try:
            self._log, self.bank = self.storage.open(self.fuse)
        except (PowerCut, LogFailed) as error:
            self._loop.trace("died starting", self.name)
            if isinstance(error, PowerCut):
                self.disk.crash()
            else:
                self.disk.kill()
            self._loop.after(TICK_US, self.start_again)
            return
        snapshot = self.storage.snapshots.newest
        check_one_cluster(
            self._log, folder_id=self.folder.cluster_id, ledger_id=self.bank.cluster.id, snapshot=snapshot
        )
        validator = EntryValidator(self._clock_s, self.wall_clock_us, self.feature_level_max)
        raft = recover(
            self._config(),
            self._log,
            self.bank,
            self._random.randint,
            validator,
            snapshot=snapshot,
            check_invariants=True,
        )
        if self.folder.is_not_first:
            raft.demote(self.name, self.folder.store)
        self.core = WatchedCore(raft, self._checks, self.fuse, self._loop.onlooker)
        self._loop.onlooker.started(self, raft)
        lock = Lock()
        self.inbox = Inbox(lock)
        self._handshake = Handshake(
            self._hello(),
            Roster(*raft.configuration, {}, self._listed()),
            lambda: self._log.last_index,
            peppers=lambda: self.peppers.names,
            current_pepper=lambda: self.bank.pepper,
        )
        self._connect()
        self.guards = self._make_guards()
        self._keeper = PepperKeeper(
            self.name,
            self.core,
            self.bank,
            own=lambda: self.peppers,
            others=lambda: self.guards.peppers,
            clock=self._clock_s,
        )
        self._router = RequestRouter(
            self.name,
            self.core,
            self.bank,
            self,
            self.guards,
            self._keeper,
            listed=self._listed(),
            first_store=self.folder.first_store,
            feature_level_max=self.feature_level_max,
            first_number=self._random.getrandbits(40),
            clock=self._clock_s,
            wall_clock_us=self.guards.time_us,
        )
        self._compact(lock, validator)
        self._node = RunLoop(
            raft=self.core,
            log=self._log,
            ledger=self.bank,
            links=self.links,
            router=self._router,
            guards=self.guards,
            validator=validator,
            clients=Clients(),
            inbox=self.inbox,
            lock=lock,
            recorder=self._loop.onlooker.recorder(self.name),
            on_cluster=self._follow,
            on_configuration=self._neighbours.note_configuration,
            on_peers=self._neighbours.note_peers,
            on_install=self._installer.begin,
            on_tick=self._on_tick,
            clock=self._clock_s,
        )
        self.up = True
        self._busy_until_us = self._loop.now_us
        self._loop.trace("start", self.name, raft.term, raft.last_index, raft.applied_index)
        self._tick(self.process)
        self._follow(self.bank.cluster)

    def _connect(self) -> None:
        """Set up who is let in, and the links to the others."""
        raft = self.core.raft

        def acknowledged(peer: NodeId) -> int:
            return min(raft.matched().get(peer, 0), raft.commit_index)

        self.links = SimLinks(
            self.name,
            handshake=self._handshake,
            inbox=self.inbox,
            dial=self._dial,
            later=self._later,
            send=self._send_if(self.process),
            checks=self._checks,
            fuse=self.fuse,
        )
        self.peer_server = SimPeerServer(
            handshake=self._handshake,
            folder=self.folder,
            inbox=self.inbox,
            links=self.links,
            acknowledged=acknowledged,
            logger=self._logger,
        )
        self._neighbours = Neighbours(
            self.name,
            self._handshake,
            cast(Links, self.links),
            self.peer_server,
            self.folder,
            logger=self._logger,
            on_removed=self._end_removed,
            on_not_first=lambda store: self.inbox.put(Inputs(demotions=[(self.name, store)])),
        )

    def _tell(self, record: EventRecord) -> None:
        """Note in the trace what went wrong, and each snapshot that was installed."""
        if record.event == "snapshot.installed":
            self._note_install(record.msg)
        if record.levelno < logging.WARNING:
            return
        line = record.msg
        if record.event == "folder.old_copy":
            self.fired["old copy found"] += 1
            self._checks.disks[self.name] = self.folder.store
        self._loop.trace("reported", self.name, line)

    def _make_guards(self) -> Guards:
        raft = self.core.raft

        def voters() -> Sequence[NodeId]:
            return raft.membership.voters

        comparison = LedgerComparison(
            self.name,
            self.core,
            self.bank,
            self.links,
            voters=voters,
            clock=self._clock_s,
            on_wrong=self._no_ledger_is_wrong,
            logger=Logger(Collected(lambda record: self._no_ledger_is_wrong(record.msg))),
        )
        clocks = ClockGuard(
            self.name,
            skew_us=CLOCK_SKEW_US,
            voters=voters,
            clock=self._clock_s,
            wall_clock_us=self.wall_clock_us,
            logger=Logger(Collected(lambda record: None)),
        )
        return Guards(
            self.name,
            self.bank,
            self.links,
            comparison,
            DiskGuard(
                lambda: Room(10**12, 10**12),
                0,
                Logger(Collected(lambda record: self._no_ledger_is_wrong(record.msg))),
            ),
            clocks,
            voters=voters,
            clock=self._clock_s,
            wall_clock_us=self.wall_clock_us,
            own_peppers=lambda: self.peppers.names,
        )

    def _compact(self, lock: Lock, validator: EntryValidator) -> None:
        """Set up what takes snapshots, cuts the log, and installs those of others."""
        kept = KeptSnapshots(self.storage.snapshots)
        self._log.fired = self.fired
        self._making: Making | None = None
        self._snapshotter = Snapshotter(
            raft=self.core,
            lock=lock,
            log=self._log,
            ledger=self.bank,
            kept=kept,
            maker=SnapshotMaker(Path()),
            limit_bytes=self._plan.snapshot_log_bytes,
            being_fetched=self._being_fetched,
            random=self._random.uniform,
            logger=self._logger,
            start_job=self._begin_making,
        )

        def before_swap() -> None:
            validator.forget()
            if self._making is not None:
                self._making.interrupt()

        self._installer = Installer(
            raft=self.core,
            lock=lock,
            log=self._log,
            ledger=self.bank,
            kept=kept,
            prepare=no_preparation,
            before_swap=before_swap,
            logger=self._logger,
            start_job=self._begin_fetching,
        )

    def _begin_making(self, maker: SnapshotMaker, kept: KeptSnapshots) -> Making:
        self.fired["snapshot"] += 1
        contents = self.storage.ledger_file.contents()
        self._making = Making(
            maker, kept, contents=contents, disk=self.storage.snapshot_disk, later=self._later
        )
        return self._making

    def _begin_fetching(
        self, prepare: Prepare, snapshot: Snapshot, leader: NodeId, part: Path, before: Job | None
    ) -> Fetching:
        self._loop.trace("fetch", self.name, snapshot.index, leader)
        (source,) = [other for other in self.others if other.name == leader]
        process = self.process

        def ask(wanted: Snapshot, offset: int, take: Callable[[bytes | None], None]) -> None:
            def if_up(piece: bytes | None) -> None:
                if self.up and self.process == process:
                    take(piece)

            self._network.exchange(self.name, leader, lambda: source.piece_of(wanted, offset), if_up)

        return Fetching(
            prepare,
            snapshot,
            leader,
            part,
            before,
            disk=self.storage.snapshot_disk,
            ask=ask,
            later=self._later,
            fired=self.fired,
        )

    def _later(self, event: Callable[[], None]) -> None:
        """Let `event` happen after a while, unless this server has died by then."""
        process = self.process

        def if_up() -> None:
            if self.up and self.process == process:
                event()

        self._loop.after(self._loop.chance.randint(0, self._plan.election_us), if_up)

    def piece_of(self, snapshot: Snapshot, offset: int) -> bytes | None:
        """Return a piece of this server's snapshot to another server, or None if it has no such file."""
        if not self.up:
            return None
        contents = self.storage.snapshots.contents(snapshot.index, snapshot.sha256)
        if contents is None:
            return None
        self._served_us[snapshot.index] = self._loop.now_us
        return contents[offset : offset + self._plan.piece_bytes]

    def _being_fetched(self) -> set[int]:
        since_us = self._loop.now_us - SERVED_ELECTIONS * self._plan.election_us
        return {index for index, at_us in self._served_us.items() if at_us > since_us}

    def _note_install(self, line: str) -> None:
        self.fired["install"] += 1
        self._loop.trace("installed", self.name, line)

    def _on_tick(self) -> None:
        self._installer.tick()
        self._snapshotter.tick()
        self._keeper.look()

    def _config(self) -> RaftConfig:
        """Return the core's settings; each start draws another id, should this server found the cluster."""
        drawn = Random(f"cluster {self.name} {self.process} of {self._plan.luck}").randbytes(16).hex()
        bootstrap = encode(Founding(drawn, self._plan.names))
        return replace(self._plan.config(self.name), bootstrap=bootstrap)

    def _follow(self, cluster: ClusterState) -> None:
        """The log says which cluster this is, and who is in it."""
        known = cluster.feature_level <= self.feature_level_max
        require(known, "no server meets a feature level that it does not know", (self.name, cluster))
        if cluster.id:
            same = self.folder.cluster_id in ("", cluster.id)
            require(same, "a server stays in its cluster", (self.name, self.folder.cluster_id, cluster))
            self.folder.join(cluster.id)
            self._handshake.join(cluster.id)
        self._neighbours.note_cluster(cluster)

    def _hello(self) -> Hello:
        """What the other servers see of this one."""
        *earlier, incarnation = incarnations_of(self.folder.incarnation, self.folder.drawn)
        return replace(
            hello_of(self.name, self.feature_level_max, self.folder.store),
            cluster=self.folder.cluster_id,
            peer_address=str(self.address.peer),
            client_address=str(self.address.client),
            incarnation=incarnation,
            earlier=tuple(earlier),
        )

    @property
    def address(self) -> NodeConfig:
        return address_of(self.name, self.place)

    def _listed(self) -> dict[NodeId, NodeConfig]:
        """What its cluster.ini says."""
        return {**{name: address_of(name) for name in self._plan.names}, self.name: self.address}

    @property
    def stops(self) -> bool:
        return self._ending is not None

    @property
    def busy_until_us(self) -> int:
        return self._busy_until_us

    @property
    def queued(self) -> int:
        """How many entries this server has proposed or is to propose, and has not seen committed."""
        return self.core.last_index - self.core.commit_index + len(self._router._held)

    @property
    def was_met(self) -> bool:
        """Whether each other server has seen a data folder of this one."""
        others = [other.storage.folder(other.fuse) for other in self.others if not other.retired]
        return all(folder.knows_another_store(self.name, "") for folder in others)

    @property
    def has_old_copy(self) -> bool:
        """Whether there is a copy of its folder, and each other server has seen a later start of it.

        One that has seen none would count its vote: nobody can know then, as docs/operations.md says.
        """
        copy = self.storage.copy
        if copy is None or self.retired:
            return False
        store, starts = copy.files.owner.store, copy.files.owner.incarnation
        others = [other.storage.folder(other.fuse) for other in self.others if not other.retired]
        return all(starts_of(folder.highest_incarnation(self.name, store)) > starts for folder in others)

    def _end_removed(self, why: str) -> None:
        self._was_removed = True
        self.stop()

    def stop(self) -> None:
        """SIGTERM: hand leadership over, answer what waits, and end."""
        if self.up and self._ending is None:
            self._ending = self._node.ending()
            self.fired["stop of a leader"] += self.core.role is Role.LEADER
            self._wake()

    def begin(self, place: int) -> None:
        """Start with an empty folder, where it was announced: it is added."""
        assert self.retired
        if self.process:
            self.wipe()
        self.retired, self.feature_level_max, self.place = False, FEATURE_LEVELS, place
        self.start()

    def move(self, place: int) -> None:
        """Start at another address."""
        if self.up:
            self.die(power_cut=False)
        self.place = place
        self.start_again()

    def start_again(self) -> None:
        """Start unless it was started meanwhile, or is not to run."""
        if not self.up and not self.retired:
            self.start()

    def die(self, *, power_cut: bool) -> None:
        """Stop at once; a power cut also loses what was not synced, and some of what SQLite did not sync."""
        assert self.up
        self.up = False
        self.crashes += 1
        noticed_us = self._network.latency_us()
        if power_cut and self._random.random() < 0.5:
            noticed_us = self._random.randint(0, 4 * self._plan.election_us)
        for connection in self.links.outbound():
            connection.acceptor.peer_is_gone(connection, noticed_us)
        for connection in self.peer_server.inbound():
            connection.drop(noticed_us)
        if self._random.random() < UPGRADE_SHARE:
            self.feature_level_max = FEATURE_LEVELS
        self.storage.close(power_cut=power_cut)
        self._loop.trace("died", self.name, "power cut" if power_cut else "")

    def wipe(self) -> None:
        """The disk is lost while the server is down."""
        assert not self.up
        self.storage.wipe()
        self._network.new_store(self.name)

    def restore(self) -> None:
        """An old copy of the data folder is put back while the server is down."""
        assert not self.up
        self.storage.restore()
        self._network.new_store(self.name)

    def pause(self, for_us: int) -> None:
        """Do nothing for a while, and then go on as if nothing had been."""
        self._busy_until_us = max(self._busy_until_us, self._loop.now_us + for_us)

    # -- what comes in -------------------------------------------------------------------------------

    def accept(self, connection: SimConnection, framed: bytes) -> bytes | None:
        """Another server connects, and says hello; return the reply."""
        try:
            reply = self.peer_server.accept(connection, framed)
        except Died:
            self.die(power_cut=False)
            return None
        self._wake()
        return reply

    def peer_is_gone(self, connection: SimConnection, after_us: int = 0) -> None:
        """The other end of a connection to this server was closed."""

        def notice() -> None:
            if self.up and self.process == connection.processes[1]:
                self.peer_server.forget(connection)
                self._wake()

        self._loop.after(after_us + self._network.latency_us(), notice)

    def deliver(self, framed: bytes, connection: SimConnection) -> None:
        """A frame of another server arrives, in two pieces.

        It may come late, and on a connection that was lost since, but not from another data folder than the
        one that its sender has shown last.
        """
        sender = connection.dialer.name
        if not self.up:
            return
        current = self.peer_server.current(sender)
        if current is None or (current[0].disk, current[0].store) != (connection.disk, connection.store):
            connection.drop(self._network.latency_us())
            return
        cut, reader = self._random.randint(0, len(framed)), FrameReader(PEER_FRAME_BYTES_MAX)
        (payload,) = [*reader.feed(framed[:cut]), *reader.feed(framed[cut:])]
        message, inputs = decode_peer_message(payload), Inputs()
        if isinstance(message, Forward):
            channel = ForwardedBy(sender, self, self.process)
            for number, actor, roles, request in message.each():
                inputs.add_request(self._asked(channel, number, request, (actor, roles), True))
        elif isinstance(message, ForwardReply):
            inputs.forward_replies += message.answers
        elif isinstance(message, PeerReport):
            inputs.peer_reports.append(message)
        else:
            if self._loop.tracing:
                self._loop.trace("receive", self.name, message)
            inputs.add_message(message, len(payload))
        self.inbox.put(inputs)
        self._wake()

    def ask(self, channel: ReplyChannel, number: int, payload: bytes) -> None:
        """A client's request arrives."""
        if self.up:
            inputs = Inputs()
            who = caller(self.name, payload)
            asked = self._asked(channel, number, self._sealed(payload), who, False)
            self._model.readers.setdefault(asked.request.id, set()).add(asked.actor)
            if isinstance(asked.request, BackupBegin | TakeSnapshot):  # recorded, and not done here
                self._model.asked_servers.setdefault(asked.request.id, set()).add(self.name)
                note = note_of(asked.request, self.name)
                asked = replace(asked, request=note, payload=encode(note))
            inputs.add_request(asked)
            self.inbox.put(inputs)
            self._wake()

    def _sealed(self, payload: bytes) -> bytes:
        """Return a request with its PINs sealed for what the bank says of their accounts at this moment."""
        request = decode_client_request(payload)
        model = self._model
        now = encode(sealed(request, model.generation_of, model.generation))
        self._model.as_asked[now] = payload
        return now

    @staticmethod
    def _asked(
        channel: ReplyChannel, number: int, payload: bytes, who: tuple[str, int], forwarded: bool
    ) -> PendingRequest:
        request = decode_forwardable(payload) if forwarded else decode_client_request(payload)
        assert not isinstance(request, Status)
        return PendingRequest(channel, number, request, payload, who[0], forwarded, who[1])

    def lose_link(self, peer: NodeId) -> None:
        """The connection to `peer` is gone."""
        if self.up:
            self.links.lose(peer)
            self._wake()

    # -- what goes out -------------------------------------------------------------------------------

    def forward(self, to: NodeId, requests: Sequence[ForwardedRequest]) -> bool:
        """The router forwards requests to the leader."""
        return self.links.send_frame(to, Forward.of(self.name, requests))

    def _no_ledger_is_wrong(self, line: str) -> None:
        require(False, "ledgers that follow from one log are never found to differ", (self.name, line))

    def reached(self, node: NodeId) -> Address | None:
        return self.links.reached(node)

    def _dial(
        self, place: Address, framed: bytes, take: Callable[[SimConnection | None, bytes], None]
    ) -> None:
        """Connect to whoever listens at `place`, and say hello."""
        (acceptor,) = [other for other in self.others if place.host == other.address.peer.host]
        number, store, process = self._network.store_number(self.name), self.folder.store, self.process
        connections: list[SimConnection] = []

        def lost(connection: SimConnection, after_us: int) -> None:
            self._loop.after(after_us, lambda: self._lost(connection))

        def ask() -> bytes | None:
            if not acceptor.up or acceptor.address.peer != place:
                return None
            connections.append(SimConnection(self, acceptor, number, store, lost))
            connections[0].processes = process, acceptor.process
            return acceptor.accept(connections[0], framed)

        def reply(payload: bytes | None) -> None:
            if self.up and self.process == process and payload is not None:
                take(connections[0], payload)
                self._wake()
                return
            if connections:
                acceptor.peer_is_gone(connections[0])
            if self.up and self.process == process:
                take(None, b"")

        self._network.exchange(self.name, acceptor.name, ask, reply)

    def _lost(self, connection: SimConnection) -> None:
        if self.up and self.process == connection.processes[0]:
            self.links.lost(connection)
            self._wake()

    def decided(self, payload: bytes) -> None:
        """An answer leaves the server that decided it."""
        self._decided(self, payload)

    def _send_if(self, process: int) -> Callable[[SimConnection, bytes, bool], None]:
        def send(connection: SimConnection, payload: bytes, once: bool) -> None:
            assert self.process == process, "the dead send nothing"
            self._network.send(connection, frame(payload), once, self.late_us)

        return send

    @property
    def late_us(self) -> int:
        """How far into its iteration the server is."""
        return self._log.took_us

    # -- time ----------------------------------------------------------------------------------------

    def wall_clock_us(self) -> int:
        """What this server takes for the time of day."""
        return BEGIN_US + self._loop.now_us + self.wall_clock_ahead_us

    def _clock_s(self) -> float:
        return self._loop.now_us * self._clock_rate / 1e6

    def _tick(self, process: int) -> None:
        if self.up and process == self.process:
            self._wake()
            self._loop.after(TICK_US, lambda: self._tick(process))

    def _wake(self) -> None:
        if not self._iteration_is_due:
            self._iteration_is_due = True
            due_us = max(self._loop.now_us + self._loop.chance.randint(0, WAKE_US_MAX), self._busy_until_us)
            process = self.process
            self._loop.after(due_us - self._loop.now_us, lambda: self._iterate(process))

    def _iterate(self, process: int) -> None:
        self._iteration_is_due = False
        if not self.up:
            return
        if process != self.process or self._loop.now_us < self._busy_until_us:
            self._wake()
            return
        self._log.slow_us, self._log.took_us = self.sync_us, 0
        try:
            if self._ending is not None and next(self._ending, ENDED) is ENDED:
                self._end()
                return
            while self._iterate_and_end_due_holds():
                pass
        except (Died, LogFailed):
            self.die(power_cut=False)
        except PowerCut:
            self.die(power_cut=True)
        else:
            self._busy_until_us = self._loop.now_us + self.slow_us + self.late_us

    def _end(self) -> None:
        self.die(power_cut=False)
        if self._was_removed:
            self.fired["removed server ended"] += 1
            self.retired = True

    def _iterate_and_end_due_holds(self) -> bool:
        """Run an iteration; a leader that finds a hold due has proposed its end by then.

        Or an earlier end was under way when the iteration began: then the next one proposes.
        """
        led_term, due_us = self._led_term(), self.bank.next_expiry_us
        applied_index = self.bank.applied_index
        now_us = self.guards.time_us()  # a report of another clock may set it forward while it runs
        more = self._node.iterate()
        if due_us is None or due_us > now_us or led_term is None:
            return more
        if (led_term, due_us) == (self._led_term(), self.bank.next_expiry_us):
            self._checks.ends_holds(self.name, led_term, applied_index)
        return more

    def _led_term(self) -> int | None:
        """Return the term that it leads, unless it is handing leadership over and proposes nothing."""
        leads = self.core.role is Role.LEADER and self.core.transferring is None
        return self.core.term if leads else None
