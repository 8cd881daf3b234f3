"""bin/run after its set-up: nodes in the background, the teller in front, nothing left behind."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from atm.config import load
from atm.local_cluster import LocalCluster, ask_status, write_cluster_ini
from atm.run import ANOTHER_RUNS

DEADLINE_S = 30.0
README = (Path(__file__).parent.parent / "README.md").read_text(encoding="utf-8")


@pytest.fixture
def path(tmp_path: Path) -> Iterator[Path]:
    path = write_cluster_ini(tmp_path, count=3)
    yield path
    assert not listening(path), "nodes were left behind"


@pytest.fixture(autouse=True)
def _no_state_of_the_users(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))


def listening(path: Path) -> list[str]:
    """Return the nodes that answer on their clients' ports."""
    return [name for name, node in load(path).nodes.items() if ask_status(node.client) is not None]


def command(path: Path, *arguments: str) -> list[str]:
    return [sys.executable, "-P", "-m", "atm.run", "--config", str(path), *arguments]


def run(path: Path, typed: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command(path, *arguments),
        input=typed,
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
        check=False,
    )


def wait_for_the_end(path: Path) -> None:
    """Wait until no node answers: those of a starter that was killed end by themselves."""
    wait_until_listening(path, 0)


def wait_until_listening(path: Path, count: int) -> None:
    """Wait until so many nodes answer."""
    deadline = time.monotonic() + DEADLINE_S
    while len(found := listening(path)) != count:
        assert time.monotonic() < deadline, f"{found} answer, not {count} nodes"
        time.sleep(0.02)


def begun(path: Path) -> subprocess.Popen[str]:
    """Start it, and wait for its greeting."""
    process = subprocess.Popen(
        command(path), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    greeting = [process.stdout.readline() for _ in range(3)]
    assert greeting[2].startswith("Available commands are: ")
    return process


def test_piped_commands_give_the_tellers_lines_and_no_others(path: Path) -> None:
    result = run(path, "credit 5000\nquery\n")
    welcome, balance, commands, *answers = result.stdout.splitlines()
    assert welcome == "Welcome to your ATM! You can check your balance, credit to or debit from your account"
    assert balance == "Your starting balance is 0"
    assert commands.startswith("Available commands are: query, credit <amount>, debit <amount>")
    assert answers == [
        "Successfully credited 5000 to your account",
        "Your current account balance is: 5000",
    ]
    assert (result.stderr, result.returncode) == ("", 0)


def test_the_balance_is_there_the_next_time(path: Path) -> None:
    run(path, "credit 12.50\n")
    assert "Your starting balance is 12.50" in run(path, "").stdout


def test_the_tellers_arguments_and_exit_code_pass_through(path: Path) -> None:
    result = run(path, "", "-c", "debit 1")
    assert (result.stdout, result.returncode) == ("Insufficient account balance\n", 1)
    assert run(path, "", "--nonsense").returncode == 2


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGKILL])
def test_no_node_outlives_it_whatever_ends_it(path: Path, number: signal.Signals) -> None:
    with subprocess.Popen(command(path), stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        greeting = [process.stdout.readline() for _ in range(3)]
        assert greeting[2].startswith(b"Available commands are: ")
        wait_until_listening(path, 3)  # a leader needs but two of them
        process.send_signal(number)
        code = process.wait(DEADLINE_S)
    assert code == (-number if number == signal.SIGKILL else 128 + number)
    wait_for_the_end(path)


def test_a_node_that_cannot_start_is_told_and_the_others_serve(path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(load(path).nodes["n2"].client.pair)
        taken.listen()
        result = run(path, "query\n")
    assert result.stdout.endswith("Your current account balance is: 0\n")
    (line,) = result.stderr.splitlines()
    assert line.startswith("Node n2 ended with exit code 1: ")
    assert str(load(path).nodes["n2"].client.port) in line


def test_without_a_majority_it_says_why_at_once(path: Path) -> None:
    with socket.socket() as one, socket.socket() as other:
        for taken, name in ((one, "n1"), (other, "n3")):
            taken.bind(load(path).nodes[name].client.pair)
            taken.listen()
        result = run(path, "query\n")
    assert (result.stdout, result.returncode) == ("", 3)
    first, second, third = result.stderr.splitlines()
    assert first.startswith("Node n1 ended with exit code 1: ")
    assert second.startswith("Node n3 ended with exit code 1: ")
    assert third.startswith("There is no leader; of 3 nodes, these answer: ")


def test_nodes_that_run_already_are_used_and_left_alone(path: Path) -> None:
    with LocalCluster(path) as others:
        others.start("n1")
        others.start("n2")
        others.wait_for_leader()
        result = run(path, "credit 1\n")
        assert "Successfully credited 1 to your account" in result.stdout
        assert result.stderr == "Already running, hence used and not stopped at the end: n1, n2\n"
        assert others.running() == ["n1", "n2"]


@pytest.mark.parametrize("number", [None, signal.SIGKILL])
def test_the_second_of_two_is_told_and_runs_the_nodes_when_the_first_has_left(
    path: Path, number: signal.Signals | None
) -> None:
    """Trial 24."""
    with begun(path) as first:
        wait_until_listening(path, 3)
        with begun(path) as second:
            if number is None:
                first.communicate("quit\n", timeout=DEADLINE_S)
            else:
                first.send_signal(number)
                first.wait(DEADLINE_S)
            said, told = second.communicate("credit 5\nquit\n", timeout=DEADLINE_S)
    assert said.splitlines()[-1] == "Successfully credited 5 to your account"
    assert told == f"{ANOTHER_RUNS}\n"
    assert (first.returncode, second.returncode) == (0 if number is None else -number, 0)
    wait_for_the_end(path)


def test_the_readmes_program_does_what_it_says_when_it_is_run_as_it_says(path: Path) -> None:
    """Trial 23. The bank is another one here, and so is the folder."""
    section = re.search(r"^## From Python.*?\n(.*?)```python\n(.*?)```", README, re.DOTALL | re.MULTILINE)
    assert section is not None
    how, program = section.groups()
    assert "With the bank running (`./bin/run` in another terminal), in this folder" in how
    assert "run it with `.venv/bin/python FILE`" in how, "which is this interpreter"
    (path.parent / "FILE").write_text(program)
    with begun(path) as bank:
        ran = subprocess.run(
            [sys.executable, "FILE"],
            capture_output=True,
            text=True,
            timeout=DEADLINE_S,
            check=False,
            cwd=path.parent,
            env={name: value for name, value in os.environ.items() if name != "PYTHONPATH"},
        )
        bank.communicate("quit\n", timeout=DEADLINE_S)
    assert (ran.stdout, ran.stderr, ran.returncode) == ("ok 50000\n", "", 0)
    assert "# ok, and the balance after it" in program


def test_a_second_that_leaves_first_stops_nothing(path: Path) -> None:
    with begun(path) as first:
        with begun(path) as second:
            said, told = second.communicate("quit\n", timeout=DEADLINE_S)
        assert told == f"{ANOTHER_RUNS}\n"
        wait_until_listening(path, 3)
        said, told = first.communicate("credit 5\nquit\n", timeout=DEADLINE_S)
    assert (said, told) == ("Successfully credited 5 to your account\n", "")


def test_a_wrong_file_is_usage(tmp_path: Path) -> None:
    result = run(tmp_path / "nowhere.ini", "")
    assert (result.stdout, result.returncode) == ("", 2)
    assert result.stderr == f"run: {tmp_path / 'nowhere.ini'}: no such file\n"


def test_a_data_folder_that_cannot_be_made_is_one_line(path: Path) -> None:
    load(path).data_dir.write_text("a file in its place")
    result = run(path, "query\n")
    assert (result.stdout, result.returncode) == ("", 3)
    assert result.stderr == f"The data folder {load(path).data_dir} cannot be written: File exists\n"


# -- a bank of one's own --------------------------------------------------------------------------------


def run_installed(folder: Path, typed: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run it in `folder` as an installed package does, which has no cluster.ini."""
    program = "import sys, atm.config, atm.run; atm.config.checkout = lambda: None; sys.exit(atm.run.main())"
    return subprocess.run(
        [sys.executable, "-P", "-c", program],
        input=typed,
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
        check=False,
        cwd=folder,
        env=os.environ | environment,
    )


def test_the_file_of_the_environment_is_used_before_a_bank_of_ones_own(path: Path, tmp_path: Path) -> None:
    result = run_installed(tmp_path, "query\n", ATM_CONFIG=str(path))
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout.endswith("Your current account balance is: 0\n")
    assert (path.parent / "data" / "n1").exists()
    assert not (tmp_path / "state" / "atm" / "bank").exists()


def test_without_any_file_five_nodes_are_made_in_the_users_state_folder(tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    bank = tmp_path / "state" / "atm" / "bank"
    first = run_installed(empty, "credit 5000\n")
    assert (first.returncode, first.stdout.splitlines()[3:]) == (
        0,
        ["Successfully credited 5000 to your account"],
    )
    assert first.stderr.splitlines() == [
        f"There is no cluster.ini here, so this is a bank of your own, in {bank}",
        f"Other commands reach it with --config {bank}/cluster.ini",
    ]
    cluster = load(bank / "cluster.ini")
    assert list(cluster.nodes) == ["n1", "n2", "n3", "n4", "n5"]
    assert {node.client.host for node in cluster.nodes.values()} == {"127.0.0.1"}
    assert list(empty.iterdir()) == []
    assert "Your starting balance is 5000" in run_installed(empty, "").stdout, "it is the same bank again"
    assert not listening(bank / "cluster.ini"), "nodes were left behind"


def test_a_state_folder_that_cannot_be_made_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "state").write_text("a file in its place")
    result = run_installed(tmp_path, "query\n")
    assert (result.stdout, result.returncode) == ("", 3)
    assert result.stderr == (
        f"The state folder {tmp_path}/state/atm/bank cannot be written: File exists. Give --config FILE\n"
    )
