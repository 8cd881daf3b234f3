"""A bank that does one thing at a time: what the judge compares the answers of five servers with."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple


@dataclass(frozen=True, slots=True)
class Operation:
    """What one client asked and was told; times are monotonic seconds, amounts minor units.

    `outcome` and `balance` are None if they are unknown: then the operation was done once, at any time after
    `call`, or never. `returned` is infinity if no answer came; with an outcome that was learned otherwise,
    such an operation was done at some time after `call`. `log_index` is the place in the log that the bank
    claims for it, 0 for a query. `account` is whose balance is told, of a transfer the payer's.
    """

    name: str
    account: str
    kind: str  # credit, debit, transfer, hold, post, void, reverse or query
    amount: int
    call: float
    returned: float = math.inf
    outcome: str | None = None  # ok, insufficient_funds or already_reversed
    balance: int | None = None
    available: int | None = None  # None: not told
    target: str = ""  # of a transfer
    about: str = ""  # of a post or void, its hold; of a reversal, its original
    log_index: int = 0


class Books(NamedTuple):
    """All that the bank knows; holds never expire here, and each reversal is of a whole request."""

    balances: tuple[tuple[str, int], ...]
    held: tuple[tuple[str, int], ...] = ()  # by hold, those that are active
    reversed: tuple[str, ...] = ()  # of those that more than one reversal is about

    def balance(self, account: str) -> int:
        return dict(self.balances)[account]


class OneBank:
    """Does operations; `originals` are those that others are about."""

    def __init__(self, originals: Mapping[str, Operation], contested: frozenset[str]) -> None:
        self._originals = originals
        self._contested = contested

    def done(self, operation: Operation, books: Books) -> Books | None:
        """Return the books after `operation`, or None if it would be answered otherwise."""
        balances, held = dict(books.balances), dict(books.held)
        outcome, ended = self._do(operation, balances, held, books.reversed)
        if operation.outcome not in (None, outcome):
            return None
        if operation.balance is not None:
            balance = balances[operation.account]
            available = balance - self._held(operation.account, held)
            if balance != operation.balance or operation.available not in (None, available):
                return None
        if outcome != "ok" or operation.kind == "query":
            return books
        return Books(tuple(balances.items()), tuple(held.items()), ended)

    def _do(
        self, operation: Operation, balances: dict[str, int], held: dict[str, int], ended: tuple[str, ...]
    ) -> tuple[str, tuple[str, ...]]:
        """Change `balances` and `held`; return the outcome, and what is reversed then."""
        account, amount = operation.account, operation.amount
        match operation.kind:
            case "query":
                pass
            case "credit":
                balances[account] += amount
            case "debit" | "transfer" | "hold":
                if balances[account] - self._held(account, held) < amount:
                    return "insufficient_funds", ended
                if operation.kind == "hold":
                    held[operation.name] = amount
                else:
                    balances[account] -= amount
                    if operation.target:
                        balances[operation.target] += amount
            case "post" | "void":
                if held.pop(operation.about, None) is None:
                    return "hold_not_found", ended
                balances[account] -= amount if operation.kind == "post" else 0
            case "reverse":
                return self._reverse(operation, balances, held, ended)
        return "ok", ended

    def _reverse(
        self, operation: Operation, balances: dict[str, int], held: dict[str, int], ended: tuple[str, ...]
    ) -> tuple[str, tuple[str, ...]]:
        original = self._originals[operation.about]
        if original.name in ended:
            return "already_reversed", ended
        giver = original.account if original.kind == "credit" else original.target
        if giver:
            if balances[giver] - self._held(giver, held) < original.amount:
                return "insufficient_funds", ended
            balances[giver] -= original.amount
        if original.kind != "credit":
            balances[original.account] += original.amount
        if original.name in self._contested:
            ended = (*ended, original.name)
        return "ok", ended

    def _held(self, account: str, held: Mapping[str, int]) -> int:
        return sum(amount for name, amount in held.items() if self._originals[name].account == account)
