"""The processes of a system under test."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import IO

from bench.systems.system import NotStarted

ROOT = Path(__file__).parents[2]
PYTHON = (sys.executable, "-P", "-m")
TIED = "bench.systems.tied"
END_S = 5.0  # from closing its output to its end
HEAR_S = 120.0
LINE_CHARS_MAX = 300


class Processes:
    """Starts, talks to and kills processes by name; what they print as errors goes to files in `folder`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._started: dict[str, subprocess.Popen[bytes]] = {}

    def start(self, name: str, command: Sequence[str | Path]) -> None:
        """Start a process that takes lines from `say` and prints lines for `hear`."""
        with self._log(name).open("ab") as log:
            self._started[name] = subprocess.Popen(
                [*PYTHON, TIED, str(os.getpid()), *command],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                env={**os.environ, "PYTHONPATH": str(ROOT)},
                start_new_session=True,  # Ctrl-C is for the benchmark, which then stops them in order
            )

    def start_module(self, name: str, module: str, *arguments: str | Path) -> None:
        """Start a module of this project as such a process."""
        self.start(name, [*PYTHON, module, *arguments])

    def ids(self) -> list[int]:
        """Return the ids of all that were started and not killed."""
        return [process.pid for process in self._started.values()]

    def check(self) -> None:
        """Raise `NotStarted` if a process has ended."""
        for name, process in self._started.items():
            if process.poll() is not None:
                raise NotStarted(self._end_of(name))

    def say(self, name: str, line: bytes) -> None:
        """Write a line to the process; raise `NotStarted` if it has ended."""
        try:
            _pipe(self._started[name].stdin).write(line + b"\n")
            _pipe(self._started[name].stdin).flush()
        except OSError:
            raise NotStarted(self._end_of(name)) from None

    def hear(self, name: str) -> bytes:
        """Return the next line that the process prints.

        Raise `NotStarted` if it ends instead, or is killed for taking too long.
        """
        too_long = threading.Timer(HEAR_S, self._started[name].kill)
        too_long.start()
        try:
            line = _pipe(self._started[name].stdout).readline()
        finally:
            too_long.cancel()
            too_long.join()  # the load program is forked from a process without threads
        if not line:
            raise NotStarted(self._end_of(name))
        return line

    def kill(self, name: str) -> None:
        """End the process at once."""
        process = self._started.pop(name)
        process.kill()
        _reap(process)

    def stop(self) -> None:
        """Kill all: their data is not needed again."""
        for process in self._started.values():
            process.kill()
        for process in self._started.values():
            _reap(process)
        self._started.clear()

    def _log(self, name: str) -> Path:
        return self._folder / f"{name}.log"

    def _end_of(self, name: str) -> str:
        exit_code = self._started[name].wait(END_S)
        printed = self._log(name).read_text(errors="replace").strip().splitlines()
        return f"{name} ended with exit code {exit_code}: {printed[-1] if printed else ''}"[:LINE_CHARS_MAX]


def _pipe(stream: IO[bytes] | None) -> IO[bytes]:
    assert stream is not None
    return stream


def _reap(process: subprocess.Popen[bytes]) -> None:
    process.wait()
    for stream in (process.stdin, process.stdout):
        with contextlib.suppress(OSError):  # what it never read
            _pipe(stream).close()
