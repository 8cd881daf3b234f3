"""What an import asks of the bank."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import cast

import msgspec
import pytest

from atm.client import Client, Receipt
from atm.ledger.audit.extract import journal_lines
from atm.ledger.audit.read_only import open_read_only
from atm.ledger.commands import Command, Credit, LevelRaise, Lookup, Outcome
from atm.ledger.ledger import Ledger
from atm.office.replay import Replay
from tests.support.entries import command, logged, time_us
from tests.support.story import write_ledger


class Lender:
    """A bank that knows nothing, keeps what it is asked, and ends the import after the loan."""

    def __init__(self) -> None:
        self.asked: list[Command] = []

    def read_all(self, lookups: Sequence[Lookup]) -> list[Receipt]:
        return [Receipt(id=lookup.id, outcome=Outcome.ORIGINAL_NOT_FOUND) for lookup in lookups]

    def submit(self, commands: Sequence[Command]) -> list[Receipt]:
        self.asked += commands
        return [Receipt(id=command.id, outcome=Outcome.OK, log_index=1) for command in commands]

    def hold(self, *_: object, **__: object) -> None:
        raise EOFError


@pytest.mark.parametrize(("balance_after", "lent"), [(-3, 5), (-5, 5), (-12, 12)])
def test_the_loan_covers_the_cash_and_the_debt_that_there_is_already(
    tmp_path: Path, balance_after: int, lent: int
) -> None:
    with open_read_only(write_ledger(tmp_path / "n1.db")) as cursor:
        (line,) = [line for line in journal_lines(cursor) if line.exception == "overdrawn"]
    line = msgspec.structs.replace(line, debit_account="main", amount=5, debit_balance=balance_after)
    bank = Lender()
    with pytest.raises(EOFError):
        Replay(cast(Client, bank)).book_all([line])
    (loan,) = bank.asked
    assert isinstance(loan, Credit)
    assert loan.amount == lent


class NewBank:
    """A bank at feature level 2 that decides at once."""

    def __init__(self, path: Path) -> None:
        self.ledger = Ledger(path)
        self.ledger.apply([(1, time_us(1), LevelRaise(2))])

    def read_all(self, reads: Sequence[Lookup]) -> list[Receipt]:
        return [msgspec.convert(self.ledger.view(read), Receipt, from_attributes=True) for read in reads]

    def submit(self, commands: Sequence[Command]) -> list[Receipt]:
        return [self.ask(command) for command in commands]

    def ask(self, asked: Command) -> Receipt:
        index = self.ledger.applied_index + 1
        (receipt,) = self.ledger.apply([(index, time_us(index), logged(asked))])
        return msgspec.convert(receipt, Receipt, from_attributes=True)


def test_an_import_opens_accounts_in_their_currencies_and_books_the_same(tmp_path: Path) -> None:
    old, new = NewBank(tmp_path / "old.db"), NewBank(tmp_path / "new.db")
    for line in (
        *("o1 open jo in JPY", "o2 open kay in JPY", "o3 open ann", "c1 credit jo 500 in JPY"),
        *("c2 credit ann 7", "t1 transfer jo kay 20 in JPY", "b1 batch jo kay 5, kay jo 1 in JPY"),
        *("d1 debit kay 3 in JPY", "w1 write_off cash:JPY 9 in JPY", "w2 write_off jo 2 in JPY"),
        *("r1 reverse c1 100 in JPY", "r2 reverse b1"),
    ):
        assert old.ask(command(line)).ok, line
    with open_read_only(tmp_path / "old.db") as cursor:
        lines = list(journal_lines(cursor))
    replay = Replay(cast(Client, new))
    replay.book_all(lines)
    assert (replay.bulk.opened, replay.bulk.booked, replay.bulk.other_balances) == (3, len(lines), 0)
    with open_read_only(tmp_path / "new.db") as cursor:
        booked = list(journal_lines(cursor))
    names = ("request_id", "debit_account", "credit_account", "amount", "debit_balance", "currency")
    for one, other in zip(lines, booked, strict=True):
        assert [getattr(one, name) for name in names] == [getattr(other, name) for name in names]
