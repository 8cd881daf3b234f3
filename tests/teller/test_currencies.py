"""Amounts in other currencies at the teller: read by their decimals, and shown with their code."""

from __future__ import annotations

import pytest

from atm.ledger.commands import Query
from tests.support.running import Run
from tests.teller.ledger_bank import LedgerBank


@pytest.fixture(autouse=True)
def level_2(bank: LedgerBank) -> None:
    bank.raise_level()


def test_an_amount_in_another_currency_has_its_decimals_and_its_code(run: Run, bank: LedgerBank) -> None:
    assert run("-c", "open ann EUR").out[0].startswith("Successfully opened account ann in EUR")
    assert run("-c", "open jo jpy", "-c", "open ben BHD").code == 0
    told = {
        "ann": ("credit 12.5 EUR", "Successfully credited 12.50 EUR to your account"),
        "jo": ("credit 1,250 jpy", "Successfully credited 1250 JPY to your account"),
        "ben": ("credit 0.005 BHD", "Successfully credited 0.005 BHD to your account"),
    }
    for account, (line, text) in told.items():
        ran = run("--account", account, "-c", line)
        assert (ran.code, ran.out[0]) == (0, text)
    assert run("--account", "jo", "-c", "query").out == ["Your current account balance is: 1250 JPY"]
    assert {name: bank.ledger.view(_query(name)).balance for name in told} == {
        "ann": 1250,
        "jo": 1250,
        "ben": 5,
    }


def test_decimals_that_a_currency_does_not_have_are_refused_in_words(run: Run, bank: LedgerBank) -> None:
    asked = len(bank.requests)
    for line, text in {
        "credit 5.50 JPY": "An amount in JPY is a positive number without decimals, such as 12",
        "credit 5.505 EUR": "An amount in EUR is a positive number with at most two decimals, such as 12.50",
        "credit 5.5 CLP": "An amount in CLP is a positive number without decimals, such as 12",
        "debit 5.5055 BHD": (
            "An amount in BHD is a positive number with at most three decimals, such as 12.500"
        ),
        "open zoe XXX": "A currency is a code of ISO 4217 with minor units, such as EUR, JPY or BHD",
    }.items():
        ran = run("-c", line)
        assert (ran.code, ran.out) == (2, [text])
    assert len(bank.requests) == asked


def test_an_amount_without_a_code_moves_nothing_on_an_account_that_has_one(
    run: Run, bank: LedgerBank
) -> None:
    assert run("-c", "open jo JPY", "-c", "credit 5").code == 0
    ran = run("--account", "jo", "-c", "credit 5.50")
    assert ran.code == 1
    assert ran.out == [
        "The account is in another currency, and nothing was changed: name the account's, such as 12.50 EUR"
    ]
    assert bank.ledger.view(_query("jo")).balance == 0
    assert run("-c", "credit 5 JPY").code == 1
    assert run("-c", "transfer jo 5").code == 1


def test_a_session_reads_amounts_in_the_currency_of_its_account(run: Run, bank: LedgerBank) -> None:
    assert run("-c", "open jo JPY", "-c", "open kay JPY").code == 0
    lines = ["credit 500", "credit 5.50", "transfer kay 20", "account main", "credit 5.50", "quit", ""]
    ran = run("--account", "jo", typed="\n".join(lines))
    assert "Your starting balance is 0 JPY" in ran.out
    assert "Successfully credited 500 JPY to your account" in ran.out
    assert "An amount in JPY is a positive number without decimals, such as 12" in ran.out
    assert "Successfully transferred 20 JPY from jo to kay" in ran.out
    assert "Successfully credited 5.50 to your account" in ran.out


def test_all_there_was_and_what_holds_reserve_are_told_in_the_currency_of_the_account(
    run: Run, bank: LedgerBank
) -> None:
    assert run("-c", "open jo JPY").code == 0
    at_jo = ("--operator", "--account", "jo")
    assert run(*at_jo, "-c", "credit 500 JPY for rent", "-c", "hold 20 JPY", "-c", "raise 5 JPY").code == 0
    assert run(*at_jo, "-c", "debit all").out[0] == "Successfully debited 475 JPY from your account"
    assert run(*at_jo, "-c", "freeze jo").out[1].endswith("1 hold, 25 JPY in all")
    assert run(*at_jo, "-c", "ceiling jo 900 JPY").out[0].startswith("Successfully set a ceiling of 900 JPY")
    assert "Ceiling: 900 JPY" in run(*at_jo, "-c", "query").out


def test_lists_and_receipts_name_the_currency_of_each_amount(run: Run, bank: LedgerBank) -> None:
    assert run("-c", "open jo JPY").code == 0
    ran = run(
        *("--operator", "--account", "jo", "-c", "credit 1250 JPY", "-c", "hold 50 JPY", "-c", "statement"),
        *("-c", "holds", "-c", "accounts", "-c", "limit jo 100 JPY", "-c", "writeoff jo 7 JPY"),
        *("-c", "exceptions", "-c", "confirm 20 JPY", "-c", "receipt"),
    )
    assert ran.code == 0
    text = "\n".join(ran.out)
    for said in (
        "1,250 JPY",
        "50 JPY",
        "1,200 JPY",
        "to 100 JPY a day",
        "wrote off 7 JPY",
        "7 JPY",
        "20 JPY",
    ):
        assert said in text
    assert any(line.split()[:3] == ["main", "0.00", "0.00"] for line in ran.out), "no code for the bank's own"
    assert run("--csv", "--account", "jo", "-c", "statement").out[-1].split(",")[2] == "1250 JPY"


def test_the_banks_own_accounts_in_a_currency_are_for_operators(run: Run, bank: LedgerBank) -> None:
    assert run("-c", "open jo JPY").code == 0
    assert run("--account", "jo", "-c", "credit 500 JPY").code == 0
    operator = ("--operator", "--account", "cash:JPY")
    assert run(*operator, "-c", "query").out == ["Your current account balance is: -500 JPY"]
    assert run(*operator, "-c", "statement").out[-1].split()[5:7] == ["-500", "JPY"]
    assert run("--operator", "-c", "writeoff cash:JPY 20 JPY").code == 0
    asked = len(bank.requests)
    assert run(*operator, "-c", "credit 5 JPY").code == 2
    assert run("-c", "open cash:EUR").code == 2
    assert len(bank.requests) == asked
    ran = run("--account", "cash:JPY", "-c", "query")
    assert (ran.code, ran.out) == (
        4,
        ["cash:JPY is the bank's own account: to look into it, start the teller with --operator"],
    )


def _query(name: str) -> Query:
    return Query(id="q", account=name)
