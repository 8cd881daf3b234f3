"""Whether the bank would refuse what a file books, for want of money or over a ceiling: asked beforehand."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from itertools import islice

from msgspec import Struct

from atm.client import Client, NotAllowed, Receipt
from atm.client.request_rules import TOGETHER_MAX
from atm.ledger.commands import Lookup, Query
from atm.ledger.requests import contents_of
from atm.office.bulk_import import is_done
from atm.office.foreign.survey import moves
from atm.office.windows import ImportRequest
from atm.permissions import needed


class Foreseen(Struct, frozen=True):
    """An account that would pay more than it has, or receive more than its `ceiling`, if that is not None.

    `where` it happens first, and by how many minor units at most.
    """

    where: str
    account: str
    beyond: int
    ceiling: int | None = None


class _Bound:
    """What is left of something that must not fall below zero."""

    def __init__(self, left: int) -> None:
        self.left = self.lowest = left
        self.first: str | None = None  # where it is below zero first

    def change(self, amount: int, where: str) -> None:
        self.left += amount
        if self.left < 0:
            self.first = self.first or where
            self.lowest = min(self.lowest, self.left)


def foreseen(
    client: Client, requests: Iterable[ImportRequest], short: Collection[str], accounts: Sequence[str]
) -> list[Foreseen]:
    """Return where the bank would refuse: of the `accounts`, the `short` ones may pay more than they have.

    What an earlier import has booked is in the balances, and does not count again. Raise as the client.
    """
    found = _balances(client, accounts)
    funds = {account: _Bound(found[account].available or 0) for account in short}
    ceilings = {name: each.ceiling for name, each in found.items() if each.ceiling is not None}
    room = {account: _Bound(ceiling - (found[account].balance or 0)) for account, ceiling in ceilings.items()}
    concerned = (
        each
        for each in requests
        if any(name in funds or name in room for two in moves(each.command) for name in two[:2])
    )
    while window := list(islice(concerned, TOGETHER_MAX)):
        for request in _not_booked(client, window):
            for payer, receiver, amount in moves(request.command):
                _move(funds, payer, receiver, amount, request.where)
                _move(room, receiver, payer, amount, request.where)
    return [
        Foreseen(bound.first, account, -bound.lowest, ceilings[account] if bounds is room else None)
        for bounds in (funds, room)
        for account, bound in bounds.items()
        if bound.first is not None
    ]


def _move(bounds: dict[str, _Bound], less: str, more: str, amount: int, where: str) -> None:
    if less in bounds:
        bounds[less].change(-amount, where)
    if more in bounds:
        bounds[more].change(amount, where)


def _balances(client: Client, accounts: Sequence[str]) -> dict[str, Receipt]:
    found: dict[str, Receipt] = {}
    for start in range(0, len(accounts), TOGETHER_MAX):
        names = accounts[start : start + TOGETHER_MAX]
        queries = [Query(id=f"funds-{number}", account=name) for number, name in enumerate(names)]
        found |= zip(names, client.read_all(queries), strict=True)
    if any(each.outcome == "not_allowed" for each in found.values()):
        raise NotAllowed(needed("query"))
    return found


def _not_booked(client: Client, window: list[ImportRequest]) -> Iterator[ImportRequest]:
    lookups = [Lookup(id=f"funds-{number}", request_id=each.command.id) for number, each in enumerate(window)]
    for request, found in zip(window, client.read_all(lookups), strict=True):
        if not (is_done(request.command, found) and found.asked == contents_of(request.command)):
            yield request
