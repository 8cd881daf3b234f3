"""Work that would hold up the run loop, in a process of its own: an audit, a snapshot, a backup."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock


class Stopping(Exception):
    """The node is stopping: no process is started any more."""


class Busy(Exception):
    """The process before is still running."""


def start_process(*arguments: str, stderr: int | None = None) -> subprocess.Popen[bytes]:
    """Start Python with these arguments. The program must end when its standard input does.

    Then even kill -9 of the node ends it.
    """
    return subprocess.Popen(
        [sys.executable, *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=stderr,
        process_group=0,  # the terminal's Ctrl-C is for the node
    )


class OneProcess:
    """Whoever runs one such process at a time. Any thread may use it."""

    def __init__(self) -> None:
        self._lock = Lock()  # guards what follows; never held while the process works
        self._running: subprocess.Popen[bytes] | None = None
        self._closed = False

    @contextmanager
    def _process(self, *arguments: str, stderr: int | None = None) -> Iterator[subprocess.Popen[bytes]]:
        """Yield a new process, and wait for its end; raise `Stopping` or `Busy`."""
        with self._lock:
            if self._closed:
                raise Stopping
            if self._running is not None:
                raise Busy
            self._running = process = start_process(*arguments, stderr=stderr)
        try:
            with process:
                yield process
        finally:
            with self._lock:
                self._running = None

    def interrupt(self) -> None:
        """Kill the process that is running: the file that it reads is about to be replaced."""
        with self._lock:
            if self._running is not None:
                self._running.kill()

    def close(self) -> None:
        """Kill the running process, and start no other."""
        with self._lock:
            self._closed = True
        self.interrupt()
