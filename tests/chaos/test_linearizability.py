"""The judge is judged: histories that a bank could have given, and histories that none could."""

from __future__ import annotations

import math
import random
import time
from dataclasses import replace
from itertools import combinations, permutations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.chaos.linearizability import Operation, Undecided, contradictions


def op(
    kind: str,
    amount: int,
    call: float,
    returned: float = math.inf,
    balance: int | None = None,
    outcome: str | None = "ok",
) -> Operation:
    return Operation(f"{kind}@{call}", "main", kind, amount, call, returned, outcome, balance)


def unknown(kind: str, amount: int, call: float) -> Operation:
    return op(kind, amount, call, outcome=None)


def fits(*history: Operation, start: int = 0) -> bool:
    return not contradictions(history, {"main": start})


def test_one_after_the_other_with_right_answers_is_possible() -> None:
    assert fits(
        op("credit", 5, 0, 1, 5),
        op("query", 0, 2, 3, 5),
        op("debit", 9, 4, 5, 5, "insufficient_funds"),
        op("debit", 5, 6, 7, 0),
    )


def test_operations_at_the_same_time_may_take_effect_in_any_order() -> None:
    assert fits(op("credit", 5, 0, 9, 12), op("credit", 7, 1, 8, 7), op("query", 0, 2, 7, 0))


def test_a_stale_read_is_found() -> None:
    assert not fits(op("credit", 5, 0, 1, 5), op("query", 0, 2, 3, 0))


def test_two_reads_that_go_back_in_time_during_a_write_are_found() -> None:
    assert fits(op("credit", 5, 0, 9, 5), op("query", 0, 1, 2, 0), op("query", 0, 3, 4, 5))
    assert not fits(op("credit", 5, 0, 9, 5), op("query", 0, 1, 2, 5), op("query", 0, 3, 4, 0))


def test_a_lost_write_is_found() -> None:
    assert not fits(op("credit", 5, 0, 1, 5), op("credit", 7, 2, 3, 7))


def test_a_credit_that_counted_twice_is_found() -> None:
    assert not fits(op("credit", 5, 0, 1, 5), op("query", 0, 2, 3, 10))
    assert not fits(unknown("credit", 5, 0), op("query", 0, 2, 3, 10))


def test_a_read_of_what_was_not_asked_for_yet_is_found() -> None:
    assert not fits(op("query", 0, 0, 1, 5), op("credit", 5, 2, 3, 5))


def test_a_debit_that_was_declined_although_there_was_enough_is_found() -> None:
    assert not fits(op("credit", 5, 0, 1, 5), op("debit", 3, 2, 3, 5, "insufficient_funds"))


def test_a_balance_below_zero_is_found() -> None:
    assert not fits(op("debit", 5, 0, 1, -5))


def test_an_unknown_one_may_be_done_late_or_never() -> None:
    assert fits(unknown("credit", 5, 0), op("query", 0, 1, 2, 0), op("query", 0, 3, 4, 5))
    assert fits(unknown("credit", 5, 0), op("query", 0, 1, 2, 0), op("query", 0, 3, 4, 0))
    assert not fits(op("query", 0, 1, 2, 5), unknown("credit", 5, 3))


def test_an_unknown_one_that_was_seen_is_not_undone() -> None:
    assert not fits(unknown("credit", 5, 0), op("query", 0, 1, 2, 5), op("query", 0, 3, 4, 0))


def test_an_unanswered_one_that_was_done_must_fit_with_its_result() -> None:
    done = op("credit", 5, 0, balance=12)
    assert fits(done, op("credit", 7, 1, 2, 7), op("query", 0, 3, 4, 12))
    assert not fits(done, op("credit", 7, 1, 2, 7), op("credit", 1, 3, 4, 8))


def test_several_unknown_ones_are_done_together_where_nothing_else_explains_an_answer() -> None:
    pending = [unknown("credit", 2**i, 0) for i in range(12)]
    assert fits(*pending, op("query", 0, 1, 2, 0b101100010111))
    assert fits(*pending, unknown("debit", 10_000, 0), op("query", 0, 1, 2, 0))
    assert not fits(*pending, op("query", 0, 1, 2, 7), op("query", 0, 3, 4, 6))


def test_a_search_that_would_take_for_ever_is_given_up_aloud() -> None:
    pending = [unknown("credit", 2, 0) for _ in range(60)]
    with pytest.raises(Undecided):
        contradictions([*pending, op("query", 0, 1, 2, 61)], {"main": 0}, tries_max=10_000)


def test_the_contradiction_names_the_account_and_what_does_not_fit() -> None:
    [line] = contradictions([op("credit", 5, 0, 1, 5), op("query", 0, 2, 3, 4)], {"main": 0})
    assert "account main" in line
    assert "query@2" in line


def history_of(
    seed: int, count: int, accounts: int, clients: int = 8, unanswered: float = 0.0
) -> list[Operation]:
    """Return what `clients` see that ask at the same time a bank that does one thing at a time."""
    chance = random.Random(seed)
    free_at = [0.0] * clients
    asked: list[tuple[float, float, float, int]] = []
    for number in range(count):
        client = min(range(clients), key=free_at.__getitem__)
        call = free_at[client] + chance.random()
        done = call + chance.random()
        free_at[client] = done + chance.random()
        asked.append((done, call, free_at[client], number))
    balances = dict.fromkeys(map(str, range(accounts)), 0)
    history: list[Operation] = []
    for _, call, returned, number in sorted(asked):
        account, kind = str(chance.randrange(accounts)), chance.choice(["credit", "debit", "query"])
        amount = chance.randint(1, 500) if kind != "query" else 0
        outcome = "insufficient_funds" if kind == "debit" and balances[account] < amount else "ok"
        if outcome == "ok":
            balances[account] += {"credit": amount, "debit": -amount, "query": 0}[kind]
        if kind != "query" and chance.random() < unanswered:
            history.append(Operation(str(number), account, kind, amount, call))
        else:
            balance = balances[account]
            history.append(Operation(str(number), account, kind, amount, call, returned, outcome, balance))
    return history


@pytest.mark.parametrize("accounts", [1, 20])
def test_twenty_thousand_operations_are_judged_in_seconds(accounts: int) -> None:
    history = history_of(1, 20_000, accounts)
    start = dict.fromkeys(map(str, range(accounts)), 0)
    began = time.process_time()
    assert not contradictions(history, start)
    assert time.process_time() - began < 10


def test_a_hundred_unknown_outcomes_do_not_slow_the_search_down() -> None:
    history = history_of(2, 10_000, 1, unanswered=0.02)
    assert sum(o.outcome is None for o in history) > 100
    assert not contradictions(history, {"0": 0})


@pytest.mark.parametrize("seed", range(20))
def test_one_wrong_answer_in_a_long_history_is_found(seed: int) -> None:
    history = history_of(seed, 2_000, 1)
    chance = random.Random(seed)
    at = chance.choice([i for i, o in enumerate(history) if o.kind == "query"])
    wrong = history[at]
    assert wrong.balance is not None
    assert not contradictions(history, {"0": 0})
    history[at] = replace(wrong, balance=wrong.balance + 1)
    assert contradictions(history, {"0": 0})


def explained_by_some_order(history: list[Operation]) -> bool:
    """Try every order of every choice of the unknown ones: slow, and too simple to be wrong."""
    certain = [o for o in history if o.outcome is not None]
    doubtful = [o for o in history if o.outcome is None]
    return any(
        explains(order)
        for size in range(len(doubtful) + 1)
        for chosen in combinations(doubtful, size)
        for order in permutations([*certain, *chosen])
    )


def explains(order: tuple[Operation, ...]) -> bool:
    balance = 0
    for place, operation in enumerate(order):
        if any(later.returned < operation.call for later in order[place:]):
            return False
        enough = operation.kind != "debit" or balance >= operation.amount
        if operation.outcome == "insufficient_funds":
            if enough:
                return False
        elif not enough:
            return False
        else:
            balance += {"credit": operation.amount, "debit": -operation.amount, "query": 0}[operation.kind]
        if operation.outcome is not None and operation.balance != balance:
            return False
    return True


@st.composite
def small_histories(draw: st.DrawFn) -> list[Operation]:
    """Five operations of small numbers: about as often possible as not."""
    history: list[Operation] = []
    for number in range(draw(st.integers(1, 5))):
        kind = draw(st.sampled_from(["credit", "debit", "query"]))
        amount = draw(st.integers(1, 2)) if kind != "query" else 0
        call = draw(st.integers(0, 8))
        outcome = draw(st.sampled_from(["ok", "ok", "ok", None, "insufficient_funds"]))
        if kind == "query" or (kind == "credit" and outcome == "insufficient_funds"):
            outcome = "ok"
        answered = outcome is not None and (kind == "query" or draw(st.integers(0, 3)) > 0)
        returned = call + draw(st.integers(0, 4)) if answered else math.inf
        balance = draw(st.integers(0, 3)) if outcome is not None else None
        history.append(Operation(str(number), "main", kind, amount, call, returned, outcome, balance))
    return history


@given(small_histories())
@settings(max_examples=500)
def test_the_search_agrees_with_trying_every_order(history: list[Operation]) -> None:
    assert fits(*history) == explained_by_some_order(history)
