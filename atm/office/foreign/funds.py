"""Whether the bank has what a file lets its accounts pay: asked before anything is booked."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from itertools import islice

from atm.client import Client, NotAllowed
from atm.client.request_rules import TOGETHER_MAX
from atm.ledger.commands import Lookup, Query
from atm.ledger.requests import contents_of
from atm.office.bulk_import import is_done
from atm.office.foreign.survey import moves
from atm.office.windows import ImportRequest
from atm.permissions import needed


def uncovered(
    client: Client, requests: Iterable[ImportRequest], accounts: Collection[str]
) -> Iterator[tuple[str, str, int]]:
    """Yield where an account would be below zero first, its name, and how many minor units lack at most.

    What an earlier import has booked is in the balances, and does not count again. Raise as the client.
    """
    left = {account: _available(client, account) for account in accounts}
    first: dict[str, str] = {}
    lowest = dict.fromkeys(accounts, 0)
    concerned = (
        each
        for each in requests
        if any(payer in left or receiver in left for payer, receiver, _ in moves(each.command))
    )
    while window := list(islice(concerned, TOGETHER_MAX)):
        for request in _not_booked(client, window):
            for payer, receiver, amount in moves(request.command):
                if payer in left:
                    left[payer] -= amount
                    if left[payer] < lowest[payer]:
                        first.setdefault(payer, request.where)
                        lowest[payer] = left[payer]
                if receiver in left:
                    left[receiver] += amount
    for account, where in first.items():
        yield where, account, -lowest[account]


def _available(client: Client, account: str) -> int:
    found = client.ask(Query(id="funds", account=account))
    if found.outcome == "not_allowed":
        raise NotAllowed(needed("query"))
    return found.available or 0


def _not_booked(client: Client, window: list[ImportRequest]) -> Iterator[ImportRequest]:
    lookups = [Lookup(id=f"funds-{number}", request_id=each.command.id) for number, each in enumerate(window)]
    for request, found in zip(window, client.read_all(lookups), strict=True):
        if not (is_done(request.command, found) and found.asked == contents_of(request.command)):
            yield request
