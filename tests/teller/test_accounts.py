"""The list of accounts at the teller: for operators, page by page."""

from __future__ import annotations

import json

import pytest

from atm.client import Client, InvalidAccount, InvalidRequest
from atm.teller import tables
from atm.teller.commands import COMMANDS
from tests.support.fake_cluster import FakeCluster
from tests.support.running import Run
from tests.teller.ledger_bank import LedgerBank


@pytest.fixture(autouse=True)
def three_accounts(run: Run, bank: LedgerBank) -> None:
    ran = run(
        "-c", "open bob", "-c", "open ann", "-c", "credit 100", "-c", "transfer bob 30", "-c", "hold 20"
    )
    assert ran.code == 0


def test_an_operator_sees_all_accounts_by_name(run: Run) -> None:
    ran = run("--operator", "-c", "freeze bob", "-c", "accounts")
    assert ran.out[1:] == [
        "account      balance    available  state    PIN",
        "---------  ---------  -----------  -------  -----",
        "ann             0.00         0.00  open     none",
        "bob            30.00        30.00  frozen   none",
        "main           70.00        50.00  open     none",
    ]


def test_it_is_a_command_of_operators(run: Run, bank: LedgerBank) -> None:
    ran = run("-c", "accounts")
    assert ran.out == ["accounts is a command of the bank's operators: start the teller with --operator"]
    assert ran.code == 4
    assert "accounts" not in [request["op"] for request in bank.requests]


def test_more_goes_on_where_a_page_ended(run: Run) -> None:
    ran = run("--operator", typed="accounts 2\nmore\nmore\naccounts 1 after ann\naccounts after zoe\n")
    names = [line.split()[0] for line in ran.results if line.endswith("none")]
    assert names == ["ann", "bob", "main", "bob"]
    assert [line for line in ran.results if not line.endswith(("none", "PIN", "-----"))] == [
        "There is more (type: more, or elsewhere: accounts 2 after bob)",
        "Nothing more to list (for the first page, type: statement)",
        "There is more (type: more, or elsewhere: accounts 1 after bob)",
        "There is nothing to list",
    ]


@pytest.mark.parametrize(
    "line", ["accounts after", "accounts 0", "accounts 101", "accounts two", "accounts after -x"]
)
def test_a_wrong_page_is_not_asked_for(run: Run, bank: LedgerBank, line: str) -> None:
    ran = run("--operator", "-c", line)
    assert (len(ran.out), ran.code) == (1, 2)
    assert "accounts" not in [request["op"] for request in bank.requests]


def test_programs_get_the_accounts_in_minor_units_and_the_next_name(run: Run) -> None:
    (first, last) = map(
        json.loads, run("--operator", "--json", "-c", "accounts 2", "-c", "accounts after bob").out
    )
    assert (first["command"], first["outcome"], first["message"], first["next"]) == (
        "accounts",
        "ok",
        "",
        "bob",
    )
    assert first["accounts"] == [
        {"account": "ann", "balance": 0, "available": 0, "state": "open", "pin": "none"},
        {"account": "bob", "balance": 3000, "available": 3000, "state": "open", "pin": "none"},
    ]
    assert ([account["account"] for account in last["accounts"]], last["next"]) == (["main"], None)


def test_the_client_has_them_by_the_page(cluster: FakeCluster) -> None:
    with Client(cluster.config) as client:
        page = client.accounts(limit=2)
        assert page.accounts is not None
        assert [account.account for account in page.accounts] == ["ann", "bob"]
        assert page.next == "bob"
        rest = client.accounts(after="bob")
        assert rest.accounts is not None
        assert [(account.account, account.balance) for account in rest.accounts] == [("main", 7000)]
        assert rest.next is None
        none = client.accounts(after="main")
        assert (none.outcome, none.accounts, none.next) == ("ok", (), None)
        with pytest.raises(InvalidAccount):
            client.accounts(after="-x")
        with pytest.raises(InvalidRequest):
            client.accounts(limit=101)


@pytest.mark.parametrize("columns", [40, 60, 80])
def test_the_list_fits_a_terminal(cluster: FakeCluster, columns: int) -> None:
    listing = COMMANDS["accounts"].listing
    assert listing is not None
    with Client(cluster.config) as client:
        table = tables.page(listing, client.accounts().accounts or (), columns)
    assert max(map(len, table.splitlines())) <= columns
    assert ("open, PIN none" in table) == (columns < 50)
