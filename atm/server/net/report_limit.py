"""Lines about what others do: some a minute, so that they can neither fill a disk nor hide each other."""

from __future__ import annotations

import time
from collections.abc import Callable
from threading import Lock

LINES_MAX = 20
WINDOW_S = 60.0


class ReportLimit:
    """Reports different lines, up to a number a minute, and how many were left out. Any thread may use it."""

    def __init__(
        self,
        report: Callable[[str], None],
        *,
        lines_max: int = LINES_MAX,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._report = report
        self._lines_max = lines_max
        self._clock = clock
        self._lock = Lock()  # guards the rest
        self._begun_s = clock()
        self._reported: set[str] = set()  # in this minute
        self._left_out = 0

    def report(self, line: str) -> None:
        """Report it, or count it if it was reported in this minute, or enough others were."""
        self.flush()
        with self._lock:
            if line in self._reported or len(self._reported) >= self._lines_max:
                self._left_out += 1
                return
            self._reported.add(line)
        self._report(line)

    def flush(self) -> None:
        """When the minute is over, report how many lines were left out; called now and then."""
        with self._lock:
            if self._clock() - self._begun_s < WINDOW_S:
                return
            self._begun_s = self._clock()
            left_out, self._left_out = self._left_out, 0
            self._reported.clear()
        if left_out:
            self._report(f"{left_out} more connections were refused in the minute before, for such reasons")
