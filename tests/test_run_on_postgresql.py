"""bin/run --engine postgresql: three PostgreSQL servers beside the bank's, and nothing left behind."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from atm.config import load
from atm.local_cluster import ask_status, write_cluster_ini
from atm.run import ANOTHER_RUNS
from tests.support.postgresql import IN_MEMORY, need_postgres

DEADLINE_S = 60.0


@pytest.fixture
def path() -> Iterator[Path]:
    """Yield the file of a bank on Raft, where the user of the servers can go, also if root runs the tests."""
    need_postgres()
    folder = Path(tempfile.mkdtemp(prefix="atm-run-", dir=IN_MEMORY if IN_MEMORY.is_dir() else None))
    folder.chmod(0o711)
    yield write_cluster_ini(folder, count=3)
    try:
        wait_until(lambda: not servers_of(folder), "PostgreSQL was left behind")
        wait_until(
            lambda: not listening(folder / "data-postgresql" / "cluster.ini"), "nodes were left behind"
        )
    finally:
        for pid in servers_of(folder):
            os.kill(pid, signal.SIGKILL)
        shutil.rmtree(folder)


def servers_of(folder: Path) -> list[int]:
    """Return the first processes of the PostgreSQL servers whose data is in a folder."""
    listed = subprocess.run(
        ["ps", "-A", "-ww", "-o", "pid=,command="], capture_output=True, text=True, check=True
    )
    lines = [line.split(maxsplit=1) for line in listed.stdout.splitlines()]
    return [
        int(pid)
        for pid, command in lines
        if re.search(rf"postgres -D {folder}/", command) and "runner" not in command
    ]


def listening(path: Path) -> list[str]:
    """Return the nodes that answer on their clients' ports."""
    nodes = load(path).nodes if path.exists() else {}
    return [name for name, node in nodes.items() if ask_status(node.client) is not None]


def wait_until(done: Callable[[], object], otherwise: str) -> None:
    deadline_s = time.monotonic() + DEADLINE_S
    while not done():
        assert time.monotonic() < deadline_s, otherwise
        time.sleep(0.05)


def command(path: Path, *arguments: str) -> list[str]:
    return [sys.executable, "-P", "-m", "atm.run", "--config", str(path), *arguments]


def run(path: Path, typed: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command(path, *(arguments or ("--engine", "postgresql"))),
        input=typed,
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
        check=False,
    )


def begun(path: Path) -> subprocess.Popen[str]:
    """Start it, and wait for its greeting."""
    process = subprocess.Popen(
        command(path, "--engine", "postgresql"),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    greeting = [process.stdout.readline() for _ in range(3)]
    assert greeting[2].startswith("Available commands are: "), process.communicate()
    return process


def typed(process: subprocess.Popen[str], line: str) -> str:
    """Type a line, and return the next one that it prints."""
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(f"{line}\n")
    process.stdin.flush()
    return process.stdout.readline().rstrip("\n")


def test_the_teller_says_the_same_and_what_was_credited_is_there_the_next_time(path: Path) -> None:
    own = path.parent / "data-postgresql"
    first = run(path, "credit 5000\nquery\n")
    assert first.stdout.splitlines()[-2:] == [
        "Successfully credited 5000 to your account",
        "Your current account balance is: 5000",
    ]
    kept, look, other = first.stderr.splitlines()
    assert kept.endswith(f": p1 and 2 standbys, of which one has each commit, in {own}/postgresql")
    assert look.startswith("Look into it with ")
    assert other == f"Other commands reach it with --config {own}/cluster.ini"
    assert not path.parent.joinpath("data").exists(), "the bank on Raft is another one"
    assert list(load(own / "cluster.ini").nodes) == list(load(path).nodes)
    for arguments in ((), ("--config", str(own / "cluster.ini"))):  # by its own file it is the same bank
        assert (
            "Your starting balance is 5000"
            in run(path, "", *(arguments or ("--engine", "postgresql"))).stdout
        )


def test_the_databases_are_reached_with_the_command_that_it_prints(path: Path) -> None:
    with begun(path) as process:
        typed(process, "credit 7")
        assert process.stderr is not None
        look = (
            [process.stderr.readline() for _ in range(2)][1].removeprefix("Look into it with ").rstrip("\n")
        )
        asked = "set atm.lane = 0; select amount from one_lane.balance where account = 'main'"
        told = subprocess.run(
            ["sh", "-c", f'{look} -qAtc "{asked}"'],
            capture_output=True,
            text=True,
            check=True,
            timeout=DEADLINE_S,
        )
        process.communicate("quit\n", timeout=DEADLINE_S)
    assert told.stdout == "700\n"
    password = (path.parent / "data-postgresql" / "pgpass").read_text().strip().rpartition(":")[2]
    assert password not in look, "others on this machine see command lines"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_nothing_outlives_it_whatever_ends_it_and_it_starts_again_at_once(
    path: Path, number: signal.Signals
) -> None:
    with begun(path) as process:
        assert typed(process, "credit 5").startswith("Successfully")
        assert len(servers_of(path.parent)) == 3
        process.send_signal(number)
        process.wait(DEADLINE_S)
    assert "Your starting balance is 5\n" in run(path, "").stdout


def test_what_a_killed_one_left_of_postgresql_is_ended_by_the_next(path: Path) -> None:
    """As when all of its processes but the servers are killed."""
    with begun(path) as process:
        assert typed(process, "credit 5").startswith("Successfully")
        left = servers_of(path.parent)
        listed = subprocess.run(
            ["ps", "-A", "-ww", "-o", "pid=,command="], capture_output=True, text=True, check=True
        )
        runners = [
            line.split()
            for line in listed.stdout.splitlines()
            if "runner.py" in line and str(path.parent) in line
        ]
        process.kill()
        for pid, *_ in runners:
            os.kill(int(pid), signal.SIGKILL)
        process.wait(DEADLINE_S)
    assert "Your starting balance is 5\n" in run(path, "").stdout
    assert not set(left) & set(servers_of(path.parent))


@pytest.mark.parametrize("standby", [False, True])
def test_a_server_of_postgresql_that_is_killed_is_started_again_and_nothing_is_lost(
    path: Path, standby: bool
) -> None:
    with begun(path) as process:
        assert typed(process, "credit 5").startswith("Successfully")
        before = servers_of(path.parent)
        data = path.parent / "data-postgresql" / "postgresql" / ("p2" if standby else "p1") / "data"
        os.kill(int((data / "postmaster.pid").read_text().split()[0]), signal.SIGKILL)
        wait_until(lambda: len(set(servers_of(path.parent)) & set(before)) == 2, "it was not killed")
        wait_until(lambda: len(servers_of(path.parent)) == 3, "it was not started again")
        line = typed(process, "credit 5")
        while line.startswith("Outcome unknown, "):
            line = typed(process, "")
        assert line.startswith("Successfully")
        assert typed(process, "query").endswith(": 10")
        _, told = process.communicate("quit\n", timeout=DEADLINE_S)
    assert f"PostgreSQL {'p2' if standby else 'p1'} had ended, and was started again" in told


def test_the_second_of_two_runs_all_when_the_first_has_left(path: Path) -> None:
    with begun(path) as first, begun(path) as second:
        first.communicate("quit\n", timeout=DEADLINE_S)
        said, told = second.communicate("credit 5\nquit\n", timeout=DEADLINE_S)
    assert said.splitlines()[-1] == "Successfully credited 5 to your account"
    assert told.startswith(f"{ANOTHER_RUNS}\n")


def test_lanes_are_made_with_the_bank_and_stay(path: Path) -> None:
    own = path.parent / "data-postgresql" / "cluster.ini"
    engine = ("--engine", "postgresql")
    said = run(path, "open ann\ncredit 50\ntransfer ann 20\nquery\n", *engine, "--lanes", "3").stdout
    assert said.splitlines()[-1] == "Your current account balance is: 30"
    assert load(own).engine.lanes == 3
    told = run(path, "", *engine, "--lanes", "4")
    assert (told.returncode, told.stdout) == (2, "")
    assert told.stderr == f"run: {own}: this bank has lanes = 3, for ever: leave --lanes out\n"
    told = run(path, "", "--lanes", "4")
    assert (told.returncode, told.stderr) == (
        2,
        "run: --lanes belongs to --engine postgresql: a bank on Raft has one log\n",
    )


def test_a_bank_that_names_its_own_postgresql_is_usage(path: Path) -> None:
    with path.open("a") as file:
        file.write("\n[engine]\nkind = postgresql\nurl = postgresql://db1/bank\n")
    told = run(path, "")
    assert (told.returncode, told.stdout) == (2, "")
    assert told.stderr == f"run: {path}: its [engine] names a PostgreSQL already: leave --engine out\n"


@pytest.mark.parametrize(
    ("missing", "line"),
    [
        ("find_spec", "PostgreSQL does not start: a bank on PostgreSQL needs the package psycopg"),
        ("find_programs", "PostgreSQL does not start: there is no PostgreSQL of 13 or newer here"),
    ],
)
def test_without_driver_or_postgresql_it_says_in_a_line_what_to_install(
    path: Path, missing: str, line: str
) -> None:
    program = f"""
import sys
from atm.local_postgres import own_bank, programs
def find_spec(name): return None
def find_programs(): raise programs.NoPostgres(programs.NONE)
own_bank.{missing} = {missing}
import atm.run
sys.exit(atm.run.main(sys.argv[1:]))
"""
    told = subprocess.run(
        [sys.executable, "-P", "-c", program, "--config", str(path), "--engine", "postgresql"],
        input="",
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
        check=False,
    )
    assert (told.returncode, told.stdout) == (3, "")
    assert told.stderr.startswith(line)
    assert len(told.stderr.splitlines()) == 1
    assert "install" in told.stderr
