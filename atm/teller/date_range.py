"""The postings of an account between two days, by requests that only know the numbers of postings."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from atm.client import Line, Receipt
from atm.ledger.commands import PAGE_LINES_MAX

# Asks for so many of the account's latest postings before the number `before`, or the latest of all.
AskPage = Callable[[int, int | None], Receipt]


def lines_between(ask: AskPage, from_us: int, to_us: int) -> Iterator[Line]:
    """Yield the postings from `from_us` to `to_us`, the latest first, in microseconds since 1970."""
    before = cursor_after(lambda before: _latest(ask, before), to_us)
    while True:
        page = ask(PAGE_LINES_MAX, before)
        for line in page.lines or ():
            if line.time_us < from_us:
                return
            yield line
        if page.next is None:
            return
        assert isinstance(page.next, int)
        before = page.next


def cursor_after(latest: Callable[[int | None], Line | None], to_us: int) -> int | None:
    """Return the number before which are just the postings up to `to_us`, or None if those are all.

    `latest` returns the latest posting before a number. Times never go back, so halves are thrown away: forty
    questions find it among a million million.
    """
    newest = latest(None)
    if newest is None or newest.time_us <= to_us:
        return None
    low, high = 0, newest.posting  # all before `low` are in time, and the one at `high` is not
    while low < high:
        middle = (low + high) // 2
        line = latest(middle + 1)
        if line is None or line.time_us <= to_us:
            low = middle + 1
        else:
            high = line.posting
    return low


def _latest(ask: AskPage, before: int | None) -> Line | None:
    lines = ask(1, before).lines
    return lines[0] if lines else None
