"""Statements, their pages, tables for wide and narrow terminals, and balances of the past."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime

import pytest

from atm.client import Line, NodeStatus
from atm.teller import tables
from atm.teller.commands import COMMANDS
from atm.teller.help import help_text
from atm.timestamps import TimestampError, format_timestamp, parse_timestamp
from tests.support.running import Run
from tests.teller.ledger_bank import LedgerBank


def statement(lines: Sequence[Line], columns: int | None) -> str:
    listing = COMMANDS["statement"].listing
    assert listing is not None
    return tables.page(listing, lines, columns)


def test_a_statement_lists_the_latest_first_with_the_balance_after_each(run: Run, bank: LedgerBank) -> None:
    ran = run(typed="credit 100\nopen bob\ntransfer bob 30\ndebit 0.50\nstatement\n")
    ids = {request["op"]: request["id"] for request in bank.requests}
    assert [line.split() for line in ran.results[5:]] == [
        ["time", "(UTC)", "what", "amount", "balance", "reference"],
        ["-------------------", "---------------", "--------", "---------", "--------------------"],
        ["2026-11-22", "10:00:04", "debit", "-0.50", "69.50", ids["debit"]],
        ["2026-11-22", "10:00:03", "transfer", "to", "bob", "-30.00", "70.00", ids["transfer"]],
        ["2026-11-22", "10:00:01", "credit", "100.00", "100.00", ids["credit"]],
    ]
    assert run("--account", "bob", "-c", "statement").out[2].split()[2:7] == [
        "transfer", "from", "main", "30.00", "30.00",
    ]  # fmt: skip


def test_more_goes_on_where_the_last_page_ended(run: Run, bank: LedgerBank) -> None:
    ran = run(typed="credit 1\ncredit 2\ncredit 3\nstatement 2\nmore\nmore\n")
    posting = 64 * 2
    assert [line.split()[3] for line in ran.results[5:7]] == ["3.00", "2.00"]
    assert ran.results[7] == f"There is more (type: more, or elsewhere: statement 2 before {posting})"
    assert [line.split()[3] for line in ran.results[10:11]] == ["1.00"]
    assert ran.results[11:] == ["Nothing more to list (for the first page, type: statement)"]
    assert run("-c", f"statement 1 before {posting}").out[2].split()[3] == "1.00"


def test_an_empty_statement_says_so(run: Run, bank: LedgerBank) -> None:
    assert run("-c", "statement").out == ["There is nothing to list"]


def test_more_does_not_show_the_page_of_another_account(run: Run, bank: LedgerBank) -> None:
    ran = run(typed="open bob\ncredit 1\ncredit 2\nstatement 1\naccount bob\nmore\n")
    assert ran.results[-1] == "Nothing more to list (for the first page, type: statement)"


@pytest.mark.parametrize(
    ("command", "line"),
    [
        ("statement 0", "The number of lines must be from 1 to 100"),
        ("statement 101", "The number of lines must be from 1 to 100"),
        ("statement -1", "The number of lines must be from 1 to 100"),
        ("statement ٥", "The number of lines must be from 1 to 100"),
        ("statement before x", "The number of a posting must be from 1 to 9223372036854775807"),
        (
            "statement 5 before 9223372036854775808",
            "The number of a posting must be from 1 to 9223372036854775807",
        ),
    ],
)
def test_a_wrong_page_gets_one_line(run: Run, bank: LedgerBank, command: str, line: str) -> None:
    ran = run("-c", command)
    assert (ran.out, ran.code) == ([line], 2)


def test_json_of_a_statement_has_lines_in_minor_units_and_where_the_next_page_begins(
    run: Run, bank: LedgerBank
) -> None:
    run("-c", "credit 1", "-c", "credit 2.50")
    (report,) = map(json.loads, run("--json", "-c", "statement 1").out)
    (line,) = report["lines"]
    assert (line["amount"], line["balance"], line["op"], line["other"]) == (2_50, 3_50, "credit", "cash")
    assert (report["next"], report["balance"], report["message"]) == (line["posting"], 3_50, "")
    (report,) = map(json.loads, run("--json", "-c", "statement").out)
    assert (len(report["lines"]), report["next"]) == (2, None)


def test_the_balance_of_a_time_to_come_is_told_as_that_so_far(
    run: Run, bank: LedgerBank, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Trial 31."""
    run("-c", "credit 5")
    noon_us = parse_timestamp("2026-11-22 12:00")
    monkeypatch.setattr("atm.teller.commands.time.time_ns", lambda: noon_us * 1000)
    ran = run(
        *("-c", "balance at 2026-11-22 12:00", "-c", "balance at 2026-11-22"),
        *("-c", "balance at 2030-01-01"),
    )
    assert ran.out == [
        "The balance of main at 2026-11-22 12:00:59 UTC was: 5",
        "The balance of main so far is: 5 (2026-11-22 23:59:59 UTC has not come yet)",
        "The balance of main so far is: 5 (2030-01-01 23:59:59 UTC has not come yet)",
    ]
    ran = run("--account", "nobody", "-c", "balance at 2030-01-01")
    assert (ran.out, ran.code) == (["No such account: nobody (to open it, type: open nobody)"], 1)


def test_the_balance_of_a_past_time(run: Run, bank: LedgerBank, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("atm.teller.commands.time.time_ns", lambda: parse_timestamp("2026-11-23") * 1000)
    run("-c", "credit 1", "-c", "credit 2", "-c", "open bob")
    assert run(
        *("-c", "balance at 2026-11-21", "-c", "balance at 2026-11-22", "-c", "balance at 2026-11-22 09:59"),
        *("-c", "balance at 2026-11-22 10:00:01", "-c", "balance at 2026-11-22 10:00"),
    ).out == [
        "The balance of main at 2026-11-21 23:59:59 UTC was: 0",
        "The balance of main at 2026-11-22 23:59:59 UTC was: 3",
        "The balance of main at 2026-11-22 09:59:59 UTC was: 0",
        "The balance of main at 2026-11-22 10:00:01 UTC was: 1",
        "The balance of main at 2026-11-22 10:00:59 UTC was: 3",
    ]
    ran = run("--account", "bob", "-c", "balance at 2026-11-21")
    assert (ran.out, ran.code) == (["There was no account bob at 2026-11-21 23:59:59 UTC"], 1)


@pytest.mark.parametrize(
    ("text", "last_second"),
    [
        ("2026-11-22", datetime(2026, 11, 22, 23, 59, 59, tzinfo=UTC)),
        ("2026-11-22 10:00", datetime(2026, 11, 22, 10, 0, 59, tzinfo=UTC)),
        ("2026-11-22T10:00:05Z", datetime(2026, 11, 22, 10, 0, 5, tzinfo=UTC)),
        ("1970-01-01 00:00:00", datetime(1970, 1, 1, tzinfo=UTC)),
        ("9999-12-31", datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)),
    ],
)
def test_a_time_is_the_last_microsecond_of_what_it_names(text: str, last_second: datetime) -> None:
    assert parse_timestamp(text) == int(last_second.timestamp()) * 1_000_000 + 999_999
    assert format_timestamp(parse_timestamp(text)) == last_second.strftime("%Y-%m-%d %H:%M:%S")


@pytest.mark.parametrize(
    "text",
    [
        "", "yesterday", "2026-13-01", "2026-02-29", "2026-11-22 24:00", "2026-11-22 10", "22.11.2026",
        "٢٠٢٦-11-22", "2026-11-22 10:00+01", "0000-01-01", "1969-12-31", "2026-11-22  10:00",
    ],
)  # fmt: skip
def test_what_is_no_moment_gets_one_line(text: str) -> None:
    with pytest.raises(TimestampError):
        parse_timestamp(text)


def line(other: str, amount: int) -> Line:
    return Line(
        posting=64,
        time_us=1_795_341_600_000_000,
        op="transfer",
        request_id="1M81TYHJ6Q912PEARJX5",
        account="main",
        other=other,
        amount=amount,
        balance=12_345_67,
    )


@pytest.mark.parametrize("columns", [40, 80, 200])
def test_tables_fit_the_terminal(columns: int) -> None:
    lines = [line("bob", -12_50), line("a-rather-long-name-of-an-account", 1_000_00)]
    nodes = [
        NodeStatus(node=str(5000 + i), address=f"localhost:{5000 + i}", role="follower") for i in range(5)
    ]
    for table in (
        statement(lines, columns),
        tables.servers(nodes, columns),
        help_text(None, operator=True, columns=columns),
    ):
        assert max(map(len, table.splitlines())) <= columns, table


def test_a_narrow_statement_puts_what_was_done_below_its_time() -> None:
    assert statement([line("bob", -12_50)], 40).splitlines() == [
        "posting (UTC)         amount   balance",
        "2026-11-22 10:00      -12.50  12345.67",
        "transfer to bob",
        "1M81TYHJ6Q912PEARJX5",
    ]


def test_a_pipe_gets_one_line_a_posting_however_long(run: Run) -> None:
    lines = [line("x" * 64, 1), line("bob", 1)]
    assert len(statement(lines, None).splitlines()) == 4
