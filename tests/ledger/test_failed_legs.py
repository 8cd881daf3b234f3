"""Which leg of a batch was refused: in the receipt, from feature level 2 on, and in each repetition of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from atm.ledger.commands import DetailedReceipt, LedgerReceipt, Lookup
from atm.ledger.ledger import Ledger
from tests.support.entries import entry, records

GIVEN = ["level 2", "o1 open ann", "o2 open bob", "o3 open zed", "c1 credit ann 100", "s1 set_pin bob 1234"]
BATCHES = [
    ("b1 batch ann bob 60, ann bob 41", "insufficient_funds", 1),
    ("b1 batch ann eve 1", "no_such_account", 0),
    ("b1 batch ann bob 1, ann zed 1, bob ann 1 pin 4321", "wrong_pin", 2),
    ("b1 batch ann bob 1, ann zed 1, zed ann 1, ann eve 1", "no_such_account", 3),
]


@pytest.mark.parametrize(("line", "outcome", "leg"), BATCHES)
def test_the_receipt_says_which_leg_was_refused_and_so_does_every_repetition(
    line: str, outcome: str, leg: int, tmp_path: Path
) -> None:
    ledger = Ledger(tmp_path / "ledger.db")
    ledger.apply(records(GIVEN))
    first, *_ = ledger.apply([(7, 7000, entry(line))])
    assert isinstance(first, DetailedReceipt)
    assert (first.outcome, first.leg) == (outcome, leg)
    assert ledger.apply([(8, 8000, entry(line))]) == [first]
    assert ledger.apply([(9, 9000, entry(line)), (10, 9000, entry(line))]) == [first, first]
    found = ledger.view(Lookup(id="q", request_id="b1"))
    assert (found.outcome, found.leg) == (outcome, leg)
    ledger.close()
    again = Ledger(tmp_path / "ledger.db")
    assert again.apply([(11, 11000, entry(line))]) == [first]
    again.close()


def test_requests_that_come_again_together_with_such_a_batch_get_their_first_receipts_too(
    tmp_path: Path,
) -> None:
    lines = [
        "a1 batch ann bob 101",
        "b1 credit ann 5",
        "c2 credit ann 6",
        "d1 debit ann all",
        "e1 credit ann 1",
    ]
    ledger = Ledger(tmp_path / "ledger.db")
    ledger.apply(records(GIVEN))
    first = ledger.apply(records(lines, first_index=7))
    assert ledger.apply(records(lines, first_index=12)) == first
    ledger.close()


def test_a_batch_that_is_done_or_reused_names_no_leg() -> None:
    ledger = Ledger(":memory:")
    ledger.apply(records(GIVEN))
    done, reused = ledger.apply(
        [(7, 7000, entry("b1 batch ann bob 60")), (8, 8000, entry("b1 batch ann bob 61"))]
    )
    assert (type(done), type(reused)) == (LedgerReceipt, LedgerReceipt)
    ledger.close()


def test_below_feature_level_2_no_receipt_says_more_than_in_release_1_1() -> None:
    ledger = Ledger(":memory:")
    ledger.apply(records(GIVEN[1:]))
    (refused,) = ledger.apply([(6, 7000, entry(BATCHES[0][0]))])
    assert type(refused) is LedgerReceipt
    ledger.close()
