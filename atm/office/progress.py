"""Shows how far a long command is: a line that changes at a terminal, elsewhere one now and then."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TextIO

TERMINAL_S = 0.2  # between two lines
ELSEWHERE_S = 5.0
CLEAR = "\r\x1b[K"


class Progress:
    """The line that is shown last, at a terminal until `end`."""

    def __init__(self, out: TextIO, clock: Callable[[], float] = time.monotonic) -> None:
        self._out = out
        self._clock = clock
        self._at_terminal = out.isatty()
        self._shown_s = clock()
        self._has_line = False

    def show(self, tell: Callable[[], str]) -> None:
        """Show a line if one is due: what `tell` returns then."""
        now_s = self._clock()
        if now_s - self._shown_s < (TERMINAL_S if self._at_terminal else ELSEWHERE_S):
            return
        self._shown_s = now_s
        self._out.write(f"{CLEAR}{tell()}" if self._at_terminal else f"{tell()}\n")
        self._out.flush()
        self._has_line = self._at_terminal

    def end(self) -> None:
        """Take the line away."""
        if self._has_line:
            self._out.write(CLEAR)
            self._out.flush()
