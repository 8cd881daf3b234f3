"""How many holds are active: in the receipts of freezing, and of a closure that they prevent."""

from __future__ import annotations

from contextlib import closing

import pytest

from atm.ledger import administration, holds
from atm.ledger.commands import DetailedReceipt, LedgerReceipt
from atm.ledger.ledger import Ledger
from tests.support.entries import entry, records

GIVEN = ["c1 credit main 100", "h1 hold main 10 1h", "h2 hold main 5 1h", "h3 hold main 1 1h", "v1 void h3"]


@pytest.mark.parametrize(("line", "outcome"), [("f1 freeze main", "ok"), ("k1 close main", "not_empty")])
def test_the_receipt_says_how_many_holds_are_active_and_so_does_every_repetition(
    line: str, outcome: str
) -> None:
    with closing(Ledger(":memory:")) as ledger:
        ledger.apply(records(["level 2", *GIVEN]))
        [first] = ledger.apply([(7, 7000, entry(line))])
        assert isinstance(first, DetailedReceipt)
        assert (first.outcome, first.active_holds) == (outcome, 2)
        assert (first.balance, first.available) == (100, 85)
        ledger.apply([(8, 8000, entry("v2 void h2"))])
        assert ledger.apply([(9, 9000, entry(line))]) == [first]


def test_without_a_hold_the_receipt_says_nothing_of_them() -> None:
    with closing(Ledger(":memory:")) as ledger:
        ledger.apply(records(["level 2", "c1 credit main 100"]))
        receipts = ledger.apply(records(["k1 close main", "f1 freeze main"], first_index=3))
        assert [type(receipt) for receipt in receipts] == [LedgerReceipt] * 2


def test_the_largest_number_that_is_told_stands_for_all_above_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(holds, "ACTIVE_HOLDS_MAX", 1)
    monkeypatch.setattr(administration, "ACTIVE_HOLDS_MAX", 1)
    with closing(Ledger(":memory:")) as ledger:
        *_, frozen = ledger.apply(records([*GIVEN, "level 2", "f1 freeze main"]))
        assert isinstance(frozen, DetailedReceipt)
        assert frozen.active_holds == 1


def test_below_feature_level_2_no_receipt_says_more_than_in_release_1_1() -> None:
    with closing(Ledger(":memory:")) as ledger:
        *_, closed, frozen = ledger.apply(records([*GIVEN, "k1 close main", "f1 freeze main"]))
        assert [type(closed), type(frozen)] == [LedgerReceipt] * 2
