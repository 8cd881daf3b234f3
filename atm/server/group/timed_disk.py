"""The disk of the log, which notes how long its syncs take: every credit waits for a majority's."""

from __future__ import annotations

import time
from collections.abc import Callable

from atm.storage.disk import OsDisk

WINDOW_S = 60.0


class TimedDisk(OsDisk):
    """For one thread. A sync that fails is not counted: the node stops then."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._window_began_s = clock()
        self._longest_s = 0.0  # in this window
        self._longest_before_s = 0.0  # in the one before

    def sync(self, file: int) -> None:
        began_s = self._clock()
        super().sync(file)
        self._turn()
        self._longest_s = max(self._longest_s, self._clock() - began_s)

    def longest_sync_ms(self) -> float:
        """Return the longest sync of the last one to two minutes."""
        self._turn()
        return 1000 * max(self._longest_s, self._longest_before_s)

    def _turn(self) -> None:
        passed_s = self._clock() - self._window_began_s
        if passed_s >= WINDOW_S:
            self._longest_before_s = self._longest_s if passed_s < 2 * WINDOW_S else 0.0
            self._longest_s = 0.0
            self._window_began_s = self._clock()
