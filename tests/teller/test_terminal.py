"""The teller at a terminal and in pipes, as a process of its own."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
from pathlib import Path

from tests.client.fake_cluster import FakeCluster
from tests.teller.running import AVAILABLE, ROOT, WELCOME, teller_command, wait_until
from tests.teller.terminal import Terminal


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
