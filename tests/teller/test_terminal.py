"""The teller at a terminal and in pipes, as a process of its own."""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.support.fake_cluster import FakeCluster
from tests.support.running import AVAILABLE, ROOT, WELCOME, teller_command, wait_until
from tests.support.terminal import Terminal


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
    assert ran.stderr == b"atm: reading input or writing output failed: No space left on device\n"
    assert ran.returncode == 74, "a read leaves nothing in doubt (trial 39)"


@pytest.mark.parametrize("torn", [False, True])
def test_an_outcome_that_could_not_be_shown_is_5_and_is_told_by_the_next_teller(
    cluster: FakeCluster, torn: bool
) -> None:
    if torn:
        reading, output = os.pipe()
        os.close(reading)
    else:
        output = os.open("/dev/full", os.O_WRONLY)
    ran = subprocess.run(
        [*teller_command(cluster), "-c", "credit 5"],
        cwd=ROOT,
        stdout=output,
        stderr=subprocess.PIPE,
        check=False,
        timeout=10,
    )
    os.close(output)
    assert (ran.returncode, b"Traceback" in ran.stderr) == (5, False)
    told = subprocess.run(
        [*teller_command(cluster), "-c", "settle"], cwd=ROOT, capture_output=True, check=False, timeout=10
    )
    assert told.stdout.startswith(b"Settled from last time: credited 5 to main (reference ")
    assert cluster.bank.balances["main"] == 5_00


def test_no_stream_that_can_be_written_gets_no_traceback(cluster: FakeCluster) -> None:
    with Path("/dev/full").open("wb") as full:
        ran = subprocess.run(
            [*teller_command(cluster), "-c", "query"], cwd=ROOT, stdout=full, stderr=full, check=False
        )
    assert ran.returncode == 74


START = [sys.executable, "-P", "-S", str(ROOT / "bin" / "start.py"), "atm"]  # as bin/atm does


def test_ctrl_c_at_any_moment_of_the_start_gets_no_traceback(cluster: FakeCluster) -> None:
    """Trial 37."""
    codes = set()
    for after_ms in range(10, 400, 30):
        with subprocess.Popen(
            [*START, "--config", str(cluster.config), "-c", "query"],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        ) as teller:
            time.sleep(after_ms / 1000)
            teller.send_signal(signal.SIGINT)
            said, complained = teller.communicate(timeout=10)
        assert complained == b"", (after_ms, complained)
        assert said in (
            b"",
            b"Your current account balance is: 0\n",
            b"Interrupted: this command was not carried out\n",
        )
        codes.add(teller.returncode)
    assert codes <= {0, 130, -signal.SIGINT}


def test_after_half_a_second_of_silence_a_terminal_says_that_the_bank_is_waited_for(
    cluster: FakeCluster,
) -> None:
    for node in cluster.nodes.values():
        node.always = node.silence
    terminal = Terminal(cluster, "-c", "query")
    terminal.wait_for("Waiting for the bank")
    terminal.wait_for("Waiting for the bank: 2 s")
    for node in cluster.nodes.values():
        node.always = None
        node.released.set()
    terminal.wait_for("\r" + " " * 25 + "\r")
    terminal.wait_for("Your current account balance is: 0")
    assert terminal.end() == 0


def test_an_answer_at_once_shows_no_progress(cluster: FakeCluster) -> None:
    terminal = Terminal(cluster, "-c", "query")
    terminal.wait_for("Your current account balance is: 0")
    assert terminal.end() == 0
    assert "Waiting" not in terminal.everything


@pytest.mark.skipif(shutil.which("dash") is None, reason="there is no dash")
@pytest.mark.parametrize("screen", ["xterm", "dumb"])
def test_ctrl_z_stops_the_teller_and_the_shell_gets_its_echo_back(cluster: FakeCluster, screen: str) -> None:
    """Trial 38."""
    terminal = Terminal(cluster, environment={"TERM": screen, "PS1": "shell> "}, shell=["dash", "-i"])
    terminal.wait_for("shell> ")
    terminal.type(shlex.join(teller_command(cluster)) + "\n")
    terminal.wait_for("Enter command: ")
    terminal.type("\x1a")
    terminal.wait_for("Stopped")
    terminal.type("fg\r")
    terminal.wait_for("atm.teller")  # the shell says what goes on
    for node in cluster.nodes.values():
        node.always = node.silence
    asked = cluster.requests()
    terminal.type("query\r")
    wait_until(lambda: cluster.requests() > asked)
    terminal.type("\x1a")  # now that nothing typed is shown
    terminal.wait_for("Stopped")
    terminal.type("stty -a | tr ';' '\\n'\n")
    terminal.wait_for(" echo ")
    for node in cluster.nodes.values():
        node.always = None
        node.released.set()
    terminal.type("fg\r")
    terminal.wait_for("Your current account balance is: 0")
    terminal.type("quit\r")
    terminal.wait_for("shell> ")
    terminal.type("exit\r")
    assert terminal.end() == 0


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
    terminal.wait_for(f"Outcome unknown, reference {request_id}: do not repeat the request; the teller")
    terminal.wait_for("Enter command: ")
    cluster["5000"].always = None
    cluster["5000"].released.set()
    terminal.type("query\r")
    terminal.wait_for(f"Settled: credited 5 to main (reference {request_id})")
    terminal.wait_for("Your current account balance is: 5")
    terminal.wait_for("Enter command: ")
    terminal.type("quit\r")
    assert terminal.end() == 0


@pytest.mark.usefixtures("bank")
def test_a_pin_is_typed_without_echo_and_is_not_in_the_history(
    cluster: FakeCluster, state_folder: Path
) -> None:
    terminal = Terminal(cluster)
    terminal.wait_for("Enter command: ")
    terminal.type("pin\r")
    terminal.wait_for("New PIN of main: ")
    terminal.type("493817\r")
    terminal.wait_for("New PIN again: ")
    terminal.type("493817\r")
    terminal.wait_for("Successfully set the PIN of main")
    terminal.wait_for("Enter command: ")
    assert "493817" not in terminal.everything
    terminal.type("login 493817\r")
    terminal.wait_for("A PIN is never part of a command")
    terminal.wait_for("Enter command: ")
    terminal.type("\x1b[A\r")  # the last line that is kept
    terminal.wait_for("Old PIN of main: ")
    terminal.type("\x03")
    terminal.wait_for("Interrupted: this command was not carried out")
    terminal.wait_for("Enter command: ")
    terminal.type("pin\r")
    terminal.wait_for("Old PIN of main: ")
    terminal.type("\x04")  # at once, and no further question (trial 28)
    terminal.wait_for("No PIN was given: nothing was changed")
    terminal.wait_for("Enter command: ")
    terminal.type("quit\r")
    assert terminal.end() == 0
    assert "493817" not in (state_folder / "history").read_text()


@pytest.mark.parametrize("screen", ["xterm", "dumb"])
@pytest.mark.usefixtures("bank")
def test_a_pin_that_is_typed_ahead_is_not_shown(cluster: FakeCluster, screen: str) -> None:
    """Trial 6: the bank is slow, and the customer types on."""
    terminal = Terminal(cluster, "5000", environment={"TERM": screen})
    terminal.wait_for("Enter command: ")
    cluster["5000"].always = cluster["5000"].silence
    asked = len(cluster["5000"].requests)
    terminal.type("pin\r")
    wait_until(lambda: len(cluster["5000"].requests) > asked)
    terminal.type("493817\r")
    cluster["5000"].always = None
    cluster["5000"].released.set()
    terminal.wait_for("New PIN of main: ")
    if screen == "dumb":  # which drops what was typed ahead
        terminal.type("493817\r")
    terminal.wait_for("New PIN again: ")
    terminal.type("493817\r")
    terminal.wait_for("Successfully set the PIN of main")
    terminal.wait_for("Enter command: ")
    terminal.type("quit\r")
    assert terminal.end() == 0
    assert "493817" not in terminal.everything


@pytest.mark.usefixtures("bank")
def test_a_pin_that_is_typed_ahead_and_never_asked_for_is_not_shown_either(cluster: FakeCluster) -> None:
    terminal = Terminal(cluster, "5000")
    terminal.wait_for("Enter command: ")
    cluster["5000"].always = cluster["5000"].silence
    asked = len(cluster["5000"].requests)
    terminal.type("login nobody\r")
    wait_until(lambda: len(cluster["5000"].requests) > asked)
    terminal.type("493817\r")
    cluster["5000"].always = None
    cluster["5000"].released.set()
    terminal.wait_for("No such account: nobody")
    terminal.wait_for("Enter command: ")
    terminal.type("quit\r")
    assert terminal.end() == 0
    assert "493817" not in terminal.everything


@pytest.mark.usefixtures("bank")
def test_who_leaves_the_terminal_is_logged_out_and_what_was_typed_stays(cluster: FakeCluster) -> None:
    terminal = Terminal(cluster, "--idle", "1")
    terminal.wait_for("Enter command: ")
    terminal.type("pin\r")
    for prompt in ("New PIN of main: ", "New PIN again: "):
        terminal.wait_for(prompt)
        terminal.type("4938\r")
    terminal.wait_for("Successfully set the PIN of main")
    terminal.wait_for("Enter command: ")
    terminal.type("que")
    terminal.wait_for("Logged out: no command for 1 seconds (to go on, type: login)")
    terminal.wait_for("Enter command: ")
    terminal.type("ry\r")
    terminal.wait_for("main has a PIN: log in first (type: login)")
    terminal.wait_for("Enter command: ")
    terminal.type("\x04")
    assert terminal.end() == 0


@pytest.mark.usefixtures("bank")
def test_ctrl_c_clears_what_was_typed_before_the_logout(cluster: FakeCluster) -> None:
    terminal = Terminal(cluster, "--idle", "1")
    terminal.wait_for("Enter command: ")
    terminal.type("pin\r")
    for prompt in ("New PIN of main: ", "New PIN again: "):
        terminal.wait_for(prompt)
        terminal.type("4938\r")
    terminal.wait_for("Successfully set the PIN of main")
    terminal.wait_for("Enter command: ")
    terminal.type("credit ")
    terminal.wait_for("Logged out: no command for 1 seconds (to go on, type: login)")
    terminal.wait_for("Enter command: ")
    terminal.type("\x03")
    terminal.wait_for("Enter command: ")
    terminal.type("query\r")
    terminal.wait_for("main has a PIN: log in first (type: login)")
    terminal.wait_for("Enter command: ")
    terminal.type("\x04")
    assert terminal.end() == 0


@pytest.mark.usefixtures("bank")
def test_accounts_are_completed(cluster: FakeCluster) -> None:
    terminal = Terminal(cluster)
    terminal.wait_for("Enter command: ")
    terminal.type("open bartholomew\r")
    terminal.wait_for("Successfully opened account bartholomew")
    terminal.wait_for("Enter command: ")
    terminal.type("trans\t")
    terminal.wait_for("fer")
    terminal.type("bar\t")
    terminal.wait_for("tholomew")
    terminal.type(" 5\r")
    terminal.wait_for("Insufficient account balance")
    terminal.wait_for("Enter command: ")
    terminal.type("quit\r")
    assert terminal.end() == 0


@pytest.mark.parametrize("screen", ["xterm", "dumb"])
def test_the_prompt_says_whose_account_it_is_unless_it_is_main(cluster: FakeCluster, screen: str) -> None:
    """Trial 29."""
    terminal = Terminal(cluster, environment={"TERM": screen})
    terminal.wait_for("Enter command: ")
    terminal.type("open bob\r")
    terminal.wait_for("Successfully opened account bob")
    terminal.wait_for("Enter command: ")
    terminal.type("account bob\r")
    terminal.wait_for("Enter command (bob): ")
    terminal.type("account main\r")
    terminal.wait_for("Enter command: ")
    terminal.type("quit\r")
    assert terminal.end() == 0


RED = "\x1b[31mInsufficient account balance\x1b[0m"


def test_what_was_not_done_is_red_in_a_terminal_but_not_if_somebody_minds(cluster: FakeCluster) -> None:
    coloured = Terminal(cluster, "-c", "debit 5")
    coloured.wait_for(RED)
    assert coloured.end() == 1
    for environment in ({"NO_COLOR": "1"}, {"TERM": "dumb"}):
        plain = Terminal(cluster, "-c", "debit 5", environment=environment)
        plain.wait_for("Insufficient account balance")
        assert plain.end() == 1
        assert "\x1b" not in plain.everything


@pytest.mark.usefixtures("bank")
def test_a_terminal_that_only_prints_lines_gets_no_others(cluster: FakeCluster) -> None:
    terminal = Terminal(cluster, environment={"TERM": "dumb"})
    terminal.wait_for("Enter command: ")
    terminal.type("pin\n")
    for prompt in ("New PIN of main: ", "New PIN again: "):
        terminal.wait_for(prompt)
        terminal.type("4938\n")
    terminal.wait_for("Successfully set the PIN of main")
    terminal.wait_for("Enter command: ")
    terminal.type("debit 5\n")
    terminal.wait_for("Insufficient account balance")
    terminal.wait_for("Enter command: ")
    terminal.type("\x04")
    assert terminal.end() == 0
    assert "\x1b" not in terminal.everything
    assert "4938" not in terminal.everything


def test_a_narrow_terminal_gets_lines_broken_between_words(cluster: FakeCluster) -> None:
    terminal = Terminal(cluster, "-c", "unlock main", environment={"COLUMNS": "40", "NO_COLOR": "1"})
    terminal.wait_for(
        "unlock is a command of the bank's\r\noperators: start the teller with\r\n--operator\r\n"
    )
    assert terminal.end() == 4
    greeted = Terminal(cluster, environment={"COLUMNS": "80"})
    greeted.wait_for(WELCOME)
    greeted.wait_for("Enter command: ")
    greeted.type("\x04")
    assert greeted.end() == 0


@pytest.mark.usefixtures("bank")
def test_a_narrow_terminal_gets_narrow_tables(cluster: FakeCluster) -> None:
    terminal = Terminal(cluster, "-c", "credit 12.50", "-c", "statement", environment={"COLUMNS": "40"})
    terminal.wait_for("posting (UTC)         amount  balance\r\n")
    assert terminal.end() == 0
