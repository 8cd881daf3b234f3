"""The judge of several lanes explains what a right bank says of transfers between them, and nothing else."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import pytest

from tests.chaos.lane_parts import parts
from tests.chaos.linearizability import contradictions
from tests.chaos.one_bank import Operation

LANES = {"ann": 0, "ada": 0, "bob": 1}
START = {"ann": 100, "ada": 0, "bob": 0}
SENT = Operation("t", "ann", "transfer", 30, 2.0, 5.0, "ok", 70, 70, target="bob", log_index=4)
BACK = Operation("r", "ann", "reverse", 30, 6.0, 8.0, "ok", 0, 0, about="t", log_index=9)


def seen(account: str, at_s: float, balance: int, available: int | None = None) -> Operation:
    available = balance if available is None else available
    return Operation(f"q{at_s}{account}", account, "query", 0, at_s, at_s + 0.1, "ok", balance, available)


def found(*history: Operation) -> list[str]:
    return [
        line
        for lane, operations in parts(history, LANES.__getitem__, 2).items()
        for line in contradictions(
            operations, {name: amount for name, amount in START.items() if LANES[name] == lane}
        )
    ]


@pytest.mark.parametrize(
    "meanwhile",
    [
        (seen("ann", 3.0, 100), seen("bob", 3.0, 0)),  # it has not begun
        (seen("ann", 3.0, 100, 70), seen("bob", 3.0, 0)),  # held
        (seen("ann", 3.0, 100, 70), seen("bob", 3.0, 30)),  # arrived
        (seen("ann", 3.0, 70), seen("bob", 3.0, 30)),  # settled
    ],
)
def test_each_moment_of_a_right_transfer_is_explained(meanwhile: Sequence[Operation]) -> None:
    after = (seen("ann", 5.5, 70), seen("bob", 5.5, 30))
    assert found(SENT, *meanwhile, *after) == []
    assert found(SENT, *meanwhile, *after, BACK, seen("ann", 8.5, 100), seen("bob", 8.5, 0)) == []


@pytest.mark.parametrize(
    "wrong",
    [
        seen("bob", 1.0, 30),  # there before it was asked for
        seen("bob", 5.5, 0),  # acknowledged, and not there
        seen("bob", 5.5, 60),  # there twice
        seen("ann", 5.5, 100, 70),  # acknowledged, and still held
        seen("ann", 5.5, 100),  # acknowledged, and nothing paid
        seen("ann", 3.0, 100, 100 - 60),  # held twice
    ],
)
def test_what_a_wrong_transfer_shows_is_not(wrong: Operation) -> None:
    assert found(SENT, wrong)


@pytest.mark.parametrize("wrong", [seen("ann", 8.5, 70), seen("ann", 5.5, 100), seen("bob", 8.5, 30)])
def test_nor_what_a_wrong_reversal_shows(wrong: Operation) -> None:
    assert found(SENT, BACK, wrong)


def test_what_is_paid_out_meanwhile_cannot_be_spent_again() -> None:
    spent = Operation("d", "ann", "debit", 80, 3.0, 4.0, "ok", 20, 20, log_index=3)
    assert found(SENT, spent)
    assert found(replace(SENT, outcome="insufficient_funds", balance=20, available=20), spent) == []
    assert found(replace(SENT, outcome="insufficient_funds", balance=100, available=100))


def test_one_without_an_answer_may_be_done_at_any_time_later_but_once() -> None:
    late = replace(SENT, returned=math.inf)
    assert found(late, seen("bob", 50.0, 0), seen("bob", 60.0, 30), seen("ann", 60.0, 70)) == []
    assert found(late, seen("bob", 60.0, 60))


def test_transfers_within_a_lane_are_one_operation() -> None:
    sent = Operation("t", "ann", "transfer", 30, 2.0, 5.0, "ok", 70, 70, target="ada")
    assert found(sent, seen("ann", 3.0, 70), seen("ada", 3.1, 30)) == []
    assert found(sent, seen("ann", 3.0, 70), seen("ada", 3.2, 0))
