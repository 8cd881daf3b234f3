"""The disk of the log, which notes how long its syncs take: every credit waits for a majority's."""

from __future__ import annotations

import time
from collections.abc import Callable

from atm.server.logger.logger import Logger
from atm.server.metrics.counters import SYNC_SECONDS, Histogram
from atm.storage.disk import OsDisk

WINDOW_S = 60.0


class TimedDisk(OsDisk):
    """For one thread. A sync that fails is not counted: the node stops then."""

    def __init__(self, logger: Logger, *, slow_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        """A sync of `slow_s` or more is told of."""
        self._logger = logger
        self._slow_s = slow_s
        self._clock = clock
        self._window_began_s = clock()
        self._longest_s = 0.0  # in this window
        self._longest_before_s = 0.0  # in the one before
        self.seconds = Histogram(SYNC_SECONDS)
        self.sync_began_s: float | None = None  # None while none is under way; any thread may read it

    def sync(self, file: int) -> None:
        began_s = self.sync_began_s = self._clock()
        super().sync(file)
        took_s = self._clock() - began_s
        self.sync_began_s = None
        self._turn()
        self.seconds.observe(took_s)
        self._longest_s = max(self._longest_s, took_s)
        if took_s >= self._slow_s:
            line = f"a sync of the log took {1000 * took_s:.0f} ms: commands and heartbeats wait for it"
            self._logger.warning("sync.slow", line, took_ms=round(1000 * took_s, 3))

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
