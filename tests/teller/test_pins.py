"""PINs at the teller: asked for and never shown, logins, idle sessions, locks."""

from __future__ import annotations

import json

import pytest

from atm.teller.identity import Identity
from tests.support.running import Run
from tests.teller.ledger_bank import LedgerBank

LOG_IN_FIRST = "main has a PIN: log in first (type: login)"
LOCKED = "main is locked after three wrong PINs: an operator of the bank can unlock it"
WRONG = "Wrong PIN: after three in a row the account is locked"
SHOWN = "A PIN is never part of a command: it is asked for, unseen (type: help login)"
PIN = "493817"


@pytest.fixture(autouse=True)
def with_a_pin(bank: LedgerBank, run: Run) -> None:
    """`main` has 100 and a PIN, and `bob` neither."""
    ran = run("-c", "credit 100", "-c", "open bob", "-c", "pin", typed=f"{PIN}\n{PIN}\n")
    assert ran.out[-1] == "Successfully set the PIN of main; you are logged in with it"
    assert (ran.code, ran.err) == (0, [])


@pytest.mark.parametrize(
    "command",
    [
        "query", "debit 5", "transfer bob 5", "hold 5", "statement", "balance at 2026-11-22", "receipt x",
    ],
)  # fmt: skip
def test_an_account_with_a_pin_is_for_who_logs_in(run: Run, bank: LedgerBank, command: str) -> None:
    ran = run("-c", command)
    assert (ran.out, ran.code) == ([LOG_IN_FIRST], 4)
    (report,) = map(json.loads, run("--json", "-c", command).out)
    assert (report["outcome"], report["balance"], report["available"]) == ("login_needed", None, None)
    ran = run("-c", "login", "-c", command, typed=f"{PIN}\n")
    assert ran.out[0] == "Your account is main, and its balance is: 100"
    assert ran.code == (1 if command == "receipt x" else 0)


def test_the_greeting_does_not_tell_strangers_the_balance(run: Run) -> None:
    assert run().out[1] == LOG_IN_FIRST
    ran = run("--account", "bob", typed="account main\n")
    assert ran.results == [f"Your account is now main. {LOG_IN_FIRST}"]
    (report,) = map(json.loads, run("--json", "-c", "account main").out)
    assert (report["outcome"], report["balance"]) == ("ok", None)


@pytest.mark.parametrize("account", ["cash", "writeoff"])
def test_the_banks_own_accounts_are_for_operators(run: Run, account: str) -> None:
    for command in ("query", "statement", "balance at 2026-11-22"):
        ran = run("--account", account, "-c", command)
        assert ran.out == [
            f"{account} is the bank's own account: to look into it, start the teller with --operator"
        ]
        assert ran.code == 4
        assert run("--operator", "--account", account, "-c", command).code == 0


def test_anybody_may_pay_in(run: Run) -> None:
    assert run("-c", "credit 5").out == ["Successfully credited 5 to your account"]


def test_operators_look_without_a_pin_but_pay_nothing_out(run: Run) -> None:
    ran = run("--operator", "-c", "query", "-c", "statement", "-c", "debit 5")
    assert ran.out[0] == "Your current account balance is: 100"
    assert (ran.out[-1], ran.code) == (LOG_IN_FIRST, 4)


def test_a_login_to_another_account_goes_on_with_it(run: Run) -> None:
    ran = run("--account", "bob", typed=f"login main\n{PIN}\ndebit 5\n")
    assert ran.results == [
        "Your account is main, and its balance is: 100",
        "Successfully debited 5 from your account",
    ]


def test_a_login_without_a_pin_says_how_to_get_one(run: Run) -> None:
    assert run("-c", "login bob").out == [
        "Your account is bob, and its balance is: 0 (it has no PIN; to set one, type: pin)"
    ]


def test_logout_and_another_account_forget_the_pin(run: Run) -> None:
    for leave, said in (
        ("logout", "Logged out"),
        ("account bob", "Your account is now bob, and its balance is: 0"),
    ):
        ran = run(typed=f"login\n{PIN}\n{leave}\naccount main\nquery\nreceipt\n")
        assert ran.results[1] == said
        assert ran.results[3] == LOG_IN_FIRST
        assert ran.results[4] == "There is no receipt yet: name one (receipt <reference>)"
    assert run("-c", "logout").out == ["You are not logged in"]


def test_three_wrong_pins_lock_until_an_operator_unlocks(run: Run) -> None:
    for line in (WRONG, WRONG, f"Wrong PIN: {LOCKED}"):
        ran = run("-c", "login", typed="0000\n")
        assert (ran.out, ran.code) == ([line], 4)
    for command in ("login", "pin", "query", "debit 5"):
        ran = run("-c", command, typed=f"{PIN}\n")
        assert (ran.out, ran.code) == ([LOCKED], 4)
    assert run("--operator", "-c", "unlock main").out == ["Successfully unlocked main"]
    assert run("-c", "login", typed=f"{PIN}\n").code == 0


def test_how_many_tries_remain_and_until_when_it_is_locked_is_told(run: Run, bank: LedgerBank) -> None:
    """Trial 27; from feature level 2 on."""
    bank.raise_level()
    for line in ("Wrong PIN: 2 more lock the account", "Wrong PIN: one more locks the account"):
        assert run("-c", "login", typed="0000\n").out == [line]
    ran = run("-c", "login", typed="0000\n")
    until = "main is locked after wrong PINs until 2026-11-22 10:01:07 UTC"
    assert (ran.out, ran.code) == ([f"Wrong PIN: {until}: an operator of the bank can unlock it"], 4)
    for command in ("login", "pin", "query"):
        ran = run("-c", command, typed=f"{PIN}\n")
        assert (ran.out, ran.code) == ([f"{until}: an operator of the bank can unlock it"], 4)
    bank.time_us += 120_000_000
    assert run("-c", "pin", typed="0000\n1111\n1111\n").out[0].startswith("Wrong PIN: main is locked after")
    bank.time_us += 120_000_000
    ran = run("-c", "login", typed=f"{PIN}\n")
    assert ran.out == [
        "Your account is main, and its balance is: 100",
        "4 wrong PINs were typed since the last login: if it was not you, tell the bank",
    ]
    assert run("-c", "login", typed=f"{PIN}\n").out == ["Your account is main, and its balance is: 100"]


def test_an_operator_unlocks_three_times_a_day_and_resets_a_forgotten_pin(run: Run, bank: LedgerBank) -> None:
    """Trial 7."""
    bank.raise_level()
    for _ in range(2):
        run("-c", "login", typed="0000\n")
    for _ in range(3):
        run("-c", "login", typed="0000\n")
        assert run("--operator", "-c", "unlock main").out == ["Successfully unlocked main"]
    run("-c", "login", typed="0000\n")
    ran = run("--operator", "-c", "unlock main")
    assert ran.out == [
        "main was unlocked three times today: wait for the end of the lock, or if the PIN is forgotten, "
        "type: resetpin main"
    ]
    assert ran.code == 1
    ran = run("-c", "resetpin main")
    assert ran.out == ["resetpin is a command of the bank's operators: start the teller with --operator"]
    assert run("--operator", "-c", "resetpin main").out == ["Successfully removed the PIN of main"]
    assert run("-c", "pin", typed="1111\n1111\n").code == 0
    assert run("-c", "login", typed="1111\n").code == 0


def test_a_pin_is_changed_only_with_the_old_one(run: Run) -> None:
    ran = run("-c", "pin", typed="0000\n1111\n1111\n")
    assert (ran.out, ran.code) == ([WRONG], 4)
    assert run("-c", "pin", "-c", "debit 5", typed=f"{PIN}\n1111\n1111\n").code == 0
    assert run("-c", "login", typed="1111\n").code == 0


@pytest.mark.parametrize(
    ("typed", "line"),
    [
        (f"{PIN}\n1111\n2222\n", "The two new PINs differ: nothing was changed"),
        (f"{PIN}\n111\n", "A PIN is 4 to 12 digits: nothing was changed"),
        (f"{PIN}\n12a4\n", "A PIN is 4 to 12 digits: nothing was changed"),
        ("12a4\n", "A PIN is 4 to 12 digits: nothing was changed"),
        (f"{PIN}\n٣٣٣٣\n", "A PIN is 4 to 12 digits: nothing was changed"),
        (f"{PIN}\n", "No PIN was given: nothing was changed"),
        ("", "No PIN was given: nothing was changed"),
    ],
)
def test_a_new_pin_that_is_none_changes_nothing(run: Run, bank: LedgerBank, typed: str, line: str) -> None:
    ran = run("-c", "pin", typed=typed)
    assert (ran.out, ran.code) == ([line], 2)
    assert [request["op"] for request in bank.requests].count("set_pin") == 1


def test_a_pin_that_was_changed_elsewhere_is_not_tried_again(run: Run, bank: LedgerBank) -> None:
    change = {"op": "set_pin", "id": "s", "account": "main", "pin": "1111", "old_pin": PIN}
    bank.before["statement"] = lambda: bank.decide(change)
    ran = run(typed=f"login\n{PIN}\nstatement\ndebit 5\ndebit 5\n")
    assert ran.results[-2:] == [
        "Your PIN has changed: nothing was done, and you are logged out (to go on, type: login)",
        LOG_IN_FIRST,
    ]
    assert [request.get("pin") for request in bank.requests if request["op"] == "debit"] == [PIN, None]


def test_an_idle_person_is_logged_out() -> None:
    now = [1000.0]
    identity = Identity("main", 120.0, lambda: now[0])
    identity.use("main", PIN)
    now[0] += 119
    assert identity.log_out_if_idle() is None
    identity.note_use()
    now[0] += 119
    assert identity.log_out_if_idle() is None
    assert identity.pin_of("main") == PIN
    assert identity.pin_of("bob") is None
    now[0] += 1
    assert identity.log_out_if_idle() == "Logged out: no command for 120 seconds (to go on, type: login)"
    assert (identity.logged_in, identity.pin_of("main")) == (False, None)
    assert identity.log_out_if_idle() is None


def test_after_an_idle_time_the_next_command_needs_a_login(run: Run, bank: LedgerBank) -> None:
    run("-c", "login", "-c", "hold 5", typed=f"{PIN}\n")
    ran = run("--idle", "1e-9", typed=f"login\n{PIN}\nquery\nconfirm\n")
    assert ran.results[1:] == [
        "Logged out: no command for 1e-09 seconds (to go on, type: login)",
        LOG_IN_FIRST,
        "No hold in this session: name one (confirm <reference>)",
    ]


def pause_before_commands(monkeypatch: pytest.MonkeyPatch, *pauses_s: float) -> None:
    """Let these times pass at the teller, one before each command."""
    now_s, pauses = [1000.0], iter(pauses_s)

    class Slow(Identity):
        def __init__(self, account: str, idle_s: float) -> None:
            super().__init__(account, idle_s, lambda: now_s[0])

        def log_out_if_idle(self) -> str | None:
            now_s[0] += next(pauses)
            return super().log_out_if_idle()

    monkeypatch.setattr("atm.teller.main.Identity", Slow)


def test_each_command_restarts_the_idle_time(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    pause_before_commands(monkeypatch, 0, 119, 119)
    ran = run(typed=f"login\n{PIN}\nquery\nquery\n")
    assert ran.results[1:] == ["Your current account balance is: 100"] * 2


def test_an_idle_session_forgets_the_hold_of_its_person(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    pause_before_commands(monkeypatch, 0, 0, 120)
    ran = run(typed=f"login\n{PIN}\nhold 5\nconfirm\n")
    assert ran.results[-2:] == [
        "Logged out: no command for 120 seconds (to go on, type: login)",
        "No hold in this session: name one (confirm <reference>)",
    ]


@pytest.mark.parametrize("leave", ["logout", "account bob"])
def test_the_next_person_is_not_shown_the_last_receipt(run: Run, leave: str) -> None:
    ran = run(typed=f"login\n{PIN}\ndebit 5\n{leave}\naccount bob\nreceipt\n")
    assert ran.results[-1] == "There is no receipt yet: name one (receipt <reference>)"


def test_after_a_wrong_pin_the_session_is_logged_out(run: Run) -> None:
    ran = run(typed=f"login\n{PIN}\nlogin\n0000\nquery\n")
    assert ran.results[1:] == [WRONG, LOG_IN_FIRST]
