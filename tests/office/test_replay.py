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
from atm.ledger.commands import Command, Credit, Lookup, Outcome
from atm.office.replay import Replay
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
