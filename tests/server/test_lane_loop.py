"""The loop of a server of a bank with several lanes: what is told when not all of them answer."""

from __future__ import annotations

from collections.abc import Sequence
from threading import Lock
from types import SimpleNamespace
from typing import Any

import pytest

from atm.lanes.share import lane_of
from atm.ledger.commands import (
    Accounts,
    Arrive,
    Batch,
    Contents,
    Credit,
    Hold,
    Leg,
    Lookup,
    Outcome,
    Post,
    Reverse,
    RotatePepper,
)
from atm.ledger.peppers import PepperState
from atm.ledger.requests import contents_of
from atm.server.group.inbox import Inbox, Inputs, PendingRequest
from atm.server.lanes import lane_loop
from atm.server.lanes.lane_loop import LaneLoop
from atm.server.lanes.lane_worker import Answered
from atm.server.metrics.counters import Counters
from atm.wire.client_messages import ErrorReply, QueuedRequest, Reply, decode_client_reply
from atm.wire.codec import encode

LANES = 3
NAMES = [f"n{each}" for each in range(99)]
IN = [next(name for name in NAMES if lane_of(name, LANES) == lane) for lane in range(LANES)]
ELSEWHERE = 2  # the lane that another server has
NOT_FOUND = Reply(id="i", outcome=Outcome.ORIGINAL_NOT_FOUND)


class FakeWorker:
    """A lane here; the test answers what is put."""

    def __init__(self, *, mine: bool) -> None:
        self.mine, self.waiting, self.pepper = mine, 0, PepperState(1, "p1", 5, 5)
        self.got: list[PendingRequest] = []

    def put(self, requests: Sequence[PendingRequest]) -> Sequence[PendingRequest]:
        self.got += requests
        return ()


class FakeLinks:
    """The links; the test answers what is forwarded, by its number."""

    def __init__(self) -> None:
        self.forwarded: list[tuple[str, int, int, bytes]] = []

    def forward(self, to: str, requests: Sequence[tuple[int, str, int, bytes]], lane: int) -> bool:
        self.forwarded += [(to, lane, number, payload) for number, _, _, payload in requests]
        return True

    def retry(self) -> None: ...
    def flush(self) -> None: ...


class Server:
    """A loop with two lanes here and one at the server n2, and a client of it."""

    def __init__(self) -> None:
        self.workers = [FakeWorker(mine=lane != ELSEWHERE) for lane in range(LANES)]
        self.links = FakeLinks()
        self.now_s = 0.0
        self.looked = 0
        self.replies: dict[int, Any] = {}
        self.peppers: dict[str, Sequence[str] | None] = {"n1": ("p1", "p2"), "n2": ("p1", "p2")}
        self._lock = Lock()
        self._inbox = Inbox(self._lock)
        self.holder: str | None = "n2"
        self.loop = LaneLoop(
            "n1",
            inbox=self._inbox,
            lock=self._lock,
            links=self.links,  # type: ignore[arg-type]
            clients=SimpleNamespace(flush=lambda: None, retry=lambda: None),
            workers=dict(enumerate(self.workers)),  # type: ignore[arg-type]
            holder=lambda lane: self.holder if lane == ELSEWHERE else "n1",
            look=self._look,
            status=lambda _: pytest.fail("nobody asks for the status"),
            known_peppers=lambda: self.peppers,
            first_number=100,
            counters=Counters(),
            on_tick=lambda: None,
            clock=lambda: self.now_s,
        )

    def _look(self) -> None:
        self.looked += 1

    def reply(self, number: int, payload: bytes) -> None:
        assert number not in self.replies, "each request has one reply"
        self.replies[number] = decode_client_reply(payload)

    def pending(self, request: QueuedRequest, number: int = 1, **further: Any) -> PendingRequest:
        return PendingRequest(self, number, request, encode(request), "ann", roles=16, **further)

    def ask(self, request: QueuedRequest, number: int = 1, **further: Any) -> None:
        """Let a client ask."""
        inputs = Inputs()
        inputs.add_request(self.pending(request, number, **further))
        self.put(inputs)

    def put(self, inputs: Inputs) -> None:
        self._inbox.put(inputs)
        self.loop.iterate()

    def answer(self, lane: int, reply: Reply | ErrorReply) -> None:
        """Let a lane answer all that it was asked."""
        if lane == ELSEWHERE:
            asked, self.links.forwarded = self.links.forwarded, []
            self.put(Inputs(forward_replies=[(number, encode(reply)) for _, _, number, _ in asked]))
            return
        worker = self.workers[lane]
        asked_here, worker.got = worker.got, []
        self.loop.answer([Answered(each, "ok", encode(reply)) for each in asked_here])
        self.loop.iterate()

    def answer_all(self, *replies: Reply | ErrorReply) -> None:
        for lane, reply in enumerate(replies):
            self.answer(lane, reply)

    @property
    def told(self) -> Any:
        """What the client was told."""
        return self.replies[1]


def fault(outcome: str) -> ErrorReply:
    return ErrorReply(id="i", outcome=outcome, message="so")


UNAVAILABLE, UNKNOWN = fault("unavailable"), fault("unknown")
OK = Reply(id="i", outcome=Outcome.OK, balance=5, available=5)


def test_a_request_goes_to_its_lane_here_or_at_another_server() -> None:
    server = Server()
    for lane in range(LANES):
        server.ask(Credit(id="i", account=IN[lane], amount=1), lane)
    assert [len(worker.got) for worker in server.workers] == [1, 1, 0]
    [(to, lane, _, _)] = server.links.forwarded
    assert (to, lane) == ("n2", ELSEWHERE)
    server.answer_all(OK, OK, OK)
    assert server.replies == dict.fromkeys(range(LANES), OK)
    assert server.loop.waiting == 0


def test_a_lookup_is_unavailable_unless_all_lanes_answer() -> None:
    server = Server()
    server.ask(Lookup(id="i", request_id="r"))
    server.answer_all(NOT_FOUND, UNKNOWN, NOT_FOUND)
    assert server.told.outcome == "unavailable"


def test_a_hold_is_looked_up_everywhere_before_it_is_posted_where_it_is() -> None:
    server = Server()
    post = Post(id="i", hold="h")
    server.ask(post)
    known = Reply(id="i", outcome=Outcome.OK, balance=1, asked=Contents(op="hold", account=IN[1], amount=1))
    asked = [each.request for each in server.workers[1].got]
    assert asked == [Lookup(id="i", request_id="i"), Lookup(id="i", request_id="h")]
    own, other = server.workers[1].got
    server.workers[1].got = []
    server.loop.answer([Answered(own, "ok", encode(NOT_FOUND)), Answered(other, "ok", encode(known))])
    server.answer(0, NOT_FOUND)
    server.answer(ELSEWHERE, NOT_FOUND)
    [sent] = server.workers[1].got
    assert (sent.request, sent.actor, sent.roles) == (post, "ann", 16)
    assert not server.workers[0].got
    assert not server.links.forwarded
    server.answer(1, OK)
    assert server.told == OK


def test_nothing_is_done_while_a_lane_does_not_say_whether_it_knows_the_hold() -> None:
    server = Server()
    server.ask(Post(id="i", hold="h"))
    server.answer_all(NOT_FOUND, UNAVAILABLE, NOT_FOUND)
    assert server.told.outcome == "unavailable"
    assert not server.workers[0].got


@pytest.mark.parametrize(
    ("answers", "told"),
    [
        ((NOT_FOUND, NOT_FOUND, NOT_FOUND), "original_not_found"),
        ((NOT_FOUND, NOT_FOUND, UNAVAILABLE), "unknown"),
        ((NOT_FOUND, UNKNOWN, UNAVAILABLE), "unknown"),
        ((NOT_FOUND, OK, UNAVAILABLE), "ok"),
        ((UNAVAILABLE, UNAVAILABLE, fault("busy")), "unavailable"),
        ((UNAVAILABLE, UNAVAILABLE, UNKNOWN), "unknown"),
    ],
)
def test_a_reversal_that_nobody_knows_the_original_of_is_left_in_all_lanes_or_unknown(
    answers: tuple[Reply | ErrorReply, ...], told: str
) -> None:
    server = Server()
    reverse = Reverse(id="i", original="o")
    server.ask(reverse)
    server.answer_all(NOT_FOUND, NOT_FOUND, NOT_FOUND)
    assert [each.request for worker in server.workers for each in worker.got] == [reverse, reverse]
    assert len(server.links.forwarded) == 1
    server.answer_all(*answers)
    assert server.told.outcome == told


def test_a_reversal_that_some_lanes_have_is_given_to_all_when_it_is_asked_for_again() -> None:
    server = Server()
    reverse = Reverse(id="i", original="o")
    left = Reply(id="i", outcome=Outcome.ORIGINAL_NOT_FOUND, log_index=5, asked=contents_of(reverse))
    server.ask(reverse)
    for each in (own := server.workers[0].got):
        server.loop.answer([Answered(each, "ok", encode(left if each is own[0] else NOT_FOUND))])
    server.workers[0].got = []
    server.answer(1, NOT_FOUND)
    server.answer(ELSEWHERE, NOT_FOUND)
    assert [each.request for worker in server.workers for each in worker.got] == [reverse, reverse]
    assert len(server.links.forwarded) == 1


def test_a_lane_that_never_answers_ends_the_waiting_and_its_late_answer_is_dropped() -> None:
    server = Server()
    server.ask(Accounts(id="i"), 1)
    server.answer(0, Reply(id="i", outcome=Outcome.OK, accounts=()))
    server.answer(ELSEWHERE, Reply(id="i", outcome=Outcome.OK, accounts=()))
    server.now_s = lane_loop.GATHER_TIMEOUT_S + 1
    server.loop.iterate()
    assert server.told.outcome == "unavailable"
    server.answer(1, Reply(id="i", outcome=Outcome.OK, accounts=()))
    assert len(server.replies) == 1


def test_a_batch_over_several_lanes_is_refused_and_no_lane_hears_of_it() -> None:
    server = Server()
    server.ask(Batch(id="i", legs=(Leg(account=IN[0], target=IN[1], amount=1),)))
    assert server.told.outcome == "bad_request"
    assert "different lanes" in server.told.message
    assert not any(worker.got for worker in server.workers)


def test_without_a_writer_a_request_is_refused_and_the_server_looks_who_has_the_lane() -> None:
    server = Server()
    for number, holder in enumerate((None, "n1"), 1):
        server.holder = holder
        server.ask(Credit(id="i", account=IN[ELSEWHERE], amount=1), number)
        assert server.replies[number].outcome == "unavailable"
        assert server.looked == number


def test_what_another_server_sent_to_a_lane_that_is_not_here_is_not_sent_on() -> None:
    server = Server()
    for number, lane in enumerate((ELSEWHERE, 99)):
        server.ask(Credit(id="i", account=IN[0], amount=1), number, forwarded=True, lane=lane)
    assert [server.replies[number].outcome for number in range(2)] == ["unavailable", "bad_request"]
    assert not server.links.forwarded
    assert not server.workers[0].got
    server.ask(Credit(id="i", account=IN[0], amount=1), 2, forwarded=True, lane=1)
    assert len(server.workers[1].got) == 1, "it goes to the lane that was named"


def test_a_worker_sends_an_arrival_to_a_lane_here_or_elsewhere() -> None:
    server = Server()
    for lane in (1, ELSEWHERE):
        arrival = Arrive(id="i", account=IN[lane], payer=IN[0], amount=1)
        server.loop.to_lanes([(lane, server.pending(arrival, lane))])
        server.loop.iterate()
    assert [type(each.request) for each in server.workers[1].got] == [Arrive]
    assert [(to, lane) for to, lane, *_ in server.links.forwarded] == [("n2", ELSEWHERE)]


def test_while_a_server_stops_its_own_arrivals_go_on_and_clients_are_refused() -> None:
    server = Server()

    def end() -> None:
        arrival = Arrive(id="i", account=IN[1], payer=IN[0], amount=1)
        server.loop.to_lanes([(1, server.pending(arrival, 8))])
        inputs = Inputs()
        inputs.add_request(server.pending(Hold(id="i", account=IN[0], amount=1, expires_ms=1), 9))
        server._inbox.put(inputs)

    server.loop.stop()
    server.loop.run(end)
    assert server.replies[9].outcome == "unavailable"
    assert [type(each.request) for each in server.workers[1].got] == [Arrive]


NEWER = RotatePepper(id="r", generation=2, pepper="p2")


def test_a_newer_pepper_is_made_current_by_lane_0_and_told_as_an_administrator_is() -> None:
    server = Server()
    server.ask(NEWER)
    [pending] = server.workers[0].got
    assert pending.request == NEWER
    server.answer(0, Reply(id="r", outcome=Outcome.OK, log_index=9))
    assert (server.told.outcome, server.told.index) == ("ok", 9)
    assert server.told.message == "pepper p2 is current: the stored PINs are being carried over"


@pytest.mark.parametrize(
    ("request_", "told"),
    [
        (NEWER, "pepper p2 is not known to all members: n2 lacks it. Copy the pepper file there"),
        (RotatePepper(id="r", generation=1, pepper="p9"), "pepper p1 is current, and p9 is not a newer one"),
    ],
)
def test_a_pepper_that_not_all_servers_know_or_that_is_not_newer_is_refused(
    request_: RotatePepper, told: str
) -> None:
    server = Server()
    server.peppers["n2"] = ("p1",)
    server.ask(request_)
    assert (server.told.outcome, server.told.message) == ("refused", told)
    assert server.workers[0].got == []


def test_a_pepper_that_is_current_already_is_told_as_done_and_nothing_is_decided() -> None:
    server = Server()
    server.ask(RotatePepper(id="r", generation=1, pepper="p1"))
    assert (server.told.outcome, server.told.message, server.told.index) == (
        "ok",
        "pepper p1 is current already",
        5,
    )
    assert server.workers[0].got == []


def test_a_server_without_lane_0_does_not_change_the_pepper() -> None:
    server = Server()
    server.workers[0].mine = False
    server.ask(NEWER)
    assert (server.told.outcome, server.told.message) == ("unavailable", "node n1 does not have lane 0")
