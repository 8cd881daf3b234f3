"""A lane's worker: what its clients are told when the database fails before, in or after a batch."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from atm.lanes.faults import EngineFault, Fenced, NoSpace
from atm.ledger.commands import (
    OK,
    ApprovalLimit,
    Credit,
    LedgerReceipt,
    LoggedCommand,
    Query,
    Read,
    ReadResult,
)
from atm.ledger.crossings import OpenTransfer
from atm.ledger.lane_numbers import first_index
from atm.ledger.peppers import PepperState
from atm.server.group.inbox import PendingRequest
from atm.server.lanes import lane_worker
from atm.server.lanes.lane_worker import Answered, LaneWorker
from atm.server.security.peppers import new_peppers
from atm.wire.client_messages import Reply, decode_client_reply
from tests.support.server_parts import wait_until


class FakeLedger:
    """A lane's ledger that fails as it is told; what it has written outlives it, in `written`."""

    def __init__(self, written: list[str], faults: list[EngineFault | None], epoch: int) -> None:
        self.written, self._faults, self.epoch = written, faults, epoch
        self.next_expiry_us: int | None = None
        self.time_us = 0
        self.role_changes: dict[str, Any] = {}
        self.pepper = PepperState()
        self.last_backup_us: int | None = None
        self.closed = False
        self.open_transfers: list[OpenTransfer] = []
        self._batch: list[str] = []
        self.times_us: list[int] = []

    @property
    def applied_index(self) -> int:
        return len(self.written)

    def decide(self, batch: Sequence[tuple[int, LoggedCommand]]) -> list[LedgerReceipt | None]:
        self._batch = [logged.command.id for _, logged in batch]  # type: ignore[union-attr]
        self.times_us += [time_us for time_us, _ in batch]
        self.time_us = self.times_us[-1]
        return [
            LedgerReceipt(id=each, outcome=OK, balance=1, available=1, log_index=1, time_us=1)
            for each in self._batch
        ]

    def commit(self, requests: Sequence[Read] = (), now_us: int = 0) -> list[ReadResult]:
        fault = self._faults.pop(0) if self._faults else None
        if fault is None or fault.may_be_done:
            self.written += [each for each in self._batch if each not in self.written]
        self._batch = []
        if fault is not None:
            raise fault
        return [ReadResult(id=request.id, outcome=OK, balance=len(self.written)) for request in requests]

    def follow(self, role_changes: object, approval_limits: object, pepper: PepperState) -> None:
        self.followed = approval_limits

    def close(self) -> None:
        self.closed = True


class Channel:
    """Takes no reply: the worker hands them to `on_answers`."""

    def reply(self, number: int, payload: bytes) -> None:
        raise AssertionError("replies are sent within iterations")


class Bank:
    """A worker, with what its database does next."""

    def __init__(self, *faults: EngineFault | None, lane: int = 0) -> None:
        self.limits: dict[str, ApprovalLimit] = {}  # what lane 0 says
        self.written: list[str] = []
        self.ledgers: list[FakeLedger] = []
        self.commits = list(faults)
        self.takes: list[EngineFault | None] = []
        self.taken: list[int | None] = []
        self.answers: list[Answered] = []
        self.sent: list[tuple[str, PendingRequest]] = []
        self.lines: list[str] = []
        self.failures: list[BaseException] = []
        self.worker = LaneWorker(
            lane,
            "n1",
            self._take,  # type: ignore[arg-type]
            lanes=lane + 1,
            of_bank=(lambda: ({}, self.limits, PepperState())) if lane else None,
            peppers=new_peppers,
            now_us=lambda: 1,
            send=self.sent.extend,
            on_answers=self.answers.extend,
            on_taken=lambda lane, epoch: None,
            on_fault=self.lines.append,
            on_failure=self.failures.append,
        )
        self.worker.start()

    def _take(self, seen_epoch: int | None) -> FakeLedger:
        self.taken.append(seen_epoch)
        fault = self.takes.pop(0) if self.takes else None
        if fault is not None:
            raise fault
        self.ledgers.append(FakeLedger(self.written, self.commits, (seen_epoch or 0) + 1))
        return self.ledgers[-1]

    def take(self) -> None:
        """Have the lane."""
        self.worker.take_over(0)
        wait_until(lambda: self.worker.mine)

    def ask(self, *requests: Credit | Query) -> dict[str, str]:
        """Return the outcome of each request by its id."""
        before = len(self.answers)
        self.worker.put([PendingRequest(Channel(), 1, each, b"", "local") for each in requests])
        wait_until(lambda: len(self.answers) == before + len(requests))
        return {each.pending.request.id: each.outcome for each in self.answers[before:]}


def credit(request_id: str) -> Credit:
    return Credit(id=request_id, account="main", amount=1)


QUERY = Query(id="q", account="main")
LOST = EngineFault("the connection was lost", may_be_done=True)
UNDONE = EngineFault("a row was refused")
NO_SPACE = NoSpace("the disk is full")
TAKEN = Fenced("another server has taken the lane")


def test_what_may_be_done_is_asked_again_after_the_lane_was_taken_again_and_is_done_once() -> None:
    bank = Bank(LOST)
    bank.take()
    assert bank.ask(credit("c1"), QUERY) == {"c1": "ok", "q": "ok"}
    assert bank.written == ["c1"]
    assert bank.taken == [0, 1]  # its own epoch: nobody else has taken it
    bank.worker.stop(5)


def test_who_lost_the_lane_to_another_tells_that_nothing_was_done() -> None:
    bank = Bank(TAKEN)
    bank.take()
    assert bank.ask(credit("c1"), QUERY) == {"c1": "unavailable", "q": "unavailable"}
    assert not bank.worker.mine
    assert bank.written == []
    bank.worker.stop(5)


def test_what_may_be_done_is_unknown_if_another_has_the_lane_by_then() -> None:
    bank = Bank(LOST)
    bank.take()
    bank.takes = [TAKEN]
    assert bank.ask(credit("c1"), QUERY) == {"c1": "unknown", "q": "unavailable"}
    assert not bank.worker.mine
    bank.worker.stop(5)


def test_what_may_be_done_stays_unknown_when_the_second_try_is_refused() -> None:
    bank = Bank(LOST, UNDONE)
    bank.take()
    assert bank.ask(credit("c1")) == {"c1": "unknown"}
    assert bank.worker.mine
    bank.worker.stop(5)


def test_what_was_certainly_not_done_twice_is_not_called_unknown() -> None:
    bank = Bank(UNDONE, UNDONE)
    bank.take()
    assert bank.ask(credit("c1")) == {"c1": "unavailable"}
    assert bank.ask(credit("c2")) == {"c2": "ok"}  # and it goes on
    bank.worker.stop(5)


def test_without_space_changes_are_refused_at_once_and_queries_answered() -> None:
    bank = Bank(NO_SPACE, None)
    bank.take()
    assert bank.ask(credit("c1"), QUERY) == {"c1": "no_space", "q": "ok"}
    assert bank.written == []
    assert bank.ask(credit("c2")) == {"c2": "ok"}
    bank.worker.stop(5)


def test_while_the_database_is_away_requests_wait_a_little_and_are_then_refused(monkeypatch: Any) -> None:
    monkeypatch.setattr(lane_worker, "WAIT_S_MAX", 0.3)
    bank = Bank(LOST)
    bank.take()
    bank.takes = [UNDONE] * 1000
    assert bank.ask(credit("c1")) == {"c1": "unknown"}
    assert bank.ask(credit("c2"), QUERY) == {"c2": "unavailable", "q": "unavailable"}
    assert bank.worker.mine
    bank.takes.clear()
    wait_until(lambda: bank.ask(credit("c3")) == {"c3": "ok"})
    assert bank.written == ["c1", "c3"]
    bank.worker.stop(5)


def test_after_many_a_lone_request_waits_for_company_and_not_for_ever(monkeypatch: Any) -> None:
    monkeypatch.setattr(lane_worker, "GATHER_S_MAX", 0.3)
    bank = Bank()
    bank.take()
    bank.ask(*(credit(f"c{number}") for number in range(8)))
    bank.worker._took_s = 60.0
    began_s = time.monotonic()
    assert bank.ask(credit("alone")) == {"alone": "ok"}
    assert 0.25 < time.monotonic() - began_s < 5
    bank.worker._took_s = 60.0
    began_s = time.monotonic()
    assert bank.ask(credit("the next")) == {"the next": "ok"}
    assert time.monotonic() - began_s < 0.25, "the last batch was one"
    bank.worker.stop(5)


def test_company_is_waited_for_no_longer_than_the_last_batch_took(monkeypatch: Any) -> None:
    monkeypatch.setattr(lane_worker, "GATHER_S_MAX", 60.0)
    bank = Bank()
    bank.take()
    bank.ask(*(credit(f"c{number}") for number in range(8)))
    assert 0 < bank.worker._took_s < 5
    began_s = time.monotonic()
    assert bank.ask(credit("alone")) == {"alone": "ok"}
    assert time.monotonic() - began_s < 5 + bank.worker._took_s
    bank.worker.stop(5)


def test_a_worker_without_the_lane_refuses_what_comes() -> None:
    bank = Bank()
    assert bank.ask(credit("c1")) == {"c1": "unavailable"}
    bank.take()
    bank.worker.lose(99)
    assert bank.ask(credit("c2")) == {"c2": "unavailable"}
    bank.worker.stop(5)


def test_no_two_commands_have_the_same_time_though_the_clock_stands_still() -> None:
    """By their times the rules tell what counted towards a limit before it was set."""
    bank = Bank()
    bank.take()
    for first in (0, 3):
        bank.ask(*[credit(f"c{number}") for number in range(first, first + 3)])
    assert bank.ledgers[-1].times_us == [1, 2, 3, 4, 5, 6]
    bank.worker.stop(5)


def test_an_impossible_state_ends_the_server() -> None:
    bank = Bank()
    bank.take()
    bank.commits.append(None)

    def impossible(_: object) -> list[LedgerReceipt | None]:
        raise AssertionError("it holds more than it has")

    assert bank.worker._ledger is not None
    bank.worker._ledger.decide = impossible  # type: ignore[method-assign, assignment]
    bank.worker.put([PendingRequest(Channel(), 1, credit("c1"), b"", "local")])
    wait_until(lambda: bool(bank.failures))
    assert "more than it has" in str(bank.failures[0])


def test_a_worker_that_stops_answers_what_is_queued_and_closes_its_connection() -> None:
    bank = Bank()
    bank.take()
    ledger = bank.worker._ledger
    bank.worker.put([PendingRequest(Channel(), 1, credit(f"c{n}"), b"", "local") for n in range(2000)])
    bank.worker.stop(10)
    assert [each.outcome for each in bank.answers] == ["ok"] * 2000
    assert isinstance(ledger, FakeLedger)
    assert ledger.closed


def test_a_lane_decides_by_what_lane_0_says_of_the_whole_bank_and_its_numbers_say_whose_they_are() -> None:
    bank = Bank(lane=2)
    bank.take()
    bank.ask(credit("c1"))
    assert bank.ledgers[0].followed == {}
    bank.limits = {"reverse": ApprovalLimit(op="reverse", amount=5, log_index=9)}
    bank.ask(credit("c2"))
    assert bank.ledgers[0].followed == bank.limits
    told = decode_client_reply(bank.answers[-1].payload)
    assert isinstance(told, Reply)
    assert told.log_index == first_index(2) + 1
    bank.worker.stop(5)


def test_what_comes_to_a_worker_that_has_ended_is_not_taken() -> None:
    bank = Bank()
    bank.take()
    bank.worker.stop(5)
    pending = PendingRequest(Channel(), 1, credit("c1"), b"", "local")
    assert bank.worker.put([pending]) == [pending]
