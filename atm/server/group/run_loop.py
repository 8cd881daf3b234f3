"""The run loop of one server. One iteration drains the inbox, steps the core and performs its `Ready`s.

An iteration is run by the loop's own thread, or inline by the thread that reads the sockets (inbox.py),
never by two at a time. "Only within an iteration" says of a method that only that thread may call it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from threading import Lock
from typing import Protocol

from atm.events.recorder import FlightRecorder
from atm.ledger.ledger import ClusterState
from atm.raft import Configuration, NodeId, RaftMessage, Ready, Rejection, Role, Snapshot
from atm.server.group.inbox import WAKE_ON_ANYTHING, Inbox, Inputs
from atm.server.group.perform import DurableLog, Network, StateMachine, ValidatedEntries, perform
from atm.server.group.request_router import Core, RequestRouter
from atm.server.group.settings import TICK_MS
from atm.wire.peer_messages import Hello, PeerReport, Welcome

TICK_S = TICK_MS / 1000
READIES_PER_ITERATION_MAX = 3  # then the inbox and the clock are looked at again
WRITE_TICKS = (
    5  # 50 ms: for how long a busy leader may have sent receipts that its ledger file does not hold yet
)
UNWRITTEN_MAX = 512
TICKS_PER_ITERATION_MAX = 3  # after a stall, the inbox is read before lost time is made up for
HAND_OVER_S = 1.0  # for how long a node that stops tries to hand leadership over
ANSWER_S = 0.5  # for how long it then waits for the next leader's replies

Hellos = Sequence[tuple[NodeId, Hello | None]]
Standings = Sequence[tuple[NodeId, Welcome | int]]


class SteppedCore(Core, Protocol):
    """What the run loop needs of `Raft`."""

    def step(self, message: RaftMessage) -> Rejection | None: ...
    def tick(self) -> None: ...
    def abstain(self, abstains: bool) -> None: ...
    def demote(self, node_id: NodeId, store: str) -> None: ...
    def ready(self) -> Ready | None: ...
    def advance(self, ready: Ready) -> None: ...


class Outboxes(Protocol):
    """Connections that an iteration writes to without waiting."""

    def flush(self) -> None:
        """Send what this iteration has gathered."""

    def retry(self) -> None:
        """Send more of what did not fit before."""


class PersistentStateMachine(StateMachine, Protocol):
    """What the run loop needs of the ledger: a state machine whose file is written after `decide`."""

    @property
    def cluster(self) -> ClusterState: ...

    def write(self) -> None:
        """Write all that was decided, in one transaction."""


class PeerLinks(Network, Outboxes, Protocol):
    """What the run loop needs of the outbound links."""


class Watching(StateMachine, Protocol):
    """What the run loop needs of the guards: they stand before the ledger."""

    def receive(self, reports: Sequence[PeerReport]) -> None:
        """Take what the other servers say about themselves, before anything that came later is applied."""

    @property
    def abstains(self) -> bool:
        """Whether this server must not campaign."""

    def tick(self) -> None:
        """Do what is due; last in an iteration."""


class RunLoop:
    """The run loop; all methods but `run`, `stop` and `fail` only within an iteration."""

    def __init__(
        self,
        *,
        raft: SteppedCore,
        log: DurableLog,
        ledger: PersistentStateMachine,
        links: PeerLinks,
        router: RequestRouter,
        guards: Watching,
        validator: ValidatedEntries,
        clients: Outboxes,
        inbox: Inbox,
        lock: Lock,
        recorder: FlightRecorder | None = None,
        on_leadership: Callable[[int], None] = lambda term: None,
        on_cluster: Callable[[ClusterState], None] = lambda cluster: None,
        on_rejection: Callable[[Rejection], None] = lambda rejection: None,
        on_configuration: Callable[[int, Configuration], None] = lambda index, members: None,
        on_peers: Callable[[Hellos, Standings], None] = lambda hellos, standings: None,
        on_install: Callable[[Snapshot, NodeId], None] = lambda snapshot, leader: None,
        on_messages: Callable[[Sequence[RaftMessage]], None] = lambda messages: None,
        on_tick: Callable[[], None] = lambda: None,
        on_stall: Callable[[float], None] = lambda stalled_s: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`on_tick` is called while no `Ready` is being performed, at most once in an iteration.

        `on_messages` gets what was stepped, under the lock.
        `on_stall` is told for how long no iteration ran, if the time for some ticks was lost.
        """
        self._lock = lock  # guards _raft and _inbox; never held over I/O
        self._raft = raft
        self._inbox = inbox
        self._log = log
        self._ledger = ledger
        self._links = links
        self._router = router
        self._guards = guards
        self._clients = clients
        self._validator = validator
        self._recorder = recorder or FlightRecorder("", lambda: 0)
        self._on_leadership = on_leadership
        self._on_cluster = on_cluster
        self._cluster = ledger.cluster  # as of the last `on_cluster`
        self._on_rejection = on_rejection
        self._on_configuration = on_configuration
        self._configuration = raft.configuration  # as of the last `on_configuration`
        self._on_peers = on_peers
        self._on_install = on_install
        self._on_messages = on_messages
        self._on_tick = on_tick
        self._on_stall = on_stall
        self._has_iterated = False
        self._rejections: list[
            Rejection
        ] = []  # not reported yet: reporting is I/O, and the core is stepped under the lock
        self._clock = clock
        self._ticked_s = clock()
        self._led_term: int | None = None
        self._stopping = False
        self._unwritten = 0  # entries that were decided and may not be in the ledger's file
        self._unwritten_at_tick = 0
        self._ticks_unwritten = 0
        self._failure: BaseException | None = None  # in another thread
        inbox.run_inline_with(self._run_inline)

    def run(self) -> None:
        """Run iterations until `stop`. Whatever this raises must end the process: the node is fail-stop."""
        while not self._stopping:
            self._iterate_and_sleep()
        for _ in self.ending():
            self._iterate_and_sleep()

    def _iterate_and_sleep(self) -> None:
        if not self.iterate():
            until_tick_s = max(0.0, self._ticked_s + TICK_S - self._clock())
            self._inbox.sleep(until_tick_s, self._router.wake_thresholds())
            if self._failure is not None:
                raise self._failure

    def ending(self) -> Iterator[None]:
        """Hand leadership over, if this node leads, let the next leader answer what waits here, and close.

        Yields whenever an iteration is to be run meanwhile.
        """
        with self._lock:
            handing = self._router.hand_over()
        deadline_s = self._clock() + (HAND_OVER_S if handing else 0.0)
        while self._clock() < deadline_s and (self._raft.role is Role.LEADER or self._raft.leader is None):
            yield
        self._router.drain()
        deadline_s = self._clock() + ANSWER_S
        while self._clock() < deadline_s and self._router.waiting:
            yield
        self._router.close()
        self._flush()
        self._ledger.write()

    def stop(self) -> None:
        """Let `run` end soon: at once, or when leadership is handed over. A signal handler may call it."""
        self._stopping = True

    def fail(self, error: BaseException) -> None:
        """Called when a required thread has died: `run` raises `error` within a tick."""
        self._failure = error

    def _run_inline(self) -> None:
        """Run one iteration in the reading thread; an error is raised by `run` instead of here."""
        thresholds, more = WAKE_ON_ANYTHING, True
        try:
            more = self.iterate()
            thresholds = self._router.wake_thresholds()
        except BaseException as error:
            self._failure, more = error, True
        self._inbox.end_inline(thresholds, more=more)

    def iterate(self) -> bool:
        """Run one iteration; return whether another one should follow without waiting."""
        ticks = self._due_ticks()
        self._has_iterated = True
        with self._lock:
            inputs = self._inbox.drain()
            ready = self._step(inputs, ticks)
        self._guards.receive(inputs.peer_reports)
        self._report_rejections()
        self._announce_servers(inputs)
        performed = 0
        while ready is not None:
            perform(
                ready, self._log, self._links, self._guards, self._router, self._validator, self._recorder
            )
            self._unwritten += len(ready.committed)
            self._announce_leadership(ready)
            self._announce_cluster()
            if ready.install is not None and ready.leader is not None:
                self._on_install(ready.install, ready.leader)
            performed += 1
            with self._lock:
                self._raft.advance(ready)
                ready = self._raft.ready() if performed < READIES_PER_ITERATION_MAX else None
        self._router.notice_changes()
        if ticks:
            self._guards.tick()
            self._router.expire()
            self._links.retry()
            self._clients.retry()
        self._flush()
        self._write_when_due(ticks)
        if ticks:
            self._on_tick()
            self._announce_cluster()
        return performed == READIES_PER_ITERATION_MAX

    def _flush(self) -> None:
        self._links.flush()
        self._clients.flush()

    def _write_when_due(self, ticks: int) -> None:
        """Write the ledger's file, or later: a busy leader collects many commands in one transaction."""
        quiet = ticks > 0 and self._unwritten == self._unwritten_at_tick
        self._ticks_unwritten += ticks
        collects = self._raft.role is Role.LEADER and self._unwritten < UNWRITTEN_MAX and not quiet
        if self._unwritten and not (collects and self._ticks_unwritten < WRITE_TICKS):
            self._ledger.write()
            self._unwritten = 0
        if not self._unwritten:
            self._ticks_unwritten = 0
        if ticks:
            self._unwritten_at_tick = self._unwritten

    def _step(self, inputs: Inputs, ticks: int) -> Ready | None:
        """Step the core with all inputs and ticks. The caller holds the lock."""
        for peer, store in inputs.demotions:
            self._raft.demote(peer, store)
        self._record(inputs)
        for message in inputs.messages:
            rejection = self._raft.step(message)
            if rejection is not None:
                self._rejections.append(rejection)
        self._on_messages(inputs.messages)
        if ticks:
            self._raft.abstain(self._guards.abstains)
        self._router.accept(inputs)
        for _ in range(ticks):
            self._raft.tick()
        return self._raft.ready()

    def _record(self, inputs: Inputs) -> None:
        recorder = self._recorder
        for peer, hello in inputs.hellos:
            recorder.on_peer(peer, connected=hello is not None)
        recorder.on_messages(inputs.messages)
        for requests in (inputs.commands, inputs.queries, inputs.changes):
            if requests:
                recorder.on_requests(requests)

    def _due_ticks(self) -> int:
        now_s = self._clock()
        due = int((now_s - self._ticked_s) / TICK_S)
        if due > TICKS_PER_ITERATION_MAX:
            if self._has_iterated:  # the first one waits for the rest of the start
                self._on_stall(now_s - self._ticked_s)
            self._ticked_s = now_s
            return TICKS_PER_ITERATION_MAX
        self._ticked_s += due * TICK_S
        return due

    def _announce_cluster(self) -> None:
        """Announce a change of the cluster's state before the ledger's file has it: node.json comes first."""
        if self._ledger.cluster is not self._cluster:
            self._cluster = self._ledger.cluster
            self._on_cluster(self._cluster)

    def _announce_servers(self, inputs: Inputs) -> None:
        """Announce who the members are, if that changed, and what peers said: links follow that."""
        if self._raft.configuration is not self._configuration:
            self._configuration = self._raft.configuration
            self._recorder.on_members(self._configuration)
            self._on_configuration(*self._configuration)
        if inputs.hellos or inputs.standings:
            self._on_peers(inputs.hellos, inputs.standings)

    def _report_rejections(self) -> None:
        for rejection in self._rejections:
            self._recorder.on_rejection(rejection)
            self._on_rejection(rejection)
        self._rejections.clear()

    def _announce_leadership(self, ready: Ready) -> None:
        if ready.role is Role.LEADER and ready.hard_state.term != self._led_term:
            self._led_term = ready.hard_state.term
            self._on_leadership(ready.hard_state.term)
