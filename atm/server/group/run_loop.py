"""The run loop of one server: takes what came in, steps the core, performs what it wants done."""

from __future__ import annotations

import time
from collections.abc import Callable
from threading import Lock
from typing import Protocol

from atm.ledger.ledger import ClusterState
from atm.raft import NodeId, RaftMessage, Ready, Rejection, Role
from atm.server.group.inbox import WAKE_ON_ANYTHING, Inbox, Inputs
from atm.server.group.perform import DurableLog, Guard, Network, StateMachine, perform
from atm.server.group.request_router import Core, RequestRouter
from atm.server.group.settings import TICK_MS

TICK_S = TICK_MS / 1000
READIES_PER_ITERATION_MAX = 3  # then what came in meanwhile, and the time, have their turn
WRITE_TICKS = 5  # 50 ms: how long a busy leader's ledger may be behind what was answered
UNWRITTEN_MAX = 512
TICKS_PER_ITERATION_MAX = 3  # after a stall, what waits in the inbox is read before time is made up for


class SteppedCore(Core, Protocol):
    """What the run loop needs of `Raft`."""

    def step(self, message: RaftMessage) -> Rejection | None: ...
    def tick(self) -> None: ...
    def demote(self, node_id: NodeId) -> None: ...
    def ready(self) -> Ready | None: ...
    def advance(self, ready: Ready) -> None: ...


class Outboxes(Protocol):
    """Connections that the loop writes to without waiting."""

    def flush(self) -> None:
        """Send what was gathered."""

    def retry(self) -> None:
        """Send more of what did not fit before."""


class PersistentStateMachine(StateMachine, Protocol):
    """The state machine, and its file."""

    @property
    def cluster(self) -> ClusterState: ...

    def write(self) -> None:
        """Write all that was decided, in one transaction."""


class PeerLinks(Network, Outboxes, Protocol):
    """The outbound links."""


class RunLoop:
    """One server. All but `run`, `stop` and `fail` is for the thread that has the turn (see inbox.py)."""

    def __init__(
        self,
        *,
        raft: SteppedCore,
        log: DurableLog,
        bank: PersistentStateMachine,
        links: PeerLinks,
        router: RequestRouter,
        guard: Guard,
        tellers: Outboxes,
        inbox: Inbox,
        lock: Lock,
        on_leadership: Callable[[int], None] = lambda term: None,
        on_cluster: Callable[[ClusterState], None] = lambda cluster: None,
        on_rejection: Callable[[Rejection], None] = lambda refusal: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._lock = lock  # guards _raft and _inbox; never held over I/O
        self._raft = raft
        self._inbox = inbox
        self._log = log
        self._bank = bank
        self._links = links
        self._router = router
        self._tellers = tellers
        self._guard = guard
        self._on_leadership = on_leadership
        self._on_cluster = on_cluster
        self._cluster = bank.cluster  # as last told
        self._on_rejection = on_rejection
        self._refusals: list[Rejection] = []  # not said yet: saying is I/O, stepping is under the lock
        self._clock = clock
        self._ticked_s = clock()
        self._led_term: int | None = None
        self._stopping = False
        self._unwritten = 0  # entries that the bank has decided and perhaps not written
        self._unwritten_at_tick = 0
        self._ticks_unwritten = 0
        self._failure: BaseException | None = None  # in another thread
        inbox.run_inline_with(self._run_inline)

    def run(self) -> None:
        """Take turns until `stop`; whatever is raised here is the end of the node."""
        while not self._stopping:
            if not self.iterate():
                until_tick_s = max(0.0, self._ticked_s + TICK_S - self._clock())
                self._inbox.sleep(until_tick_s, self._router.wanted())
                if self._failure is not None:
                    raise self._failure
        self._router.close()
        self._flush()
        self._bank.write()

    def stop(self) -> None:
        """Let `run` return within a tick. Takes no lock: a signal handler may call it."""
        self._stopping = True

    def fail(self, error: BaseException) -> None:
        """Let `run` raise `error` within a tick; for other threads, without which the node cannot go on."""
        self._failure = error

    def _run_inline(self) -> None:
        """Take one turn in another thread than the loop's; what is raised is for `run` to raise."""
        wanted, more = WAKE_ON_ANYTHING, True
        try:
            more = self.iterate()
            wanted = self._router.wanted()
        except BaseException as error:
            self._failure, more = error, True
        self._inbox.end_inline(wanted, more=more)

    def iterate(self) -> bool:
        """Do what is to be done now; return whether the core may want more done at once."""
        ticks = self._due_ticks()
        with self._lock:
            ready = self._step(self._inbox.drain(), ticks)
        self._say_refusals()
        performed = 0
        while ready is not None:
            perform(ready, self._log, self._links, self._bank, self._router, self._guard)
            self._unwritten += len(ready.committed)
            self._note_leadership(ready)
            self._note_cluster()
            performed += 1
            with self._lock:
                self._raft.advance(ready)
                ready = self._raft.ready() if performed < READIES_PER_ITERATION_MAX else None
        self._router.notice_changes()
        if ticks:
            self._router.expire()
            self._links.retry()
            self._tellers.retry()
        self._flush()
        self._write_when_due(ticks)
        return performed == READIES_PER_ITERATION_MAX

    def _flush(self) -> None:
        self._links.flush()
        self._tellers.flush()

    def _write_when_due(self, ticks: int) -> None:
        """Let the bank write: a transaction costs as much as many commands, so a busy leader gathers them."""
        quiet = ticks > 0 and self._unwritten == self._unwritten_at_tick
        self._ticks_unwritten += ticks
        gathers = self._raft.role is Role.LEADER and self._unwritten < UNWRITTEN_MAX and not quiet
        if self._unwritten and not (gathers and self._ticks_unwritten < WRITE_TICKS):
            self._bank.write()
            self._unwritten = 0
        if not self._unwritten:
            self._ticks_unwritten = 0
        if ticks:
            self._unwritten_at_tick = self._unwritten

    def _step(self, inputs: Inputs, ticks: int) -> Ready | None:
        """Bring the core up to date; the lock is held."""
        for peer in inputs.demotions:
            self._raft.demote(peer)
        for message in inputs.messages:
            refusal = self._raft.step(message)
            if refusal is not None:
                self._refusals.append(refusal)
        self._router.take(inputs)
        for _ in range(ticks):
            self._raft.tick()
        return self._raft.ready()

    def _due_ticks(self) -> int:
        now_s = self._clock()
        due = int((now_s - self._ticked_s) / TICK_S)
        if due > TICKS_PER_ITERATION_MAX:
            self._ticked_s = now_s
            return TICKS_PER_ITERATION_MAX
        self._ticked_s += due * TICK_S
        return due

    def _note_cluster(self) -> None:
        """Tell what the log says of the cluster before the bank writes it: node.json comes first."""
        if self._bank.cluster is not self._cluster:
            self._cluster = self._bank.cluster
            self._on_cluster(self._cluster)

    def _say_refusals(self) -> None:
        for refusal in self._refusals:
            self._on_rejection(refusal)
        self._refusals.clear()

    def _note_leadership(self, ready: Ready) -> None:
        if ready.role is Role.LEADER and ready.hard_state.term != self._led_term:
            self._led_term = ready.hard_state.term
            self._on_leadership(ready.hard_state.term)
