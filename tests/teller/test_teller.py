"""The teller against fake nodes: every line it says, its exit codes, its JSON and its journal."""

from __future__ import annotations

import io
import json
import os
import pty
import select
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

import atm.client
import atm.teller.main
from atm.client import Client, Interrupted, new_request_id
from atm.config import load
from atm.ledger.commands import Command, Credit, Debit, Query
from atm.teller.language import parse
from atm.teller.pending import Journal
from tests.client.fake_cluster import FakeCluster
from tests.synced import Synced

ROOT = Path(__file__).resolve().parent.parent
WELCOME = "Welcome to your ATM! You can check your balance, credit to or debit from your account"
AVAILABLE = "Available commands are: query, credit <amount>, debit <amount>"
NOT_AVAILABLE = "The bank is not available: no majority of servers answered"


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[FakeCluster]:
    cluster = FakeCluster(tmp_path, size=3)
    yield cluster
    cluster.stop()


@pytest.fixture(autouse=True)
def state_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    return tmp_path / "state" / "atm"


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(atm.teller.main, "TIMEOUT_S", 0.3)
    monkeypatch.setattr("atm.client.client.ANSWER_TIMEOUT_S", 0.1)


class Ran:
    """What a run of the teller said, and its exit code."""

    def __init__(self, code: int, captured: Any) -> None:
        self.code = code
        self.out: list[str] = captured.out.splitlines()
        self.err: list[str] = captured.err.splitlines()

    @property
    def results(self) -> list[str]:
        """The lines after the greeting."""
        assert self.out[0] == WELCOME
        assert self.out[2].startswith(AVAILABLE)
        return self.out[3:]


Run = Callable[..., Ran]


@pytest.fixture
def run(cluster: FakeCluster, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    def run(*arguments: str, typed: str | bytes = b"", timeout_s: float = 0.3) -> Ran:
        data = typed.encode() if isinstance(typed, str) else typed
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data)))
        capsys.readouterr()
        argv = ["--config", str(cluster.config), "--timeout", str(timeout_s), *arguments]
        try:
            code = atm.teller.main.main(argv)
        except SystemExit as leaving:
            code = int(leaving.code or 0)
        return Ran(code, capsys.readouterr())

    return run


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline, "it did not come about within 10 seconds"
        time.sleep(0.005)


# -- the session -----------------------------------------------------------------------------------


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
    assert (ran.code, ran.err) == (0, [])


def test_the_starting_balance_is_the_balance_found(run: Run, cluster: FakeCluster) -> None:
    cluster.bank.balances["main"] = 12_50
    assert run().out[1] == "Your starting balance is 12.50"


def test_the_commands_are_told_on_one_line_with_the_originals_first(run: Run) -> None:
    assert run().out[2] == AVAILABLE + ", open <account>, account <account>, status, help, quit"


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
    "line",
    [
        "query testerror", "query 5", "credit", "debit", "credit 5 5", "open", "open a b", "status now",
        "help nothing", "help help help", "quit now", "QUERY", "transfer 5", "\x1b[31mquery", "query\x00",
        "credit\u00a05", "\x85", "'", "%s", "credit5", "-c query", "\x0c",
    ],
)  # fmt: skip
def test_anything_else_is_an_invalid_command(run: Run, cluster: FakeCluster, line: str) -> None:
    assert run(typed=line + "\n").results == ["Invalid command"]
    assert cluster.requests() == 1


@pytest.mark.parametrize("name", ["-x", "a" * 65, "ä", "a/b", "\x1b[31m", "\x00"])
@pytest.mark.parametrize("command", ["open", "account"])
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
    ran = run(typed="account bob\nopen bob\nopen bob\naccount bob\ncredit 7\naccount main\nquery\n")
    assert ran.results == [
        "No such account: bob (open it with: open bob)",
        "Successfully opened account bob (go on with it: account bob)",
        "There is an account bob already",
        "Your account is now bob, and its balance is: 0",
        "Successfully credited 7 to your account",
        "Your account is now main, and its balance is: 0",
        "Your current account balance is: 0",
    ]


def test_an_account_that_does_not_exist_does_not_end_the_session(run: Run) -> None:
    ran = run("--account", "bob", typed="credit 5\nopen bob\ncredit 5\n")
    assert ran.out[1] == "No such account: bob (open it with: open bob)"
    assert ran.results == [
        "No such account: bob (open it with: open bob)",
        "Successfully opened account bob (go on with it: account bob)",
        "Successfully credited 5 to your account",
    ]


def test_help_has_a_line_for_each_command(run: Run) -> None:
    lines = run(typed="help\n").results
    assert [line.split()[0] for line in lines] == [
        "query", "credit", "debit", "open", "account", "status", "help", "quit",
    ]  # fmt: skip
    (line,) = run(typed="help debit\n").results
    assert line == "debit <amount>: pays an amount, such as 50 or 12.50, out of your account"


def test_status_is_a_table(run: Run, cluster: FakeCluster) -> None:
    for node in cluster.nodes.values():
        node.leader = "5001"
    cluster["5002"].stop()
    rows = [line.split() for line in run(typed="status\n").results]
    assert rows[0] == ["node", "role", "term", "commit", "applied", "lag", "address"]
    assert rows[2] == ["5000", "follower", "3", "12", "10", "2", f"127.0.0.1:{cluster['5000'].port}"]
    assert rows[3][:6] == ["5001", "leader", "3", "12", "12", "0"]
    assert rows[4][:6] == ["5002", "down", "-", "-", "-", "-"]


def test_what_a_server_says_cannot_move_the_cursor(run: Run, cluster: FakeCluster) -> None:
    for node in cluster.nodes.values():
        node.always = node.fault("bad_request", message="\x1b[2J\nboo")
    (line,) = run("-c", "credit 5").out
    assert line == "The bank does not understand the request: ?[2J?boo"


# -- when the bank does not answer -----------------------------------------------------------------


def test_the_session_goes_on_when_no_majority_answers(run: Run, cluster: FakeCluster) -> None:
    for node in cluster.nodes.values():
        node.stop()
    ran = run(typed="credit 5\nquery\nhelp quit\nopen bob\n")
    assert ran.out[1] == NOT_AVAILABLE
    assert ran.results == [
        NOT_AVAILABLE,
        NOT_AVAILABLE,
        "quit: leaves, as do exit and the end of input",
        NOT_AVAILABLE,
    ]
    assert ran.code == 0


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
    def recover(line: str, **_: Any) -> None:
        for node in cluster.nodes.values():
            node.always = None

    bank_comes_back = OnLine("query", recover)
    monkeypatch.setattr("atm.teller.session.parse", bank_comes_back)
    cluster["5000"].script.append(cluster["5000"].answer)  # the greeting's query
    for node in cluster.nodes.values():
        node.always = node.apply_and_close
    ran = run("5000", typed="credit 5\nquery\n")
    (request_id,) = cluster.bank.receipts
    assert ran.results == [
        f"Outcome unknown, reference {request_id}: retrying",
        f"Outcome unknown, reference {request_id}: it will be settled at the next command, "
        "or when the teller starts again",
        f"Settled: credited 5 to main (reference {request_id})",
        "Your current account balance is: 5",
    ]
    assert list(state_folder.glob("*.json")) == []


class OnLine:
    """Does something when a certain line is about to be parsed."""

    def __init__(self, line: str, action: Callable[..., None]) -> None:
        self._line, self._action = line, action

    def __call__(self, line: str, **context: str) -> Any:
        if line.strip() == self._line:
            self._action(line)
        return parse(line, **context)


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
        assert line == "Interrupted: nothing was changed"
    assert ran.code == 130
    assert len(list(state_folder.glob("*.json"))) == may_be_done


# -- -c, --json and exit codes ---------------------------------------------------------------------


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
    run: Run, commands: Sequence[str], code: int
) -> None:
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


def test_an_unknown_outcome_is_exit_code_5(run: Run, cluster: FakeCluster, state_folder: Path) -> None:
    for node in cluster.nodes.values():
        node.always = node.close
    ran = run("-c", "credit 5")
    assert ran.code == 5
    (entry,) = state_folder.glob("*.json")
    assert ran.out == [
        f"Outcome unknown, reference {entry.stem}: it will be settled at the next command, "
        "or when the teller starts again"
    ]
    assert ran.err == [f"Outcome unknown, reference {entry.stem}: retrying"]


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
        "reference": credit["reference"],
        "message": "Successfully credited 12.50 to your account",
    }
    assert (debit["outcome"], debit["amount"], debit["balance"]) == ("insufficient_funds", 99_00, 12_50)
    assert ran.code == 1


def test_json_of_a_pipe_has_no_other_lines(run: Run) -> None:
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
    assert (ran.code, ran.err) == (0, [])


def test_json_tells_faults(run: Run, cluster: FakeCluster) -> None:
    for node in cluster.nodes.values():
        node.always = node.close
    ran = run("--json", "-c", "credit 5")
    (report,) = map(json.loads, ran.out)
    assert (report["outcome"], report["balance"], report["amount"]) == ("unknown", None, 5_00)
    assert len(report["request_id"]) == 32
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
    ],
)
def test_a_wrong_argument_gets_one_line_and_exit_code_2(run: Run, arguments: list[str]) -> None:
    ran = run(*arguments)
    assert ran.code == 2
    assert ran.out == []
    (line,) = ran.err
    assert line.startswith("atm: ")
    assert line.isprintable()


# -- the journal -----------------------------------------------------------------------------------


def leave_behind(cluster: FakeCluster, folder: Path, command: Command) -> Path:
    """Leave an entry in the journal as a killed teller does."""
    Journal(folder, load(cluster.config).identity()).write(command).release()
    return folder / f"{command.id}.json"


def start_teller(cluster: FakeCluster, *arguments: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-m", "atm.teller", "--config", str(cluster.config), *arguments],
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


def test_a_teller_that_was_killed_is_settled_at_the_next_start(
    run: Run, cluster: FakeCluster, state_folder: Path
) -> None:
    cluster["5000"].script.append(cluster["5000"].silence)
    with start_teller(cluster, "5000", "-c", "credit 50") as teller:
        wait_until(lambda: len(cluster["5000"].requests) == 1)
        assert run("-c", "query").out == ["Your current account balance is: 0"], "the other one still lives"
        teller.kill()
    (request,) = [r for node in cluster.nodes.values() for r in node.requests if r["op"] == "credit"]
    ran = run()
    assert ran.out[:3] == [
        WELCOME,
        f"Settled from last time: credited 50 to main (reference {request['id']})",
        "Your starting balance is 50",
    ]
    assert list(state_folder.glob("*.json")) == []
    assert run().out[1] == "Your starting balance is 50"


def test_settling_repeats_the_id_and_so_changes_nothing_that_was_done(
    run: Run, cluster: FakeCluster, state_folder: Path
) -> None:
    run("-c", "credit 5")
    (request_id,) = cluster.bank.receipts
    leave_behind(cluster, state_folder, Credit(id=request_id, account="main", amount=5_00))
    ran = run("-c", "query")
    assert ran.out == ["Your current account balance is: 5"]
    assert ran.err == [f"Settled from last time: credited 5 to main (reference {request_id})"]


def test_requests_are_settled_oldest_first_and_refusals_are_told(
    run: Run, cluster: FakeCluster, state_folder: Path
) -> None:
    ids = sorted(new_request_id() for _ in range(2))
    leave_behind(cluster, state_folder, Credit(id=ids[1], account="main", amount=5_00))
    leave_behind(cluster, state_folder, Debit(id=ids[0], account="main", amount=4_00))
    assert run("-c", "query").err == [
        f"Settled from last time: not debited 4 from main (reference {ids[0]}): Insufficient account balance",
        f"Settled from last time: credited 5 to main (reference {ids[1]})",
    ]


def test_what_cannot_be_settled_yet_stays_in_the_journal(
    run: Run, cluster: FakeCluster, state_folder: Path
) -> None:
    entry = leave_behind(cluster, state_folder, Credit(id="a", account="main", amount=5_00))
    for node in cluster.nodes.values():
        node.always = node.fault("unavailable")
    ran = run(typed="")
    assert ran.out[1:3] == [
        "Outcome unknown, reference a: it will be settled at the next command, "
        "or when the teller starts again",
        NOT_AVAILABLE,
    ]
    assert entry.exists()


def test_a_request_for_another_cluster_is_left_alone(
    run: Run, cluster: FakeCluster, state_folder: Path
) -> None:
    Journal(state_folder, "another").write(Credit(id="a", account="main", amount=5_00)).release()
    assert run("-c", "query").err == []
    assert (state_folder / "a.json").exists()
    assert cluster.bank.receipts == {}


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"\xff" * 5000,
        b"[]",
        b'{"cluster": "x", "command": {"op": "credit", "id": "x", "amount": 1}}',
    ],
)
def test_a_damaged_entry_is_moved_aside_with_one_line(run: Run, state_folder: Path, content: bytes) -> None:
    run("-c", "query")
    (state_folder / "x.json").write_bytes(content)
    ran = run("-c", "query")
    assert ran.out == ["Your current account balance is: 0"]
    assert ran.err == [
        f"A request in the journal cannot be read, and was moved aside: {state_folder / 'x.json.damaged'}"
    ]
    assert run("-c", "query").err == []


def test_what_is_no_file_does_not_stop_the_teller(run: Run, state_folder: Path) -> None:
    run("-c", "query")
    os.mkfifo(state_folder / "a.json")
    (state_folder / "b.json").mkdir()
    (state_folder / "c.json").symlink_to("/dev/zero")
    ran = run("-c", "query")
    assert (ran.code, len(ran.err)) == (0, 3)


def test_an_unfinished_entry_was_never_sent_and_is_tidied_away(run: Run, state_folder: Path) -> None:
    run("-c", "query")
    (state_folder / "x.new").write_bytes(b'{"cl')
    assert run("-c", "query").err == []
    assert list(state_folder.iterdir()) == []


def test_the_journal_is_for_its_user_only(run: Run, cluster: FakeCluster, state_folder: Path) -> None:
    state_folder.mkdir(parents=True, mode=0o755)
    for node in cluster.nodes.values():
        node.always = node.close
    run("-c", "credit 5")
    (entry,) = state_folder.iterdir()
    assert stat.S_IMODE(state_folder.stat().st_mode) == 0o700
    assert stat.S_IMODE(entry.stat().st_mode) == 0o600


def test_the_request_is_in_the_journal_before_it_is_sent(
    run: Run, cluster: FakeCluster, state_folder: Path
) -> None:
    noted: list[bool] = []

    def look(request: dict[str, Any]) -> bytes:
        noted.append((state_folder / f"{request['id']}.json").exists())
        return cluster["5000"].answer(request)

    cluster["5000"].always = look
    run("5000", "-c", "credit 5", "-c", "open bob")
    assert noted == [True, True]
    assert list(state_folder.iterdir()) == []


def test_the_request_survives_a_power_cut_of_the_tellers_machine_before_it_is_sent(
    run: Run, cluster: FakeCluster, state_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced = Synced(monkeypatch)
    survived: list[bool] = []

    def look(request: dict[str, Any]) -> bytes:
        survived.append(synced.survives(state_folder / f"{request['id']}.json", tmp_path))
        return cluster["5000"].answer(request)

    cluster["5000"].always = look
    run("5000", "-c", "credit 5")
    assert survived == [True]
    assert synced.named_too_early == []


def test_without_a_journal_the_teller_warns_and_goes_on(run: Run, state_folder: Path) -> None:
    state_folder.parent.write_text("in the way")
    ran = run("-c", "credit 5")
    assert (ran.code, ran.out) == (0, ["Successfully credited 5 to your account"])
    (line,) = ran.err
    assert line.startswith("Requests cannot be noted")


def test_a_full_disk_only_costs_the_journal(
    run: Run, monkeypatch: pytest.MonkeyPatch, state_folder: Path
) -> None:
    def full(*_: object) -> int:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("atm.teller.pending.os.fsync", full)
        ran = run(typed="credit 5\ncredit 5\n")
    assert ran.results == ["Successfully credited 5 to your account"] * 2
    assert len(ran.err) == 1
    assert list(state_folder.iterdir()) == []


# -- pipes and terminals ---------------------------------------------------------------------------


def teller_command(cluster: FakeCluster) -> list[str]:
    return [sys.executable, "-m", "atm.teller", "--config", str(cluster.config)]


def test_a_reader_that_leaves_gets_no_traceback(cluster: FakeCluster) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    with subprocess.Popen(
        [*teller_command(cluster), "-c", "query"], cwd=ROOT, stdout=writing, stderr=subprocess.PIPE
    ) as teller:
        os.close(writing)
        _, said = teller.communicate(timeout=10)
    assert (said, teller.returncode) == (b"", 141)


def test_a_full_output_gets_one_line(cluster: FakeCluster) -> None:
    with Path("/dev/full").open("wb") as full:
        ran = subprocess.run(
            [*teller_command(cluster), "-c", "query"],
            cwd=ROOT,
            stdout=full,
            stderr=subprocess.PIPE,
            check=False,
            timeout=10,
        )
    assert ran.stderr == b"atm: input or output is not possible: No space left on device\n"
    assert ran.returncode == 5


class Terminal:
    """The teller in a terminal of its own."""

    def __init__(self, cluster: FakeCluster, *arguments: str) -> None:
        self.pid, self._descriptor = pty.fork()
        if self.pid == 0:  # pragma: no cover
            os.chdir(ROOT)
            os.environ["TERM"] = "xterm"
            os.execv(sys.executable, [*teller_command(cluster), *arguments])
        self.seen = ""

    def wait_for(self, text: str) -> None:
        """Read on until `text` has come since the last wait."""
        try:
            wait_until(lambda: text in self._read())
        except AssertionError:
            os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)
            pytest.fail(f"{text!r} did not come, but {self.seen!r}")
        self.seen = self.seen[self.seen.index(text) + len(text) :]

    def type(self, text: str) -> None:
        unsent = text.encode()
        while unsent:
            unsent = unsent[os.write(self._descriptor, unsent[:1000]) :]
            self._read()  # the other side may wait for us to take what it says

    def end(self) -> int:
        """Wait for the teller's end; return its exit code."""
        wait_until(self._has_ended)
        os.close(self._descriptor)
        return self._code

    def _has_ended(self) -> bool:
        self._read()
        pid, status = os.waitpid(self.pid, os.WNOHANG)
        self._code = os.waitstatus_to_exitcode(status)
        return pid == self.pid

    def _read(self) -> str:
        while select.select([self._descriptor], [], [], 0)[0]:
            try:
                self.seen += os.read(self._descriptor, 65536).decode()
            except OSError:  # Linux's way to say that the other side has closed
                break
        return self.seen


def test_a_person_at_a_terminal_has_a_prompt_line_editing_and_history(
    cluster: FakeCluster, state_folder: Path
) -> None:
    terminal = Terminal(cluster)
    terminal.wait_for(WELCOME)
    terminal.wait_for(AVAILABLE)
    terminal.wait_for("Enter command: ")
    terminal.type("credit 5000\r")
    terminal.wait_for("Successfully credited 5000 to your account")
    terminal.wait_for("Enter command: ")
    terminal.type("debit 4000\x03")  # Ctrl-C clears the line
    terminal.wait_for("Enter command: ")
    terminal.type("que\t")
    terminal.wait_for("ry")
    terminal.type("\r")
    terminal.wait_for("Your current account balance is: 5000")
    terminal.wait_for("Enter command: ")
    terminal.type("\x1b[A\r")  # the last line again
    terminal.wait_for("Your current account balance is: 5000")
    terminal.wait_for("Enter command: ")
    terminal.type("\x04")
    assert terminal.end() == 0
    history = state_folder / "history"
    assert stat.S_IMODE(history.stat().st_mode) == 0o600
    assert "+credit 5000" in history.read_text().splitlines()


def test_a_pasted_line_without_end_does_not_hold_up_the_terminal(cluster: FakeCluster) -> None:
    terminal = Terminal(cluster)
    terminal.wait_for("Enter command: ")
    terminal.type("\x1b[200~credit " + "1" * 500_000 + "\x1b[201~\r")
    terminal.wait_for("Invalid command: a line has at most 1000 characters")
    terminal.wait_for("Enter command: ")
    terminal.type("quit\r")
    assert terminal.end() == 0


def test_ctrl_c_during_a_request_keeps_the_session(cluster: FakeCluster) -> None:
    terminal = Terminal(cluster, "5000")
    terminal.wait_for("Enter command: ")
    cluster["5000"].always = cluster["5000"].silence
    terminal.type("credit 5\r")
    wait_until(lambda: len(cluster["5000"].requests) == 2)
    os.kill(terminal.pid, signal.SIGINT)
    request_id = cluster["5000"].requests[1]["id"]
    terminal.wait_for(f"Outcome unknown, reference {request_id}: it will be settled at the next command")
    terminal.wait_for("Enter command: ")
    cluster["5000"].always = None
    cluster["5000"].released.set()
    terminal.type("query\r")
    terminal.wait_for(f"Settled: credited 5 to main (reference {request_id})")
    terminal.wait_for("Your current account balance is: 5")
    terminal.wait_for("Enter command: ")
    terminal.type("quit\r")
    assert terminal.end() == 0
