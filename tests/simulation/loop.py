"""Simulated time: what is due next happens next, and the seed alone decides all of it."""

from __future__ import annotations

import zlib
from collections import deque
from collections.abc import Callable
from heapq import heappop, heappush
from random import Random

from tests.simulation.onlooker import Onlooker

LINES_KEPT = 80


class Loop:
    """Events in the order of their time, those of one time in the order in which they were asked for."""

    def __init__(self, luck: int, *, tracing: bool = False, onlooker: Onlooker | None = None) -> None:
        self.now_us = 0
        self.events = 0  # that have happened
        self.chance = Random(luck)
        self.tracing = tracing
        self.onlooker = onlooker or Onlooker()
        self.lines: deque[str] = deque(maxlen=LINES_KEPT)  # the last of the trace
        self.digest = 0  # of the whole trace
        self.listener: Callable[[str], None] = lambda line: None
        self._events: list[tuple[int, int, Callable[[], None]]] = []
        self._number = 0

    def after(self, delay_us: int, event: Callable[[], None]) -> None:
        assert delay_us >= 0
        self._number += 1
        heappush(self._events, (self.now_us + delay_us, self._number, event))

    def run_until(self, end_us: int) -> None:
        """Let everything happen that is due before `end_us`."""
        while self._events and self._events[0][0] < end_us:
            self.now_us, _, event = heappop(self._events)
            self.events += 1
            event()
            self.onlooker.happened()
        self.now_us = end_us

    def trace(self, what: str, *details: object) -> None:
        """Note that something happened; free unless tracing, so that most seeds run without."""
        if self.tracing:
            line = f"{self.now_us / 1e6:10.6f} {what} {' '.join(map(str, details))}"
            self.digest = zlib.crc32(line.encode(), self.digest)
            self.lines.append(line)
            self.listener(line)
            self.onlooker.traced(what, details)
