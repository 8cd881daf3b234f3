"""The bank's rules, as tables that a banker can read. Amounts are in minor units."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from atm.ledger.accounts import Account
from atm.ledger.commands import (
    BALANCE_MINOR_MAX,
    BANK_ACCOUNTS,
    Command,
    Credit,
    Debit,
    LedgerReceipt,
    Open,
    Outcome,
)
from atm.ledger.posting import NO_HASH, JournalRow, Posting, funds
from atm.ledger.rules import decide
from atm.ledger.unit_of_work import LazyCache, UnitOfWork
from tests.support.entries import EmptyLedger, amount, command, logged, nothing, time_us

# One command each, on its own ledger. LARGEST is the largest amount one may name, FULL the largest balance,
# BOTTOM the least that cash may fall to.
RULES = """
opening balances               | command             | outcome            | balance | posting: from > to
cash -9, main 9                | credit main 5       | ok                 | 14      | cash > main 5
cash 0, main 0                 | credit main 1       | ok                 | 1       | cash > main 1
cash 0, main 0                 | credit main LARGEST | ok                 | LARGEST | cash > main LARGEST
cash -9, main 9                | debit main 5        | ok                 | 4       | main > cash 5
cash -9, main 9                | debit main 9        | ok                 | 0       | main > cash 9
cash -9, main 9                | debit main 10       | insufficient_funds | 9       |
cash -9, main 0, ann 9         | debit main 1        | insufficient_funds | 0       |
cash -9, main 0, ann 9         | debit ann 1         | ok                 | 8       | ann > cash 1
cash 0, main 0                 | open ann            | ok                 | 0       |
cash -9, main 9                | open main           | exists             | 9       |
cash -9, main 9                | open cash           | exists             | -9      |
cash -9, main 9                | open Main           | ok                 | 0       |
cash -9, main 9                | credit ann 5        | no_such_account    | none    |
cash -9, main 9                | debit ann 5         | no_such_account    | none    |
cash -9, main 9                | credit cash 5       | no_such_account    | none    |
cash -9, main 9                | debit cash 5        | no_such_account    | none    |
cash -9, main FULL-1           | credit main 1       | ok                 | FULL    | cash > main 1
cash -9, main FULL-1           | credit main 2       | limit_exceeded     | FULL-1  |
cash -9, main FULL             | credit main 1       | limit_exceeded     | FULL    |
cash -9, main FULL             | debit main 1        | ok                 | FULL-1  | main > cash 1
cash BOTTOM+1, main 0          | credit main 1       | ok                 | 1       | cash > main 1
cash BOTTOM+1, main 0          | credit main 2       | limit_exceeded     | 0       |
cash BOTTOM, main 1            | credit main 1       | limit_exceeded     | 1       |
cash BOTTOM, main 1            | debit main 1        | ok                 | 0       | main > cash 1
"""

# One story on one ledger, from the start: cash 0, main 0. `at` is the log index that the receipt refers to.
REPEATS = """
log index | id and command        | outcome            | balance | at | posting: from > to
1         | c1 credit main 100    | ok                 | 100     | 1  | cash > main 100
2         | d1 debit main 30      | ok                 | 70      | 2  | main > cash 30
3         | c1 credit main 100    | ok                 | 100     | 1  |
4         | c1 credit main 101    | id_reused          | 70      | 4  |
5         | c1 debit main 100     | id_reused          | 70      | 5  |
6         | c1 open main          | id_reused          | 70      | 6  |
7         | c1 credit ann 100     | id_reused          | none    | 7  |
8         | c1 credit main 100    | ok                 | 100     | 1  |
9         | d2 debit main 80      | insufficient_funds | 70      | 9  |
10        | c2 credit main 50     | ok                 | 120     | 10 | cash > main 50
11        | d2 debit main 80      | insufficient_funds | 70      | 9  |
12        | d3 debit main 80      | ok                 | 40      | 12 | main > cash 80
13        | n1 credit ann 5       | no_such_account    | none    | 13 |
14        | o1 open ann           | ok                 | 0       | 14 |
15        | n1 credit ann 5       | no_such_account    | none    | 13 |
16        | n2 credit ann 5       | ok                 | 5       | 16 | cash > ann 5
17        | o1 open ann           | ok                 | 0       | 14 |
18        | o2 open ann           | exists             | 5       | 18 |
19        | d2 debit main 79      | id_reused          | 40      | 19 |
20        | d2 debit main 80      | insufficient_funds | 70      | 9  |
"""


def rows(table: str) -> list[list[str]]:
    """Return the cells of each row below the heading."""
    return [[cell.strip() for cell in line.split("|")] for line in table.strip().splitlines()[1:]]


def balances(text: str) -> dict[str, int]:
    """Return the balances that `cash -9, main 9` stands for."""
    return {account: amount(number) for account, number in (item.split() for item in text.split(", "))}


def expected_balance(text: str) -> int | None:
    """Return a balance, or None for `none`."""
    return None if text == "none" else amount(text)


def unit_of(opening: dict[str, int]) -> UnitOfWork:
    """Return a unit of work that begins with these balances and nothing else."""
    accounts: LazyCache[Account] = LazyCache(nothing)
    for name, balance in opening.items():
        accounts[name] = Account(name, balance, state="banks_own" if name in BANK_ACCOUNTS else "open")
    return UnitOfWork(EmptyLedger(), accounts, LazyCache(nothing), NO_HASH)


def decided(unit: UnitOfWork, log_index: int, time_us: int, asked: Command) -> LedgerReceipt:
    receipt = decide(unit, log_index, time_us, logged(asked))
    assert receipt is not None
    return receipt


def balances_of(unit: UnitOfWork, opening: dict[str, int]) -> dict[str, int]:
    return opening | {name: account.balance for name, account in unit.changed_balances.items()}


def moved(rows: Sequence[JournalRow]) -> list[tuple[str, str, int]]:
    return [(debit, credit, minor) for _, _, debit, credit, minor, *_ in rows]


def expected_postings(text: str) -> list[tuple[str, str, int]]:
    """Return the posting that `cash > main 5` stands for, if any."""
    if not text:
        return []
    debit_account, _, credit_account, number = text.split()
    return [(debit_account, credit_account, amount(number))]


@pytest.mark.parametrize("row", rows(RULES), ids=lambda row: f"{row[0]}: {row[1]} is {row[2]}")
def test_the_bank_keeps_its_rules(row: list[str]) -> None:
    opening, line, outcome, balance, posting = row
    before = balances(opening)
    unit = unit_of(before)
    receipt = decided(unit, 7, 1234, command(f"id1 {line}"))
    expected = expected_balance(balance)
    assert receipt == LedgerReceipt(
        id="id1", outcome=receipt.outcome, balance=expected, available=expected, log_index=7, time_us=1234
    )
    assert receipt.outcome == outcome
    assert moved(unit.journal) == expected_postings(posting)
    after = balances_of(unit, before)
    assert sum(after.values()) == sum(before.values()), "money was made or lost"
    changed = {name for name, held in after.items() if held != before.get(name)}
    assert changed == unit.changed_balances.keys()


def test_a_repeated_request_gets_its_first_receipt_for_ever() -> None:
    opening = {"cash": 0, "main": 0}
    unit = unit_of(opening)
    for log_index, line, outcome, balance, decided_at, posting in rows(REPEATS):
        before = len(unit.journal)
        receipt = decided(unit, int(log_index), time_us(int(log_index)), command(line))
        found = (receipt.outcome, receipt.balance, receipt.available, receipt.log_index, receipt.time_us)
        held = expected_balance(balance)
        assert found == (outcome, held, held, int(decided_at), time_us(int(decided_at))), line
        assert moved(unit.journal[before:]) == expected_postings(posting), line
    assert sum(balances_of(unit, opening).values()) == 0
    assert len(unit.new_records) == len({line.split()[0] for _, line, *_ in rows(REPEATS)})


@pytest.mark.parametrize("wrong", [5.0, True, "5", None, 0, -1, 10**14])
@pytest.mark.parametrize("kind", [Credit, Debit])
def test_only_a_positive_whole_number_is_an_amount(kind: type[Credit | Debit], wrong: Any) -> None:
    unit = unit_of({"cash": -9, "main": 9})
    with pytest.raises((AssertionError, TypeError, ValueError)):
        decide(unit, 1, 1, logged(kind(id="a", account="main", amount=wrong)))
    assert not unit.changed_balances


def test_a_late_posting_leaves_what_can_be_written_exactly_and_no_less() -> None:
    cash, ann = Account("cash", state="banks_own"), Account("ann", balance=5 - BALANCE_MINOR_MAX)
    assert funds(ann, cash, 5, overdraft=True) is Outcome.OK
    assert funds(ann, cash, 6, overdraft=True) is Outcome.LIMIT_EXCEEDED


def test_opening_names_an_account_once() -> None:
    unit = unit_of({"cash": 0})
    outcomes = [decided(unit, n, n, Open(id=f"o{n}", account="ann")).outcome for n in (1, 2)]
    assert outcomes == ["ok", "exists"]


@pytest.mark.parametrize(
    "posting", [Posting("ann", "cash", 1), Posting("cash", "ann", 1), Posting("cash", "cash", 1)]
)
def test_a_posting_to_a_closed_account_or_within_one_is_a_failed_assertion(
    posting: Posting,
) -> None:
    unit = unit_of({"cash": 0})
    unit.accounts["ann"] = Account("ann", state="closed")
    with pytest.raises(AssertionError):
        unit.move("id1", [posting], overdraft=True)
    assert not unit.changed_balances
