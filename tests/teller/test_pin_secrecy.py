"""No PIN is ever shown or kept; and what becomes of a request whose answer, and PIN, are lost."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from atm.config import load
from atm.ledger.commands import Debit
from atm.teller.language import shows_pin
from atm.teller.request_journal import RequestJournal
from tests.support.entries import balance_of
from tests.support.fake_cluster import FakeCluster
from tests.support.fake_node import FakeNode, Step
from tests.support.running import OnLine, Run
from tests.teller.ledger_bank import LedgerBank

SHOWN = "A PIN is never part of a command: the teller asks for it (type: help login)"
PIN = "493817"


@pytest.fixture(autouse=True)
def with_a_pin(bank: LedgerBank, run: Run) -> None:
    """`main` has 100 and a PIN, and `bob` neither."""
    ran = run("-c", "credit 100", "-c", "open bob", "-c", "pin", typed=f"{PIN}\n{PIN}\n")
    assert ran.out[-1] == "Successfully set the PIN of main; you are logged in with it"
    assert (ran.code, ran.err) == (0, [])


@pytest.mark.parametrize(
    "line", ["login 1234", "login main 123456", "pin 1234", "pin 1234 5678", "debit 5 1234", "PIN 1234",
             "transfer bob 5 1234", "hold 5 5 1234", "123456789012", " login \t1234 ", "login\n1234"],
)  # fmt: skip
def test_a_pin_in_a_command_is_refused_and_not_shown(run: Run, bank: LedgerBank, line: str) -> None:
    asked = len(bank.requests)
    ran = run("-c", line)
    assert (ran.out, ran.code) == ([SHOWN], 2)
    (report,) = map(json.loads, run("--json", "-c", line).out)
    assert report["command"] == "(a PIN, perhaps)"
    assert shows_pin(line)
    assert len(bank.requests) == asked


@pytest.mark.parametrize(
    "line", ["debit 1234", "hold 50 1234", "login bob", "receipt 1234", "account 1234", ""]
)
def test_other_numbers_are_no_pins(line: str) -> None:
    assert not shows_pin(line)


def test_no_file_of_the_tellers_ever_holds_a_pin(
    run: Run, cluster: FakeCluster, bank: LedgerBank, state_folder: Path
) -> None:
    seen: list[bytes] = []

    def look(request: dict[str, Any]) -> bytes:
        seen.extend(path.read_bytes() for path in state_folder.iterdir())
        return cluster["5000"].answer(request)

    cluster["5000"].always = look
    typed = f"login\n{PIN}\ndebit 5\ntransfer bob 5\nhold 5\nconfirm\npin\n{PIN}\n{PIN}\n{PIN}\n"
    ran = run("5000", typed=typed)
    assert ran.code == 0
    assert len(seen) == 4, "the four that move money are noted, the login and the new PIN are not"
    assert not [content for content in seen if PIN.encode() in content]
    assert PIN not in "".join(ran.out + ran.err)


# -- requests without an answer ----------------------------------------------------------------------


def leave_behind(cluster: FakeCluster, folder: Path, request_id: str) -> None:
    command = Debit(id=request_id, account="main", amount=5_00)
    RequestJournal(folder, load(cluster.config).identity()).write(command).release()


def test_a_debit_that_was_done_is_settled_without_its_pin(
    run: Run, cluster: FakeCluster, bank: LedgerBank, state_folder: Path
) -> None:
    bank.decide({"op": "debit", "id": "d", "account": "main", "amount": 5_00, "pin": PIN})
    leave_behind(cluster, state_folder, "d")
    assert run("-c", "query").err == ["Settled from last time: debited 5 from main (reference d)"]


def test_a_debit_that_never_arrived_is_not_done_without_its_pin(
    run: Run, cluster: FakeCluster, bank: LedgerBank, state_folder: Path
) -> None:
    leave_behind(cluster, state_folder, "d")
    assert run("-c", "query").err == [
        "Settled from last time: not debited 5 from main (reference d): "
        "it was not done before, and is not done now without the PIN; log in and ask again"
    ]
    assert balance_of(bank.ledger, "main") == 100_00
    assert list(state_folder.glob("*.json")) == []


def test_within_the_login_a_debit_is_settled_with_the_pin(
    run: Run, cluster: FakeCluster, bank: LedgerBank, monkeypatch: pytest.MonkeyPatch
) -> None:
    def set_all(step: Callable[[FakeNode], Step | None]) -> None:
        for node in cluster.nodes.values():
            node.always = step(node)

    def act(line: str) -> None:
        set_all(lambda node: node.close if line.strip() == "debit 5" else None)

    monkeypatch.setattr("atm.teller.session.parse", OnLine({"debit 5", "query"}, act))
    ran = run(typed=f"login\n{PIN}\ndebit 5\nquery\n")
    (request_id,) = {request["id"] for request in bank.requests if request["op"] == "debit"}
    assert ran.results[-2:] == [
        f"Settled: debited 5 from main (reference {request_id})",
        "Your current account balance is: 95",
    ]


@pytest.mark.parametrize(
    ("command", "line"),
    [
        ("login", "No answer came, and the PIN may have counted as a try: log in again"),
        (
            "pin",
            "No answer came, and the PIN may or may not be the new one: try to log in with either",
        ),
    ],
)
def test_a_pin_without_an_answer_is_not_asked_about_again(
    run: Run, cluster: FakeCluster, bank: LedgerBank, state_folder: Path, command: str, line: str
) -> None:
    for node in cluster.nodes.values():
        node.always = lambda request, node=node: (
            node.answer(request) if request["op"] == "query" else node.apply_and_close(request)
        )
    ran = run("-c", command, typed=f"{PIN}\n{PIN}\n{PIN}\n")
    assert (ran.out, ran.code) == ([line], 5)
    assert list(state_folder.iterdir()) == []
