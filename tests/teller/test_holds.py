"""The list of an account's active holds."""

from __future__ import annotations

import json

import pytest

from atm.client import Client
from atm.teller import tables
from atm.teller.commands import COMMANDS
from tests.support.fake_cluster import FakeCluster
from tests.support.running import Run
from tests.teller.ledger_bank import LedgerBank


@pytest.fixture(autouse=True)
def four_holds(run: Run, bank: LedgerBank) -> None:
    """Of main's holds `b` and `d` are active; `a` was confirmed, and `c` is another account's."""
    run("-c", "credit 5000", "-c", "open bob", "-c", "transfer bob 100")
    for request_id, amount in (("d", "1500"), ("b", "20.50"), ("a", "30")):
        assert run("-c", f"hold {amount}", "--id", request_id).code == 0
    assert run("-c", "confirm a").code == 0
    assert run("--account", "bob", "-c", "hold 40", "--id", "c").code == 0


def test_the_active_holds_of_the_account_are_listed(run: Run) -> None:
    ran = run("-c", "holds")
    assert ran.out == [
        "since (UTC)          until (UTC)            amount    paid out  reference",
        "-------------------  -------------------  --------  ----------  -----------",
        "2026-11-22 10:00:05  2026-11-22 10:05:05     20.50           -  b",
        "2026-11-22 10:00:04  2026-11-22 10:05:04  1,500.00           -  d",
    ]
    assert run("--account", "bob", "-c", "holds").out[2].endswith("  c")
    run("-c", "cancel b", "-c", "cancel d")
    assert run("-c", "holds").out == ["There is nothing to list"]


def test_more_goes_on_and_programs_get_minor_units(run: Run) -> None:
    ran = run(typed="holds 1\nmore\nholds 5 after b\n")
    assert [line.split()[-1] for line in ran.results if line.startswith("2026")] == ["b", "d", "d"]
    assert "There is more (type: more, or elsewhere: holds 1 after b)" in ran.results
    (report,) = map(json.loads, run("--json", "-c", "holds 1").out)
    assert (report["account"], report["next"], report["balance"], report["available"]) == (
        "main", "b", 4870_00, 3349_50,
    )  # fmt: skip
    (hold,) = report["holds"]
    assert (hold["request_id"], hold["amount"], hold["expires_us"] - hold["time_us"]) == (
        "b", 20_50, 300_000_000,
    )  # fmt: skip


def test_the_holds_of_an_account_with_a_pin_are_its_customers(run: Run) -> None:
    run("-c", "pin", typed="1234\n1234\n")
    ran = run("-c", "holds")
    assert (ran.out, ran.code) == (["main has a PIN: log in first (type: login)"], 4)
    assert run("--account", "nobody", "-c", "holds").code == 1


@pytest.mark.parametrize("columns", [40, 80])
def test_the_list_fits_a_terminal(cluster: FakeCluster, columns: int) -> None:
    listing = COMMANDS["holds"].listing
    assert listing is not None
    with Client(cluster.config) as client:
        table = tables.page(listing, client.holds("main").holds or (), columns)
    assert max(map(len, table.splitlines())) <= columns


def test_the_client_has_them_by_the_page(cluster: FakeCluster) -> None:
    with Client(cluster.config) as client:
        page = client.holds("main", limit=1)
        assert page.holds is not None
        assert ([hold.request_id for hold in page.holds], page.next) == (["b"], "b")
        rest = client.holds("main", after="b")
        assert rest.holds is not None
        assert ([hold.request_id for hold in rest.holds], rest.next) == (["d"], None)
        assert client.holds("nobody").outcome == "no_such_account"
