"""Transfers between lanes: each step once or again, its writer killed between any two; nothing is lost."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import closing

import psycopg
import pytest

from atm.lanes.bank import open_bank
from atm.lanes.books import copied_lanes
from atm.lanes.engine import EngineConnection
from atm.lanes.lane_ledger import LaneLedger
from atm.lanes.share import lane_of
from atm.ledger.audit.auditing import audit
from atm.ledger.commands import (
    BANK,
    Expire,
    Holds,
    LedgerReceipt,
    LoggedCommand,
    Lookup,
    Query,
    ReadResult,
    Settle,
    Statement,
    Transfer,
)
from atm.ledger.crossings import LaneEntry, OpenTransfer
from atm.ledger.posting import NO_HASH
from tests.support.entries import command as asked
from tests.support.entries import logged
from tests.support.postgresql import new_database

LANES = 3
NOW_US = 1_700_000_000_000_000
Came = LedgerReceipt | OpenTransfer | None


def named(lane: int, before: str = "") -> str:
    """Return an account's name that belongs to the lane."""
    return next(name for n in range(100) if lane_of(name := f"{before}a{n}", LANES) == lane)


ANN, BOB, EVE = named(0), named(1), named(2)
ANNE = named(0, "x")  # in the same lane as ann


class Bank:
    """The lanes of a bank, each with its writer, and what is to be done next for open transfers."""

    def __init__(self) -> None:
        self.url = new_database()
        with closing(EngineConnection(self.url)) as engine:
            open_bank(engine, LANES)
        self.lanes = [LaneLedger(self.url, lane, "5000") for lane in range(LANES)]
        self.now_us = NOW_US

    def kill(self, lane: int) -> None:
        """End a lane's writer; the next one takes it."""
        self.lanes[lane].close()
        self.lanes[lane] = LaneLedger(self.url, lane, "5001")

    def do(self, lane: int, line: str) -> Came:
        """Decide and write a command in a lane."""
        return self._apply(lane, logged(asked(line)))

    def expire(self, lane: int) -> None:
        """End what is due in a lane."""
        self._apply(lane, LoggedCommand(BANK, Expire()))

    def ask(self, line: str) -> str:
        """Do a command in the lane of its account, and all that follows; return the outcome."""
        command = asked(line)
        came = self.do(lane_of(command.account, LANES), line)  # type: ignore[union-attr]
        if isinstance(came, OpenTransfer):
            came = self.finish(came)
        assert came is not None
        return str(came.outcome)

    def arrive(self, transfer: OpenTransfer) -> LedgerReceipt:
        """Do the second step."""
        arrival = transfer.arrival
        came = self._apply(lane_of(arrival.account, LANES), LaneEntry(transfer.actor, arrival))
        assert isinstance(came, LedgerReceipt)
        return came

    def settle(self, transfer: OpenTransfer, arrived: LedgerReceipt) -> LedgerReceipt:
        """Do the third step."""
        command = Settle(id=transfer.command.id, outcome=arrived.outcome)
        came = self._apply(lane_of(transfer.payer, LANES), LaneEntry("bank", command))
        assert isinstance(came, LedgerReceipt)
        return came

    def finish(self, transfer: OpenTransfer) -> LedgerReceipt:
        """Do the last two steps."""
        return self.settle(transfer, self.arrive(transfer))

    def _apply(self, lane: int, entry: object) -> Came:
        self.now_us += 1000
        [came] = self.lanes[lane].apply(self.now_us, [entry])  # type: ignore[list-item]
        return came

    def view(self, account: str) -> ReadResult:
        """Return what a query says."""
        return self.lanes[lane_of(account, LANES)].commit([Query(id="q", account=account)])[0]

    def amounts(self, account: str) -> tuple[int | None, int | None]:
        """Return an account's balance, and what is available."""
        found = self.view(account)
        return found.balance, found.available

    def transit(self) -> int:
        """Return what the accounts for transfers have in all lanes."""
        with psycopg.connect(self.url) as connection:
            sql = "select coalesce(sum(amount), 0) from atm.balance where account like 'transit:%'"
            return int(connection.execute(sql.encode()).fetchall()[0][0])

    def verify(self) -> list[str]:
        """Return what an audit of all lanes finds."""
        with copied_lanes(self.url) as copies:
            return [line for each in copies for line in (*each.problems, *audit(each.path).problems)]

    def close(self) -> None:
        """Close all."""
        for lane in self.lanes:
            lane.close()


@pytest.fixture
def bank() -> Iterator[Bank]:
    """Return a bank where ann has 500, and bob and eve nothing."""
    with closing(Bank()) as found:
        for account in (ANN, BOB, EVE, ANNE):
            found.ask(f"open-{account} open {account}")
        assert found.ask(f"c0 credit {ANN} 500") == "ok"
        yield found
        assert found.verify() == []


def lines(bank: Bank, account: str) -> Sequence[tuple[str, str, str, int]]:
    """Return the statement of an account: what, under which id, with whom, how much."""
    [page] = bank.lanes[lane_of(account, LANES)].commit([Statement(id="s", account=account)])
    return [(each.op, each.request_id, each.other, each.amount) for each in page.lines or ()]


def test_a_transfer_to_another_lane_is_one_transfer_for_both_customers(bank: Bank) -> None:
    assert bank.ask(f"t1 transfer {ANN} {BOB} 200 code 7 for rent") == "ok"
    assert (bank.amounts(ANN), bank.amounts(BOB)) == ((300, 300), (200, 200))
    assert lines(bank, ANN)[0] == ("transfer", "t1", BOB, -200)
    assert lines(bank, BOB) == [("transfer", "t1", ANN, 200)]
    [receipt] = bank.lanes[0].commit([Lookup(id="l", request_id="t1")])
    assert (receipt.outcome, receipt.balance, receipt.available) == ("ok", 300, 300)
    assert receipt.asked is not None
    assert (receipt.asked.op, receipt.asked.account, receipt.asked.amount) == ("transfer", ANN, 200)
    assert bank.transit() == 0


def test_within_one_lane_nothing_is_open(bank: Bank) -> None:
    assert isinstance(bank.do(0, f"t1 transfer {ANN} {ANNE} 200"), LedgerReceipt)
    assert lines(bank, ANNE) == [("transfer", "t1", ANN, 200)]


def test_while_it_is_under_way_its_amount_is_held_and_nobody_else_has_it(bank: Bank) -> None:
    opened = bank.do(0, f"t1 transfer {ANN} {BOB} 200")
    assert isinstance(opened, OpenTransfer)
    assert (bank.amounts(ANN), bank.amounts(BOB), bank.transit()) == ((500, 300), (0, 0), 0)
    assert bank.ask(f"d1 debit {ANN} 301") == "insufficient_funds"
    arrived = bank.arrive(opened)
    assert (bank.amounts(ANN), bank.amounts(BOB), bank.transit()) == ((500, 300), (200, 200), -200)
    assert bank.settle(opened, arrived).outcome == "ok"
    assert (bank.amounts(ANN), bank.transit()) == ((300, 300), 0)


@pytest.mark.parametrize(
    ("before", "transfer", "outcome"),
    [
        ([], f"transfer {ANN} {BOB} 501", "insufficient_funds"),
        ([], f"transfer {ANN} nobody 5", "no_such_account"),
        ([], f"transfer {named(0, 'none')} {BOB} 5", "no_such_account"),
        ([f"x freeze {BOB}"], f"transfer {ANN} {BOB} 5", "account_frozen"),
        ([f"x freeze {ANN}"], f"transfer {ANN} {BOB} 5", "account_frozen"),
        ([f"x close {BOB}"], f"transfer {ANN} {BOB} 5", "account_closed"),
        ([f"x set_ceiling {BOB} 4"], f"transfer {ANN} {BOB} 5", "ceiling_exceeded"),
        ([f"x set_limit {ANN} 4 transfers"], f"transfer {ANN} {BOB} 5", "limit_exceeded"),
        ([f"x set_limit {ANN} 4"], f"transfer {ANN} {BOB} 5", "ok"),
        ([], f"transfer {ANN} {BOB} 5 in EUR", "currency_mismatch"),
        ([], f"transfer {ANN} {BOB} all", "ok"),
        ([f"x debit {ANN} all"], f"transfer {ANN} {BOB} all", "insufficient_funds"),
        ([f"x credit {ANN} 1"], f"transfer {ANN} {BOB} 5", "ok"),
    ],
)
def test_it_is_decided_as_within_one_lane(bank: Bank, before: list[str], transfer: str, outcome: str) -> None:
    for line in before:
        assert bank.ask(line) == "ok"
    total = bank.amounts(ANN)[0]
    assert bank.ask(f"t1 {transfer}") == outcome
    assert bank.ask(f"t1 {transfer}") == outcome
    left, available = bank.amounts(ANN)
    assert left == available, "nothing is held any more"
    assert (left, bank.amounts(BOB)[0]) == (total, 0) or outcome == "ok"
    assert bank.transit() == 0


def test_a_wrong_pin_counts_and_nothing_departs(bank: Bank) -> None:
    bank.ask(f"s1 set_pin {ANN} 1234")
    assert bank.ask(f"t1 transfer {ANN} {BOB} 5 pin 1111") == "wrong_pin"
    assert bank.do(0, f"t2 transfer {ANN} {BOB} 5 pin UNHASHED") is None
    opened = bank.do(0, f"t3 transfer {ANN} {BOB} 5 pin 1234")
    assert isinstance(opened, OpenTransfer)
    assert isinstance(opened.command, Transfer)
    assert opened.command.pin is None, "a PIN's seal is kept nowhere but with its account"
    bank.finish(opened)


def test_what_is_released_does_not_count_towards_the_daily_limit(bank: Bank) -> None:
    bank.ask(f"m1 set_limit {ANN} 300 transfers")
    bank.ask(f"f1 freeze {BOB}")
    assert bank.ask(f"t1 transfer {ANN} {BOB} 300") == "account_frozen"
    assert bank.ask(f"t2 transfer {ANN} {EVE} 300") == "ok"
    assert bank.ask(f"t3 transfer {ANN} {EVE} 1") == "limit_exceeded"


def test_in_another_currency(bank: Bank) -> None:
    rich, poor = named(0, "eur"), named(2, "eur")
    for account in (rich, poor):
        assert bank.ask(f"o-{account} open {account} in EUR") == "ok"
    assert bank.ask(f"c1 credit {rich} 70 in EUR") == "ok"
    assert bank.ask(f"t1 transfer {rich} {BOB} 7 in EUR") == "currency_mismatch"
    assert bank.ask(f"t2 transfer {rich} {poor} 7 in EUR") == "ok"
    assert bank.ask(f"t3 transfer {rich} {poor} all") == "ok"
    assert (bank.amounts(rich), bank.amounts(poor)) == ((0, 0), (70, 70))
    assert bank.transit() == 0


def test_what_a_transfer_holds_is_no_hold_of_a_customer(bank: Bank) -> None:
    opened = bank.do(0, f"t1 transfer {ANN} {BOB} 200")
    assert isinstance(opened, OpenTransfer)
    for line in ("v1 void t1", "p1 post t1", f"x1 raise_hold {ANN} t1 5"):
        came = bank.do(0, line)
        assert isinstance(came, LedgerReceipt)
        assert came.outcome == "hold_not_found"
    assert bank.do(0, "r1 reverse t1") is None, "to be asked again when it is known what came"
    assert bank.ask(f"k1 close {ANN}") == "not_empty"
    bank.expire(0)
    assert bank.amounts(ANN) == (500, 300)
    [page] = bank.lanes[0].commit([Holds(id="h", account=ANN)])
    assert [each.request_id for each in page.holds or ()] == ["t1"]
    assert bank.finish(opened).outcome == "ok"
    assert bank.do(0, f"t1 transfer {ANN} {BOB} 200") == bank.finish(opened)


def test_its_id_stands_for_it_and_for_nothing_else(bank: Bank) -> None:
    opened = bank.do(0, f"t1 transfer {ANN} {BOB} 200")
    assert bank.do(0, f"t1 transfer {ANN} {BOB} 200") == opened
    for line in (f"t1 transfer {ANN} {BOB} 201", f"t1 credit {ANN} 200", f"t1 debit {ANN} 200"):
        assert bank.ask(line) == "id_reused"
    assert isinstance(opened, OpenTransfer)
    bank.finish(opened)
    assert bank.ask(f"t1 credit {ANN} 200") == "id_reused"
    bank.ask(f"t2 credit {BOB} 1")  # an id that was used in the receiver's lane
    assert bank.ask(f"t2 transfer {ANN} {BOB} 5") == "id_reused"
    assert bank.amounts(ANN) == (300, 300)


def test_a_reversal_in_the_receivers_lane_that_came_first_declines_it(bank: Bank) -> None:
    came = bank.do(1, "r1 reverse t1")
    assert isinstance(came, LedgerReceipt)
    assert came.outcome == "original_not_found"
    assert bank.ask(f"t1 transfer {ANN} {BOB} 5") == "already_reversed"
    assert bank.amounts(ANN) == (500, 500)


def test_a_posting_that_took_what_was_held_does_not_stop_it(bank: Bank) -> None:
    bank.ask(f"h1 hold {ANN} 400 1s")
    bank.now_us += 2_000_000
    bank.expire(0)
    opened = bank.do(0, f"t1 transfer {ANN} {BOB} 200")
    assert isinstance(opened, OpenTransfer)
    bank.do(0, "p1 post h1")  # late: the cash has left the machine
    assert bank.amounts(ANN) == (100, -100)
    assert bank.finish(opened).outcome == "ok"
    assert bank.amounts(ANN) == (-100, -100)


@pytest.mark.parametrize(
    ("damage", "lane", "told"),
    [
        (
            "delete from atm.journal where lane = 1;"
            "delete from atm.receipt where lane = 1 and op = 'arrive';"
            "update atm.balance set amount = 0 where lane = 1;"
            "update atm.lane set journal_hash = %s where lane = 1",
            0,
            "transfer t1: 200 was paid to another lane, and none has credited it",
        ),
        (
            "delete from atm.hold where request_id = 't2'; delete from atm.open_transfer;"
            "update atm.account set held = 0 where lane = 0",
            1,
            "transfer t2: 50 was credited, and no other lane has paid or holds it",
        ),
    ],
)
def test_a_half_that_was_taken_out_by_hand_is_named_with_its_lane(damage: str, lane: int, told: str) -> None:
    with closing(Bank()) as bank:
        for account in (ANN, BOB):
            bank.ask(f"open-{account} open {account}")
        bank.ask(f"c0 credit {ANN} 500")
        bank.ask(f"t1 transfer {ANN} {BOB} 200")
        if "t2" in told:
            opened = bank.do(0, f"t2 transfer {ANN} {BOB} 50")
            assert isinstance(opened, OpenTransfer)
            bank.arrive(opened)
        assert bank.verify() == []
        with psycopg.connect(bank.url) as connection:
            for statement in damage.split(";"):
                connection.execute(statement.encode(), (NO_HASH,) if "%s" in statement else None)
        with copied_lanes(bank.url) as copies:
            assert told in copies[lane].problems


def reverse(bank: Bank, line: str) -> str:
    """Reverse a transfer to bob, in the lane of bob; return the outcome."""
    came = bank.do(1, line)
    if isinstance(came, OpenTransfer):
        came = bank.finish(came)
    assert came is not None
    return str(came.outcome)


def test_a_transfer_is_taken_back_in_parts_from_who_has_it(bank: Bank) -> None:
    bank.ask(f"t1 transfer {ANN} {BOB} 200")
    opened = bank.do(1, "r1 reverse t1 50")
    assert isinstance(opened, OpenTransfer)
    assert (bank.amounts(ANN), bank.amounts(BOB)) == ((300, 300), (200, 150))
    assert bank.do(1, "r2 reverse t1") is None, "one is under way"
    assert bank.finish(opened).outcome == "ok"
    assert (bank.amounts(ANN), bank.amounts(BOB), bank.transit()) == ((350, 350), (150, 150), 0)
    assert lines(bank, BOB)[0] == ("reverse", "r1", ANN, -50)
    assert lines(bank, ANN)[0] == ("reverse", "r1", BOB, 50)
    assert reverse(bank, "r3 reverse t1 151") == "exceeds_original"
    assert reverse(bank, "r2 reverse t1") == "ok"
    assert reverse(bank, "r2 reverse t1") == "ok"
    assert reverse(bank, "r4 reverse t1") == "already_reversed"
    assert (bank.amounts(ANN), bank.amounts(BOB), bank.transit()) == ((500, 500), (0, 0), 0)
    [found] = bank.lanes[1].commit([Lookup(id="l", request_id="t1")])
    assert (found.reversed_by, found.taken_back) == ("r2", 200)


@pytest.mark.parametrize(
    ("before", "outcome"),
    [
        ([f"d1 debit {BOB} 1"], "insufficient_funds"),
        ([f"h1 hold {BOB} 1 1h"], "insufficient_funds"),
        ([f"f1 freeze {BOB}", f"f2 freeze {ANN}"], "ok"),
        ([f"e1 set_ceiling {ANN} 1"], "ok"),
        ([f"t2 transfer {ANN} {EVE} all", f"k1 close {ANN}"], "account_closed"),
        ([f"t2 transfer {BOB} {EVE} all", f"k1 close {BOB}"], "account_closed"),
    ],
)
def test_a_reversal_is_decided_as_within_one_lane(bank: Bank, before: list[str], outcome: str) -> None:
    bank.ask(f"t1 transfer {ANN} {BOB} 200")
    for line in before:
        assert bank.ask(line) == "ok"
    amounts = bank.amounts(ANN), bank.amounts(BOB)
    assert reverse(bank, "r1 reverse t1") == outcome
    assert (bank.amounts(ANN), bank.amounts(BOB)) == amounts or outcome == "ok"
    assert bank.transit() == 0


@pytest.mark.parametrize("lane", [0, 1])
def test_a_reversal_between_lanes_cannot_be_reversed_in_either(bank: Bank, lane: int) -> None:
    bank.ask(f"t1 transfer {ANN} {BOB} 200")
    assert reverse(bank, "r1 reverse t1") == "ok"
    came = bank.do(lane, "r2 reverse r1")
    assert isinstance(came, LedgerReceipt)
    assert came.outcome == "original_not_found"
    assert (bank.amounts(ANN), bank.amounts(BOB), bank.transit()) == ((500, 500), (0, 0), 0)


def test_in_the_payers_lane_a_transfer_is_not_reversed(bank: Bank) -> None:
    """There is nothing there that could be taken back; the servers send reversals to the receiver's lane."""
    bank.ask(f"t1 transfer {ANN} {BOB} 200")
    came = bank.do(0, "r1 reverse t1")
    assert isinstance(came, LedgerReceipt)
    assert came.outcome == "not_allowed"
    assert bank.amounts(ANN) == (300, 300)


def test_a_refused_transfer_cannot_be_reversed(bank: Bank) -> None:
    bank.ask(f"f1 freeze {BOB}")
    bank.ask(f"t1 transfer {ANN} {BOB} 200")
    assert reverse(bank, "r1 reverse t1") == "original_not_found"


def test_each_step_is_done_once_however_often_it_is_asked_for(bank: Bank) -> None:
    opened = bank.do(0, f"t1 transfer {ANN} {BOB} 200")
    assert isinstance(opened, OpenTransfer)
    arrived = bank.arrive(opened)
    assert bank.arrive(opened) == arrived
    receipt = bank.settle(opened, arrived)
    assert bank.settle(opened, arrived) == receipt
    assert bank.arrive(opened) == arrived
    assert (bank.amounts(ANN), bank.amounts(BOB), bank.transit()) == ((300, 300), (200, 200), 0)


@pytest.mark.parametrize("lane", ["the payer's", "the receiver's"])
def test_a_writer_is_killed_between_any_two_steps_fifty_times_and_each_transfer_is_done_once(
    bank: Bank, lane: str
) -> None:
    """A hundred kills after each step, with those of the other lane; some transfers are refused there."""
    draw = random.Random(lane)
    total = {ANN: 500, BOB: 0}
    bank.ask(f"e1 set_ceiling {BOB} 400")

    def kill(opened: OpenTransfer) -> OpenTransfer:
        """Kill the lane's writer; return the transfer as the next one finds it in the books."""
        assert sum(bank.amounts(account)[0] or 0 for account in total) + bank.transit() == 500
        home = lane_of(opened.payer, LANES)
        bank.kill(home if lane == "the payer's" else lane_of(opened.target, LANES))
        [found] = bank.lanes[home].open_transfers
        assert found == opened
        return found

    outcomes: Counter[str] = Counter()
    while outcomes["departed"] < 50:
        number = outcomes.total()
        payer, receiver = draw.sample((ANN, BOB), 2)
        line = f"t{number} transfer {payer} {receiver} {draw.randrange(1, 300)}"
        came = bank.do(lane_of(payer, LANES), line)
        if isinstance(came, OpenTransfer):
            outcomes["departed"] += 1
            opened = kill(came)
            arrived = bank.arrive(opened)
            opened = kill(opened)
            assert bank.arrive(opened) == arrived
            came = bank.settle(opened, arrived)
            bank.kill(lane_of(payer if lane == "the payer's" else receiver, LANES))
        assert came is not None
        outcomes[str(came.outcome)] += 1
        if came.outcome == "ok":
            amount = int(line.rsplit(maxsplit=1)[-1])
            total[payer] -= amount
            total[receiver] += amount
        assert bank.do(lane_of(payer, LANES), line) == came
        assert {account: bank.amounts(account) for account in total} == {
            account: (amount, amount) for account, amount in total.items()
        }
        assert bank.transit() == 0
    assert set(outcomes) >= {"ok", "insufficient_funds", "ceiling_exceeded"}, outcomes
