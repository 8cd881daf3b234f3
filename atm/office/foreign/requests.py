"""Makes the bank's requests of transactions: one transaction is one request, all of it or nothing."""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Iterable, Iterator

from msgspec import Struct

from atm.client.errors import InvalidRequest
from atm.client.request_rules import check_request
from atm.ledger.commands import (
    CASH,
    LEGS_MAX,
    TEXT_CHARS_MAX,
    UNSEEN,
    Batch,
    Command,
    Credit,
    Debit,
    Leg,
    Transfer,
)
from atm.office.foreign.entries import Entry, NotCarried, Problem
from atm.office.foreign.mapping import Mapping

ID_DIGITS = 40  # hexadecimal, of a SHA-256
_UNSEEN = re.compile(f"[{UNSEEN}]")


class Planned(Struct, frozen=True):
    """A request, and the transaction that it is of; no `command` if that moves nothing here."""

    entry: Entry
    command: Command | None

    @property
    def line(self) -> int:
        """Where the transaction begins in the file; 0 for what the mapping asks for."""
        return self.entry.line


def planned(entries: Iterable[Entry | Problem], mapping: Mapping) -> Iterator[Planned | Problem]:
    """Yield a request for each transaction, those of `opening` first; problems stay what they are.

    The ids are the same in every import: made of the stated id, or of the day, the accounts, the amounts and
    how many such transactions were before it in the file. So a transaction is booked once, also out of two
    files that overlap by whole days. An id has the day in it if it is made of it. The description becomes the
    text of the postings and is not in the id: one id with two descriptions would be refused.
    """
    for account in mapping.opening:
        opening = Credit(
            id=_request_id("opening", account),
            account=account,
            amount=mapping.opening_minor(account),
            currency=mapping.currency,
        )
        yield Planned(Entry(0, "", "opening", "", ()), opening)
    alike: Counter[str] = Counter()
    stated: dict[str, int] = {}
    for entry in entries:
        if isinstance(entry, Problem):
            yield entry
            continue
        try:
            yield Planned(entry, _of_transaction(entry, mapping, alike, stated))
        except (NotCarried, InvalidRequest) as error:
            yield Problem(entry.line, str(error))


def _of_transaction(
    entry: Entry, mapping: Mapping, alike: Counter[str], stated: dict[str, int]
) -> Command | None:
    legs = _payments(_net(entry, mapping))
    if not legs:
        return None
    moves = tuple(f"{leg.account} {leg.target} {leg.amount}" for leg in legs)
    if entry.stated_id:
        owner = mapping.csv.account or "" if mapping.csv else ""
        request_id = _request_id("stated", mapping.source, owner, entry.stated_id)
        before = stated.setdefault(request_id, entry.line)
        if before != entry.line:
            raise NotCarried(f"the id {entry.stated_id!r} stands at line {before}, too")
    elif not entry.day:
        raise NotCarried("neither a day nor an id: two payments that look alike could not be told apart")
    else:
        digest = _request_id("like", entry.day, *moves)
        number = str(alike[digest])
        request_id = _request_id("found", mapping.source, entry.day, *moves, number, day=entry.day)
        alike[digest] += 1
    return _checked(_as_one_request(request_id, legs, _text(entry.text), mapping.currency))


def _net(entry: Entry, mapping: Mapping) -> dict[str, int]:
    """Return what each account receives in minor units, below zero for what it pays, in the file's order."""
    sign = 1 if mapping.books == "customer" else -1
    found: dict[str, int] = {}
    for change in entry.changes:
        assert change.amount_minor is not None, "`completed` has filled it in"
        found[change.account] = found.get(change.account, 0) + sign * change.amount_minor
    return found


def _payments(net: dict[str, int]) -> list[Leg]:
    """Return who pays whom, in the order of the accounts: no account both pays and receives."""
    owed = {account: amount for account, amount in net.items() if amount > 0}
    legs: list[Leg] = []
    for payer, amount in net.items():
        left = -amount
        while left > 0:
            receiver = next(iter(owed))
            moved = min(left, owed[receiver])
            legs.append(Leg(account=payer, target=receiver, amount=moved))
            left -= moved
            owed[receiver] -= moved
            if not owed[receiver]:
                del owed[receiver]
    return legs


def _text(description: str) -> str | None:
    """Return what a screen shows of a description, cut to the length of a text; None if that is nothing."""
    return " ".join(_UNSEEN.sub(" ", description).split())[:TEXT_CHARS_MAX].rstrip() or None


def _as_one_request(request_id: str, legs: list[Leg], text: str | None, currency: str | None) -> Command:
    if len(legs) > 1:
        if any(CASH in (leg.account, leg.target) for leg in legs):
            raise NotCarried(
                "cash and more than one account in one transaction: a batch moves no cash. Let the mapping "
                "name an account of its own in place of cash, and give it an opening"
            )
        if len(legs) > LEGS_MAX:
            raise NotCarried(f"{len(legs)} payments in one transaction, and a batch has at most {LEGS_MAX}")
        return Batch(id=request_id, legs=tuple(legs), text=text, currency=currency)
    (leg,) = legs
    if leg.account == CASH:
        return Credit(id=request_id, account=leg.target, amount=leg.amount, text=text, currency=currency)
    if leg.target == CASH:
        return Debit(id=request_id, account=leg.account, amount=leg.amount, text=text, currency=currency)
    return Transfer(
        id=request_id,
        account=leg.account,
        target=leg.target,
        amount=leg.amount,
        text=text,
        currency=currency,
    )


def _checked(command: Command) -> Command:
    check_request(command)
    return command


def _request_id(*parts: str, day: str = "") -> str:
    """Return `import-`, the day if it is written in ASCII, and a hash of the parts."""
    digest = hashlib.sha256("\0".join(parts).encode()).hexdigest()[:ID_DIGITS]
    known = day if len(day) <= 16 and day.isascii() and day.isprintable() and " " not in day else ""
    return "-".join(filter(None, ("import", known, digest)))
