"""The teller before the whole bank: transfers, holds, reversals, and the references that they print."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from tests.support.entries import balance_of
from tests.support.fake_cluster import FakeCluster
from tests.support.running import OnLine, Run
from tests.support.terminal import Terminal
from tests.teller.ledger_bank import LedgerBank

REFERENCE = re.compile(r"Reference ([0-9A-Z]{20})")


def reference(line: str) -> str:
    """Return the reference that a line tells."""
    match = REFERENCE.fullmatch(line)
    assert match is not None, line
    return match[1]


@pytest.fixture(autouse=True)
def with_accounts(bank: LedgerBank, run: Run) -> None:
    """`main` has 100, and `bob` nothing."""
    assert run("-c", "credit 100", "-c", "open bob").code == 0


def test_a_transfer_moves_money_and_prints_its_reference(run: Run, bank: LedgerBank) -> None:
    done, printed = run("-c", "transfer bob 30").out
    assert done == "Successfully transferred 30 from main to bob"
    assert bank.requests[-1]["id"] == reference(printed)
    assert (balance_of(bank.ledger, "main"), balance_of(bank.ledger, "bob")) == (70_00, 30_00)


def test_credits_and_debits_print_a_reference_but_on_main(run: Run) -> None:
    assert run("-c", "credit 5", "-c", "debit 5").out == [
        "Successfully credited 5 to your account",
        "Successfully debited 5 from your account",
    ]
    ran = run("--account", "bob", "-c", "credit 5", "-c", "debit 5")
    assert ran.out[0::2] == [
        "Successfully credited 5 to your account",
        "Successfully debited 5 from your account",
    ]
    assert reference(ran.out[1]) != reference(ran.out[3])


@pytest.mark.parametrize(
    ("command", "code", "line"),
    [
        ("transfer bob 101", 1, "Insufficient account balance"),
        ("transfer bbo 1", 1, "No such account: bbo (to open it, type: open bbo)"),
        ("transfer main 1", 2, "Your account is main itself: name the one that the money goes to"),
        ("hold 101", 1, "Insufficient account balance"),
        ("hold 5 0", 2, "The number of minutes must be from 1 to 576000"),
        ("hold 5 576001", 2, "The number of minutes must be from 1 to 576000"),
        ("confirm", 2, "No hold in this session: name one (confirm <reference>)"),
        ("confirm 5", 2, "No hold in this session: name one (confirm <reference>)"),
        ("cancel", 2, "No hold in this session: name one (cancel <reference>)"),
        ("confirm nothing", 1, "No hold has the reference nothing: check it"),
        ("cancel nothing", 1, "No hold has the reference nothing: check it"),
        (
            "reverse nothing",
            1,
            "Nothing is known under nothing, and nothing was done: check the reference (to have such a "
            "request declined should it still arrive, start the teller with --tombstone)",
        ),
        ("receipt", 2, "There is no receipt yet: name one (receipt <reference>)"),
        ("receipt nothing", 1, "Nothing is known under nothing: check the reference"),
        (
            "receipt ä",
            2,
            "A reference is what the teller printed as one, without spaces, such as 1M81TYHJ6Q912PEARJX5",
        ),
    ],
)
def test_a_refusal_says_what_to_do(run: Run, command: str, code: int, line: str) -> None:
    ran = run("-c", command)
    assert (ran.out, ran.code) == ([line], code)


def test_a_hold_is_seen_beside_the_balance_and_confirmed_without_typing_its_reference(
    run: Run, bank: LedgerBank
) -> None:
    ran = run("-c", "hold 20", "-c", "query", "-c", "confirm", "-c", "query")
    assert ran.out[0] == "Successfully held 20 for 5 minutes: confirm or cancel it"
    held = reference(ran.out[1])
    assert ran.out[2:5] == [
        "Your current account balance is: 100",
        "Available: 80 (20 held)",
        f"Successfully confirmed and paid out the hold {held}",
    ]
    assert reference(ran.out[5]) != held
    assert ran.out[6:] == ["Your current account balance is: 80"]


def test_a_part_of_a_hold_is_confirmed_and_the_rest_is_free(run: Run) -> None:
    ran = run("-c", "hold 20 1", "-c", "confirm 15", "-c", "query")
    assert ran.out[0] == "Successfully held 20 for 1 minute: confirm or cancel it"
    assert ran.out[-1] == "Your current account balance is: 85"


def test_a_hold_is_confirmed_in_parts_and_raised_in_between(run: Run, bank: LedgerBank) -> None:
    bank.raise_level()
    ran = run(typed="hold 20\nconfirm 5 more\nraise 10\nconfirm 6 MORE\nholds\nconfirm\nquery\n")
    held = reference(ran.results[1])
    assert ran.results[2] == (
        f"Successfully confirmed and paid out 5 of the hold {held}, the rest of which stays held"
    )
    assert ran.results[4] == f"Successfully raised the hold {held} by 10"
    assert ran.results[10].split()[-3:] == ["30.00", "11.00", held]
    assert ran.results[11] == f"Successfully confirmed and paid out the hold {held}"
    assert ran.results[-1] == "Your current account balance is: 70"
    other = run("-c", f"raise {held} 5").out
    assert other == [f"The hold {held} was confirmed already: nothing was changed"]
    assert run("-c", "confirm x more").code == 2
    assert run("-c", "raise nothing 5").out == [
        "No hold on main has this reference: check it (to list them, type: holds)"
    ]


def test_parts_are_refunded_up_to_the_whole(run: Run, bank: LedgerBank) -> None:
    bank.raise_level()
    run("-c", "debit 30", "--id", "d1")
    assert run("-c", "refund d1 10", "-c", "reverse d1 15", "-c", "query").out[-1].endswith(": 95")
    receipt = run("-c", "receipt d1").out
    assert [line.split()[-1] for line in receipt if line.startswith("taken back")] == ["25"]
    ran = run("-c", "reverse d1 6")
    assert ran.out[0].startswith("More than was moved under d1, or is left of it")
    assert run("-c", "reverse d1", "-c", "query").out[-1].endswith(": 100")
    assert run("-c", "reverse d1").out == ["d1 was reversed already: nothing was changed"]


def test_a_hold_of_another_session_is_confirmed_by_its_reference(run: Run) -> None:
    held = reference(run("-c", "hold 20").out[1])
    more = run("-c", f"confirm {held} 20.01")
    assert more.out == [f"More than is left of the hold {held}: confirm that much, or less"]
    assert run("-c", f"confirm {held} 5").code == 0
    assert run("-c", f"cancel {held}").out == [f"The hold {held} was confirmed already: nothing was changed"]


def test_a_cancelled_hold_is_free_again(run: Run) -> None:
    ran = run("-c", "hold 20", "-c", "cancel", "-c", "query", "-c", "cancel")
    held = reference(ran.out[1])
    assert ran.out[2] == f"Successfully cancelled the hold {held}"
    assert ran.out[4:] == [
        "Your current account balance is: 100",
        f"The hold {held} was cancelled already: nothing was changed",
    ]


def test_an_expired_hold_cannot_be_cancelled_but_is_confirmed_and_listed(run: Run, bank: LedgerBank) -> None:
    held = reference(run("-c", "hold 20 1").out[1])
    bank.end_holds(after_s=61)
    assert run("-c", f"cancel {held}").out == [f"The hold {held} has expired: nothing is held any more"]
    confirmed = run("-c", f"confirm {held}").out
    assert run("--operator", "-c", "exceptions").out[2].split() == [
        "2026-11-22", "10:01:07", "late:", "main", "-20.00", "80.00",
        reference(confirmed[1]),
    ]  # fmt: skip


def test_a_hold_is_reversed_like_anything_else_and_the_teller_says_why_not(run: Run) -> None:
    ran = run("-c", "hold 20", "-c", "hold 5")
    first, second = reference(ran.out[1]), reference(ran.out[3])
    part = run("-c", f"reverse {first} 5")
    assert part.out == [
        f"More than was moved under {first}, or is left of it: reverse that much, or less "
        "(a batch or a hold only as a whole)"
    ]
    ran = run("-c", f"reverse {first}", "-c", "query")
    assert ran.out[0] == f"Successfully reversed {first}"
    assert ran.out[2:] == ["Your current account balance is: 100", "Available: 95 (5 held)"]
    assert run("-c", f"cancel {first}").out == [
        f"The hold {first} was cancelled already: nothing was changed"
    ]
    run("-c", f"confirm {second}")
    ran = run("-c", f"reverse {second}")
    assert ran.out == [
        f"The hold {second} was confirmed already: reverse the confirmation, by its own reference"
    ]
    assert ran.code == 1


def test_what_was_done_is_reversed_once_in_full_or_in_part(run: Run, bank: LedgerBank) -> None:
    ran = run("-c", "transfer bob 30", "-c", "transfer bob 8")
    first, second = reference(ran.out[1]), reference(ran.out[3])
    ran = run("-c", f"reverse {first}", "-c", f"reverse {second} 3.50", "-c", f"reverse {first}")
    assert ran.out[0] == f"Successfully reversed {first}"
    assert ran.out[2] == f"Successfully reversed 3.50 of {second}"
    assert ran.out[4] == f"{first} was reversed already: nothing was changed"
    assert balance_of(bank.ledger, "bob") == 4_50


def test_a_mistyped_reversal_leaves_nothing_behind(run: Run, bank: LedgerBank) -> None:
    """Trial 33: what was typed once could never be a request's reference again."""
    assert run("-c", "reverse typo").code == 1
    assert run(typed="reverse typo\n").code == 1
    assert run("-c", "receipt typo").out == ["Nothing is known under typo: check the reference"]
    assert "reverse" not in {request["op"] for request in bank.requests}


def test_a_session_asks_before_it_leaves_a_tombstone(cluster: FakeCluster, bank: LedgerBank) -> None:
    terminal = Terminal(cluster, environment={"COLUMNS": "200"})
    for answer, said in (
        ("no", "Nothing is known under late, and nothing was done: check the reference\r\n"),
        ("yes", "Nothing was moved under late, and nothing will be: check the reference\r\n"),
    ):
        terminal.wait_for("Enter command: ")
        terminal.type("reverse late\r")
        terminal.wait_for("Nothing is known under late: is it mistyped?")
        terminal.wait_for("type yes: ")
        assert "reverse" not in {request["op"] for request in bank.requests}
        terminal.type(f"{answer}\r")
        terminal.wait_for(said.rstrip())
    terminal.wait_for("Enter command: ")
    terminal.type("quit\r")
    assert terminal.end() == 0
    assert [request["op"] for request in bank.requests].count("reverse") == 1


def test_a_request_that_has_not_arrived_is_declined_for_ever_if_that_is_asked_for(
    run: Run, bank: LedgerBank
) -> None:
    ran = run("--tombstone", "-c", "reverse late")
    assert ran.out == ["Nothing was moved under late, and nothing will be: check the reference"]
    assert run("-c", "credit 5", "--id", "late").out == [
        "late was reversed before it reached the bank: it is not done, and never will be"
    ]


def test_a_reference_that_belongs_to_another_request_is_named(run: Run) -> None:
    """Trial 32: two references are in play here."""
    run("-c", "hold 20", "--id", "held")
    run("-c", "credit 5", "--id", "paid")
    assert run("-c", "confirm held", "--id", "paid").out == [
        "The reference paid belongs to another request: nothing was changed"
    ]


def test_a_receipt_that_nobody_named_is_named_in_its_refusal(
    run: Run, cluster: FakeCluster, bank: LedgerBank, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Trial 32: `receipt` after a credit that was not available."""

    def recover(line: str) -> None:
        for node in cluster.nodes.values():
            node.always = None

    monkeypatch.setattr("atm.teller.session.parse", OnLine({"receipt"}, recover))
    for node in cluster.nodes.values():
        node.always = node.fault("unavailable")
    ran = run("--json", typed="credit 5\nreceipt\n")
    credit, receipt = map(json.loads, ran.out)
    assert receipt["message"] == f"Nothing is known under {credit['request_id']}: check the reference"


def test_a_receipt_can_be_shown_again(run: Run) -> None:
    ran = run("-c", "transfer bob 30", "-c", "receipt")
    moved = reference(ran.out[1])
    assert [line.split(maxsplit=1) for line in ran.out[2:-2]] == [
        ["reference", moved],
        ["what", "transfer"],
        ["account", "main"],
        ["to", "bob"],
        ["amount", "30"],
        ["outcome", "ok"],
        ["balance", "70"],
        ["available", "70"],
    ]
    assert ran.out[-2:] == ["log entry   3", "time (UTC)  2026-11-22 10:00:03"]
    reversal = reference(run("-c", f"reverse {moved}").out[1])
    assert run("-c", f"receipt {moved}").out[-2:] == [f"reversed by  {reversal}", "taken back   30"]
    assert ["original", moved] in [line.split() for line in run("-c", f"receipt {reversal}").out]


def test_the_last_receipt_on_main_shows_the_reference_that_was_not_printed(
    run: Run, bank: LedgerBank
) -> None:
    ran = run(typed="debit 5\nreceipt\ndebit 1000\nreceipt\n")
    (debit, declined) = [request for request in bank.requests if request["op"] == "debit"]
    assert ran.results[1].split() == ["reference", debit["id"]]
    assert f"reference   {declined['id']}" in ran.results
    assert "outcome     insufficient funds" in ran.results


def test_a_receipt_in_json_tells_what_was_asked_and_decided(run: Run) -> None:
    transfer, receipt = map(json.loads, run("--json", "-c", "transfer bob 30", "-c", "receipt").out)
    assert (transfer["account"], transfer["target"], transfer["amount"]) == ("main", "bob", 30_00)
    assert receipt["asked"] == {"op": "transfer", "account": "main", "amount": 30_00, "target": "bob"}
    assert (receipt["decision"], receipt["balance"], receipt["message"]) == ("ok", 70_00, "")
    assert receipt["request_id"] == transfer["request_id"]
    assert receipt["log_index"] == transfer["log_index"]


def test_another_accounts_receipt_shows_no_balance(run: Run) -> None:
    moved = reference(run("-c", "transfer bob 30").out[1])
    ran = run("--account", "bob", "-c", f"receipt {moved}")
    assert not [line for line in ran.out if line.startswith(("balance", "available"))]
    (report,) = map(json.loads, run("--account", "bob", "--json", "-c", f"receipt {moved}").out)
    assert report["balance"] is None


def test_operators_freeze_unfreeze_limit_write_off_and_close(run: Run) -> None:
    ran = run(
        "--operator",
        *("-c", "freeze bob", "-c", "unfreeze bob", "-c", "limit bob 50", "-c", "limit bob none"),
        *("-c", "writeoff bob 7", "-c", "close bob"),
    )
    assert ran.out[:5] == [
        "Successfully froze bob",
        "Successfully unfroze bob",
        "Successfully limited withdrawals from bob to 50 a day",
        "Successfully took the daily limit off bob",
        "Successfully wrote off 7 to bob",
    ]
    reference(ran.out[5])
    assert ran.out[6] == "bob is not empty: pay out its balance and end its holds first"
    assert run("--account", "bob", "-c", "debit 7").code == 0
    assert run("--operator", "-c", "close bob").out == ["Successfully closed bob for ever"]
    assert run("-c", "open bob").out == ["bob is closed for ever: use another account"]


@pytest.mark.parametrize(
    "command", ["freeze bob", "unfreeze x", "unlock", "limit", "writeoff a 5", "close bob", "exceptions"]
)
def test_operators_commands_are_for_operators(run: Run, cluster: FakeCluster, command: str) -> None:
    asked = cluster.requests()
    ran = run("-c", command)
    word = command.split(maxsplit=1)[0]
    assert ran.out == [f"{word} is a command of the bank's operators: start the teller with --operator"]
    assert ran.code == 4
    assert cluster.requests() == asked


def test_a_frozen_account_is_told_with_its_balance_and_declines(run: Run) -> None:
    run("--operator", "-c", "freeze main")
    frozen = "main is frozen: nothing goes in or out until an operator unfreezes it"
    assert run("-c", "query").out == ["Your current account balance is: 100", frozen]
    ran = run("-c", "debit 5")
    assert (ran.out, ran.code) == ([frozen], 1)
    assert run("-c", "transfer bob 5").out == [frozen.replace("main", "main or bob", 1)]


def test_beyond_the_daily_limit_the_teller_says_when_it_ends(run: Run) -> None:
    run("--operator", "-c", "limit main 50")
    line = "Daily withdrawal limit exceeded: try a smaller amount, or wait until tomorrow (UTC)"
    assert run("-c", "debit 50.01").out == [line]
    assert run("-c", "hold 50", "-c", "debit 0.01").out[2:] == [line]


def test_every_change_is_stored_before_it_is_sent(
    run: Run, cluster: FakeCluster, bank: LedgerBank, state_folder: Path
) -> None:
    stored: dict[str, bool] = {}

    def look(request: dict[str, str]) -> bytes:
        stored[request["op"]] = (state_folder / f"{request['id']}.json").exists()
        return cluster["5000"].answer(request)

    cluster["5000"].always = look
    run(
        "5000",
        "--operator",
        "--tombstone",
        typed="transfer bob 5\nhold 5\nconfirm 4\ncancel\nreverse x\nwriteoff bob 1\n",
    )
    assert stored == {
        "query": False,
        "transfer": True,
        "hold": True,
        "post": True,
        "void": True,
        "reverse": True,
        "write_off": True,
    }
    assert list(state_folder.glob("*.json")) == []
