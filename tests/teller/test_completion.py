"""What the Tab key offers."""

from __future__ import annotations

import pytest

from atm.client import Client, Receipt
from atm.ledger.commands import (
    Approvals,
    Approve,
    Credit,
    Hold,
    Outcome,
    Post,
    Reverse,
    WaitingRequest,
)
from atm.teller.commands import COMMANDS
from atm.teller.completion import accounts_in, candidates, takes_account, takes_arguments
from atm.teller.identity import Identity
from atm.teller.output import Output
from atm.teller.report import DECLINED, DONE, Report
from atm.teller.session import Teller
from atm.teller.session_state import SessionState
from tests.support.fake_cluster import FakeCluster
from tests.teller.ledger_bank import LedgerBank


def offered(*typed: str, operator: bool = False) -> list[str]:
    return candidates(
        typed,
        accounts={"main", "bob"},
        references_for=lambda name: ["first", f"last for {name}"],
        operator=operator,
    )


def test_the_first_word_is_one_of_the_commands_that_this_person_has() -> None:
    assert {"query", "transfer", "exit"} <= set(offered())
    assert "freeze" not in offered()
    assert set(offered(operator=True)) == {*COMMANDS, "exit", "?", "deposit", "withdraw", "refund"}


@pytest.mark.parametrize("command", ["transfer", "account", "open", "login", "freeze", "limit", "writeoff"])
def test_accounts_are_offered_where_one_is_asked_for(command: str) -> None:
    assert offered(command) == ["bob", "main"]


@pytest.mark.parametrize("command", ["raise", "cancel", "reverse", "receipt"])
def test_references_are_offered_the_latest_first(command: str) -> None:
    assert offered(command) == [f"last for {command}", "first"]
    assert offered("confirm", "last") == offered("confirm", "last", "5") == ["more"]


def test_only_what_can_be_confirmed_cancelled_or_reversed_is_offered_for_it(
    cluster: FakeCluster, bank: LedgerBank, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Trial 34."""
    monkeypatch.setattr("atm.teller.session_state.time.time", lambda: bank.time_us / 1_000_000)
    with Client(cluster.config) as client:
        teller = Teller(
            client,
            None,
            Identity("main", 120),
            Output(as_json=False, notes=None),
            lambda _: None,
            operator=True,
        )

        def after(*lines: str) -> tuple[int, list[str]]:
            """Return how many references there are, and those for `confirm`, `cancel` and `reverse`."""
            for line in lines:
                teller.execute(line)
            offered = [teller.state.references_for(command) for command in ("confirm", "cancel", "reverse")]
            places = {reference: str(place) for place, reference in enumerate(teller.state.references)}
            return len(places), [
                " ".join(places.get(each, each) for each in each_for) for each_for in offered
            ]

        assert after("credit 50", "debit 99", "open bob", "transfer bob 5") == (4, ["", "", "0 3"])
        assert after("hold 7", "hold 8") == (6, ["4 5", "4 5", "0 3 4 5"])
        moved, first, last = (teller.state.references[place] for place in (3, 4, 5))
        assert after("confirm 6") == (7, ["4", "4", "0 3 4 6"]), "what was paid out can be reversed"
        assert after("cancel", f"confirm {last}")[1] == ["4", "4", "0 3 4 6"], "it was confirmed already"
        assert after(f"reverse {moved}", f"reverse {moved}")[1] == ["4", "4", "0 4 6"]
        assert after(f"cancel {first}")[1] == ["", "", "0 6"]
        client.hold("main", 1_00, request_id="elsewhere")
        assert after("holds")[1] == ["elsewhere", "elsewhere", "0 6 elsewhere"]
        teller.state.forget_requests()
        assert after() == (0, ["", "", ""])


def test_a_hold_that_has_ended_can_only_be_confirmed(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1_000.0
    monkeypatch.setattr("atm.teller.session_state.time.time", lambda: now)
    state = SessionState("main")
    state.note_decision(Hold(id="h", account="main", amount=5, expires_ms=60_000), Outcome.OK)
    assert [state.references_for(command) for command in ("cancel", "reverse")] == [["h"], ["h"]]
    now += 60
    assert [state.references_for(command) for command in ("cancel", "reverse")] == [[], []]
    assert state.references_for("confirm") == ["h"]


def test_what_is_not_whole_yet_is_offered_again() -> None:
    state = SessionState("main")
    state.note_decision(Credit(id="c", account="main", amount=5), Outcome.OK)
    state.note_decision(Hold(id="h", account="main", amount=5, expires_ms=60_000), Outcome.OK)
    state.note_decision(Reverse(id="r", original="c", amount=2), Outcome.OK)
    state.note_decision(Post(id="p", hold="h", amount=2, final=False), Outcome.OK)
    assert state.references_for("reverse") == ["c", "h", "p"]
    assert state.references_for("raise") == state.references_for("confirm") == ["h"]
    state.note_decision(Reverse(id="s", original="c"), Outcome.OK)
    state.note_decision(Post(id="q", hold="h"), Outcome.OK)
    assert state.references_for("reverse") == ["p", "q"]
    assert state.references_for("raise") == state.references_for("confirm") == []


def test_requests_that_were_listed_are_offered_for_an_approval_until_that_is_done() -> None:
    waiting = WaitingRequest(
        log_index=3,
        time_us=0,
        actor="otto",
        roles="operator",
        op="write_off",
        target="main",
        stake=5,
        request_id="asked",
    )
    state = SessionState("main")
    for _ in range(2):
        state.note_page(
            Approvals(id="a", limit=10), Receipt(id="a", outcome=Outcome.OK, approvals=(waiting,))
        )
    assert state.references_for("approve") == ["asked"]
    state.note_decision(Approve(id="b", request="asked"), Outcome.NOT_ALLOWED)
    assert state.references_for("approve") == ["asked"]
    state.note_decision(Approve(id="b", request="asked"), Outcome.OK)
    assert state.references_for("approve") == []


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
