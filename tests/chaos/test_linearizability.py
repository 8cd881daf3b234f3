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

from tests.chaos.linearizability import Undecided, contradictions
from tests.chaos.one_bank import Operation


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


def between(name: str, amount: int, call: float, returned: float, balance: int) -> Operation:
    """Return a transfer from main to ann."""
    return Operation(name, "main", "transfer", amount, call, returned, "ok", balance, target="ann")


def possible(*history: Operation) -> bool:
    return not contradictions(history, {"main": 10, "ann": 0})


def of_ann(kind: str, amount: int, call: float, balance: int) -> Operation:
    return replace(op(kind, amount, call, call + 1, balance), account="ann")


def test_a_transfer_moves_the_money_of_both_accounts_at_one_moment() -> None:
    moved = between("t", 4, 0, 9, 6)
    assert possible(moved, of_ann("query", 0, 1, 0), of_ann("query", 0, 3, 4), op("query", 0, 5, 6, 6))
    assert not possible(moved, of_ann("query", 0, 1, 4), op("query", 0, 3, 4, 10))
    assert not possible(moved, op("query", 0, 1, 2, 6), of_ann("query", 0, 3, 0))
    assert not possible(between("t", 4, 0, 1, 6), of_ann("debit", 4, 2, -4))


def test_an_unknown_transfer_is_done_for_both_or_for_none() -> None:
    unknown_one = Operation("t", "main", "transfer", 4, 0, target="ann")
    assert possible(unknown_one, of_ann("query", 0, 1, 4), op("query", 0, 3, 4, 6))
    assert possible(unknown_one, of_ann("query", 0, 1, 0), op("query", 0, 3, 4, 6))
    assert not possible(unknown_one, of_ann("query", 0, 1, 4), op("query", 0, 3, 4, 10))


def told(operation: Operation, available: int) -> Operation:
    return replace(operation, available=available)


def test_what_is_held_is_not_available_until_it_is_released_or_paid_out() -> None:
    hold = told(op("hold", 6, 0, 1, 10), 4)
    declined = told(op("debit", 5, 2, 3, 10, "insufficient_funds"), 4)
    part = replace(told(op("post", 2, 4, 5, 8), 8), about=hold.name)
    void = replace(told(op("void", 0, 4, 5, 10), 10), about=hold.name)
    assert possible(hold, declined, part)
    assert possible(hold, declined, void, told(op("debit", 5, 6, 7, 5), 5))
    assert not possible(hold, told(op("debit", 5, 2, 3, 5), -1))
    assert not possible(hold, declined, replace(part, available=2)), "the rest was not released"
    assert not possible(hold, part, replace(void, name="again", call=6, returned=7, balance=8, available=8))


def test_a_request_is_taken_back_once() -> None:
    paid = op("debit", 3, 0, 1, 7)
    back = replace(op("reverse", 3, 2, 5, 10), about=paid.name)
    again = replace(op("reverse", 3, 3, 4, 10, "already_reversed"), about=paid.name)
    assert possible(paid, back, again)
    assert not possible(paid, back, replace(again, outcome="ok", balance=13))
    assert not possible(paid, again), "who has taken it back?"
    moved = between("t", 4, 0, 1, 6)
    returned = replace(op("reverse", 4, 4, 5, 10), about="t")
    assert possible(moved, of_ann("query", 0, 2, 4), returned, of_ann("query", 0, 6, 0))
    assert not possible(moved, of_ann("debit", 4, 2, 0), returned), "the money is no longer there"


def test_a_wrong_place_in_the_log_misleads_nobody() -> None:
    first, second = op("credit", 5, 0, 9, 5), op("credit", 7, 1, 8, 12)
    assert fits(replace(first, log_index=2), replace(second, log_index=1), op("query", 0, 2, 7, 5))


def test_a_search_that_would_take_for_ever_is_given_up_aloud() -> None:
    pending = [unknown("credit", 2, 0) for _ in range(60)]
    with pytest.raises(Undecided):
        contradictions([*pending, op("query", 0, 1, 2, 61)], {"main": 0}, tries_max=10_000)


def test_the_contradiction_names_the_account_and_what_does_not_fit() -> None:
    [line] = contradictions([op("credit", 5, 0, 1, 5), op("query", 0, 2, 3, 4)], {"main": 0})
    assert "main has 5" in line
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
    kinds = ["credit", "debit", "query", *(["transfer"] if accounts > 1 else [])]
    history: list[Operation] = []
    for _, call, returned, number in sorted(asked):
        account, kind = str(chance.randrange(accounts)), chance.choice(kinds)
        target = str((int(account) + 1) % accounts) if kind == "transfer" else ""
        amount = chance.randint(1, 500) if kind != "query" else 0
        outcome = "insufficient_funds" if kind in TAKING and balances[account] < amount else "ok"
        if outcome == "ok":
            balances[account] += -amount if kind in TAKING else amount
            if target:
                balances[target] += amount
        asked_for = Operation(str(number), account, kind, amount, call, target=target)
        if kind != "query" and chance.random() < unanswered:
            history.append(asked_for)
        else:
            balance, place = balances[account], len(history) if kind != "query" else 0
            history.append(
                replace(asked_for, returned=returned, outcome=outcome, balance=balance, log_index=place)
            )
    return history


TAKING = ("debit", "transfer")


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
    balances = {"main": 0, "ann": 0}
    for place, operation in enumerate(order):
        if any(later.returned < operation.call for later in order[place:]):
            return False
        enough = operation.kind not in TAKING or balances[operation.account] >= operation.amount
        if operation.outcome == "insufficient_funds":
            if enough:
                return False
        elif not enough:
            return False
        else:
            balances[operation.account] += -operation.amount if operation.kind in TAKING else operation.amount
            if operation.kind == "transfer":
                balances[operation.target] += operation.amount
        if operation.outcome is not None and operation.balance != balances[operation.account]:
            return False
    return True


@st.composite
def small_histories(draw: st.DrawFn) -> list[Operation]:
    """Five operations of small numbers: about as often possible as not."""
    history: list[Operation] = []
    for number in range(draw(st.integers(1, 5))):
        kind = draw(st.sampled_from(["credit", "debit", "transfer", "query"]))
        account, other = draw(st.sampled_from([("main", "ann"), ("ann", "main")]))
        amount = draw(st.integers(1, 2)) if kind != "query" else 0
        call = draw(st.integers(0, 8))
        outcome = draw(st.sampled_from(["ok", "ok", "ok", None, "insufficient_funds"]))
        if kind == "query" or (kind == "credit" and outcome == "insufficient_funds"):
            outcome = "ok"
        answered = outcome is not None and (kind == "query" or draw(st.integers(0, 3)) > 0)
        returned = call + draw(st.integers(0, 4)) if answered else math.inf
        balance = draw(st.integers(0, 3)) if outcome is not None else None
        target = other if kind == "transfer" else ""
        asked = Operation(str(number), account, kind, amount, call, returned, outcome, balance, target=target)
        history.append(replace(asked, log_index=draw(st.integers(0, 5))))
    return history


@given(small_histories())
@settings(max_examples=500)
def test_the_search_agrees_with_trying_every_order(history: list[Operation]) -> None:
    assert (not contradictions(history, {"main": 0, "ann": 0})) == explained_by_some_order(history)
