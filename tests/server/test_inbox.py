"""The inbox: what is worth a turn, and who takes it."""

from __future__ import annotations

import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from threading import Event, Lock, Semaphore, Thread, current_thread

import pytest
from msgspec.structs import replace

from atm.raft.messages import AppendEntriesResponse, RequestVote
from atm.server.group import inbox as inbox_module
from atm.server.group.inbox import WAKE_ON_ANYTHING, Inbox, Inputs, PendingRequest, WakeThresholds
from atm.wire.client_messages import Status
from atm.wire.codec import encode
from tests.support.server_parts import DEADLINE_S, Mailbox, credit, messages, query, requests, wait_until

VOTE = RequestVote(sender="n2", term=1, last_log_index=0, last_log_term=0, pre_vote=False)
ACKNOWLEDGEMENT = AppendEntriesResponse(
    sender="n2", term=1, success=True, match_index=2, conflict_index=0, conflict_term=0, round=0
)
MUCH = WakeThresholds(commands=3, queries=3)
LONG_S = 60.0

STATUS = Status(id="s")


class Turns:
    """An inbox, the run loop's thread, and what the threads that have the turn do with it."""

    def __init__(self, *, readers: bool = True) -> None:
        self._lock = Lock()
        self.inbox = Inbox(self._lock)
        self.taken: list[tuple[str, Inputs]] = []  # by whom
        self.wanted = WAKE_ON_ANYTHING
        self.more = False
        self.during: Callable[[], None] = lambda: None  # a reader's turn
        if readers:
            self.inbox.run_inline_with(self._run_inline)
        self._loop: Thread | None = None

    def take(self) -> Inputs:
        with self._lock:
            inputs = self.inbox.drain()
        self.taken.append((current_thread().name, inputs))
        return inputs

    def _run_inline(self) -> None:
        self.take()
        self.during()
        self.inbox.end_inline(self.wanted, more=self.more)

    def sleep(self, wanted: WakeThresholds = WAKE_ON_ANYTHING, seconds: float = LONG_S) -> None:
        """Let the run loop give up its turn."""
        self._loop = Thread(target=self.inbox.sleep, args=(seconds, wanted), name="loop", daemon=True)
        self._loop.start()
        wait_until(lambda: self.inbox._idle or not self.asleep)

    @property
    def asleep(self) -> bool:
        assert self._loop is not None
        return self._loop.is_alive()

    def assert_the_loop_has_the_turn(self) -> None:
        """And that nothing is left over for its next sleep."""
        assert self._loop is not None
        self._loop.join(DEADLINE_S)
        assert not self.asleep
        assert not self.inbox._idle
        assert not self.inbox._loop_waits
        assert self.inbox._wakeup.locked()

    def assert_nobody_has_the_turn(self) -> None:
        assert self.asleep
        assert self.inbox._idle


MAIL: dict[str, Callable[[], Inputs]] = {
    "command": lambda: requests(Mailbox().asks(credit("a"))),
    "query": lambda: requests(Mailbox().asks(query("q"))),
    "status": lambda: requests(PendingRequest(Mailbox(), 0, STATUS, encode(STATUS), "local")),
    "passed on": lambda: requests(Mailbox().asks(credit("a"), forwarded=True)),
    "acknowledgement": lambda: messages(ACKNOWLEDGEMENT),
    "vote": lambda: messages(VOTE),
    "returned": lambda: Inputs(forward_replies=[(1, b"")]),
    "refused": lambda: Inputs(refused=[(Mailbox(), 0, b"")]),
    "demotion": lambda: Inputs(demotions=["n2"]),
    "lost link": lambda: Inputs(lost_links=["n2"]),
}


def put(inbox: Inbox, what: str) -> None:
    """Put one of a kind."""
    inbox.put(MAIL[what]())


# -- who has the turn ------------------------------------------------------------------------------


def test_a_reading_thread_takes_the_turn_itself_while_the_run_loop_sleeps() -> None:
    turns = Turns()
    turns.sleep()
    put(turns.inbox, "command")
    put(turns.inbox, "vote")
    assert [name for name, _ in turns.taken] == [current_thread().name] * 2
    turns.assert_nobody_has_the_turn()


def test_the_run_loop_has_the_turn_until_it_sleeps_and_does_not_sleep_over_what_came_in() -> None:
    turns = Turns()
    put(turns.inbox, "command")
    assert turns.taken == []
    turns.sleep()
    turns.assert_the_loop_has_the_turn()
    assert len(turns.take().commands) == 1


def test_without_readers_what_comes_in_wakes_the_run_loop() -> None:
    turns = Turns(readers=False)
    turns.sleep()
    put(turns.inbox, "command")
    turns.assert_the_loop_has_the_turn()
    assert len(turns.take().commands) == 1


def test_more_to_do_after_a_reading_threads_turn_is_the_run_loops() -> None:
    turns = Turns()
    turns.more = True
    turns.sleep()
    put(turns.inbox, "command")
    turns.assert_the_loop_has_the_turn()


def test_what_comes_in_during_a_reading_threads_turn_is_the_run_loops() -> None:
    turns = Turns()
    turns.during = lambda: put(turns.inbox, "vote")
    turns.sleep()
    put(turns.inbox, "command")
    turns.assert_the_loop_has_the_turn()
    assert [name for name, _ in turns.taken] == [current_thread().name]
    assert turns.take().messages == [VOTE]


def test_a_second_reading_thread_leaves_its_mail_to_who_has_the_turn() -> None:
    turns = Turns()
    begun, end = Event(), Event()

    def wait() -> None:
        begun.set()
        assert end.wait(DEADLINE_S)

    turns.during = wait
    turns.sleep()
    first = Thread(target=put, args=(turns.inbox, "command"), daemon=True)
    first.start()
    assert begun.wait(DEADLINE_S)
    put(turns.inbox, "vote")  # returns although the turn lasts
    assert len(turns.taken) == 1
    end.set()
    first.join(DEADLINE_S)
    turns.assert_the_loop_has_the_turn()


def test_the_run_loop_has_the_turn_again_when_its_time_is_over() -> None:
    turns = Turns()
    turns.sleep(MUCH, seconds=0.01)
    put(turns.inbox, "command")
    turns.assert_the_loop_has_the_turn()


def test_a_tick_that_comes_while_a_reading_thread_has_the_turn_gets_it_next() -> None:
    turns = Turns()
    turns.during = lambda: wait_until(lambda: turns.inbox._loop_waits)
    turns.sleep(seconds=0.05)
    put(turns.inbox, "command")  # nothing more comes in, and there is nothing more to do
    turns.assert_the_loop_has_the_turn()
    put(turns.inbox, "vote")
    assert [name for name, _ in turns.taken] == [current_thread().name]


class LateBell:
    """Rings just when the run loop has given up waiting for it."""

    def __init__(self, meanwhile: Callable[[], None]) -> None:
        self._meanwhile = meanwhile
        self.rung = 0

    def acquire(self, timeout: float = -1) -> bool:
        if timeout >= 0:
            self._meanwhile()
            return False
        assert self.rung == 1, "nobody would ever wake the run loop"
        self.rung -= 1
        return True

    def release(self) -> None:
        self.rung += 1


@pytest.mark.parametrize(
    ("readers", "more"),
    [(False, False), (True, False), (True, True)],
    ids=["rung", "taken and handed back", "taken, and more to do"],
)
def test_a_put_that_crosses_the_end_of_a_sleep_leaves_the_turn_with_the_run_loop_once(
    readers: bool, more: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    turns = Turns()
    turns.more = more
    bell = LateBell(lambda: put(turns.inbox, "vote"))
    monkeypatch.setattr(turns.inbox, "_wakeup", bell)
    if not readers:
        turns.inbox.run_inline_with(bell.release)
    turns.inbox.sleep(0.01)
    assert bell.rung == 0
    assert not turns.inbox._idle
    assert len(turns.taken) == readers


# -- what is worth a turn --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("what", "often"),
    [
        ("command", 3),
        ("passed on", 3),
        ("query", 3),
        ("acknowledgement", 1),
        ("vote", 1),
        ("status", 1),
        ("returned", 1),
        ("refused", 1),
        ("demotion", 1),
        ("lost link", 1),
    ],
)
def test_a_turn_is_taken_for_as_many_of_a_kind_as_are_wanted_and_for_one_of_any_other(
    what: str, often: int
) -> None:
    turns = Turns()
    turns.sleep(MUCH)
    for _ in range(often - 1):
        put(turns.inbox, what)
    assert turns.taken == []
    put(turns.inbox, what)
    assert len(turns.taken) == 1


def test_kinds_are_not_counted_together_and_leave_together() -> None:
    turns = Turns()
    turns.sleep(MUCH)
    for what in ("command", "query") * 2:
        put(turns.inbox, what)
    assert turns.taken == []
    put(turns.inbox, "vote")
    ((_, inputs),) = turns.taken
    assert (len(inputs.commands), len(inputs.queries), inputs.messages) == (2, 2, [VOTE])


def test_what_is_wanted_next_is_told_with_the_turn_that_is_handed_back() -> None:
    turns = Turns()
    turns.wanted = MUCH
    turns.sleep()
    for _ in range(3):
        put(turns.inbox, "command")
    assert [len(inputs.commands) for _, inputs in turns.taken] == [1]
    put(turns.inbox, "command")
    assert [len(inputs.commands) for _, inputs in turns.taken] == [1, 3]


@pytest.mark.parametrize("wanted", [WakeThresholds(commands=0), WakeThresholds(queries=0)])
def test_what_can_begin_at_once_lets_nobody_sleep(wanted: WakeThresholds) -> None:
    turns = Turns()
    turns.sleep(wanted)
    turns.assert_the_loop_has_the_turn()


# -- what is too much ------------------------------------------------------------------------------


def test_an_inbox_is_full_by_what_waits_and_what_is_gathered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inbox_module, "REQUESTS_MAX", 4)
    turns = Turns()
    for what in ("command", "query", "status"):
        put(turns.inbox, what)
    assert not turns.inbox.full
    turns.inbox.gathered.add(Mailbox().asks(credit("b")))
    assert turns.inbox.full
    turns.inbox.put_gathered()
    assert turns.inbox.full
    assert turns.take().requests == 4
    assert not turns.inbox.full


def test_messages_over_the_limit_are_dropped_until_a_turn_takes_the_others() -> None:
    turns = Turns()
    turns.inbox.put(messages(VOTE, size_bytes=inbox_module.MESSAGE_BYTES_MAX + 1))
    turns.inbox.put(messages(VOTE, ACKNOWLEDGEMENT))
    assert turns.take().messages == [VOTE]
    put(turns.inbox, "vote")
    assert turns.take().messages == [VOTE]


# -- a round of the reader -------------------------------------------------------------------------


def test_a_round_of_all_kinds_is_put_as_one_and_worth_one_turn() -> None:
    turns = Turns()
    turns.sleep()
    for what, kind in MAIL.items():
        turns.inbox.gathered.extend(kind())
        assert turns.taken == [], what
    turns.inbox.put_gathered()
    ((_, inputs),) = turns.taken
    assert (len(inputs.commands), len(inputs.queries), len(inputs.statuses), inputs.requests) == (2, 1, 1, 4)
    assert inputs.messages == [ACKNOWLEDGEMENT, VOTE]
    assert (inputs.message_bytes, inputs.forward_replies) == (20, [(1, b"")])
    assert (len(inputs.refused), inputs.demotions, inputs.lost_links) == (1, ["n2"], ["n2"])


def test_what_is_gathered_during_the_turn_of_its_round_belongs_to_the_next() -> None:
    turns = Turns()
    turns.during = lambda: turns.inbox.gathered.demotions.append("n2")
    turns.sleep()
    turns.inbox.gathered.extend(messages(VOTE))
    turns.inbox.put_gathered()
    ((_, inputs),) = turns.taken
    assert (inputs.messages, inputs.demotions) == ([VOTE], [])
    assert (turns.inbox.gathered.messages, turns.inbox.gathered.demotions) == ([], ["n2"])


# -- all at once -----------------------------------------------------------------------------------


@pytest.fixture
def hasty_threads() -> Iterator[None]:
    before_s = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before_s)


class Crowd:
    """A run loop and reading threads that put, each until its vote was taken, and take turns all at once."""

    def __init__(self, readers: int, rounds: int) -> None:
        self._lock = Lock()
        self._inbox = Inbox(self._lock)
        self._inbox.run_inline_with(self._run_inline)
        self._in_turn = Lock()
        self._loop_waits = 3 * readers * rounds
        self._rounds = rounds
        self.arrived = 0
        self.turns: Counter[str] = Counter()  # by who took them
        self.wrong: list[str] = []
        self._voted = [Semaphore(0) for _ in range(readers)]  # one for each reader
        self._threads = [Thread(target=self._put, args=(reader,), daemon=True) for reader in range(readers)]

    @property
    def complete(self) -> bool:
        return self.arrived == self._loop_waits

    def run(self) -> None:
        for thread in self._threads:
            thread.start()
        while not self.complete and not self.wrong:
            if not self._turn("loop") and not self.complete:
                self._inbox.sleep(0.0005 if self.turns["loop"] % 2 else LONG_S, self._wanted())

    def _put(self, reader: int) -> None:
        for _ in range(self._rounds):
            put(self._inbox, "command")
            put(self._inbox, "acknowledgement")
            self._inbox.put(messages(replace(VOTE, term=reader)))
            if not self._voted[reader].acquire(timeout=DEADLINE_S):
                self.wrong.append("a vote was slept over")
                put(self._inbox, "demotion")
                return

    def _run_inline(self) -> None:
        more = self._turn("readers")
        self._inbox.end_inline(self._wanted(), more=more or self.complete)

    def _turn(self, who: str) -> bool:
        if not self._in_turn.acquire(blocking=False):
            self.wrong.append("two were in a turn")
            return True
        with self._lock:
            inputs = self._inbox.drain()
        time.sleep(0)  # lets another thread run, as writing to a disk would
        self.arrived += len(inputs.commands) + len(inputs.messages)
        self.turns[who] += 1
        self._in_turn.release()
        for message in inputs.messages:
            if isinstance(message, RequestVote):
                self._voted[message.term].release()
        return sum(self.turns.values()) % 5 == 0

    def _wanted(self) -> WakeThresholds:
        turns = sum(self.turns.values())
        return WakeThresholds(commands=1 + turns % 3)


@pytest.mark.usefixtures("hasty_threads")
def test_many_threads_never_have_the_turn_together_and_lose_nothing() -> None:
    crowd = Crowd(readers=2, rounds=1500)
    crowd.run()
    assert crowd.wrong == []
    assert crowd.complete
    assert crowd.turns.keys() == {"loop", "readers"}, "they were not all at it"
