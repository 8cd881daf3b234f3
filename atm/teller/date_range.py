"""The postings of an account between two days, by requests that only know the numbers of postings."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from atm.client import Line, Receipt, new_request_id
from atm.client.pages import pages
from atm.ledger.commands import PAGE_LINES_MAX, Page, Statement

AskPage = Callable[[Page], Receipt]


def lines_between(ask: AskPage, account: str, from_us: int, to_us: int) -> Iterator[Line]:
    """Yield its postings from `from_us` to `to_us`, the latest first, in microseconds since 1970."""
    before = cursor_after(lambda before: _latest(ask, account, before), to_us)
    first = Statement(id=new_request_id(), account=account, limit=PAGE_LINES_MAX, before=before)
    for page in pages(ask, first):
        for line in page.lines or ():
            if line.time_us < from_us:
                return
            yield line


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


def _latest(ask: AskPage, account: str, before: int | None) -> Line | None:
    lines = ask(Statement(id=new_request_id(), account=account, limit=1, before=before)).lines
    return lines[0] if lines else None
