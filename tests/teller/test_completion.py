"""What the Tab key offers."""

from __future__ import annotations

import pytest

from atm.teller.commands import COMMANDS
from atm.teller.completion import accounts_in, candidates, takes_account, takes_arguments
from atm.teller.report import DECLINED, DONE, Report
from atm.teller.session_state import SessionState


def offered(*typed: str, operator: bool = False) -> list[str]:
    return candidates(typed, accounts={"main", "bob"}, references=["first", "last"], operator=operator)


def test_the_first_word_is_one_of_the_commands_that_this_person_has() -> None:
    assert {"query", "transfer", "exit"} <= set(offered())
    assert "freeze" not in offered()
    assert set(offered(operator=True)) == {*COMMANDS, "exit", "?", "deposit", "withdraw"}


@pytest.mark.parametrize("command", ["transfer", "account", "open", "login", "freeze", "limit", "writeoff"])
def test_accounts_are_offered_where_one_is_asked_for(command: str) -> None:
    assert offered(command) == ["bob", "main"]


@pytest.mark.parametrize("command", ["confirm", "cancel", "reverse", "receipt"])
def test_references_are_offered_the_latest_first(command: str) -> None:
    assert offered(command) == ["last", "first"]


def test_help_offers_commands_and_balance_its_next_word() -> None:
    assert "hold" in offered("help")
    assert offered("balance") == ["at"]


def test_nothing_is_offered_for_amounts_or_what_is_no_command() -> None:
    assert offered("credit") == offered("hold") == offered("pay") == []
    assert offered("transfer", "bob") == offered("debit") == ["all"]


def test_the_words_know_which_of_them_take_an_account() -> None:
    assert {word for word in COMMANDS if takes_account(word)} == {
        *(
            "transfer",
            "open",
            "account",
            "login",
            "freeze",
            "unfreeze",
            "unlock",
            "resetpin",
            "limit",
            "ceiling",
            "writeoff",
        ),
        "close",
    }
    assert takes_arguments("credit")
    assert not takes_arguments("query")
    assert not takes_arguments("exit")


def test_names_are_learned_from_earlier_sessions_and_from_what_the_bank_has_done() -> None:
    assert accounts_in(["transfer bob 5", "credit 5", "open ann", "account", "login", ""]) == {"bob", "ann"}
    state = SessionState("main")
    state.learn(
        Report(command="transfer", outcome="ok", code=DONE, text="", account="ann", details={"target": "bob"})
    )
    state.learn(Report(command="account", outcome="no_such_account", code=DECLINED, text="", account="bbo"))
    assert state.accounts == {"main", "ann", "bob"}
