"""One lane at this server: a thread that decides its requests, a batch at a time, while it is the writer."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from threading import Condition, Thread
from typing import NamedTuple, cast

from atm.lanes.faults import EngineFault, EngineRefused, Fenced, NoSpace
from atm.lanes.lane_ledger import LaneLedger
from atm.ledger.commands import (
    BANK,
    OK,
    ApprovalLimit,
    Arrive,
    Expire,
    LedgerReceipt,
    LogCommand,
    LoggedCommand,
    Outcome,
    Read,
)
from atm.ledger.crossings import LaneEntry, OpenTransfer
from atm.ledger.lane_numbers import in_lane, shown
from atm.ledger.peppers import PepperState
from atm.ledger.roles import RoleChange
from atm.server.group.fair_turn import FairTurns
from atm.server.group.inbox import PendingRequest
from atm.server.group.pending_requests import UNKNOWN, without_answer
from atm.server.group.pepper_keeper import KnownPeppers
from atm.server.lanes.departures import Departures, Send
from atm.server.lanes.pepper_change import CarryingOver
from atm.server.metrics.counters import SYNC_SECONDS, Histogram
from atm.wire.client_messages import ErrorReply, Reply
from atm.wire.codec import encode

BATCH_MAX = 512  # commands in one transaction, which take some 30 ms; and as many queries
QUEUE_MAX = 20_000
WAIT_S_MAX = 3.0  # a request waits so long for the lane to be taken again
TAKE_AGAIN_S = 0.1  # between two tries
EXPIRE_LIMIT = 500  # holds ended by one command
GATHERED = 0.8  # of as many as in the last batch are waited for: a commit costs the same for one as for many
GATHER_S_MAX = 0.03
STOP_S = 1.0  # for so long a worker that ends waits for transfers that have departed
NOT_ARRIVED = "the lane of the account that it is for does not answer at the moment"

Take = Callable[[int | None], LaneLedger]  # the lane, if its epoch is still the one given


OfBank = tuple[Mapping[str, RoleChange], Mapping[str, ApprovalLimit], PepperState]


class Answered(NamedTuple):
    """A request, what came of it, and the encoded reply."""

    pending: PendingRequest
    outcome: str
    payload: bytes


class LaneWorker:
    """One lane. `put`, `take_over`, `lose`, `stop` and the properties are for any thread.

    A lane is this server's (`mine`) from when it was taken until another has it or it is given back. It stays
    so while the database fails: then requests wait for it, `WAIT_S_MAX` at most, and it is taken again.
    """

    def __init__(
        self,
        lane: int,
        node: str,
        take: Take,
        *,
        lanes: int = 1,
        of_bank: Callable[[], OfBank] | None = None,
        peppers: Callable[[], KnownPeppers],
        now_us: Callable[[], int],
        send: Send,
        on_answers: Callable[[Sequence[Answered]], None],
        on_taken: Callable[[int, int], None],
        on_fault: Callable[[str], None],
        on_failure: Callable[[BaseException], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`of_bank` tells what is kept in lane 0 for all, None for lane 0 itself; `now_us` is the time.
        `peppers` are those in this server's file.

        `send` routes what other lanes are asked for, called by any thread. `on_taken` gets lane and epoch,
        `on_fault` a line for the operator.
        """
        self.lane = lane
        self._node = node
        self._take = take
        self._lanes, self._of_bank = lanes, of_bank
        self._now_us = now_us
        self._on_answers, self._on_taken = on_answers, on_taken
        self._on_fault, self._on_failure = on_fault, on_failure
        self._clock = clock
        self._carrying = CarryingOver(peppers, clock)  # of the worker's thread
        self._changed = Condition()  # guards the fields below, but for _ledger
        self._queue: list[tuple[float, PendingRequest]] = []
        self._take_at: int | None = None  # to be taken if its epoch is still this
        self._stopping, self._stop_at_s = False, 0.0
        self._last, self._took_s = 0, 0.0  # how many the last batch had, and how long it took
        self._look_at_s = 0.0  # when departures are looked through next
        self._ended = False  # nobody looks at the queue any more
        self._departures = Departures(send, self.wake, clock)  # of the worker's thread
        self.mine = False
        self.epoch = 0  # as it was taken last
        self.taken_index = 0  # what was applied then
        self.applied_index = 0
        self.role_changes: Mapping[str, RoleChange] = {}
        self.pepper = PepperState()
        self.last_backup_us: int | None = None
        self.seconds = Histogram(SYNC_SECONDS)  # of the transactions
        self._turns = FairTurns(clock)
        self._ledger: LaneLedger | None = None  # of the worker's thread
        self._thread = Thread(target=self._run, name=f"lane {lane}", daemon=True)

    def start(self) -> None:
        """Begin, unless it was begun; the lane is not this server's until `take_over`."""
        if self._thread.ident is None:
            self._thread.start()

    def put(self, requests: Sequence[PendingRequest]) -> Sequence[PendingRequest]:
        """Queue requests; return those for which there is no room."""
        now_s = self._clock()
        with self._changed:
            room = 0 if self._ended else max(0, QUEUE_MAX - len(self._queue))
            self._queue += [(now_s, pending) for pending in requests[:room]]
            self._changed.notify()
        return requests[room:]

    @property
    def waiting(self) -> int:
        """How many requests are queued."""
        return len(self._queue)

    def wake(self) -> None:
        """Look for what is to be done: lane 0 has something new, or a transfer goes on."""
        with self._changed:
            self._changed.notify()

    def take_over(self, seen_epoch: int) -> None:
        """Take the lane soon, if nobody else takes it first."""
        with self._changed:
            if not self.mine:
                self._take_at = seen_epoch
                self._changed.notify()

    def lose(self, epoch: int) -> None:
        """Note that another server has the lane by that epoch; what is queued is refused."""
        with self._changed:
            if self.mine and epoch > self.epoch:
                self.mine = False
                self._changed.notify()

    def stop(self, wait_s: float) -> None:
        """End after what is queued is answered."""
        with self._changed:
            if not self._stopping:
                self._stopping, self._stop_at_s = True, self._clock() + STOP_S
            self._changed.notify()
        if self._thread.ident is not None:
            self._thread.join(wait_s)

    # -- the worker's thread ----------------------------------------------------------------------------

    def _run(self) -> None:
        try:
            while self._turn():
                pass
        except BaseException as error:  # an impossible state: this server must promise nothing more
            self._on_failure(error)
        finally:
            self._end(self._departures.pop_all(), may_be_done=True, why="the node stops")
            self._drop()

    def _turn(self) -> bool:
        """Do what is to be done next; return whether there is more to come."""
        with self._changed:
            is_due = self._waiting_now() or self._take_at is not None
            if not is_due and not (self._stopping and self._may_end()):
                self._changed.wait(self._idle_s())
            take_at, self._take_at = self._take_at, None
            if self._stopping and not self._queue and self._may_end():
                self._ended = True
                return False
            self._gather()
            self._last = min(BATCH_MAX, self._waiting_now())
            batch = self._next_batch()
        if not self.mine:
            self._drop()
            self._end(self._departures.pop_all(), may_be_done=True, why="another server has taken the lane")
            if take_at is not None:
                self._try_to_take(take_at)
            if not self.mine:
                self._refuse(batch, "unavailable", f"lane {self.lane} is not at this server any more")
                return True
        if self._ledger is None:
            self._take_again(batch)
        elif batch or self._is_due() or self._departures.due:
            self._do(batch)
        if self._departures and self._clock() >= self._look_at_s:
            self._look_at_s = self._clock() + TAKE_AGAIN_S
            self._departures.ask_again()
            self._end(self._departures.pop_late(), may_be_done=True, why=NOT_ARRIVED)
        return True

    def _gather(self) -> None:
        """Let most of those just answered ask again, for no longer than the last batch took."""
        until_s = self._clock() + min(self._took_s, GATHER_S_MAX)
        while 0 < self._waiting_now() < GATHERED * self._last and not self._stopping:
            left_s = until_s - self._clock()
            if left_s <= 0:
                return
            self._changed.wait(left_s)

    def _waiting_now(self) -> int:
        """Return how many wait for the next batch, the steps of transfers between lanes among them."""
        return len(self._queue) + self._departures.due

    def _may_end(self) -> bool:
        """Return whether nothing is waited for any more, or for too long."""
        return not (self.mine and self._departures) or self._clock() >= self._stop_at_s

    def _idle_s(self) -> float | None:
        """Return for how long nothing is to be done unless something comes."""
        ledger = self._ledger
        if ledger is not None:
            self._follow(ledger)  # what came while something else was done woke nobody
        if self.mine and (ledger is None or self._departures or self._carrying.is_under_way(ledger)):
            return TAKE_AGAIN_S
        if ledger is None or ledger.next_expiry_us is None:
            return None
        return min(60.0, max(0.0, (ledger.next_expiry_us - self._now_us()) / 1e6))

    def _is_due(self) -> bool:
        ledger = self._ledger
        if ledger is None:
            return False
        self._follow(ledger)
        return (ledger.next_expiry_us or 2**63) <= self._now_us() or self._carrying.is_due(ledger)

    def _follow(self, ledger: LaneLedger) -> None:
        if self._of_bank is not None:
            ledger.follow(*self._of_bank())

    def _next_batch(self) -> list[PendingRequest]:
        """Return some of each connection, so that none waits for another's thousands; the lock is held."""
        queued = [pending for _, pending in self._queue]
        turn, _ = self._turns.next_turn(queued)
        arrivals = [pending for pending in queued if isinstance(pending.request, Arrive)]
        batch = [*arrivals, *(each for each in turn if not isinstance(each.request, Arrive))][:BATCH_MAX]
        taken = set(map(id, batch))
        self._queue = [each for each in self._queue if id(each[1]) not in taken]
        return batch

    def _do(self, batch: Sequence[PendingRequest], *, may_be_done: bool = False) -> None:
        """Decide and write, and answer after the commit; repeat it under the same ids after an error."""
        began_s = self._clock()
        try:
            answers = self._executed(batch)
        except Fenced:
            self.mine = False
            self._drop()
            self._end(batch, may_be_done, "another server has taken the lane")
            return
        except NoSpace as fault:
            self._on_fault(f"lane {self.lane}: {fault}")
            self._drop()
            self._without_space(batch, str(fault))
            return
        except EngineFault as fault:
            self._on_fault(f"lane {self.lane}: {fault}")
            self._drop()
            may_be_done = may_be_done or fault.may_be_done
            if self._took_again(until_s=began_s + WAIT_S_MAX):
                self._repeat(batch, may_be_done=may_be_done)
            else:
                self._end(batch, may_be_done, str(fault))
            return
        self._took_s = self._clock() - began_s
        self.seconds.observe(self._took_s)
        self._on_answers(answers)

    def _without_space(self, batch: Sequence[PendingRequest], why: str) -> None:
        """Refuse what was certainly not done and needs room; queries need none."""
        self._refuse([each for each in batch if not isinstance(each.request, Read)], "no_space", why)
        queries = [each for each in batch if isinstance(each.request, Read)]
        if queries and self._took_again(until_s=self._clock() + WAIT_S_MAX):
            self._repeat(queries, may_be_done=False, writes=False)
        else:
            self._end(queries, may_be_done=False, why=why)
        if not batch:  # what is due is tried again, but not without pause
            with self._changed:
                self._changed.wait(TAKE_AGAIN_S)

    def _repeat(self, batch: Sequence[PendingRequest], *, may_be_done: bool, writes: bool = True) -> None:
        """Do a batch again, once: what was done has its receipts, and the rest is decided now."""
        try:
            answers = self._executed(batch, writes=writes)
        except EngineFault as fault:
            self.mine = self.mine and not isinstance(fault, Fenced)
            self._drop()
            self._end(batch, may_be_done or fault.may_be_done, str(fault))
            return
        self._on_answers(answers)

    def _executed(self, batch: Sequence[PendingRequest], *, writes: bool = True) -> list[Answered]:
        """Return what came of the requests; raise `EngineFault`. Without `writes` it does nothing else."""
        ledger = self._ledger
        assert ledger is not None
        self._follow(ledger)
        now_us = max(self._now_us(), ledger.time_us + 1)
        commands = [pending for pending in batch if not isinstance(pending.request, Read)]
        queries = [pending for pending in batch if isinstance(pending.request, Read)]
        settled = self._departures.to_settle(BATCH_MAX) if writes else []
        entries = [*settled, *map(_logged, commands)]
        if writes and (ledger.next_expiry_us or 2**63) <= now_us:
            entries.append(LoggedCommand(BANK, Expire(limit=EXPIRE_LIMIT)))
        if writes and (carried := self._carrying.next(ledger)) is not None:
            entries.append(LoggedCommand(BANK, carried))
        # Each has its own time, as in a log: by it the rules tell what counted before a limit was set.
        receipts = ledger.decide(list(enumerate(entries, now_us))) if entries else []
        views = ledger.commit(
            [in_lane(self.lane, cast(Read, pending.request)) for pending in queries], now_us
        )
        self._note(ledger)
        answers = [self._answer(pending, view) for pending, view in zip(queries, views, strict=True)]
        for receipt in receipts[: len(settled)]:
            assert isinstance(receipt, LedgerReceipt)
            answers += [self._answer(pending, receipt) for pending in self._departures.settled(receipt)]
        for pending, came in zip(commands, receipts[len(settled) :], strict=False):
            if isinstance(came, OpenTransfer):
                self._departures.begin(came, pending)
            else:
                answers.append(self._answer(pending, came))
        self._departures.ask()
        return answers

    def _answer(self, pending: PendingRequest, decided: LedgerReceipt | None) -> Answered:
        if decided is None:  # a PIN must be looked at again
            return _refused(pending, "unknown", UNKNOWN)
        outcome = Outcome(decided.outcome)
        reply = shown(self.lane, Reply.of(decided, self._node), self._lanes)
        return Answered(pending, "ok" if outcome is OK else str(outcome), encode(reply))

    def _note(self, ledger: LaneLedger) -> None:
        self.applied_index = ledger.applied_index
        self.role_changes = ledger.role_changes
        self.pepper = ledger.pepper
        self.last_backup_us = ledger.last_backup_us

    # -- taking the lane --------------------------------------------------------------------------------

    def _try_to_take(self, seen_epoch: int) -> None:
        try:
            self._hold(self._take(seen_epoch))
        except Fenced:
            return
        except (EngineFault, EngineRefused) as error:
            self._on_fault(f"lane {self.lane} cannot be taken: {error}")

    def _took_again(self, until_s: float) -> bool:
        """Take the lane again, which nobody else has taken, within some time; return whether it is held."""
        while True:
            try:
                self._hold(self._take(self.epoch))
                return True
            except Fenced:
                self.mine = False
                return False
            except (EngineFault, EngineRefused) as error:
                self._on_fault(f"lane {self.lane} cannot be taken again: {error}")
            with self._changed:
                if self._stopping or self._clock() >= until_s:
                    return False
                self._changed.wait(TAKE_AGAIN_S)

    def _take_again(self, batch: Sequence[PendingRequest]) -> None:
        """Go on trying to take the lane; nothing of the batch was sent yet."""
        if self._took_again(until_s=self._clock() + WAIT_S_MAX):
            self._do(batch)
        else:
            with self._changed:
                queued, self._queue = [pending for _, pending in self._queue], []
            self._refuse([*batch, *queued], "unavailable", "the database does not answer")

    def _hold(self, ledger: LaneLedger) -> None:
        self._ledger = ledger
        is_new = not self.mine
        self.taken_index = ledger.applied_index
        self.epoch, self.mine = ledger.epoch, True
        self._note(ledger)
        for transfer in ledger.open_transfers:
            self._departures.begin(transfer)
        self._departures.ask()
        if is_new:
            self._on_taken(self.lane, ledger.epoch)

    def _drop(self) -> None:
        if self._ledger is not None:
            self._ledger.close()
            self._ledger = None

    # -- refusals ---------------------------------------------------------------------------------------

    def _end(self, batch: Sequence[PendingRequest], may_be_done: bool, why: str) -> None:
        """Answer requests that have no receipt: unknown, if what changes something may be done."""
        for pending in batch:
            outcome, told = without_answer(pending, why) if may_be_done else ("unavailable", why)
            self._refuse([pending], outcome, told)

    def _refuse(self, batch: Sequence[PendingRequest], outcome: str, why: str) -> None:
        if batch:
            self._on_answers([_refused(pending, outcome, why) for pending in batch])


def _logged(pending: PendingRequest) -> LoggedCommand | LaneEntry:
    if isinstance(pending.request, Arrive):
        return LaneEntry(pending.actor, pending.request)
    return LoggedCommand(pending.actor, cast(LogCommand, pending.request), pending.roles)


def _refused(pending: PendingRequest, outcome: str, why: str) -> Answered:
    return Answered(pending, outcome, encode(ErrorReply(id=pending.request.id, outcome=outcome, message=why)))
