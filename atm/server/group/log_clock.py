"""The clock that a leader stamps its entries by: log time advances at the pace of real time under any leader.

Raft lets no stamp go back. If that were all, log time would stand still under a leader whose wall clock is
behind, until that clock has caught up, and would then leap when the next one leads: no hold would end in
the meantime, and then a hold that was just placed would end at once.
"""

from __future__ import annotations

from collections.abc import Callable

STAMP_US_MAX = 253_402_300_799 * 10**6  # the end of the year 9999: a calendar has no later day


class LogClock:
    """The wall clock, or the log's stamps if they are ahead of it. Only within an iteration."""

    def __init__(self, clock: Callable[[], float], wall_clock_us: Callable[[], int]) -> None:
        """`clock` is monotonic, in seconds; `wall_clock_us` counts from 1970 and may be set at any time."""
        self._clock = clock
        self._wall_clock_us = wall_clock_us
        self._seen_us = 0  # the stamp that was furthest ahead of this clock when it came
        self._seen_at_s = clock()

    def observe(self, last_time_us: int) -> None:
        """Do not fall behind the stamp of the log's last entry."""
        if last_time_us > self.now_us():
            self._seen_us, self._seen_at_s = last_time_us, self._clock()

    def now_us(self) -> int:
        """Return the time in microseconds since 1970, `STAMP_US_MAX` at most."""
        log_us = self._seen_us + int((self._clock() - self._seen_at_s) * 1e6)
        return min(max(self._wall_clock_us(), log_us), STAMP_US_MAX)
