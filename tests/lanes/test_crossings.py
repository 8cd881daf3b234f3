"""Transfers between lanes: each step once or again, its writer killed between any two; nothing is lost."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path

import psycopg
import pytest

from atm.identity import Role
from atm.lanes.bank import open_bank
from atm.lanes.books import copied_lanes
from atm.lanes.engine import EngineConnection
from atm.lanes.halves import differences
from atm.lanes.lane_ledger import LaneLedger
from atm.lanes.share import lane_of
from atm.ledger.accounts import DAY_US
from atm.ledger.audit.auditing import audit
from atm.ledger.commands import (
    BANK,
    LOCAL,
    OK,
    Deeds,
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
from tests.lanes.lanes_in_memory import Bank as InMemory
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

    def do(self, lane: int, line: str, actor: str = LOCAL, *roles: Role) -> Came:
        """Decide and write a command in a lane."""
        return self._apply(lane, logged(asked(line), actor, *roles))

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


def test_a_reversal_that_was_decided_is_told_again_while_another_is_under_way(bank: Bank) -> None:
    bank.ask(f"t1 transfer {ANN} {BOB} 200")
    assert reverse(bank, "r1 reverse t1 50") == "ok"
    first = bank.do(1, "r1 reverse t1 50")
    opened = bank.do(1, "r2 reverse t1 50")
    assert isinstance(opened, OpenTransfer)
    assert bank.do(1, "r1 reverse t1 50") == first
    bank.finish(opened)


def test_an_id_that_is_under_way_in_both_directions_is_refused_in_both(bank: Bank) -> None:
    bank.ask(f"c1 credit {BOB} 100")
    there, back = bank.do(0, f"t1 transfer {ANN} {BOB} 200"), bank.do(1, f"t1 transfer {BOB} {ANN} 70")
    assert isinstance(there, OpenTransfer)
    assert isinstance(back, OpenTransfer)
    refused = bank.arrive(there)
    assert refused.outcome == "id_reused"
    assert bank.settle(there, refused).outcome == "id_reused"
    assert bank.finish(back).outcome == "id_reused"
    assert bank.arrive(there).outcome == "id_reused", "for ever"
    assert (bank.amounts(ANN), bank.amounts(BOB), bank.transit()) == ((500, 500), (100, 100), 0)


# -- daily limits ------------------------------------------------------------------------------------------


def test_a_reversal_gives_back_what_counts_towards_the_daily_limit_in_parts_once_it_has_arrived(
    bank: Bank,
) -> None:
    bank.ask(f"m1 set_limit {ANN} 300 transfers")
    assert bank.ask(f"t1 transfer {ANN} {BOB} 200") == "ok"
    opened = bank.do(1, "r1 reverse t1 50")
    assert isinstance(opened, OpenTransfer)
    assert bank.ask(f"d1 debit {ANN} 101") == "limit_exceeded", "it is not certain yet"
    arrived = bank.arrive(opened)
    assert bank.arrive(opened) == arrived
    assert bank.ask(f"d2 debit {ANN} 151") == "limit_exceeded"
    assert bank.ask(f"d3 debit {ANN} 150") == "ok"
    bank.settle(opened, arrived)
    assert bank.ask(f"d4 debit {ANN} 1") == "limit_exceeded"
    assert reverse(bank, "r2 reverse t1") == "ok"
    assert bank.ask(f"d5 debit {ANN} 150") == "ok"
    assert bank.ask(f"d6 debit {ANN} 1") == "limit_exceeded"


def test_what_did_not_count_is_not_given_back(bank: Bank) -> None:
    """It departed before transfers counted, and what was paid out beside it counts."""
    bank.ask(f"m1 set_limit {ANN} 300")
    opened = bank.do(0, f"t1 transfer {ANN} {BOB} 200")
    assert isinstance(opened, OpenTransfer)
    bank.ask(f"m2 set_limit {ANN} 300 transfers")
    bank.finish(opened)
    assert bank.ask(f"d1 debit {ANN} 300") == "ok"
    assert reverse(bank, "r1 reverse t1") == "ok"
    assert bank.ask(f"d2 debit {ANN} 1") == "limit_exceeded"


def test_what_counted_yesterday_is_not_given_back_today_though_it_arrived_today(bank: Bank) -> None:
    bank.ask(f"m1 set_limit {ANN} 200 transfers")
    bank.now_us = (bank.now_us // DAY_US + 1) * DAY_US - 1500
    opened = bank.do(0, f"t1 transfer {ANN} {BOB} 200")
    assert isinstance(opened, OpenTransfer)
    bank.finish(opened)
    assert bank.now_us % DAY_US < DAY_US // 2
    assert bank.ask(f"d1 debit {ANN} 200") == "ok"
    assert reverse(bank, "r1 reverse t1") == "ok"
    assert bank.ask(f"d2 debit {ANN} 1") == "limit_exceeded"


def test_a_reversal_that_is_refused_gives_nothing_back(bank: Bank) -> None:
    bank.ask(f"m1 set_limit {ANN} 200 transfers")
    bank.ask(f"t1 transfer {ANN} {BOB} 200")
    bank.ask(f"r1 credit {ANN} 1")  # the reversal's id, in this lane
    assert reverse(bank, "r1 reverse t1") == "id_reused"
    assert bank.ask(f"d1 debit {ANN} 1") == "limit_exceeded"


# -- a second person ---------------------------------------------------------------------------------------

TELLER, OPERATOR, ADMIN = Role.TELLER, Role.OPERATOR, Role.ADMIN


@pytest.fixture
def asked_back(bank: Bank) -> Bank:
    """Return a bank where tim has asked for the reversal of a transfer of 200, which needs an approval."""
    assert told(bank.do(1, "n1 set_approval_limit reverse 100", "ada", ADMIN)) == "ok"
    bank.ask(f"t1 transfer {ANN} {BOB} 200")
    assert told(bank.do(1, "r1 reverse t1", "tim", TELLER)) == "needs_approval"
    return bank


def told(came: Came) -> str:
    """Return the outcome, `unknown` without a receipt."""
    return str(came.outcome) if isinstance(came, LedgerReceipt) else "unknown"


def approve(bank: Bank, request_id: str) -> OpenTransfer:
    """Have olga approve what tim asked; return what has departed."""
    came = bank.do(1, f"{request_id} approve r1", "olga", OPERATOR)
    assert isinstance(came, OpenTransfer)
    return came


def test_an_approval_carries_a_reversal_out_once_and_each_request_has_its_own_receipt(
    asked_back: Bank,
) -> None:
    bank = asked_back
    assert (bank.amounts(ANN), bank.amounts(BOB)) == ((300, 300), (200, 200))
    opened = approve(bank, "a1")
    arrived = bank.arrive(opened)
    assert (bank.amounts(ANN), bank.amounts(BOB), bank.transit()) == ((500, 500), (200, 0), -200)
    assert told(bank.do(1, "r1 reverse t1", "tim", TELLER)) == "needs_approval"
    assert bank.do(1, "a1 approve r1", "olga", OPERATOR) == opened
    assert told(bank.do(1, "a1 approve r2", "olga", OPERATOR)) == "id_reused"
    assert bank.do(1, "a2 approve r1", "olga", OPERATOR) is None, "not known yet whether it is done"
    assert bank.do(1, "r2 reverse t1", "tim", TELLER) is None
    assert approved_by(bank) is None
    receipt = bank.settle(opened, arrived)
    assert (receipt.id, receipt.outcome, receipt.balance) == ("a1", "ok", 0)
    assert bank.do(1, "a1 approve r1", "olga", OPERATOR) == receipt
    assert told(bank.do(1, "r1 reverse t1", "tim", TELLER)) == "needs_approval"
    assert told(bank.do(1, "a2 approve r1", "olga", OPERATOR)) == "already_approved"
    assert told(bank.do(1, "r2 reverse t1", "tim", TELLER)) == "already_reversed"
    assert (bank.amounts(ANN), bank.amounts(BOB), bank.transit()) == ((500, 500), (0, 0), 0)
    assert approved_by(bank) == "a1"
    for lane in (0, 1):
        assert told(bank.do(lane, "r3 reverse a1")) == "original_not_found"


def approved_by(bank: Bank) -> str | None:
    """Return what a lookup of the reversal says."""
    [found] = bank.lanes[1].commit([Lookup(id="l", request_id="r1")])
    assert (found.outcome, found.actor) == ("needs_approval", "tim")
    return found.approved_by


def test_books_tell_who_asked_and_who_approved(asked_back: Bank) -> None:
    bank = asked_back
    bank.finish(approve(bank, "a1"))
    assert lines(bank, BOB)[0] == ("reverse", "a1", ANN, -200)
    assert lines(bank, ANN)[0] == ("reverse", "a1", BOB, 200)
    [original, approval, deeds] = bank.lanes[1].commit(
        [Lookup(id="l", request_id="t1"), Lookup(id="l", request_id="a1"), Deeds(id="d")]
    )
    assert (original.reversed_by, original.taken_back) == ("a1", 200)
    assert approval.actor == "olga"
    assert [(each.actor, each.roles, each.op, each.target, each.outcome) for each in deeds.deeds or ()] == [
        ("olga", "operator", "approve", "r1", "ok"),
        ("tim", "teller", "reverse", None, "needs_approval"),
        ("ada", "admin", "set_approval_limit", "reverse", "ok"),
    ]
    [arrival] = bank.lanes[0].commit([Lookup(id="l", request_id="a1")])
    assert arrival.actor == "olga"


@pytest.mark.parametrize("step", range(4))
@pytest.mark.parametrize("lane", [0, 1])
def test_a_writer_is_killed_after_any_step_of_an_approval_and_it_is_carried_out_once(
    asked_back: Bank, lane: int, step: int
) -> None:
    bank = asked_back

    def killed_after(this: int) -> None:
        if this == step:
            bank.kill(lane)

    killed_after(0)
    approve(bank, "a1")
    killed_after(1)
    [opened] = bank.lanes[1].open_transfers
    arrived = bank.arrive(opened)
    killed_after(2)
    [opened] = bank.lanes[1].open_transfers
    assert bank.arrive(opened) == arrived
    receipt = bank.settle(opened, arrived)
    killed_after(3)
    assert bank.settle(opened, arrived) == receipt
    assert bank.do(1, "a1 approve r1", "olga", OPERATOR) == receipt
    assert told(bank.do(1, "a2 approve r1", "olga", OPERATOR)) == "already_approved"
    assert (bank.amounts(ANN), bank.amounts(BOB), bank.transit()) == ((500, 500), (0, 0), 0)
    assert approved_by(bank) == "a1"


def test_what_is_refused_where_it_arrives_is_released_and_can_be_approved_again(asked_back: Bank) -> None:
    bank = asked_back
    bank.ask(f"a1 credit {ANN} 1")  # the approval's id, in the lane where it should arrive
    assert bank.finish(approve(bank, "a1")).outcome == "id_reused"
    assert bank.amounts(BOB) == (200, 200)
    assert told(bank.do(1, "a1 approve r1", "olga", OPERATOR)) == "id_reused"
    assert approved_by(bank) is None
    [page] = bank.lanes[1].commit([Deeds(id="d", limit=1)])
    assert [(each.op, each.outcome) for each in page.deeds or ()] == [("approve", "id_reused")]
    assert bank.finish(approve(bank, "a2")).outcome == "ok"
    assert approved_by(bank) == "a2"
    assert (bank.amounts(ANN), bank.amounts(BOB)) == ((501, 501), (0, 0))


def test_an_approval_that_was_reversed_before_it_arrived_is_declined(asked_back: Bank) -> None:
    bank = asked_back
    opened = approve(bank, "a1")
    assert bank.do(1, "x1 reverse a1") is None, "it is under way"
    assert told(bank.do(0, "x1 reverse a1")) == "original_not_found"
    assert bank.finish(opened).outcome == "already_reversed"
    assert bank.amounts(BOB) == (200, 200)
    assert bank.finish(approve(bank, "a2")).outcome == "ok"


def test_the_rules_of_the_approvals_day_decide_between_lanes_too(asked_back: Bank) -> None:
    bank = asked_back
    for line, actor, role, outcome in (
        ("x1 approve r1", "tom", TELLER, "not_allowed"),
        ("x2 approve r1", "tim", OPERATOR, "not_allowed"),  # who asked
        ("x3 approve r9", "olga", OPERATOR, "original_not_found"),
    ):
        assert told(bank.do(1, line, actor, role)) == outcome
    bank.ask(f"d1 debit {BOB} 1")
    for _ in range(2):
        assert told(bank.do(1, "x4 approve r1", "olga", OPERATOR)) == "insufficient_funds"
    bank.ask(f"c1 credit {BOB} 1")
    bank.now_us += DAY_US
    assert told(bank.do(1, "x5 approve r1", "olga", OPERATOR)) == "approval_expired"
    assert (bank.amounts(ANN), bank.amounts(BOB)) == ((300, 300), (200, 200))


def test_what_is_settled_since_the_lanes_were_copied_is_whole(asked_back: Bank, tmp_path: Path) -> None:
    bank = asked_back
    opened = approve(bank, "a1")
    arrived = bank.arrive(opened)
    with copied_lanes(bank.url) as copies:
        bank.settle(opened, arrived)
        assert differences([bank.url], [(each.lane, each.path) for each in copies], tmp_path) == []


def test_a_half_of_an_approval_that_was_taken_out_by_hand_is_named() -> None:
    with closing(Bank()) as damaged:
        for account in (ANN, BOB):
            damaged.ask(f"open-{account} open {account}")
        damaged.ask(f"c0 credit {ANN} 500")
        damaged.do(1, "n1 set_approval_limit reverse 100", "ada", ADMIN)
        damaged.ask(f"t1 transfer {ANN} {BOB} 200")
        damaged.do(1, "r1 reverse t1", "tim", TELLER)
        damaged.finish(approve(damaged, "a1"))
        with psycopg.connect(damaged.url) as connection:
            for table in ("journal", "receipt"):
                connection.execute(f"delete from atm.{table} where lane = 0 and request_id = 'a1'".encode())
            connection.execute(
                b"""update atm.lane set journal_hash =
                (select hash from atm.journal where lane = 0 order by posting desc limit 1) where lane = 0"""
            )
        with copied_lanes(damaged.url) as copies:
            told = "transfer a1: 200 was paid to another lane, and none has credited it"
            assert told in copies[1].problems


def test_a_half_is_missed_though_its_id_was_used_between_two_other_lanes_too(tmp_path: Path) -> None:
    bank = InMemory(4)
    names = [next(name for n in range(100) if lane_of(name := f"a{n}", 4) == lane) for lane in range(4)]
    for name in names:
        bank.ask("local", f"o-{name} open {name}")
        bank.ask("local", f"c-{name} credit {name} 500")
    bank.ask("local", f"t1 transfer {names[0]} {names[1]} 200", finish=True)
    bank.ask("local", f"t1 transfer {names[2]} {names[3]} 50")
    bank.lanes[2].decide(bank.now_us + 1, LaneEntry(BANK, Settle(id="t1", outcome=OK)))
    copies = [(number, tmp_path / f"{number}.db") for number in range(4)]
    for number, path in copies:
        bank.lanes[number].write(path)
    assert differences([], copies, tmp_path) == [
        (2, "transfer t1: 50 was paid to another lane, and none has credited it")
    ]


def test_what_was_approved_in_time_is_carried_out_however_late_it_arrives(asked_back: Bank) -> None:
    bank = asked_back
    opened = approve(bank, "a1")
    bank.now_us += 2 * DAY_US
    assert bank.finish(opened).outcome == "ok"


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
