"""Running the teller in tests, and what it said."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

from atm.teller.language import parse
from tests.support.fake_cluster import FakeCluster

ROOT = Path(__file__).resolve().parent.parent.parent
WELCOME = "Welcome to your ATM! You can check your balance, credit to or debit from your account"
AVAILABLE = "Available commands are: query, credit <amount>, debit <amount>"
NOT_AVAILABLE = "The bank is not available: no majority of servers answered"


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


def teller_command(cluster: FakeCluster) -> list[str]:
    return [sys.executable, "-m", "atm.teller", "--config", str(cluster.config)]


def start_teller(cluster: FakeCluster, *arguments: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [*teller_command(cluster), *arguments],
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline, "it did not come about within 10 seconds"
        time.sleep(0.005)


class OnLine:
    """Does something when one of certain lines is about to be parsed."""

    def __init__(self, lines: Collection[str], action: Callable[[str], None]) -> None:
        self._lines, self._action = lines, action

    def __call__(self, line: str, **context: Any) -> Any:
        if line.strip() in self._lines:
            self._action(line)
        return parse(line, **context)
