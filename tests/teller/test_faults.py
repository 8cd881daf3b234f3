"""The teller when the bank does not answer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from atm.client import Client, Interrupted
from atm.ledger.commands import Command, Credit, Query
from atm.teller.identity import Identity
from atm.teller.output import Output
from atm.teller.session import Teller
from tests.support.fake_cluster import FakeCluster
from tests.support.running import NOT_AVAILABLE, OnLine, Run


def test_the_session_goes_on_when_no_majority_answers(run: Run, cluster: FakeCluster) -> None:
    for node in cluster.nodes.values():
        node.stop()
    ran = run(typed="credit 5\nquery\nhelp quit\nopen bob\n")
    assert ran.out[1] == NOT_AVAILABLE
    assert ran.results == [
        NOT_AVAILABLE,
        NOT_AVAILABLE,
        "quit: leaves; so do exit and the end of input",
        NOT_AVAILABLE,
    ]
    assert ran.code == 3


def test_a_request_that_is_certainly_not_done_leaves_the_journal(
    run: Run, cluster: FakeCluster, state_folder: Path
) -> None:
    for node in cluster.nodes.values():
        node.always = node.fault("unavailable")
    assert run("-c", "credit 5").code == 3
    assert list(state_folder.glob("*.json")) == []


def test_a_lost_answer_is_fetched_with_the_same_id_and_told(run: Run, cluster: FakeCluster) -> None:
    cluster["5000"].script.extend([cluster["5000"].answer, cluster["5000"].apply_and_close])
    ran = run("5000", typed="credit 5\nquery\n")
    request_id = cluster["5000"].requests[1]["id"]
    assert ran.results == [
        f"Outcome unknown, reference {request_id}: retrying",
        "Successfully credited 5 to your account",
        "Your current account balance is: 5",
    ]


def test_an_outcome_that_stays_unknown_is_settled_at_the_next_command(
    run: Run, cluster: FakeCluster, state_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def recover(line: str) -> None:
        for node in cluster.nodes.values():
            node.always = None

    bank_comes_back = OnLine({"query"}, recover)
    monkeypatch.setattr("atm.teller.session.parse", bank_comes_back)
    cluster["5000"].script.append(cluster["5000"].answer)  # the greeting's query
    for node in cluster.nodes.values():
        node.always = node.apply_and_close
    ran = run("5000", typed="credit 5\nquery\n")
    (request_id,) = cluster.bank.receipts
    assert ran.results == [
        f"Outcome unknown, reference {request_id}: retrying",
        f"Outcome unknown, reference {request_id}: do not repeat the request; "
        "the teller asks again before the next command, or when it starts again",
        f"Settled: credited 5 to main (reference {request_id})",
        "Your current account balance is: 5",
    ]
    assert list(state_folder.glob("*.json")) == []


def test_while_an_outcome_is_unknown_nothing_else_is_sent(
    run: Run, cluster: FakeCluster, state_folder: Path
) -> None:
    cluster["5000"].script.append(cluster["5000"].answer)  # the greeting's query
    for node in cluster.nodes.values():
        node.always = node.close
    ran = run("5000", typed="debit 5\ndebit 6\n")
    assert ran.results[-1] == NOT_AVAILABLE
    assert {r.get("amount") for node in cluster.nodes.values() for r in node.requests} <= {None, 5_00}
    assert "failed" not in "".join(ran.out)
    assert len(list(state_folder.glob("*.json"))) == 1


@pytest.mark.parametrize("may_be_done", [True, False])
def test_ctrl_c_during_a_request_says_what_is_known(
    run: Run, state_folder: Path, monkeypatch: pytest.MonkeyPatch, may_be_done: bool
) -> None:
    original = Client.ask

    def ask(client: Client, request: Command | Query) -> Any:
        if isinstance(request, Credit):
            raise Interrupted(request.id, may_be_done=may_be_done)
        return original(client, request)

    monkeypatch.setattr(Client, "ask", ask)
    ran = run(typed="credit 5\nquery\n")
    (line,) = ran.results
    if may_be_done:
        assert line.startswith("Outcome unknown, reference ")
    else:
        assert line == "Interrupted: this command was not carried out"
    assert ran.code == (5 if may_be_done else 130)
    assert len(list(state_folder.glob("*.json"))) == may_be_done


def test_after_ctrl_c_a_bank_that_is_not_available_is_called_so(
    cluster: FakeCluster, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    original = Client.ask

    def ask(client: Client, request: Command | Query) -> Any:
        if isinstance(request, Credit):
            monkeypatch.setattr(Client, "ask", original)
            raise Interrupted(request.id, may_be_done=True)
        return original(client, request)

    monkeypatch.setattr(Client, "ask", ask)
    for node in cluster.nodes.values():
        node.always = node.fault("unavailable")
    with Client(cluster.config, timeout=0.1) as client:
        output = Output(as_json=False, notes=None)
        identity = Identity("main", 120)
        teller = Teller(client, None, identity, output, lambda _: None, operator=False)
        assert teller.serve(["credit 5", "query"], interactive=True) == 0
    assert capsys.readouterr().out.splitlines()[-1] == NOT_AVAILABLE
