"""The inbox: when an iteration runs, and in which thread."""

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
from tests.support.server_parts import (
    DEADLINE_S,
    ReplyRecorder,
    credit,
    messages,
    query,
    requests,
    wait_until,
)

VOTE = RequestVote(sender="n2", term=1, last_log_index=0, last_log_term=0, pre_vote=False)
ACKNOWLEDGEMENT = AppendEntriesResponse(
    sender="n2", term=1, success=True, match_index=2, conflict_index=0, conflict_term=0, round=0
)
MUCH = WakeThresholds(commands=3, queries=3)
LONG_S = 60.0

STATUS = Status(id="s")


class Story:
    """An inbox, the run loop's thread, and iterations that record what they take."""

    def __init__(self, *, readers: bool = True) -> None:
        self._lock = Lock()
        self.inbox = Inbox(self._lock)
        self.taken: list[tuple[str, Inputs]] = []  # by whom
        self.thresholds = WAKE_ON_ANYTHING
        self.more = False
        self.during: Callable[[], None] = lambda: None  # an inline iteration
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
        self.inbox.end_inline(self.thresholds, more=self.more)

    def sleep(self, thresholds: WakeThresholds = WAKE_ON_ANYTHING, seconds: float = LONG_S) -> None:
        """Let the run loop's thread sleep in the inbox."""
        self._loop = Thread(target=self.inbox.sleep, args=(seconds, thresholds), name="loop", daemon=True)
        self._loop.start()
        wait_until(lambda: self.inbox._idle or not self.asleep)

    @property
    def asleep(self) -> bool:
        assert self._loop is not None
        return self._loop.is_alive()

    def assert_the_loop_runs(self) -> None:
        """And that nothing is left over for its next sleep."""
        assert self._loop is not None
        self._loop.join(DEADLINE_S)
        assert not self.asleep
        assert not self.inbox._idle
        assert not self.inbox._loop_waits
        assert self.inbox._wakeup.locked()

    def assert_idle(self) -> None:
        assert self.asleep
        assert self.inbox._idle


INPUTS: dict[str, Callable[[], Inputs]] = {
    "command": lambda: requests(ReplyRecorder().pending(credit("a"))),
    "query": lambda: requests(ReplyRecorder().pending(query("q"))),
    "status": lambda: requests(PendingRequest(ReplyRecorder(), 0, STATUS, encode(STATUS), "local")),
    "forwarded": lambda: requests(ReplyRecorder().pending(credit("a"), forwarded=True)),
    "acknowledgement": lambda: messages(ACKNOWLEDGEMENT),
    "vote": lambda: messages(VOTE),
    "returned": lambda: Inputs(forward_replies=[(1, b"")]),
    "refused": lambda: Inputs(refused=[(ReplyRecorder(), 0, b"")]),
    "demotion": lambda: Inputs(demotions=[("n2", "new")]),
    "lost link": lambda: Inputs(lost_links=["n2"]),
}


def put(inbox: Inbox, what: str) -> None:
    """Put one of a kind."""
    inbox.put(INPUTS[what]())


# -- in which thread an iteration runs ---------------------------------------------------------------


def test_a_reading_thread_runs_an_iteration_inline_while_the_run_loop_sleeps() -> None:
    story = Story()
    story.sleep()
    put(story.inbox, "command")
    put(story.inbox, "vote")
    assert [name for name, _ in story.taken] == [current_thread().name] * 2
    story.assert_idle()


def test_before_its_first_sleep_the_run_loop_itself_runs_what_came_in() -> None:
    story = Story()
    put(story.inbox, "command")
    assert story.taken == []
    story.sleep()
    story.assert_the_loop_runs()
    assert len(story.take().commands) == 1


def test_without_readers_what_comes_in_wakes_the_run_loop() -> None:
    story = Story(readers=False)
    story.sleep()
    put(story.inbox, "command")
    story.assert_the_loop_runs()
    assert len(story.take().commands) == 1


def test_more_to_do_after_an_inline_iteration_is_done_by_the_run_loop() -> None:
    story = Story()
    story.more = True
    story.sleep()
    put(story.inbox, "command")
    story.assert_the_loop_runs()


def test_what_comes_in_during_an_inline_iteration_is_done_by_the_run_loop() -> None:
    story = Story()
    story.during = lambda: put(story.inbox, "vote")
    story.sleep()
    put(story.inbox, "command")
    story.assert_the_loop_runs()
    assert [name for name, _ in story.taken] == [current_thread().name]
    assert story.take().messages == [VOTE]


def test_a_second_thread_that_puts_during_an_iteration_runs_none_itself() -> None:
    story = Story()
    begun, end = Event(), Event()

    def wait() -> None:
        begun.set()
        assert end.wait(DEADLINE_S)

    story.during = wait
    story.sleep()
    first = Thread(target=put, args=(story.inbox, "command"), daemon=True)
    first.start()
    assert begun.wait(DEADLINE_S)
    put(story.inbox, "vote")  # returns although the iteration is still running
    assert len(story.taken) == 1
    end.set()
    first.join(DEADLINE_S)
    story.assert_the_loop_runs()


def test_the_run_loop_goes_on_when_its_sleep_is_over() -> None:
    story = Story()
    story.sleep(MUCH, seconds=0.01)
    put(story.inbox, "command")
    story.assert_the_loop_runs()


def test_a_tick_that_is_due_during_an_inline_iteration_runs_next() -> None:
    story = Story()
    story.during = lambda: wait_until(lambda: story.inbox._loop_waits)
    story.sleep(seconds=0.05)
    put(story.inbox, "command")  # nothing more comes in, and there is nothing more to do
    story.assert_the_loop_runs()
    put(story.inbox, "vote")
    assert [name for name, _ in story.taken] == [current_thread().name]


class LateWakeup:
    """A wake-up that comes just when the run loop has stopped waiting for it."""

    def __init__(self, meanwhile: Callable[[], None]) -> None:
        self._meanwhile = meanwhile
        self.released = 0

    def acquire(self, timeout: float = -1) -> bool:
        if timeout >= 0:
            self._meanwhile()
            return False
        assert self.released == 1, "the run loop would never wake up"
        self.released -= 1
        return True

    def release(self) -> None:
        self.released += 1


@pytest.mark.parametrize(
    ("readers", "more"),
    [(False, False), (True, False), (True, True)],
    ids=["wakes the loop", "runs inline", "runs inline, and more to do"],
)
def test_a_put_at_the_end_of_a_sleep_wakes_the_run_loop_exactly_once(
    readers: bool, more: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    story = Story()
    story.more = more
    wakeup = LateWakeup(lambda: put(story.inbox, "vote"))
    monkeypatch.setattr(story.inbox, "_wakeup", wakeup)
    if not readers:
        story.inbox.run_inline_with(wakeup.release)
    story.inbox.sleep(0.01)
    assert wakeup.released == 0
    assert not story.inbox._idle
    assert len(story.taken) == readers


# -- wake-up thresholds ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("what", "often"),
    [
        ("command", 3),
        ("forwarded", 3),
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
def test_an_iteration_runs_at_the_threshold_of_a_kind_and_for_one_of_any_other(what: str, often: int) -> None:
    story = Story()
    story.sleep(MUCH)
    for _ in range(often - 1):
        put(story.inbox, what)
    assert story.taken == []
    put(story.inbox, what)
    assert len(story.taken) == 1


def test_kinds_are_not_counted_together_and_leave_together() -> None:
    story = Story()
    story.sleep(MUCH)
    for what in ("command", "query") * 2:
        put(story.inbox, what)
    assert story.taken == []
    put(story.inbox, "vote")
    ((_, inputs),) = story.taken
    assert (len(inputs.commands), len(inputs.queries), inputs.messages) == (2, 2, [VOTE])


def test_an_inline_iteration_sets_the_thresholds_of_the_next() -> None:
    story = Story()
    story.thresholds = MUCH
    story.sleep()
    for _ in range(3):
        put(story.inbox, "command")
    assert [len(inputs.commands) for _, inputs in story.taken] == [1]
    put(story.inbox, "command")
    assert [len(inputs.commands) for _, inputs in story.taken] == [1, 3]


@pytest.mark.parametrize("thresholds", [WakeThresholds(commands=0), WakeThresholds(queries=0)])
def test_a_threshold_of_0_does_not_let_the_run_loop_sleep(thresholds: WakeThresholds) -> None:
    story = Story()
    story.sleep(thresholds)
    story.assert_the_loop_runs()


# -- what is too much ------------------------------------------------------------------------------


def test_an_inbox_is_full_by_what_waits_and_what_is_gathered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inbox_module, "REQUESTS_MAX", 4)
    story = Story()
    for what in ("command", "query", "status"):
        put(story.inbox, what)
    assert not story.inbox.full
    story.inbox.gathered.add_request(ReplyRecorder().pending(credit("b")))
    assert story.inbox.full
    story.inbox.put_gathered()
    assert story.inbox.full
    assert story.take().requests == 4
    assert not story.inbox.full


def test_messages_over_the_limit_are_dropped_until_an_iteration_takes_the_others() -> None:
    story = Story()
    story.inbox.put(messages(VOTE, size_bytes=inbox_module.MESSAGE_BYTES_MAX + 1))
    story.inbox.put(messages(VOTE, ACKNOWLEDGEMENT))
    assert story.take().messages == [VOTE]
    put(story.inbox, "vote")
    assert story.take().messages == [VOTE]


# -- a round of the reader -------------------------------------------------------------------------


def test_a_round_of_all_kinds_is_put_as_one_and_runs_one_iteration() -> None:
    story = Story()
    story.sleep()
    for what, kind in INPUTS.items():
        story.inbox.gathered.extend(kind())
        assert story.taken == [], what
    story.inbox.put_gathered()
    ((_, inputs),) = story.taken
    assert (len(inputs.commands), len(inputs.queries), len(inputs.statuses), inputs.requests) == (2, 1, 1, 4)
    assert inputs.messages == [ACKNOWLEDGEMENT, VOTE]
    assert (inputs.message_bytes, inputs.forward_replies) == (20, [(1, b"")])
    assert (len(inputs.refused), inputs.demotions, inputs.lost_links) == (1, [("n2", "new")], ["n2"])


def test_what_is_gathered_during_the_iteration_of_its_round_belongs_to_the_next() -> None:
    story = Story()
    story.during = lambda: story.inbox.gathered.demotions.append(("n2", "new"))
    story.sleep()
    story.inbox.gathered.extend(messages(VOTE))
    story.inbox.put_gathered()
    ((_, inputs),) = story.taken
    assert (inputs.messages, inputs.demotions) == ([VOTE], [])
    assert (story.inbox.gathered.messages, story.inbox.gathered.demotions) == ([], [("n2", "new")])


# -- all at once -----------------------------------------------------------------------------------


@pytest.fixture
def hasty_threads() -> Iterator[None]:
    before_s = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before_s)


class Crowd:
    """A run loop and reading threads that put, each until its vote was taken, and take story all at once."""

    def __init__(self, readers: int, rounds: int) -> None:
        self._lock = Lock()
        self._inbox = Inbox(self._lock)
        self._inbox.run_inline_with(self._run_inline)
        self._in_iteration = Lock()
        self._loop_waits = 3 * readers * rounds
        self._rounds = rounds
        self.arrived = 0
        self.iterations: Counter[str] = Counter()  # by the thread that ran them
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
            if not self._iterate("loop") and not self.complete:
                self._inbox.sleep(0.0005 if self.iterations["loop"] % 2 else LONG_S, self._thresholds())

    def _put(self, reader: int) -> None:
        for _ in range(self._rounds):
            put(self._inbox, "command")
            put(self._inbox, "acknowledgement")
            self._inbox.put(messages(replace(VOTE, term=reader)))
            if not self._voted[reader].acquire(timeout=DEADLINE_S):
                self.wrong.append("a vote waited in the inbox of a sleeping loop")
                put(self._inbox, "demotion")
                return

    def _run_inline(self) -> None:
        more = self._iterate("readers")
        self._inbox.end_inline(self._thresholds(), more=more or self.complete)

    def _iterate(self, who: str) -> bool:
        if not self._in_iteration.acquire(blocking=False):
            self.wrong.append("two iterations ran at once")
            return True
        with self._lock:
            inputs = self._inbox.drain()
        time.sleep(0)  # lets another thread run, as writing to a disk would
        self.arrived += len(inputs.commands) + len(inputs.messages)
        self.iterations[who] += 1
        self._in_iteration.release()
        for message in inputs.messages:
            if isinstance(message, RequestVote):
                self._voted[message.term].release()
        return sum(self.iterations.values()) % 5 == 0

    def _thresholds(self) -> WakeThresholds:
        iterations = sum(self.iterations.values())
        return WakeThresholds(commands=1 + iterations % 3)


@pytest.mark.usefixtures("hasty_threads")
def test_many_threads_never_run_two_iterations_at_once_and_lose_nothing() -> None:
    crowd = Crowd(readers=2, rounds=1500)
    crowd.run()
    assert crowd.wrong == []
    assert crowd.complete
    assert crowd.iterations.keys() == {"loop", "readers"}, "not all threads ran iterations"
