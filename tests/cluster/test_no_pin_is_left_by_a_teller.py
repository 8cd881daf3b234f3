"""A teller at a terminal leaves no PIN behind: not in its history, not in its journal, not on the screen."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from types import SimpleNamespace
from typing import cast

from atm.client import Client
from atm.local_cluster import LocalCluster
from tests.cluster.traces import traces
from tests.support.fake_cluster import FakeCluster
from tests.support.server_parts import wait_until
from tests.support.terminal import Terminal

PIN, WRONG, SLIP = "730264819551", "640551928373", "918273640552"


def test_no_pin_is_left_by_a_teller_that_is_killed_in_the_middle_of_a_debit(
    cluster: LocalCluster, tmp_path: Path
) -> None:
    """Not even one that was typed where a command belongs, nor in the journal of what was not answered."""
    state = tmp_path / "state" / "atm"
    with Client(cluster.cluster) as client:
        client.open("alice")
        client.credit("alice", 10_000)
    where = cast(FakeCluster, SimpleNamespace(config=cluster.cluster.path))
    terminal = Terminal(where, "--account", "alice", environment={"XDG_STATE_HOME": str(state.parent)})

    def command(line: str, **unseen: str) -> None:
        terminal.wait_for("Enter command")
        terminal.type(line + "\r")
        for prompt, pin in unseen.items():
            terminal.wait_for(prompt.replace("_", " ") + ": ")
            terminal.type(pin + "\r")

    command("pin", New_PIN_of_alice=PIN, New_PIN_again=PIN)
    command("logout")
    command("login alice", PIN_of_alice=WRONG)
    command("login alice", PIN_of_alice=PIN)
    command("debit 5")
    terminal.wait_for("Successfully debited 5")
    assert PIN not in terminal.everything
    assert WRONG not in terminal.everything
    command(f"login alice {SLIP}")
    command("query")
    terminal.wait_for("95")
    for name in list(cluster.cluster.nodes)[:3]:
        cluster.kill(name)
    command("debit 2")
    wait_until(lambda: any(state.glob("*.json")))
    os.kill(terminal.pid, signal.SIGKILL)
    assert terminal.end() == -signal.SIGKILL
    assert b"debit 5" in (state / "history").read_bytes()
    assert any(b'"op":"debit"' in path.read_bytes() for path in state.glob("*.json"))
    assert [trace for pin in (PIN, WRONG, SLIP) for trace in traces(pin, tmp_path)] == []
