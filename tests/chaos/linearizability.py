"""Was what the clients saw possible? A search for an order in which one bank could have done it all.

A history is linearizable if each operation can be given one moment between its call and its return, so
that a bank that does one thing at a time, in the order of these moments, gives the answers that were
given. Accounts are independent here, so each is judged alone.

The search is that of Wing and Gong with Lowe's memory of states that led nowhere, and uses what this bank
tells: an answer names the balance, so an operation fits at exactly one balance. What fits and changes
nothing (a query, a declined debit) is placed at once: placing it later could only be harder.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import combinations
from typing import NamedTuple

TRIES_MAX = 2_000_000  # some seconds; only histories with dozens of unknown outcomes can need more


@dataclass(frozen=True, slots=True)
class Operation:
    """What one client asked and was told; times are monotonic seconds, amounts minor units.

    `outcome` and `balance` are None if they are unknown: then the operation was done once, at any time after
    `call`, or never. `returned` is infinity if no answer came; with an outcome that was learned otherwise,
    such an operation was done at some time after `call`.
    """

    name: str
    account: str
    kind: str  # credit, debit or query
    amount: int
    call: float
    returned: float = math.inf
    outcome: str | None = None  # ok or insufficient_funds
    balance: int | None = None


class Undecided(Exception):
    """Too many unknown outcomes: the search was given up, and nothing was shown."""


def contradictions(
    history: Iterable[Operation], start: Mapping[str, int], tries_max: int = TRIES_MAX
) -> list[str]:
    """Return a line for each account whose operations no order explains; `start` holds its first balance.

    Raise `Undecided` after `tries_max` steps of the search on one account.
    """
    accounts: defaultdict[str, list[Operation]] = defaultdict(list)
    for operation in history:
        accounts[operation.account].append(operation)
    lines = (
        _AccountSearch(name, operations, tries_max).contradiction(start[name])
        for name, operations in sorted(accounts.items())
    )
    return [line for line in lines if line is not None]


class _State(NamedTuple):
    front: int  # all closed operations before this one are placed
    ahead: int  # bit i: closed operation front + i is placed
    used: int  # bit i: open operation i is placed
    balance: int


class _AccountSearch:
    """The operations of one account: *closed* ones have returned, *open* ones have not."""

    def __init__(self, account: str, operations: list[Operation], tries_max: int) -> None:
        self._account = account
        self._tries_max = tries_max
        self._tries = 0
        in_order = sorted(operations, key=lambda operation: operation.call)
        self._closed = [o for o in in_order if o.returned < math.inf]
        self._open = [o for o in in_order if o.returned == math.inf and o.kind != "query"]
        self._impossible = [o for o in in_order if o.outcome is not None and not _can_be(o)]
        self._before = [_balance_before(o) for o in self._closed]
        self._change = [_change(o) for o in self._closed]
        self._certain = [i for i, o in enumerate(self._open) if o.outcome is not None]
        self._doubtful = [i for i, o in enumerate(self._open) if o.outcome is None]
        self._certain_at: defaultdict[int, list[int]] = defaultdict(list)
        for i in self._certain:
            self._certain_at[_balance_before(self._open[i])].append(i)
        self._certain_bits = sum(1 << i for i in self._certain)

    def contradiction(self, start: int) -> str | None:
        """Return None if some order explains everything, or else where the longest attempt ended."""
        if self._impossible:
            return f"account {self._account}: no bank answers {self._impossible[0]}"
        seen: set[_State] = set()
        furthest = self._place_readers(_State(0, 0, 0, start))
        stack = [iter([furthest])]
        while stack:
            state = next(stack[-1], None)
            if state is None:
                stack.pop()
                continue
            if state in seen:
                continue
            seen.add(state)
            self._count_try()
            if state.front == len(self._closed) and state.used & self._certain_bits == self._certain_bits:
                return None
            furthest = max(furthest, state)
            stack.append(self._next_states(state))
        return self._story(furthest)

    def _candidates(self, state: _State) -> tuple[list[int], float]:
        """Return the closed operations that may come next, and the time by which one of them must."""
        found: list[int] = []
        bound = math.inf
        free = ~state.ahead
        while True:
            bit = free & -free
            index = state.front + bit.bit_length() - 1
            if index >= len(self._closed) or self._closed[index].call > bound:
                return found, bound
            found.append(index)
            bound = min(bound, self._closed[index].returned)
            free ^= bit

    def _next_states(self, state: _State) -> Iterator[_State]:
        candidates, bound = self._candidates(state)
        for index in candidates:
            if self._before[index] == state.balance:
                yield self._place_readers(self._placed(state, index))
        for i in self._certain_at.get(state.balance, ()):
            if not state.used >> i & 1 and self._open[i].call <= bound:
                change = _change(self._open[i])
                used = state.used | 1 << i
                yield self._place_readers(state._replace(used=used, balance=state.balance + change))
        yield from self._with_doubtful(state, candidates, bound)

    def _with_doubtful(self, state: _State, candidates: list[int], bound: float) -> Iterator[_State]:
        """Place as few unknown ones as lead to a balance at which something fits that is known.

        In which order does not matter: credits first, and the balance is never below where it ends.
        """
        free = [i for i in self._doubtful if not state.used >> i & 1 and self._open[i].call <= bound]
        if not free:
            return
        wanted = {self._before[index] for index in candidates}
        wanted |= {
            _balance_before(self._open[i])
            for i in self._certain
            if not state.used >> i & 1 and self._open[i].call <= bound
        }
        changes = {i: _change(self._open[i]) for i in free}
        for size in range(1, len(free) + 1):
            for chosen in combinations(free, size):
                self._count_try()
                balance = state.balance + sum(changes[i] for i in chosen)
                if balance in wanted:
                    used = state.used | sum(1 << i for i in chosen)
                    yield self._place_readers(state._replace(used=used, balance=balance))

    def _place_readers(self, state: _State) -> _State:
        """Place all that fits and changes nothing, again and again."""
        placed = True
        while placed:
            placed = False
            for index in self._candidates(state)[0]:
                if self._change[index] == 0 and self._before[index] == state.balance:
                    state, placed = self._placed(state, index), True
        for i in self._certain_at.get(state.balance, ()):
            if _change(self._open[i]) == 0 and self._open[i].call <= self._candidates(state)[1]:
                state = state._replace(used=state.used | 1 << i)
        return state

    def _placed(self, state: _State, index: int) -> _State:
        ahead = state.ahead | 1 << index - state.front
        behind = (~ahead & ahead + 1).bit_length() - 1  # how many of the lowest bits are set
        return _State(state.front + behind, ahead >> behind, state.used, state.balance + self._change[index])

    def _count_try(self) -> None:
        self._tries += 1
        if self._tries > self._tries_max:
            raise Undecided(f"account {self._account}: given up after {self._tries_max} tries")

    def _story(self, state: _State) -> str:
        candidates = [self._closed[index] for index in self._candidates(state)[0]]
        candidates += [self._open[i] for i in self._certain if not state.used >> i & 1]
        told = "; ".join(map(str, candidates[:10]))
        return (
            f"account {self._account}: after {state.front} of {len(self._closed)} operations the balance is "
            f"{state.balance}, and none of these fits: {told}"
        )


def _change(operation: Operation) -> int:
    """Return what the operation adds to the balance, if it is done."""
    if operation.kind == "query" or operation.outcome not in ("ok", None):
        return 0
    return operation.amount if operation.kind == "credit" else -operation.amount


def _balance_before(operation: Operation) -> int:
    assert operation.balance is not None, operation
    return operation.balance - _change(operation)


def _can_be(operation: Operation) -> bool:
    """Return whether the answer is one that the bank gives at any balance."""
    if operation.balance is None or operation.balance < 0:
        return False
    if operation.outcome == "insufficient_funds":
        return operation.kind == "debit" and operation.amount > operation.balance
    return operation.outcome == "ok" and _balance_before(operation) >= 0
