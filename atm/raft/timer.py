"""Timeouts, counted in ticks: the core reads no clock."""

from __future__ import annotations

from collections.abc import Callable


class Timer:
    """Counts ticks since it was last reset, up to a timeout drawn anew at each reset (section 5.2)."""

    def __init__(self, draw_timeout_ticks: Callable[[], int]) -> None:
        self._draw_timeout_ticks = draw_timeout_ticks
        self.reset()

    def reset(self) -> None:
        self.elapsed_ticks = 0
        self.timeout_ticks = self._draw_timeout_ticks()

    def tick(self) -> bool:
        """Count one tick; when the timeout is reached, reset and return True."""
        self.elapsed_ticks += 1
        if self.elapsed_ticks < self.timeout_ticks:
            return False
        self.reset()
        return True
