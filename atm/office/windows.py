"""Which requests of an import may be sent together: those that do not depend on one another. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import NamedTuple

from atm.ledger.commands import BANK_ACCOUNTS, Approve, Command, Post, Reverse, Void
from atm.ledger.requests import accounts_named


class ImportRequest(NamedTuple):
    """One request of a file, which keeps its id in every import: that of the command.

    `accounts` are those that it touches and does not name, such as a reversal those of its original. Without
    them a command that names another request (`Reverse`, `Post`, `Void`, `Approve`) waits for all before it.
    """

    where: str  # how messages call it, such as "line 12"
    command: Command
    accounts: tuple[str, ...] = ()
    postings: int = 1
    balance: int | None = None  # that of its receipt, as far as the file says


SEARCHED_MAX = 10  # requests for each that is found: where all depend on one another, few more would be

Touched = frozenset[str]
_Waiting = list[tuple[ImportRequest, Touched | None]]


def windows(
    requests: Iterable[ImportRequest], size_max: int, lookahead: int
) -> Iterator[list[ImportRequest]]:
    """Yield all requests in lists of up to `size_max` that may be done in any order, one list after another.

    Of each account, and of a request and those that name it, the order is kept; `lookahead` are read before
    the first of them is yielded.
    """
    source = iter(requests)
    waiting: _Waiting = []
    while True:
        waiting += ((each, _touched(each)) for each in islice(source, lookahead - len(waiting)))
        if not waiting:
            return
        window, waiting = _first_window(waiting, size_max)
        yield window


def _first_window(waiting: _Waiting, size_max: int) -> tuple[list[ImportRequest], _Waiting]:
    """Return those that depend on none before them, up to `size_max`, and the rest in its order."""
    first, its_touched = waiting[0]
    if its_touched is None:
        return [first], waiting[1:]
    window: list[ImportRequest] = []
    rest: _Waiting = []
    before: set[str] = set()  # what the requests before this one touch
    for place, (request, touched) in enumerate(waiting):
        if touched is None or len(window) == size_max or place > SEARCHED_MAX * (len(window) + 10):
            return window, rest + waiting[place:]
        if before.isdisjoint(touched):
            window.append(request)
        else:
            rest.append((request, touched))
        before |= touched
    return window, rest


def _touched(request: ImportRequest) -> Touched | None:
    """Return the ids and accounts on which it depends, or others on it; None: it is not known.

    The bank's own accounts are paid from and into in any order: they may fall below zero.
    """
    command = request.command
    own = f" {command.id}"  # no account's name has a space
    match command:
        case Reverse():
            named = command.original
        case Post() | Void():
            named = command.hold
        case Approve():
            named = command.request
        case _:
            return frozenset((own, *accounts_named(command), *request.accounts)) - BANK_ACCOUNTS
    if not request.accounts:
        return None
    return frozenset((own, f" {named}", *request.accounts)) - BANK_ACCOUNTS
