"""Statements of days, as a table and as CSV, and local time."""

from __future__ import annotations

import csv
import io

import pytest

from atm.client import Line
from atm.teller.date_range import cursor_after
from tests.support.fake_cluster import FakeCluster
from tests.support.running import Run
from tests.support.terminal import Terminal
from tests.teller.ledger_bank import LedgerBank

DAY_S = 86_400


@pytest.fixture
def three_days(run: Run, bank: LedgerBank) -> None:
    """Two credits on each of three days from 2026-11-22 on, with another account's between them."""
    run("-c", "open bob")
    for day in range(3):
        for amount in (1, 2):
            assert run("-c", f"credit {10 * (day + 1) + amount}").code == 0
            assert run("--account", "bob", "-c", "credit 99").code == 0
        bank.end_holds(after_s=DAY_S - 20)


def amounts(lines: list[str]) -> list[str]:
    return [line.split()[3] for line in lines if " credit " in line]


@pytest.mark.usefixtures("three_days")
@pytest.mark.parametrize(
    ("days", "listed"),
    [
        ("2026-11-23 2026-11-23", ["22.00", "21.00"]),
        ("2026-11-23", ["22.00", "21.00"]),
        ("2026-11-23 2026-12-31", ["32.00", "31.00", "22.00", "21.00"]),
        ("2026-11-22", ["12.00", "11.00"]),
        ("2026-11-01 2030-01-01", ["32.00", "31.00", "22.00", "21.00", "12.00", "11.00"]),
        ("2026-11-25 2026-11-30", []),
        ("2026-11-21", []),
    ],
)
def test_a_statement_of_days_lists_all_postings_of_them(run: Run, days: str, listed: list[str]) -> None:
    ran = run("-c", f"days {days}")
    assert ran.code == 0
    assert amounts(ran.out) == listed
    if not listed:
        assert ran.out == ["There is nothing to list"]


@pytest.mark.parametrize(
    "line",
    [
        "days",
        "days today",
        "days 2026-11-22T10:00",
        "days 2026-11-23 2026-11-22",
        "days 2026-11-22 2026-11-23 2026-11-24",
        "days from 2026-11-22",
    ],
)
def test_days_that_are_none_get_one_line(run: Run, bank: LedgerBank, line: str) -> None:
    ran = run("-c", line)
    assert (ran.code, len(ran.out)) == (2, 1)
    assert bank.requests == []


def test_more_than_a_page_of_a_day_is_listed_and_a_pin_guards_it(run: Run, bank: LedgerBank) -> None:
    for amount in range(1, 121):
        bank.decide({"op": "credit", "id": f"c{amount}", "account": "main", "amount": amount * 100})
    ran = run("-c", "days 2026-11-22")
    assert amounts(ran.out) == [f"{amount}.00" for amount in range(120, 0, -1)]
    run("-c", "pin", typed="1234\n1234\n")
    assert run("-c", "days 2026-11-22").out == ["main has a PIN: log in first (type: login)"]


@pytest.mark.parametrize("count", [0, 1, 2, 3, 50])
def test_the_place_of_a_day_is_found_wherever_it_is(count: int) -> None:
    postings = [(64 * (7 * i + 1), 10 * i) for i in range(count)]  # number, time

    def latest(before: int | None) -> Line | None:
        known = [each for each in postings if before is None or each[0] < before]
        if not known:
            return None
        number, time_us = known[-1]
        return Line(
            posting=number, time_us=time_us, op="credit", request_id="x", account="a", other="b", amount=1,
            balance=1,
        )  # fmt: skip

    for to_us in range(-1, 10 * count + 2):
        before = cursor_after(latest, to_us)
        listed = [time_us for number, time_us in postings if before is None or number < before]
        assert listed == [time_us for _, time_us in postings if time_us <= to_us]


def test_csv_is_for_programs_and_no_cell_is_a_formula(run: Run, bank: LedgerBank) -> None:
    run("-c", "credit 1234567.50", "--id", "=1+1")
    ran = run("--csv", "-c", "debit 0.5", "-c", "statement", "-c", "debit 99999999")
    assert ran.err == ["Successfully debited 0.50 from your account", "Insufficient account balance"]
    rows = list(csv.DictReader(io.StringIO("\n".join(ran.out))))
    assert [(row["what"], row["amount"], row["balance"]) for row in rows] == [
        ("debit", "-0.50", "1234567.00"),
        ("credit", "1234567.50", "1234567.50"),
    ]
    assert rows[1]["reference"] == "'=1+1"
    assert (rows[0]["time (UTC)"], ran.code) == ("2026-11-22 10:00:02", 1)
    listed = run("--operator", "--csv", "-c", "accounts").out
    assert listed == ["account,balance,available,state,PIN", "main,1234567.00,1234567.00,open,none"]


@pytest.mark.usefixtures("bank")
def test_local_time_stands_beside_utc_where_they_differ(cluster: FakeCluster) -> None:
    """Trial 41."""
    for columns, shown in (
        ("120", "2026-11-22 10:00:01  2026-11-22 11:00:01 CET"),
        ("40", "2026-11-22 11:00 CET"),
    ):
        terminal = Terminal(
            cluster, "-c", "credit 5", "-c", "statement 1 before 65", "-c", "receipt",
            environment={"TZ": "CET-1", "COLUMNS": columns, "NO_COLOR": "1"},
        )  # fmt: skip
        terminal.wait_for(shown)
        terminal.wait_for("local time")
        assert terminal.end() == 0
    plain = Terminal(cluster, "-c", "statement", environment={"TZ": "UTC"})
    plain.wait_for("time (UTC)")
    assert plain.end() == 0
    assert "local" not in plain.everything


@pytest.mark.parametrize("screen", ["xterm", "dumb"])
def test_above_the_limit_that_is_set_a_person_is_asked_and_a_script_is_not(
    cluster: FakeCluster, run: Run, screen: str
) -> None:
    """Trial 30."""
    cluster.config.write_text(
        cluster.config.read_text().replace("[cluster]\n", "[cluster]\nconfirm_above = 1000\n")
    )
    terminal = Terminal(cluster, environment={"TERM": screen})
    terminal.wait_for("Enter command: ")
    terminal.type("credit 1000\r")
    terminal.wait_for("Successfully credited 1000 to your account")
    for answer in ("no\r", "\x03", "\x04"):
        terminal.wait_for("Enter command: ")
        terminal.type("credit 999999999999\r")
        terminal.wait_for("credit 999,999,999,999: more than 1,000. Type yes to go on: ")
        terminal.type(answer)
        terminal.wait_for("Not confirmed: nothing was done")
    terminal.wait_for("Enter command: ")
    terminal.type("credit 1000.01\r")
    terminal.wait_for("Type yes to go on: ")
    terminal.type("yes\r")
    terminal.wait_for("Successfully credited 1000.01 to your account")
    terminal.wait_for("Enter command: ")
    terminal.type("quit\r")
    assert terminal.end() == 0
    assert run("-c", "credit 5000").code == 0
    assert cluster.bank.balances["main"] == 7000_01
