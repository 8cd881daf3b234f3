"""The teller in scripts: -c, --json, exit codes, and arguments."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.support.entries import balance_of
from tests.support.fake_cluster import FakeCluster
from tests.support.running import Run
from tests.teller.ledger_bank import LedgerBank


def test_c_runs_commands_without_a_greeting(run: Run) -> None:
    ran = run("-c", "credit 5000", "-c", "query")
    assert ran.out == ["Successfully credited 5000 to your account", "Your current account balance is: 5000"]
    assert ran.code == 0


@pytest.mark.parametrize(
    ("commands", "code"),
    [
        (["query"], 0),
        (["", "help", "status", "open bob"], 0),
        (["debit 1"], 1),
        (["open main"], 1),
        (["account bob"], 1),
        (["query testerror"], 2),
        (["credit 0"], 2),
        (["quit", "debit 1"], 0),
        (["debit 1", "credit 0"], 1),
        (["credit 0", "debit 1"], 2),
    ],
)
def test_the_exit_code_is_that_of_the_first_command_that_is_not_done(
    run: Run, cluster: FakeCluster, commands: Sequence[str], code: int
) -> None:
    cluster.follow("5001")
    assert run(*(word for command in commands for word in ("-c", command))).code == code


def test_nothing_is_carried_out_after_a_command_that_is_not_done(run: Run, cluster: FakeCluster) -> None:
    ran = run("-c", "debit 5", "-c", "credit 5")
    assert ran.out == ["Insufficient account balance"]
    assert cluster.bank.balances["main"] == 0


def test_not_available_is_exit_code_3(run: Run, cluster: FakeCluster) -> None:
    for node in cluster.nodes.values():
        node.stop()
    for command in ("credit 5", "query", "status"):
        assert run("-c", command).code == 3


def test_status_ends_with_3_if_nodes_answer_and_none_leads_a_majority(run: Run, cluster: FakeCluster) -> None:
    for node in cluster.nodes.values():
        node.told = {"role": "pre-candidate"}
    ran = run("-c", "status", "-c", "credit 5")
    assert ran.code == 3
    assert (
        ran.out[-1] == "The bank is not available: 3 of 3 servers answer, and none of them leads a majority"
    )
    assert cluster.bank.balances["main"] == 0


def test_status_says_what_a_busy_node_said(run: Run, cluster: FakeCluster) -> None:
    cluster.follow("5000")
    cluster["5002"].always = cluster["5002"].fault("busy", message="too many connections")
    ran = run("-c", "status")
    assert ran.out[4].split()[:2] == ["5002", "busy"]
    assert ran.out[5] == "5002 is busy: too many connections"


def test_the_json_of_status_says_who_leads(run: Run, cluster: FakeCluster) -> None:
    cluster.follow("5001")
    cluster["5002"].told = {"cluster": "ab" * 16, "voter": False, "alarms": ["the disk is nearly full"]}
    ran = run("--json", "-c", "status")
    (report,) = map(json.loads, ran.out)
    assert (report["available"], report["leader"], report["term"], report["cluster"], ran.code) == (
        True, "5001", 3, "ab" * 16, 0,
    )  # fmt: skip
    assert report["alarms"] == ["5002: the disk is nearly full"]
    assert [node["role"] for node in report["nodes"]] == ["follower", "leader", "learner"]


def test_an_unknown_outcome_is_exit_code_5(run: Run, cluster: FakeCluster, state_folder: Path) -> None:
    for node in cluster.nodes.values():
        node.always = node.close
    ran = run("-c", "credit 5")
    assert ran.code == 5
    (entry,) = state_folder.glob("*.json")
    assert ran.out == [
        f"Outcome unknown, reference {entry.stem}: do not repeat the request; "
        "the teller asks again before the next command, or when it starts again"
    ]
    assert ran.err == [f"Outcome unknown, reference {entry.stem}: retrying"]


def test_f_carries_out_the_commands_of_a_file_up_to_the_first_not_done(
    run: Run, cluster: FakeCluster, tmp_path: Path
) -> None:
    script = tmp_path / "morning's commands"
    script.write_text("# the morning's cash\ncredit 5\n\ndebit 6\ncredit 1000\n")
    ran = run("-f", str(script))
    assert ran.out == ["Successfully credited 5 to your account", "Insufficient account balance"]
    assert ran.code == 1
    assert cluster.bank.balances["main"] == 5_00


def test_f_says_which_line_it_stopped_at(run: Run, tmp_path: Path) -> None:
    """Trial 26."""
    script = tmp_path / "morning"
    script.write_text("# cash\ncredit 5\n\ncredit 1e3\ncredit 1\n")
    ran = run("-f", str(script))
    assert (ran.code, ran.err) == (2, [f"{script}, line 4: stopped at: credit 1e3"])
    assert run("-f", "-", typed="query\ndebit 6\n").err == ["standard input, line 2: stopped at: debit 6"]


def test_a_line_number_counts_the_lines_with_pins(run: Run, bank: LedgerBank) -> None:
    ran = run("-f", "-", typed="pin\n1234\n1234\nlogin 1234\n")
    assert ran.err == ["standard input, line 4: stopped at: (a PIN, perhaps)"]


@pytest.mark.parametrize(
    ("typed", "code"),
    [
        ("credit 5\nquery\n", 0),
        ("debit 5\ncredit 5\n", 1),
        ("debit 5\ncredit 1e3\nquery\n", 2),
        ("unlock main\ndebit 5\n", 4),
        ("quit\ndebit 5\n", 0),
    ],
)
def test_piped_commands_end_with_the_highest_of_their_codes(
    run: Run, cluster: FakeCluster, typed: str, code: int
) -> None:
    """Trial 25: all are carried out, and a script learns that one was not done."""
    assert run(typed=typed).code == code
    assert cluster.bank.balances["main"] == (5_00 if "credit 5" in typed else 0)


def test_piped_commands_to_a_dead_bank_end_with_3(run: Run, cluster: FakeCluster) -> None:
    for node in cluster.nodes.values():
        node.stop()
    assert run(typed="query\ncredit 5\n").code == 3


def test_piped_commands_end_with_5_if_an_outcome_stayed_unknown(run: Run, cluster: FakeCluster) -> None:
    cluster["5000"].script.append(cluster["5000"].answer)  # the greeting's query
    for node in cluster.nodes.values():
        node.always = node.close
    assert run("5000", typed="credit 5\ncredit x\n").code == 5


def test_f_of_a_minus_reads_commands_and_pins_from_standard_input(run: Run, bank: LedgerBank) -> None:
    ran = run("-f", "-", typed="credit 5\npin\n1234\n1234\ndebit 2\nquit\ndebit 2\n")
    assert ran.out == [
        "Successfully credited 5 to your account",
        "Successfully set the PIN of main; you are logged in with it",
        "Successfully debited 2 from your account",
    ]
    assert (ran.code, balance_of(bank.ledger, "main")) == (0, 3_00)


def test_a_file_of_commands_takes_its_pins_from_standard_input(
    run: Run, bank: LedgerBank, tmp_path: Path
) -> None:
    script = tmp_path / "commands"
    script.write_text("credit 5\npin\nlogout\nlogin\ndebit 2\n")
    assert run("-f", str(script), typed="1234\n1234\n1234\n").code == 0
    assert balance_of(bank.ledger, "main") == 3_00


def test_json_is_one_object_a_command(run: Run) -> None:
    ran = run("--json", "-c", "credit 12.50", "-c", "debit 99")
    credit, debit = map(json.loads, ran.out)
    assert credit == {
        "command": "credit",
        "outcome": "ok",
        "account": "main",
        "amount": 12_50,
        "balance": 12_50,
        "available": 12_50,
        "request_id": credit["request_id"],
        "log_index": credit["log_index"],
        "message": "Successfully credited 12.50 to your account",
    }
    assert (debit["outcome"], debit["amount"], debit["balance"]) == ("insufficient_funds", 99_00, 12_50)
    assert ran.code == 1


def test_json_of_a_pipe_has_no_other_lines(run: Run, cluster: FakeCluster) -> None:
    cluster.follow("5001")
    ran = run("--json", typed=b"query\n\ncredit 1e3\n\x1b[31m\xff\naccount main\nhelp\nstatus\nquit\n")
    reports = list(map(json.loads, ran.out))
    assert [(report["command"], report["outcome"]) for report in reports] == [
        ("query", "ok"),
        ("credit 1e3", "invalid"),
        ("\x1b[31m\ufffd", "invalid"),
        ("account", "ok"),
        ("help", "ok"),
        ("status", "ok"),
    ]
    assert reports[-1]["nodes"][0]["node"] == "5000"
    assert all(line.isascii() and line.isprintable() for line in ran.out)
    assert (ran.code, ran.err) == (2, [])


def test_json_tells_faults(run: Run, cluster: FakeCluster) -> None:
    for node in cluster.nodes.values():
        node.always = node.close
    ran = run("--json", "-c", "credit 5")
    (report,) = map(json.loads, ran.out)
    assert (report["outcome"], report["balance"], report["amount"]) == ("unknown", None, 5_00)
    assert len(report["request_id"]) == 20
    assert len(ran.err) == 1
    for node in cluster.nodes.values():
        node.stop()
    (report,) = map(json.loads, run("--json", "-c", "query").out)
    assert report["outcome"] == "unavailable"


@pytest.mark.parametrize(
    "arguments",
    [
        ["5009"],
        ["5000", "5001"],
        ["--nothing"],
        ["--account", "a b"],
        ["--account", "\x1b[31m"],
        ["\x1b[31m"],
        ["--timeout", "0"],
        ["--timeout", "nan"],
        ["--timeout", "x"],
        ["--config", "/nowhere/cluster.ini"],
        ["--config", "a\x00b"],
        ["-c"],
        ["-f"],
        ["-f", "/nowhere/commands"],
        ["-f", "/"],
        ["-f", "a\x00b"],
        ["-f", "-", "-c", "query"],
        ["--idle", "0"],
    ],
)
def test_a_wrong_argument_gets_one_line_and_exit_code_2(run: Run, arguments: list[str]) -> None:
    ran = run(*arguments)
    assert ran.code == 2
    assert ran.out == []
    (line,) = ran.err
    assert line.startswith("atm: ")
    assert line.isprintable()
