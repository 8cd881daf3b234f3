"""What the teller program says of codes and texts, ceilings, all there is, and holds beside freezing."""

from __future__ import annotations

import json
import re

import pytest

from atm.teller.language import parse, shows_pin
from tests.support.running import Run
from tests.teller.ledger_bank import LedgerBank


@pytest.fixture(autouse=True)
def _level_2_with_two_accounts(bank: LedgerBank, run: Run) -> None:
    bank.raise_level()
    run("-c", "open bob", "-c", "credit 100")


def test_a_code_and_a_text_are_shown_in_statements_and_receipts_where_there_are_any(run: Run) -> None:
    assert "text" not in run("-c", "statement").out[0]
    run("--id", "c2", "-c", "credit 50 code 7 for Rent  November")
    ran = run("-c", "statement 2")
    assert ran.out[0].split() == ["time", "(UTC)", "what", "amount", "balance", "reference", "code", "text"]
    assert re.search(r" c2 +7  Rent November$", ran.out[2])
    receipt = [line.split(maxsplit=1) for line in run("-c", "receipt c2").out]
    assert [row for row in receipt if row[0] in {"code", "text"}] == [
        ["code", "7"],
        ["text", "Rent November"],
    ]


def test_all_there_is_is_told_as_the_amount_that_it_was(run: Run) -> None:
    run("-c", "hold 30")
    ran = run("--json", "-c", "transfer bob all for closing")
    report = json.loads(ran.out[0])
    assert (report["outcome"], report["amount"], report["moved"], report["all"]) == ("ok", 7000, 7000, True)
    assert report["message"].startswith("Successfully transferred 70 from main to bob")
    assert run("-c", "debit all").out == ["Insufficient account balance"]
    assert run("--account", "bob", "-c", "debit ALL").out[0] == "Successfully debited 70 from your account"


def test_operators_set_ceilings_and_count_transfers(run: Run) -> None:
    ran = run(
        "--operator",
        *("-c", "ceiling bob 50", "-c", "ceiling bob none", "-c", "ceiling bob 10"),
        *("-c", "limit main 20 transfers", "-c", "limit main none transfers"),
    )
    assert ran.out == [
        "Successfully set a ceiling of 50 on the balance of bob",
        "Successfully took the ceiling off bob",
        "Successfully set a ceiling of 10 on the balance of bob",
        "Successfully limited withdrawals and transfers from main to 20 a day",
        "Without a limit there is nothing that transfers could count towards",
    ]
    assert run("-c", "transfer bob 11").out == [
        "The balance of bob would rise over its ceiling, and nothing was changed: try a smaller amount"
    ]
    assert run("--account", "bob", "-c", "credit 11").out == [
        "The balance of bob would rise over its ceiling, and nothing was changed: try a smaller amount"
    ]
    assert run("-c", "transfer bob 21").out[0].startswith("Daily limit exceeded")
    assert run("--account", "bob", "-c", "query").out[1] == "Ceiling: 10"
    assert run("-c", "query").out[1] == "Transfers count towards the daily limit"


def test_freezing_and_closing_tell_of_the_holds(run: Run) -> None:
    run("-c", "hold 30", "-c", "hold 5")
    ran = run("--operator", "-c", "freeze bob", "-c", "freeze main", "-c", "close main")
    assert ran.out == [
        "Successfully froze bob",
        "Successfully froze main",
        "Its holds stay, and can still be confirmed or cancelled: 2 holds, 35 in all",
        "main is not empty: pay out its balance and end its holds first (2 holds, 35 in all)",
    ]


@pytest.mark.parametrize(
    ("line", "account", "text"),
    [("transfer for 5 for for x", "for", "for x"), ("transfer bob 5 code 7 FOR rent", "bob", "rent")],
)
def test_the_text_is_all_behind_the_word_for(line: str, account: str, text: str) -> None:
    request = parse(line, account="main", request_id="x")
    assert (getattr(request, "target", None), getattr(request, "text", None)) == (account, text)


@pytest.mark.parametrize(
    ("line", "shown"),
    [
        ("debit 50 1234", True),
        ("debit 50 1234 for rent", True),
        ("transfer bob 5 1234", True),
        ("debit 50 code 1234", False),
        ("debit 50 for 1234", False),
        ("debit all 1234", True),
    ],
)
def test_a_pin_is_noticed_where_no_code_and_no_text_is(line: str, shown: bool) -> None:
    assert shows_pin(line) == shown


def test_a_wrong_code_or_text_is_refused_with_the_rule(run: Run) -> None:
    assert run("-c", "credit 5 code 0").out == ["A code must be from 1 to 65535"]
    assert run("-c", f"credit 5 for {'x' * 141}").out[0].startswith("A text is 1 to 140 characters")
    assert run("-c", "credit 5 for").out[0].startswith("A text is 1 to 140 characters")
    assert run("-c", "credit 5 code").out == ["Invalid command: its form is credit <amount>"]
