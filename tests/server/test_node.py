"""The run loop: what one turn does, in which order, and how it keeps time."""

from __future__ import annotations

from threading import Lock, Thread

import pytest

from atm.raft.messages import NodeId, RaftMessage, RequestVote
from atm.raft.ready import Ready
from atm.server.desk import Desk
from atm.server.inbox import Inbox
from atm.server.node import TICK_S, TICKS_PER_TURN_MAX, Node
from tests.server.parts import FakeCore, Mailbox, Recorder, credit, wait_until

VOTE = RequestVote(sender="n2", term=1, last_log_index=0, last_log_term=0, pre_vote=False)


class WatchedCore(FakeCore):
    """Writes down the order in which it is used."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[str] = []

    def step(self, message: RaftMessage) -> None:
        self.calls.append("step")

    def tick(self) -> None:
        self.calls.append("tick")

    def demote(self, node_id: NodeId) -> None:
        self.calls.append(f"demote {node_id}")

    def ready(self) -> Ready | None:
        return None

    def advance(self, ready: Ready) -> None:
        raise AssertionError("there was nothing to advance")


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
        self.tellers = Outbox()
        self.now_s = 100.0
        self.node = Node(
            raft=self.core,
            log=self.links,
            bank=self.links,
            links=self.links,
            desk=Desk("n1", self.core, self.links, self.links, first_number=1),
            tellers=self.tellers,
            inbox=self.inbox,
            lock=self.lock,
            clock=lambda: self.now_s,
        )


def test_a_demotion_comes_before_messages_and_messages_before_time() -> None:
    story = Story()
    story.inbox.put_messages([VOTE], 10)
    story.inbox.put_demotion("n2")
    story.now_s += 1.5 * TICK_S
    story.node.turn()
    assert story.core.calls == ["demote n2", "step", "tick"]


def test_ticks_follow_the_clock_and_none_is_lost_between_turns() -> None:
    story = Story()
    for _ in range(40):
        story.now_s += TICK_S / 4
        story.node.turn()
    assert story.core.calls.count("tick") in (9, 10)


def test_after_a_stall_only_a_few_ticks_are_made_up() -> None:
    story = Story()
    story.now_s += 100.0
    story.node.turn()
    story.node.turn()
    assert story.core.calls == ["tick"] * TICKS_PER_TURN_MAX


def test_blocked_connections_are_tried_again_with_each_tick_only() -> None:
    story = Story()
    story.node.turn()
    assert (story.links.retries, story.tellers.retries) == (0, 0)
    story.now_s += TICK_S * 1.01
    story.node.turn()
    assert (story.links.retries, story.tellers.retries) == (1, 1)


def test_what_comes_in_wakes_a_sleeping_loop() -> None:
    story = Story()
    sleeper = Thread(target=story.inbox.sleep, args=(60.0,), daemon=True)
    sleeper.start()
    wait_until(lambda: story.inbox._asleep)
    assert story.inbox.put_requests([Mailbox().asks(credit("a"))])
    sleeper.join(5.0)
    assert not sleeper.is_alive()


class LateBell:
    """Rings just when the sleeper has given up waiting for it."""

    def __init__(self, inbox: Inbox) -> None:
        self._inbox = inbox
        self.rung = 0

    def acquire(self, timeout: float = -1) -> bool:
        if timeout >= 0:
            self._inbox.put_demotion("n2")
            return False
        self.rung -= 1
        return True

    def release(self) -> None:
        self.rung += 1


def test_a_ring_that_crosses_the_end_of_a_sleep_is_not_kept_for_the_next(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    inbox = Story().inbox
    bell = LateBell(inbox)
    monkeypatch.setattr(inbox, "_bell", bell)
    inbox.sleep(0.01)
    assert bell.rung == 0


def test_stop_ends_the_loop() -> None:
    story = Story()
    loop = Thread(target=story.node.run, daemon=True)
    loop.start()
    story.node.stop()
    loop.join(5.0)
    assert not loop.is_alive()
