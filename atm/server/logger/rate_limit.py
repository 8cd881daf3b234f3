"""How many lines there are of each event: in a flood of one kind the others can still be read."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator

from msgspec import Struct

from atm.server.logger.logger import EventRecord, Field

WINDOW_S = 60.0
LINES_MAX = 60  # of one event, within a window
SHOWN_CHARS_MAX = 200  # of a line that was left out, in the line that says how many were


class _Window(Struct):
    """The lines of one event, about one peer if it is about peers, in the minute that began at `begun_s`."""

    begun_s: float
    lines: int = 0
    seen: set[str] = set()
    left_out: int = 0
    last: EventRecord | None = None  # that was left out


class RateLimit:
    """Passes on so many lines a minute of each event, and says how many it left out. One thread at a time."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._windows: dict[tuple[str, str], _Window] = {}  # by event, and by whom it is about

    def admit(self, record: EventRecord) -> Iterator[EventRecord]:
        """Yield what is to be written now: what was left out before, and the event unless it is too much."""
        window = self._windows.get((record.event, record.about))
        if window is None or self._clock() >= window.begun_s + WINDOW_S:
            if window is not None and window.left_out:
                yield _left_out(window)
            window = self._windows[record.event, record.about] = _Window(self._clock())
        if record.msg in window.seen or window.lines >= (record.lines_max or LINES_MAX):
            window.left_out += 1
            window.last = record
            return
        window.lines += 1
        if record.lines_max:
            window.seen.add(record.msg)
        yield record

    def over(self) -> list[EventRecord]:
        """Return how many lines were left out in the minutes that are over."""
        return self._end(self._clock() - WINDOW_S)

    def rest(self) -> list[EventRecord]:
        """Return how many lines were left out and not told: nothing follows."""
        return self._end(math.inf)

    def over_in_s(self) -> float | None:
        """Return when there is something for `over`, in seconds; None if nothing was left out."""
        due = [window.begun_s for window in self._windows.values() if window.left_out]
        return max(0.0, min(due) + WINDOW_S - self._clock()) if due else None

    def _end(self, begun_until_s: float) -> list[EventRecord]:
        ended = [key for key, window in self._windows.items() if window.begun_s <= begun_until_s]
        windows = [self._windows.pop(key) for key in ended]
        return [_left_out(window) for window in windows if window.left_out]


def _left_out(window: _Window) -> EventRecord:
    last = window.last
    assert last is not None
    lines = "line" if window.left_out == 1 else "lines"
    shown = last.msg if len(last.msg) <= SHOWN_CHARS_MAX else last.msg[:SHOWN_CHARS_MAX] + "…"
    message = f"{window.left_out} more {lines} of this kind within a minute, left out; the last: {shown}"
    fields: dict[str, Field] = {"of": last.event, "about": last.about, "count": window.left_out}
    return EventRecord(last.levelno, "lines.left_out", message, fields, last.about, 0)
