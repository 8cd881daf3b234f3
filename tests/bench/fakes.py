"""Stand-ins for what is measured."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import ClassVar

import pytest

from bench.load import Result
from bench.systems.system import NotStarted, System
from bench.work import CLOSED_LOOP, Request, Work


class EchoConnection:
    """Acknowledges each request as soon as it is received; counts how many were under way at most."""

    retried = 0

    def __init__(self, refuse_at: int | None = None) -> None:
        self.refused: list[str] = []
        self.asked: list[Request] = []
        self.under_way_max = 0
        self._answered = 0
        self._refuse_at = refuse_at
        self._here, self._there = socket.socketpair()

    def fileno(self) -> int:
        return self._here.fileno()

    def send(self, requests: Iterable[Request]) -> None:
        requests = list(requests)
        self.asked += requests
        self.under_way_max = max(self.under_way_max, len(self.asked) - self._answered)
        self._there.sendall(b"." * len(requests))

    def receive(self) -> list[int]:
        count = len(self._here.recv(4096))
        numbers = list(range(self._answered, self._answered + count))
        self._answered += count
        if self._refuse_at in numbers:
            self.refused.append("busy: not now")
        return numbers

    def close(self) -> None:
        self._here.close()
        self._there.close()


class MadeUp(System):
    """Answers every request in 2 ms, without doing anything."""

    name = "made-up"
    works: ClassVar[tuple[Work, ...]] = CLOSED_LOOP
    fails_over = True
    running = 0

    @classmethod
    def missing(cls) -> str | None:
        return None

    @classmethod
    def version(cls) -> str:
        return "1.2"

    def settings(self) -> str:
        return "none"

    def start(self, folder: Path) -> None:
        type(self).running += 1

    def stop(self) -> None:
        type(self).running -= 1

    def processes(self) -> list[int]:
        return []

    def measure(self, work: Work, *, seconds: float, warm_up_s: float) -> Result:
        return Result(acknowledged=500, seconds=1.0, cpu_s=0.25, latencies_s=[0.002] * 500)

    def fail_over(self) -> float:
        return 300.0


class Broken(MadeUp):
    """Breaks down when it is measured."""

    name = "broken"

    def measure(self, work: Work, *, seconds: float, warm_up_s: float) -> Result:
        raise NotStarted("m1 ended with exit code 7: disk full")


class Absent(MadeUp):
    """Cannot be measured."""

    name = "absent"

    @classmethod
    def missing(cls) -> str | None:
        return "not installed: install it"


def assert_refused(
    main: Callable[[Sequence[str]], int],
    arguments: Sequence[str],
    line: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Assert that `main` tells what is wrong with its arguments by `line`, and does nothing."""
    try:
        exit_code: object = main(arguments)
    except SystemExit as left:
        exit_code = left.code
    assert exit_code == 2
    told = capsys.readouterr()
    assert line in told.err.splitlines()[-1]
    assert not told.out
