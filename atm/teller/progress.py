"""What a terminal shows while the bank does not answer: after half a second, how long that has taken."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from threading import Event, RLock, Thread
from typing import TextIO

SILENCE_S = 0.5
WAITING = "Waiting for the bank"


class Progress:
    """Writes to a terminal from a thread of its own; what else is written there goes through `write`.

    The line is taken back at the end. Where the cursor cannot go back (`erases` is False) it stays.
    """

    def __init__(self, terminal: TextIO, *, erases: bool) -> None:
        self._terminal = terminal
        self._erases = erases
        self._lock = RLock()  # guards the terminal, and _shown
        self._shown = ""

    def write(self, text: str, stream: TextIO | None) -> None:
        """Write a line, flushed, to a stream, in the place of the progress."""
        with self._lock:
            self._erase()
            print(text, file=stream, flush=True)

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """Within the block, show how long it takes."""
        over = Event()
        thread = Thread(target=self._tell, args=(over,), daemon=True)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()

    def _tell(self, over: Event) -> None:
        silent_s = SILENCE_S
        if over.wait(silent_s):
            return
        with suppress(OSError):  # the terminal has gone: whoever prints next will see
            if not self._erases:
                self.write(WAITING, self._terminal)
                return
            while True:
                with self._lock:
                    self._erase()
                    self._shown = f"{WAITING}: {silent_s:.0f} s" if silent_s >= 1 else WAITING
                    self._terminal.write(self._shown)
                    self._terminal.flush()
                if over.wait(1):
                    break
                silent_s += 1
            with self._lock:
                self._erase()
                self._terminal.flush()

    def _erase(self) -> None:
        if self._shown:
            self._terminal.write("\r" + " " * len(self._shown) + "\r")
            self._shown = ""
