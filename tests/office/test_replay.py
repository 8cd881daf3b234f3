"""What an import asks of the bank."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import msgspec
import pytest

from atm.client import Client
from atm.ledger.audit.extract import journal_lines
from atm.ledger.audit.read_only import open_read_only
from atm.ledger.commands import Command, Credit
from atm.office.replay import Replay
from tests.support.story import write_ledger


class Lender:
    """A bank that keeps what it is asked, and ends the import after the loan."""

    def __init__(self) -> None:
        self.asked: list[Command] = []

    def ask(self, command: Command) -> Any:
        self.asked.append(command)
        return msgspec.defstruct("Done", [("outcome", str, "ok")])()

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
