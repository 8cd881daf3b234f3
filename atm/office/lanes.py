"""The books of a bank on PostgreSQL, whose driver is loaded for such a bank only."""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING

from msgspec.structs import replace

from atm.lanes.faults import NoDriver
from atm.ledger.audit.extract import AccountLine, JournalLine
from atm.ledger.lane_numbers import first_posting

if TYPE_CHECKING:
    from collections.abc import Sequence

    from atm.config import EngineConfig
    from atm.lanes.books import LaneCopy


def copied_lanes(engine: EngineConfig) -> AbstractContextManager[Sequence[LaneCopy]]:
    """Yield a copy of each lane's books, see atm/lanes/books.py; raise `NoDriver` without the driver."""
    try:
        from atm.lanes import books  # noqa: PLC0415 - see the top
    except ModuleNotFoundError as error:
        raise NoDriver from error
    return books.copied_lanes(engine.url, engine.others)


def accounts_of_all(lanes: Iterable[Iterable[AccountLine]]) -> list[AccountLine]:
    """Return the accounts of all lanes by name; one of the bank's own has the sum of its balances."""
    found: dict[str, AccountLine] = {}
    for line in (line for lane in lanes for line in lane):
        before = found.get(line.account)
        found[line.account] = (
            line
            if before is None
            else replace(
                before,
                opened_us=min(before.opened_us, line.opened_us),
                balance=before.balance + line.balance,
            )
        )
    return [found[name] for name in sorted(found)]


def journal_of_all(lanes: Iterable[Iterable[JournalLine]]) -> Iterator[JournalLine]:
    """Yield the postings of all lanes in the order of their times, with numbers as clients see them."""

    def shown(lane: int, lines: Iterable[JournalLine]) -> Iterator[JournalLine]:
        return (replace(line, posting=first_posting(lane) + line.posting) for line in lines)

    each = [shown(lane, lines) for lane, lines in enumerate(lanes)]
    return heapq.merge(*each, key=lambda line: (line.time_us, line.posting))
