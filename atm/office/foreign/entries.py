"""What all readers return: transactions, and what is wrong with a file."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from datetime import date

from msgspec import Struct

from atm.money import format_amount


class Problem(Struct, frozen=True):
    """Why what stands at a line cannot be carried over; `what` is one line for people."""

    line: int
    what: str


class Change(Struct, frozen=True):
    """What a transaction does to an account, which has its name here; minor units, with the file's sign.

    None is what the file leaves out: the rest, so that the changes add up to 0.
    """

    account: str
    amount_minor: int | None


class Entry(Struct, frozen=True):
    """A transaction of a file, which begins at `line`; its changes add up to 0.

    `day` is as ISO 8601 writes it, or as the file does, or empty. `stated_id` is the id that the file gives
    it, or empty. `unchecked` counts its balance assertions, which are not checked here.
    """

    line: int
    day: str
    text: str
    stated_id: str
    changes: tuple[Change, ...]
    unchecked: int = 0


class NotCarried(Exception):
    """Raised inside a reader; `str()` is the `what` of a `Problem`."""


def completed(changes: Iterable[Change], currency: str | None) -> tuple[Change, ...]:
    """Return the changes with the one amount that may be left out; raise `NotCarried` if the sum is not 0."""
    known = list(changes)
    rest = -sum(each.amount_minor for each in known if each.amount_minor is not None)
    left_out = [at for at, each in enumerate(known) if each.amount_minor is None]
    if len(left_out) > 1:
        raise NotCarried("more than one posting of this transaction has no amount")
    if left_out:
        known[left_out[0]] = Change(known[left_out[0]].account, rest)
    elif rest:
        raise NotCarried(
            f"the postings of this transaction add up to {format_amount(-rest, currency)}, not to 0"
        )
    return tuple(known)


def iso_day(year: str, month: str, day: str) -> str:
    """Return a day as ISO 8601 writes it; raise `NotCarried` if the calendar has no such day."""
    try:
        return date(int(year), int(month), int(day)).isoformat()
    except ValueError:
        raise NotCarried(f"there is no day {year}-{month}-{day}") from None


class Block:
    """A line that begins at the left edge, and the indented ones below it; `at` is the line being read."""

    def __init__(self, line: int, head: str) -> None:
        self.line = self.at = line
        self.head = head
        self.below: list[tuple[int, str]] = []

    def __iter__(self) -> Iterator[str]:
        for number, text in self.below:
            self.at = number
            yield text
        self.at = self.line


def read_blocks(text: str, parse: Callable[[Block], Entry | None]) -> Iterator[Entry | Problem]:
    """Yield what `parse` makes of each block; a `NotCarried` is a problem at the line that was being read.

    An empty line ends a block, and one that has only spaces does not.
    """
    block: Block | None = None
    for number, raw in enumerate([*text.replace("\r\n", "\n").split("\n"), ""], 1):
        if raw.strip() and raw[0] in " \t":
            if block is None:
                yield Problem(number, "an indented line that belongs to nothing")
            else:
                block.below.append((number, raw.strip()))
            continue
        if raw and not raw.strip():
            continue
        if block is not None:
            try:
                entry = parse(block)
            except NotCarried as error:
                yield Problem(block.at, str(error))
            else:
                if entry is not None:
                    yield entry
        block = Block(number, raw.rstrip()) if raw else None
