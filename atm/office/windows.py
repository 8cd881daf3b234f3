"""Which requests of an import may be sent together: those that do not depend on one another. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
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


def windows(requests: Iterable[ImportRequest], size_max: int) -> Iterator[list[ImportRequest]]:
    """Yield all requests in lists of up to `size_max` that may be done in any order, one list after another.

    Of each account, and of a request and those that name it, the order is kept.
    """
    layers: list[list[ImportRequest]] = []
    layer_behind: dict[str, int] = {}  # by what requests touch: the first layer behind those that did
    floor = 0  # the first layer behind a request that waits for all before it
    for request in requests:
        touched = _touched(request)
        if touched is None:
            number = len(layers)
            floor = number + 1
        else:
            number = max(floor, *(layer_behind.get(each, 0) for each in touched))
            layer_behind.update(dict.fromkeys(touched, number + 1))
        if number == len(layers):
            layers.append([])
        layers[number].append(request)
    for layer in layers:
        for first in range(0, len(layer), size_max):
            yield layer[first : first + size_max]


def _touched(request: ImportRequest) -> set[str] | None:
    """Return the ids and accounts on which it depends, or others on it; None: it is not known.

    The bank's own accounts are paid from and into in any order: they may fall below zero.
    """
    command = request.command
    touched = {f" {command.id}"}  # no account's name has a space
    match command:
        case Reverse():
            named = command.original
        case Post() | Void():
            named = command.hold
        case Approve():
            named = command.request
        case _:
            return touched | ({*accounts_named(command), *request.accounts} - BANK_ACCOUNTS)
    if not request.accounts:
        return None
    return touched | {f" {named}"} | (set(request.accounts) - BANK_ACCOUNTS)
