"""The words that people type: in any case, others for the same, and amounts with separators."""

from __future__ import annotations

import pytest

from tests.support.fake_cluster import FakeCluster
from tests.support.running import Run
from tests.teller.ledger_bank import LedgerBank


@pytest.mark.parametrize("line", ["CREDIT 5", "Credit 5", "cReDiT 5", "deposit 5", "DEPOSIT 5"])
def test_a_command_is_read_in_any_case_and_by_its_other_word(run: Run, line: str) -> None:
    assert run("-c", line).out == ["Successfully credited 5 to your account"]


def test_withdraw_and_balance_are_debit_and_query(run: Run, bank: LedgerBank) -> None:
    ran = run("-c", "deposit 5", "-c", "withdraw 2", "-c", "balance", "-c", "Balance AT 2026-11-22")
    assert ran.out == [
        "Successfully credited 5 to your account",
        "Successfully debited 2 from your account",
        "Your current account balance is: 3",
        "The balance of main at 2026-11-22 23:59:59 UTC was: 3",
    ]
    assert run("-c", "help withdraw").out == run("-c", "help DEBIT").out
    assert run("-c", "?").out == run("-c", "help").out


def test_the_words_between_are_read_in_any_case_and_names_are_not(run: Run, bank: LedgerBank) -> None:
    ran = run(
        "--operator", "-c", "open Bob", "-c", "limit Bob NONE", "-c", "accounts AFTER a", "-c", "open bob"
    )
    assert ran.out[1] == "Successfully took the daily limit off Bob"
    assert ran.out[-1].startswith("Successfully opened account bob")


@pytest.mark.parametrize("line", ["withdraw 5 1234", "LOGIN 1234", "Debit 5 1234"])
def test_a_pin_behind_another_word_is_refused_as_behind_the_first(run: Run, line: str) -> None:
    assert run("-c", line).out == [
        "A PIN is never part of a command: the teller asks for it (type: help login)"
    ]


@pytest.mark.parametrize(
    "line", ["credit <amount>", "limit bob <amount>", "transfer <account> 5", "open <account>"]
)
def test_a_form_that_is_typed_as_it_stands_is_no_command(run: Run, cluster: FakeCluster, line: str) -> None:
    ran = run("--operator", "-c", line)
    assert (ran.code, len(ran.out)) == (2, 1)
    assert cluster.requests() == 0


@pytest.mark.parametrize(
    ("typed", "minor"), [("1,234.50", 1234_50), ("1,000", 1000_00), ("12,345,678", 12_345_678_00)]
)
def test_an_amount_may_have_separators_of_thousands(
    run: Run, cluster: FakeCluster, typed: str, minor: int
) -> None:
    assert run("-c", f"credit {typed}").code == 0
    assert cluster.bank.balances["main"] == minor


@pytest.mark.parametrize(
    "typed", ["1,23", "12,50", "1,5", "1234,567", "0,500", ",500", "1,,000", "1.234,50", "1,000,0"]
)
def test_a_separator_that_could_mean_something_else_is_refused_in_words(
    run: Run, cluster: FakeCluster, typed: str
) -> None:
    ran = run("-c", f"credit {typed}")
    assert ran.out == [
        "An amount has a point before its decimals, and commas only between thousands, "
        "such as 12.50 or 1,234.50"
    ]
    assert (ran.code, cluster.requests()) == (2, 0)


def test_tables_have_separators_and_the_sentences_of_the_transcript_do_not(
    run: Run, bank: LedgerBank
) -> None:
    ran = run("--operator", "-c", "credit 1234567.50", "-c", "query", "-c", "statement", "-c", "accounts")
    assert ran.out[:2] == [
        "Successfully credited 1234567.50 to your account",
        "Your current account balance is: 1234567.50",
    ]
    assert ran.out[4].split()[3:5] == ["1,234,567.50", "1,234,567.50"]
    assert ran.out[-1].split() == ["main", "1,234,567.50", "1,234,567.50", "open", "none"]
    assert "amount      1,234,567.50" in run("-c", f"receipt {bank.requests[0]['id']}").out


@pytest.mark.parametrize(
    ("line", "meant"),
    [("withdrw 5", "withdraw"), ("DEPOSITE 5", "deposit"), ("balanc", "balance"), ("statment", "statement")],
)
def test_of_a_mistyped_other_word_the_one_that_was_meant_is_named(run: Run, line: str, meant: str) -> None:
    assert run("-c", line).out == [f"Invalid command: did you mean {meant}?"]
