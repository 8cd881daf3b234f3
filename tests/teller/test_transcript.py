"""The teller against fake nodes: the original's commands, and every line that is none."""

from __future__ import annotations

import pytest

from atm.teller.language import LINE_CHARS_MAX
from tests.support.fake_cluster import FakeCluster
from tests.support.running import AVAILABLE, WELCOME, Run


def test_the_transcript_is_the_originals(run: Run) -> None:
    ran = run(typed="credit 5000\ndebit 6000\ndebit 4000\nquery\nquery testerror\n")
    assert ran.out[:2] == [WELCOME, "Your starting balance is 0"]
    assert ran.results == [
        "Successfully credited 5000 to your account",
        "Insufficient account balance",
        "Successfully debited 4000 from your account",
        "Your current account balance is: 1000",
        "Invalid command",
    ]
    assert (ran.code, ran.err) == (2, [])  # the last line is no command


def test_the_starting_balance_is_the_balance_found(run: Run, cluster: FakeCluster) -> None:
    cluster.bank.balances["main"] = 12_50
    assert run().out[1] == "Your starting balance is 12.50"


def test_the_commands_are_told_on_one_line_with_the_originals_first(run: Run) -> None:
    assert run().out[2] == AVAILABLE + ", and more: help"


@pytest.mark.parametrize("leave", ["quit", "exit"])
def test_what_comes_after_quit_is_not_carried_out(run: Run, cluster: FakeCluster, leave: str) -> None:
    ran = run(typed=f"credit 1\n{leave}\ncredit 1\n")
    assert ran.code == 0
    assert cluster.bank.balances["main"] == 1_00


def test_blank_lines_blanks_and_carriage_returns_do_not_matter(run: Run) -> None:
    assert run(typed="\n   \n\t\r\n  credit \t 5  \r\nquery").results == [
        "Successfully credited 5 to your account",
        "Your current account balance is: 5",
    ]


@pytest.mark.parametrize(
    "amount",
    [
        "0", "0.00", "-5", "+5", "1.234", "1e3", "nan", "inf", "-0", "1,5", "5.", ".5", "0x10", "1_000",
        "1234567890123", "99999999999999999999999999", "five", "٥", "５", "²", "5€", "\x1b[31m5", "5\x00",
        "''",
    ],
)  # fmt: skip
@pytest.mark.parametrize("command", ["credit", "debit"])
def test_a_wrong_amount_gets_one_line_and_is_not_sent(
    run: Run, cluster: FakeCluster, command: str, amount: str
) -> None:
    ran = run(typed=f"{command} {amount}\n")
    assert len(ran.results) == 1
    assert ran.results[0].startswith(("Invalid command", "An amount"))
    assert ran.results[0].isprintable()
    assert [request["op"] for node in cluster.nodes.values() for request in node.requests] == ["query"]


@pytest.mark.parametrize(
    ("line", "meant"),
    [
        ("querry", "query"),
        ("transfr bob 5", "transfer"),
        ("DBIT 5", "debit"),
        ("freze bob", None),
        ("spend 5", None),
    ],
)
def test_of_a_mistyped_command_the_one_that_was_meant_is_named(
    run: Run, cluster: FakeCluster, line: str, meant: str | None
) -> None:
    hint = "" if meant is None else f": did you mean {meant}?"
    assert run(typed=line + "\n").results == [f"Invalid command{hint}"]
    assert cluster.requests() == 1


@pytest.mark.parametrize(
    "line",
    [
        "query testerror", "query 5", "status now", "quit now", "more 5", "logout now", "pay 5",
        "\x1b[31mquery", "query\x00", "credit\u00a05", "\x85", "'", "%s", "credit5", "-c query", "\x0c",
    ],
)  # fmt: skip
def test_anything_else_is_an_invalid_command(run: Run, cluster: FakeCluster, line: str) -> None:
    assert run(typed=line + "\n").results == ["Invalid command"]
    assert cluster.requests() == 1


@pytest.mark.parametrize(
    ("line", "form"),
    [
        ("credit", "credit <amount>"),
        ("debit 5 5", "debit <amount>|all"),
        ("open a b c", "open <account> [<currency>]"),
        ("transfer 5", "transfer <account> <amount>|all"),
        ("transfer 5 bob", "transfer <account> <amount>|all"),
        ("transfer 5 robert", "transfer <account> <amount>|all"),  # no code of a currency, as `bob` might be
        ("hold", "hold <amount> [<minutes>]"),
        ("confirm a 5 5", "confirm [<reference>] [<amount>] [more]"),
        ("statement 5 after 5", "statement [<n>] [before <posting>]"),
        ("balance now", "balance at <date> [<time>]"),
        ("balance at", "balance at <date> [<time>]"),
        ("help help help", "help [<command>]"),
        ("help nothing", "help [<command>]"),
        ("login a b", "login [<account>]"),
    ],
)
def test_a_command_in_a_wrong_form_is_told_the_right_one(
    run: Run, cluster: FakeCluster, line: str, form: str
) -> None:
    assert run(typed=line + "\n").results == [f"Invalid command: its form is {form}"]
    assert cluster.requests() == 1


@pytest.mark.parametrize("name", ["-x", "a" * 65, "ä", "a/b", "\x1b[31m", "\x00"])
@pytest.mark.parametrize("command", ["open", "account", "login"])
def test_a_wrong_account_name_gets_one_line(run: Run, cluster: FakeCluster, command: str, name: str) -> None:
    (line,) = run(typed=f"{command} {name}\n").results
    assert line.startswith("An account's name is")
    assert cluster.requests() == 1


def test_ten_megabytes_on_one_line_get_one_line(run: Run) -> None:
    ran = run(typed=b"credit " + b"1" * 10_000_000 + b"\nquery\n")
    assert ran.results == [
        "Invalid command: a line has at most 1000 characters",
        "Your current account balance is: 0",
    ]


def test_a_line_as_long_as_a_piece_is_one_line(run: Run) -> None:
    for length in range(3995, 4010):
        assert len(run(typed=b"x" * length + b"\nquery\n").results) == 2


def test_bytes_that_are_no_text_are_an_invalid_command(run: Run) -> None:
    ran = run(typed=b"\xff\xfe\n\x00\ncredit \xc3\x28\nquery\n")
    assert ran.results[:2] == ["Invalid command", "Invalid command"]
    assert ran.results[2].startswith("An amount is")
    assert ran.results[3] == "Your current account balance is: 0"


def test_another_account_is_opened_and_used(run: Run) -> None:
    ran = run(typed="account bob\nopen bob\nopen bob\naccount bob\nquery\naccount main\nquery\n")
    assert ran.results == [
        "No such account: bob (to open it, type: open bob)",
        "Successfully opened account bob (to use it, type: account bob)",
        "There is an account bob already (to use it, type: account bob)",
        "Your account is now bob, and its balance is: 0",
        "Your current account balance is: 0",
        "Your account is now main, and its balance is: 0",
        "Your current account balance is: 0",
    ]


def test_an_account_that_does_not_exist_does_not_end_the_session(run: Run) -> None:
    ran = run("--account", "bob", typed="credit 5\nopen bob\nquery\n")
    assert ran.out[1] == "No such account: bob (to open it, type: open bob)"
    assert ran.results == [
        "No such account: bob (to open it, type: open bob)",
        "Successfully opened account bob (to use it, type: account bob)",
        "Your current account balance is: 0",
    ]


def test_a_line_that_begins_with_a_hash_is_a_remark(run: Run) -> None:
    assert run(typed="# the morning's cash\n  #query\nquery\n").results == [
        "Your current account balance is: 0"
    ]


def test_help_has_a_line_for_each_command(run: Run) -> None:
    lines = run(typed="help\n").results
    assert [line.split()[0] for line in lines] == [
        "query", "credit", "debit", "transfer", "statement", "more", "days", "balance", "hold", "holds",
        "confirm", "raise", "cancel", "reverse", "receipt", "open", "account", "login", "logout", "pin",
        "settle", "status", "help", "quit",
    ]  # fmt: skip
    assert run(typed="help debit\n").results == [
        "debit <amount>|all: pays out an amount, such as 50 or 12.50",
        "Another word for it: withdraw. With all: what is available. "
        "It may end in what it is for, such as: code 7 for Rent November.",
    ]


def test_help_lists_the_operators_commands_to_operators(run: Run) -> None:
    lines = run("--operator", "-c", "help").out
    assert [line.split()[0] for line in lines[24:]] == [
        "freeze", "unfreeze", "unlock", "resetpin", "limit", "ceiling", "writeoff", "close",
        "exceptions", "accounts", "approvals", "approve",
    ]  # fmt: skip
    assert run("-c", "help close").out == [
        "close <account>: closes an empty account for ever (operators only)"
    ]


def test_status_is_a_table(run: Run, cluster: FakeCluster) -> None:
    for node in cluster.nodes.values():
        node.leader = "5001"
    cluster["5002"].stop()
    rows = [line.split() for line in run(typed="status\n").results]
    assert rows[0] == ["node", "role", "term", "commit", "applied", "lag", "address"]
    assert rows[2] == ["5000", "follower", "3", "12", "10", "2", f"127.0.0.1:{cluster['5000'].port}"]
    assert rows[3][:6] == ["5001", "leader", "3", "12", "12", "0"]
    assert rows[4][:6] == ["5002", "down", "-", "-", "-", "-"]
    assert " ".join(rows[5]) == "The bank is available, led by 5001: 2 of 3 servers answer"


def test_what_a_server_says_cannot_move_the_cursor(run: Run, cluster: FakeCluster) -> None:
    for node in cluster.nodes.values():
        node.always = node.fault("bad_request", message="\x1b[2J\nboo")
    (line,) = run("-c", "credit 5").out
    assert line == "The bank does not understand the request, and nothing was done: ?[2J?boo"


def test_the_longest_line_is_read_and_one_that_is_longer_is_refused(run: Run, cluster: FakeCluster) -> None:
    longest = "query".ljust(LINE_CHARS_MAX)
    assert run("-c", longest).code == 0
    assert run("-c", longest + " ").out == ["Invalid command: a line has at most 1000 characters"]
