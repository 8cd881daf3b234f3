"""What a restart finds of the simulated ledger."""

from __future__ import annotations

from random import Random

import pytest

from atm.ledger.commands import Credit, LoggedCommand
from tests.simulation.sim_ledger import SimLedgerFile
from tests.support.entries import balance_of, logged


class Killed(Exception):
    pass


def credit(index: int) -> tuple[int, int, LoggedCommand]:
    return index, index, logged(Credit(id=f"r{index}", account="main", amount=100))


def test_a_power_cut_leaves_the_ledger_of_some_earlier_commit() -> None:
    found = set()
    for seed in range(60):
        file = SimLedgerFile(Random(seed))
        ledger = file.open(lambda: None)
        for index in range(1, 21):
            ledger.apply([credit(index)])
            file.committed()
        file.close(power_cut=True)
        ledger = file.open(lambda: None)
        assert (balance_of(ledger, "main") or 0) == 100 * ledger.applied_index
        found.add(ledger.applied_index)
    assert {0, 20} < found
    assert len(found) > 8


@pytest.mark.parametrize("statements", range(1, 9))
def test_a_kill_between_two_statements_leaves_all_of_a_commit_or_nothing(statements: int) -> None:
    left = statements

    def before_statement() -> None:
        nonlocal left
        left -= 1
        if not left:
            raise Killed

    file = SimLedgerFile(Random(1))
    file.open(lambda: None).apply([credit(1)])
    file.close(power_cut=False)
    ledger = file.open(before_statement)
    with pytest.raises(Killed):
        ledger.apply([credit(2)])
    file.close(power_cut=False)
    again = file.open(lambda: None)
    assert (again.applied_index, balance_of(again, "main")) == (1, 100)
    assert file.rows("select count(*) from receipt") == [(1,)]


def test_a_kill_without_a_power_cut_loses_no_commit() -> None:
    file = SimLedgerFile(Random(1))
    ledger = file.open(lambda: None)
    for index in range(1, 21):
        ledger.apply([credit(index)])
    file.close(power_cut=False)
    assert file.open(lambda: None).applied_index == 20
