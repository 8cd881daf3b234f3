"""The run loop: what one iteration does, in which order, and how it keeps time."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from threading import Event, Lock, Thread

import pytest

from atm.ledger.commands import LedgerReceipt
from atm.ledger.ledger import ClusterState, Record
from atm.ledger.state_hash import RowsFrom
from atm.raft.messages import Entry, EntryKind, HardState, NodeId, RaftMessage, RequestVote, Snapshot
from atm.raft.ready import Ready, Role
from atm.raft.rejection import Rejection, Violation
from atm.server.group.inbox import Inbox, Inputs, WakeThresholds
from atm.server.group.request_router import RequestRouter
from atm.server.group.run_loop import (
    HAND_OVER_S,
    READIES_PER_ITERATION_MAX,
    TICK_S,
    TICKS_PER_ITERATION_MAX,
    UNWRITTEN_MAX,
    WRITE_TICKS,
    RunLoop,
)
from atm.wire.peer_messages import CheckLedger
from tests.support.server_parts import (
    DEADLINE_S,
    FakeCore,
    Recorder,
    ReplyRecorder,
    credit,
    keeper_of,
    messages,
    requests,
    wait_until,
)

VOTE = RequestVote(sender="n2", term=1, last_log_index=0, last_log_term=0, pre_vote=False)


class WatchedCore(FakeCore):
    """Writes down the order in which it is used."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[str] = []
        self.readies: list[Ready] = []
        self.fault: BaseException | None = None  # that the next message brings about
        self.before_fault: Callable[[], None] = lambda: None
        self.refusal: Rejection | None = None  # of every message

    def step(self, message: RaftMessage) -> Rejection | None:
        self.calls.append("step")
        if self.fault is not None:
            self.before_fault()
            raise self.fault
        return self.refusal

    def tick(self) -> None:
        self.calls.append("tick")

    def demote(self, node_id: NodeId, store: str) -> None:
        self.calls.append(f"demote {node_id} {store}")

    def ready(self) -> Ready | None:
        return self.readies.pop(0) if self.readies else None

    def advance(self, ready: Ready) -> None:
        self.calls.append("advance")

    def commit(self, entries: int = 1) -> None:
        """Have the core report so many more committed entries to the next iteration."""
        first = self.commit_index + 1
        self.commit_index += entries
        committed = [
            Entry(index=i, term=1, time_us=i, kind=EntryKind.NOOP, data=b"")
            for i in range(first, first + entries)
        ]
        self.readies.append(
            Ready(
                hard_state=HardState(term=1), committed=tuple(committed), role=self.role, leader=self.leader
            )
        )


class Outbox:
    """Counts what is asked of the connections."""

    def __init__(self) -> None:
        self.retries = 0

    def flush(self) -> None: ...

    def retry(self) -> None:
        self.retries += 1


class Links(Recorder, Outbox):
    """The way to the others."""

    def __init__(self) -> None:
        Recorder.__init__(self)
        Outbox.__init__(self)


class Story:
    """A node whose clock the test moves."""

    def __init__(self) -> None:
        self.core = WatchedCore()
        self.links = Links()
        self.lock = Lock()
        self.inbox = Inbox(self.lock)
        self.clients = Outbox()
        self.now_s = 100.0
        self.router = RequestRouter(
            "n1",
            self.core,
            self.links,
            self.links,
            self.links,
            keeper_of(self.core, self.links),
            listed={},
            first_number=1,
        )
        self.node = RunLoop(
            raft=self.core,
            log=self.links,
            ledger=self.links,
            links=self.links,
            router=self.router,
            guards=self.links,
            validator=self.links,
            clients=self.clients,
            inbox=self.inbox,
            lock=self.lock,
            on_cluster=lambda cluster: self.links.events.append(f"cluster {cluster.id}"),
            clock=lambda: self.now_s,
            on_rejection=self._say,
            on_install=lambda snapshot, leader: self.installs.append((snapshot.index, leader)),
            on_tick=self._on_tick,
            on_stall=lambda stalled_s: self.stalls.append(round(stalled_s, 3)),
        )
        self.stalls: list[float] = []
        self.installs: list[tuple[int, str]] = []
        self.said: list[Rejection] = []
        self.raised: BaseException | None = None  # by `run`
        self._loop = Thread(target=self._run, daemon=True)

    def _say(self, refusal: Rejection) -> None:
        assert not self.lock.locked(), "saying is I/O"
        self.said.append(refusal)

    def _on_tick(self) -> None:
        assert not self.lock.locked(), "what is done there is I/O"
        self.core.calls.append("on tick")

    @property
    def writes(self) -> int:
        return self.links.events.count("write")

    def turn_after(self, ticks: float) -> None:
        self.now_s += ticks * TICK_S
        self.node.iterate()

    def start(self) -> None:
        """Run until the loop sleeps for the first time."""
        self._loop.start()
        wait_until(lambda: self.inbox._idle)

    def end(self) -> None:
        """Let time pass until the loop has ended."""
        deadline_s = time.monotonic() + DEADLINE_S
        while self._loop.is_alive() and time.monotonic() < deadline_s:
            self.now_s += HAND_OVER_S
            self._loop.join(0.01)
        assert not self._loop.is_alive()

    def _run(self) -> None:
        try:
            self.node.run()
        except BaseException as error:
            self.raised = error


def test_a_demotion_comes_before_messages_and_messages_before_time() -> None:
    story = Story()
    story.inbox.put(messages(VOTE))
    story.inbox.put(Inputs(demotions=[("n2", "new")]))
    story.now_s += 1.5 * TICK_S
    story.node.iterate()
    assert story.core.calls == ["demote n2 new", "step", "tick", "on tick"]


def test_ticks_follow_the_clock_and_none_is_lost_between_iterations() -> None:
    story = Story()
    for _ in range(40):
        story.now_s += TICK_S / 4
        story.node.iterate()
    assert story.core.calls.count("tick") in (9, 10)


def test_a_stall_is_told_but_the_time_until_the_first_iteration_is_none() -> None:
    story = Story()
    story.turn_after(100)  # the rest of the start
    story.turn_after(TICKS_PER_ITERATION_MAX)
    assert story.stalls == []
    story.turn_after(50)
    assert story.stalls == [50 * TICK_S]


def test_after_a_stall_only_a_few_ticks_are_made_up() -> None:
    story = Story()
    story.now_s += 100.0
    story.node.iterate()
    story.node.iterate()
    assert story.core.calls == ["tick"] * TICKS_PER_ITERATION_MAX + ["on tick"]


def test_blocked_connections_are_tried_again_with_each_tick_only() -> None:
    story = Story()
    story.node.iterate()
    assert (story.links.retries, story.clients.retries) == (0, 0)
    story.now_s += TICK_S * 1.01
    story.node.iterate()
    assert (story.links.retries, story.clients.retries) == (1, 1)


# -- inline iterations -----------------------------------------------------------------------------


class Disaster(BaseException):
    """No mere `Exception`: those end the node as well."""


def test_stop_ends_the_loop() -> None:
    story = Story()
    story.start()
    story.node.stop()
    story.end()
    assert story.raised is None


def test_a_node_that_stops_replies_to_waiting_requests_and_sends_the_replies(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    story, client, left = Story(), ReplyRecorder(), list[int]()
    monkeypatch.setattr(story.clients, "flush", lambda: left.append(len(client.answers)))
    story.start()
    story.inbox.put(requests(client.pending(credit("a"))))
    story.node.stop()
    story.end()
    assert client.outcomes == [("a", "unknown")]
    assert left[-1] == 1


def test_a_core_that_always_has_more_to_do_does_not_delay_inputs() -> None:
    story = Story()
    for _ in range(READIES_PER_ITERATION_MAX + 2):
        story.core.commit()
    assert story.node.iterate()
    assert len(story.core.readies) == 2
    assert not story.node.iterate()


def test_stop_ends_the_loop_while_iterations_run_inline() -> None:
    story = Story()
    ended = Event()

    def put() -> None:
        while not ended.is_set():
            story.inbox.put(messages(VOTE))

    readers = [Thread(target=put, daemon=True) for _ in range(3)]
    story.start()
    for reader in readers:
        reader.start()
    wait_until(lambda: story.core.calls.count("step") > 100)
    story.node.stop()
    story.end()
    steps = story.core.calls.count("step")
    story.inbox.put(Inputs(demotions=[("n2", "new")]))
    ended.set()
    for reader in readers:
        reader.join(DEADLINE_S)
    assert story.raised is None
    assert story.core.calls.count("step") == steps, "an iteration ran after the end"


def test_what_an_inline_iteration_raises_ends_the_loop_and_not_the_reading_thread() -> None:
    story = Story()
    story.core.fault = Disaster()
    story.start()
    story.inbox.put(messages(VOTE))  # in this thread, which goes on
    story.end()
    assert story.raised is story.core.fault
    story.inbox.put(messages(VOTE))
    assert story.core.calls.count("step") == 1, "an iteration ran after the end"


def test_a_failure_of_a_thread_that_the_node_cannot_do_without_ends_the_loop() -> None:
    story = Story()
    fault = Disaster()
    story.start()
    story.node.fail(fault)
    story.end()
    assert story.raised is fault


def test_what_is_raised_while_the_node_stops_is_not_swallowed() -> None:
    story = Story()
    story.core.fault = Disaster()
    story.core.before_fault = story.node.stop
    story.start()
    story.inbox.put(messages(VOTE))
    story.end()
    assert story.raised is story.core.fault
    assert not story.writes, "of what is left after a disaster nothing is written"


def test_a_router_that_fails_to_return_its_thresholds_ends_the_loop_too(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    story = Story()
    fault = Disaster()

    def fail() -> WakeThresholds:
        raise fault

    story.start()
    monkeypatch.setattr(story.router, "wake_thresholds", fail)
    story.inbox.put(messages(VOTE))
    story.end()
    assert story.raised is fault


# -- when the bank writes --------------------------------------------------------------------------


def test_a_follower_writes_what_was_decided_at_once() -> None:
    story = Story()
    story.core.follow("n2", 1)
    for number in range(3):
        story.core.commit()
        story.node.iterate()
        assert story.writes == number + 1


def test_a_leader_gathers_what_was_decided_for_some_ticks() -> None:
    story = Story()
    story.core.commit()
    story.node.iterate()
    for _ in range(WRITE_TICKS - 1):
        story.core.commit()
        story.turn_after(1.001)
        assert story.writes == 0
    story.turn_after(1.001)
    assert story.writes == 1
    story.turn_after(1.001)
    assert story.writes == 1, "there was nothing new"


def test_ticks_without_anything_to_write_do_not_shorten_the_next_gathering() -> None:
    story = Story()
    for _ in range(WRITE_TICKS + 1):
        story.turn_after(1.001)
    story.core.commit()
    story.node.iterate()
    assert story.writes == 0


def test_a_leader_writes_after_a_tick_without_anything_new() -> None:
    story = Story()
    story.core.commit()
    story.turn_after(1.001)
    assert story.writes == 0
    story.turn_after(1.001)
    assert story.writes == 1


def test_a_leader_writes_at_once_when_much_was_decided() -> None:
    story = Story()
    story.core.commit(UNWRITTEN_MAX - 1)
    story.node.iterate()
    assert story.writes == 0
    story.core.commit()
    story.node.iterate()
    assert story.writes == 1
    story.core.commit(UNWRITTEN_MAX - 1)
    story.node.iterate()
    assert story.writes == 1


def test_a_leader_that_is_deposed_writes_what_it_had_gathered() -> None:
    story = Story()
    story.core.commit()
    story.node.iterate()
    story.core.follow("n2", 2)
    story.node.iterate()
    assert story.writes == 1


def test_what_a_leader_had_gathered_is_written_at_the_end() -> None:
    story = Story()
    story.core.commit()
    story.start()
    assert story.writes == 0
    story.node.stop()
    story.end()
    assert story.links.events[-1] == "write"


def test_what_the_core_rejects_is_reported_after_the_lock_is_free() -> None:
    story = Story()
    story.core.refusal = Rejection(sender="n2", violation=Violation.TERM, what="its term")
    story.inbox.put(messages(VOTE, VOTE))
    story.turn_after(0)
    assert story.said == [story.core.refusal] * 2
    story.turn_after(0)
    assert len(story.said) == 2


def test_a_change_of_the_cluster_is_announced_once_and_before_the_ledger_is_written() -> None:
    """node.json comes first: a ledger that knows its cluster always has a folder that does."""
    story = Story()
    founded = ClusterState(id="ab" * 16, voters=("n1",), feature_level=1)
    decide = story.links.decide

    def found(records: Sequence[Record]) -> list[LedgerReceipt | None]:
        story.links.cluster = founded
        return decide(records)

    story.links.decide = found  # type: ignore[method-assign]
    for _ in range(2):
        story.core.commit(UNWRITTEN_MAX)
        story.turn_after(1)
    told = [event for event in story.links.events if event.startswith(("decide", "cluster", "write"))]
    assert [event.split()[0] for event in told] == ["decide", "cluster", "write", "decide", "write"]


def test_what_others_say_about_themselves_is_received_before_anything_is_applied() -> None:
    """A leader names an index before it sends what comes behind it: whoever applies first has missed it."""
    story = Story()
    check = CheckLedger(sender="n2", index=10, rows_from=RowsFrom(), rows_max=5)
    decide, received = story.links.decide, list[int]()

    def decide_and_note(records: Sequence[Record]) -> list[LedgerReceipt | None]:
        received.append(len(story.links.reports))
        return decide(records)

    story.links.decide = decide_and_note  # type: ignore[method-assign]
    story.inbox.put(Inputs(peer_reports=[check]))
    story.core.commit()
    story.node.iterate()
    assert received == [1]
    assert story.links.reports == [check]


def test_the_guards_are_asked_for_what_is_due_once_a_tick() -> None:
    story = Story()
    story.turn_after(0.5)
    assert story.links.ticks == 0
    story.turn_after(1)
    story.turn_after(TICKS_PER_ITERATION_MAX)
    assert story.links.ticks == 2


def test_the_core_abstains_from_campaigns_as_the_guards_say() -> None:
    story = Story()
    for abstains in (True, False):
        story.links.abstains = abstains
        story.turn_after(1)
        assert story.core.abstains is abstains


def test_what_is_done_at_a_tick_is_done_while_nothing_is_being_performed() -> None:
    story = Story()
    story.core.commit()
    story.core.commit()
    story.turn_after(1.5)
    assert story.core.calls == ["tick", "advance", "advance", "on tick"]
    story.turn_after(0.1)
    assert story.core.calls.count("on tick") == 1


def test_a_snapshot_that_the_core_wants_is_begun_to_be_fetched_from_the_leader() -> None:
    story = Story()
    offered = Snapshot(
        index=9, term=1, time_us=9, size_bytes=0, sha256="", chain_hash="", membership=b"", cluster_id=""
    )
    story.core.readies.append(
        Ready(hard_state=HardState(term=1), install=offered, role=Role.FOLLOWER, leader="n2")
    )
    story.turn_after(0)
    assert story.installs == [(9, "n2")]
