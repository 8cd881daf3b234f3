"""Writes lines in a thread of its own: whoever has something to say never waits for whoever reads it."""

from __future__ import annotations

import contextlib
import os
import select
import stat
from collections.abc import Callable
from pathlib import Path
from queue import Empty, SimpleQueue
from threading import Lock, Thread
from typing import Protocol

QUEUED_MAX = 2_000  # lines, of 4 KiB at most: what a reader may be late by
CLOSE_S = 1.0  # how long an end waits for a reader


class Output(Protocol):
    """Where lines go. For the writing thread."""

    def prepare(self) -> None:
        """Called before some lines are written."""

    def write(self, line: bytes) -> bool:
        """Write a line; return whether it was written whole."""

    def reopen(self) -> None:
        """Open it again, if it is a file."""

    def close(self) -> None: ...


class Descriptor:
    """An open file, pipe or terminal, which is not ours to close; None: there is none, and lines are lost."""

    def __init__(self, descriptor: int | None) -> None:
        self._descriptor = descriptor
        self._is_torn = False  # the last line was written in part

    def prepare(self) -> None: ...

    def write(self, line: bytes) -> bool:
        if self._descriptor is None:
            return True
        if self._is_torn:
            line = b"\n" + line
        written = 0
        try:
            while written < len(line):
                written += self._write(self._descriptor, line[written:])
        except OSError:  # the terminal or pipe is gone, or the disk is full
            self._is_torn = self._is_torn or written > 0
            return False
        self._is_torn = False
        return True

    def reopen(self) -> None: ...

    def close(self) -> None: ...

    @staticmethod
    def _write(descriptor: int, piece: bytes) -> int:
        try:
            return os.write(descriptor, piece)
        except BlockingIOError:  # another program that has it made it non-blocking
            waiting = select.poll()
            waiting.register(descriptor, select.POLLOUT)
            waiting.poll()
            return 0


class RotatedFile(Descriptor):
    """A file that is opened again once another is in its place, or none, as programs do that rotate files.

    It is always written at its end, so it may also be cut. If it cannot be opened again, what was opened
    before is written to, `on_error` is called, and it is tried again.
    """

    def __init__(self, path: Path, on_error: Callable[[OSError], None]) -> None:
        """Raise `OSError` if it cannot be opened."""
        self._path = path
        self._on_error = on_error
        self._file = _opened(path)
        super().__init__(self._file)

    def prepare(self) -> None:
        """Open it again if that is due."""
        with contextlib.suppress(OSError):
            if os.path.samestat(os.stat(self._path), os.fstat(self._file)):
                return
        self.reopen()

    def reopen(self) -> None:
        """Open it again."""
        try:
            opened = _opened(self._path)
        except OSError as error:
            self._on_error(error)
            return
        os.close(self._file)
        self._file = self._descriptor = opened

    def close(self) -> None:
        self._descriptor = None
        os.close(self._file)


def _opened(path: Path) -> int:
    """Open a file for its owner alone, unless it is there with other rights; refuse a pipe without reader."""
    flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOCTTY
    descriptor = os.open(path, flags | os.O_NONBLOCK, 0o600)  # a pipe without a reader would wait for one
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.set_blocking(descriptor, True)
    return descriptor


class LineWriter:
    """A queue of lines, and the thread that writes them, each by one call. Any thread may `put`."""

    def __init__(
        self,
        output: Output,
        *,
        lost_line: Callable[[int], bytes],
        due: Callable[[], float | None] = lambda: None,
        queued_max: int = QUEUED_MAX,
    ) -> None:
        """`lost_line` makes a line of how many could not be written. It is written as soon as one can be.

        `due` is called by the thread: it puts what is due, and returns in how many seconds to call it again.
        """
        self._output = output
        self._lost_line = lost_line
        self._due = due
        self._queued_max = queued_max
        self._queue: SimpleQueue[bytes | Callable[[], None] | None] = SimpleQueue()
        self._lock = Lock()  # guards _lost
        self._lost = 0
        self._thread = Thread(target=self._run, name="lines", daemon=True)
        self._thread.start()

    def put(self, line: bytes) -> None:
        """Have `line`, which ends with its newline, written; if too many wait for that, it is lost."""
        if self._queue.qsize() >= self._queued_max:
            self._lose(1)
        else:
            self._queue.put(line)

    def reopen(self) -> None:
        """Have the output opened again, if it is a file."""
        self._queue.put(self._reopen)

    def write_to(self, output: Output) -> None:
        """Have what comes later written to another output, and the present one closed."""
        self._queue.put(lambda: self._change_to(output))

    def close(self, within_s: float = CLOSE_S) -> None:
        """Write what waits, if that is done in time, and end."""
        self._queue.put(None)
        self._thread.join(within_s)

    def _run(self) -> None:
        while True:
            try:
                item = self._queue.get(timeout=self._due())
            except Empty:
                continue
            self._output.prepare()
            while item is not None:
                if isinstance(item, bytes):
                    self._write(item)
                else:
                    item()
                try:
                    item = self._queue.get_nowait()
                except Empty:
                    break
            else:
                self._output.close()
                return

    def _reopen(self) -> None:
        self._output.reopen()

    def _change_to(self, output: Output) -> None:
        before, self._output = self._output, output
        before.close()

    def _write(self, line: bytes) -> None:
        with self._lock:
            lost, self._lost = self._lost, 0
        if lost and not self._output.write(self._lost_line(lost)):
            self._lose(lost + 1)
        elif not self._output.write(line):
            self._lose(1)

    def _lose(self, count: int) -> None:
        with self._lock:
            self._lost += count
