"""Committed log entries for tests, made from lines such as `a1 credit main 500`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from atm.ledger.accounts import Account
from atm.ledger.book import HeldAmount, Ruling
from atm.ledger.commands import AMOUNT_MINOR_MAX, BALANCE_MINOR_MAX, Command, Credit, Debit, Open, Reverse
from atm.ledger.posting import BANK_MINOR_MIN, Posting
from atm.ledger.store import Ledger, Record

NAMED_AMOUNTS = {
    "LARGEST": AMOUNT_MINOR_MAX,
    "FULL": BALANCE_MINOR_MAX,
    "FULL-1": BALANCE_MINOR_MAX - 1,
    "BOTTOM": BANK_MINOR_MIN,
    "BOTTOM+1": BANK_MINOR_MIN + 1,
}


class EmptyShelf:
    """A ledger with nothing in it, for a `Book` that was told all there is."""

    def account(self, name: str) -> Account | None:
        return None

    def ruling(self, request_id: str) -> Ruling | None:
        return None

    def hold(self, request_id: str) -> HeldAmount | None:
        return None

    def holds_due(self, time_us: int) -> Sequence[HeldAmount]:
        return ()

    def postings(self, log_index: int) -> Sequence[Posting]:
        return ()

    def is_reversed(self, request_id: str) -> bool:
        return False


def amount(text: str) -> int:
    """Return minor units for a number or one of `NAMED_AMOUNTS`."""
    return NAMED_AMOUNTS[text] if text in NAMED_AMOUNTS else int(text)


def command(line: str) -> Command | None:
    """Return the command that a line of `id op account [amount]` stands for; `-` is a no-op."""
    match line.split():
        case ["-"]:
            return None
        case [request_id, "open", account]:
            return Open(id=request_id, account=account)
        case [request_id, "credit", account, number]:
            return Credit(id=request_id, account=account, amount=amount(number))
        case [request_id, "debit", account, number]:
            return Debit(id=request_id, account=account, amount=amount(number))
        case [request_id, "reverse", original]:
            return Reverse(id=request_id, original=original)
        case _:
            raise ValueError(line)


def time_us(log_index: int) -> int:
    """Return the time stamp that these tests give the entry at `log_index`."""
    return 1_700_000_000_000_000 + log_index * 1000


def records(lines: Iterable[str], first_index: int = 1) -> list[Record]:
    """Return an entry for each line, at consecutive indexes."""
    return [(index, time_us(index), command(line)) for index, line in enumerate(lines, first_index)]


def apply_in_batches(ledger: Ledger, entries: Sequence[Record], size: int) -> None:
    """Apply what of `entries` lies beyond the ledger's applied index, `size` at a time."""
    rest = entries[ledger.applied_index :]
    for start in range(0, len(rest), size):
        ledger.apply(rest[start : start + size])
