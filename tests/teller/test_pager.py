"""What is longer than the screen, at a terminal: in the user's pager."""

from __future__ import annotations

import shlex
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from atm.teller.pager import USUAL, pager_of, show
from tests.support.fake_cluster import FakeCluster
from tests.support.running import ROOT, teller_command
from tests.support.terminal import Terminal
from tests.teller.ledger_bank import LedgerBank

SCREEN = {"LINES": "10", "COLUMNS": "80"}
MARKED = "sed 's/^/PAGED /'"


@pytest.fixture(autouse=True)
def with_postings(bank: LedgerBank, cluster: FakeCluster) -> None:
    """`main` has ten postings."""
    assert (
        subprocess.run([*teller_command(cluster), *["-c", "credit 5"] * 10], cwd=ROOT, check=False).returncode
        == 0
    )


def said_to_statements(cluster: FakeCluster, *arguments: str, **environment: str) -> str:
    """Return what a session says to `statement 3` and `statement`."""
    terminal = Terminal(cluster, *arguments, environment=SCREEN | environment)
    terminal.wait_for("Enter command: ")
    for line in ("statement 3\n", "statement\n"):
        terminal.type(line)
        terminal.wait_for("Enter command: ")
    terminal.type("quit\n")
    assert terminal.end() == 0
    return terminal.everything


def test_a_statement_that_is_longer_than_the_screen_goes_through_the_pager(cluster: FakeCluster) -> None:
    said = said_to_statements(cluster, PAGER=MARKED)
    assert said.count("PAGED 2026-11-22 ") == 10
    assert said.count("2026-11-22 ") == 10 + 3, "a short one is printed"


@pytest.mark.parametrize(
    ("arguments", "environment"),
    [
        (["--no-pager"], {"PAGER": MARKED}),
        ([], {"PAGER": ""}),
        ([], {"PAGER": "/nowhere/a-pager"}),
        ([], {"PAGER": "'"}),
        ([], {"PAGER": "true"}),
    ],
)
def test_without_a_pager_all_is_printed(
    cluster: FakeCluster, arguments: list[str], environment: dict[str, str]
) -> None:
    said = said_to_statements(cluster, *arguments, **environment)
    assert said.count("2026-11-22 ") == (3 if environment["PAGER"] == "true" else 13)
    assert "PAGED" not in said


def test_a_script_and_a_pipe_have_no_pager(cluster: FakeCluster) -> None:
    terminal = Terminal(cluster, "-c", "statement", environment=SCREEN | {"PAGER": MARKED})
    assert terminal.end() == 0
    assert "PAGED" not in terminal.everything
    piped = subprocess.run(
        teller_command(cluster),
        cwd=ROOT,
        input=b"statement\n",
        stdout=subprocess.PIPE,
        env={"PAGER": MARKED, "PATH": "/usr/bin:/bin"} | SCREEN,
        check=True,
    )
    assert b"PAGED" not in piped.stdout
    assert piped.stdout.count(b"2026-11-22 ") == 10


@pytest.mark.skipif(shutil.which("dash") is None, reason="the shell here is dash")
def test_the_teller_stops_with_its_pager_and_goes_on_with_it(cluster: FakeCluster) -> None:
    """Else the shell would wait for a teller that waits for a pager that is stopped."""
    stops = "sh -c 'echo FIRST; kill -TSTP $$; cat; echo LAST'"
    environment = {"TERM": "xterm", "PS1": "shell> ", "PAGER": stops} | SCREEN
    terminal = Terminal(cluster, environment=environment, shell=["dash", "-i"])
    terminal.wait_for("shell> ")
    terminal.type(shlex.join(teller_command(cluster)) + "\n")
    terminal.wait_for("Enter command: ")
    terminal.type("statement\r")
    terminal.wait_for("FIRST")
    terminal.wait_for("Stopped")
    terminal.type("fg\r")
    terminal.wait_for("LAST")
    terminal.wait_for("Enter command: ")
    terminal.type("quit\r")
    terminal.wait_for("shell> ")
    terminal.type("exit\r")
    assert terminal.end() == 0


def test_the_usual_pager_is_less_where_there_is_one(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert pager_of({}) == ()
    (tmp_path / "less").touch(mode=0o755)
    assert pager_of({}) == USUAL
    assert pager_of({"PAGER": "most -s"}) == ["most", "-s"]


def test_the_pager_starts_no_shell_and_ctrl_c_is_its_own(tmp_path: Path) -> None:
    told = tmp_path / "told"
    program = f"""
import os, pathlib, signal, sys
pathlib.Path({str(told)!r}).write_text(os.environ["LESSSECURE"] + sys.stdin.read())
os.kill(os.getppid(), signal.SIGINT)
signal.raise_signal(signal.SIGINT)
"""
    before = signal.getsignal(signal.SIGINT)
    assert show("text", [sys.executable, "-c", program])
    assert told.read_text() == "1text\n"
    assert signal.getsignal(signal.SIGINT) is before
