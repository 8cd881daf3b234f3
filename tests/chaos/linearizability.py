"""Was what the clients saw possible? A search for an order in which one bank could have done it all.

A history is linearizable if each operation can be given one point in time between its call and its return, so
that a bank that does one thing at a time, in the order of these points, gives the answers that were
given. Transfers tie the accounts together, so the whole bank is judged at once.

The search is that of Wing and Gong with Lowe's memory of states that led nowhere. It would take for ever if
it guessed; what keeps it fast is that the bank tells so much:

- An answer names balance and available amount, so an operation fits at few points.
- It names its place in the log as well, and what the log has first is tried first. A wrong place misleads
  nobody, as every other order is tried too; a right bank is followed without a detour.
- What fits and changes nothing (a query, a declined debit) is placed at once: later could only be harder.
- Unknown outcomes are placed only where nothing that is known fits, and as few of them as help.
- Two ways to the same placed operations and the same balances are one.

A wrong bank leads into detours, but only among what was asked for at the same time: some thousand states.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from itertools import combinations
from typing import NamedTuple

from tests.chaos.one_bank import Books, OneBank, Operation

__all__ = ["Undecided", "contradictions"]

TRIES_MAX = 1_000_000  # a minute; only histories with dozens of unknown outcomes can need more


class Undecided(Exception):
    """Too many unknown outcomes: the search was given up, and nothing was shown."""


def contradictions(
    history: Iterable[Operation], start: Mapping[str, int], tries_max: int = TRIES_MAX
) -> list[str]:
    """Return a line if no order explains the operations; `start` holds each account's first balance.

    Raise `Undecided` after `tries_max` steps of the search.
    """
    line = _Search(list(history), tries_max).contradiction(Books(tuple(start.items())))
    return [] if line is None else [line]


class _State(NamedTuple):
    front: int  # all closed operations before this one are placed
    ahead: int  # bit i: closed operation front + i is placed
    used: int  # bit i: open operation i is placed
    books: Books


class _Search:
    """*Closed* operations have returned, *open* ones have not."""

    def __init__(self, operations: list[Operation], tries_max: int) -> None:
        self._tries_max = tries_max
        self._tries = 0
        in_order = sorted(operations, key=lambda operation: operation.call)
        reversals = Counter(o.about for o in in_order if o.kind == "reverse")
        contested = frozenset(name for name, times in reversals.items() if times > 1)
        self._bank = OneBank({o.name: o for o in in_order}, contested)
        self._closed = [o for o in in_order if o.returned < math.inf]
        self._open = [o for o in in_order if o.returned == math.inf and o.kind != "query"]
        self._certain = [i for i, o in enumerate(self._open) if o.outcome is not None]
        self._doubtful = [i for i, o in enumerate(self._open) if o.outcome is None]
        self._certain_bits = sum(1 << i for i in self._certain)

    def contradiction(self, start: Books) -> str | None:
        """Return None if some order explains everything, or else where the longest attempt ended."""
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
        """Yield what may come next: first what the log has first, and last what is in doubt."""
        candidates, bound = self._candidates(state)
        known = [(self._closed[i].log_index, 0, i) for i in candidates]
        known += [(self._open[i].log_index, 1, i) for i in self._waiting(state, bound)]
        for _, is_open, i in sorted(known):
            following = self._with_open(state, i) if is_open else self._with_closed(state, i)
            if following is not None:
                yield self._place_readers(following)
        yield from self._with_doubtful(state, candidates, bound)

    def _waiting(self, state: _State, bound: float) -> list[int]:
        """Return the open operations with a known outcome that may come next."""
        return [i for i in self._certain if not state.used >> i & 1 and self._open[i].call <= bound]

    def _with_closed(self, state: _State, index: int) -> _State | None:
        books = self._bank.done(self._closed[index], state.books)
        if books is None:
            return None
        ahead = state.ahead | 1 << index - state.front
        behind = (~ahead & ahead + 1).bit_length() - 1  # how many of the lowest bits are set
        return _State(state.front + behind, ahead >> behind, state.used, books)

    def _with_open(self, state: _State, i: int) -> _State | None:
        books = self._bank.done(self._open[i], state.books)
        return None if books is None else state._replace(used=state.used | 1 << i, books=books)

    def _with_doubtful(self, state: _State, candidates: list[int], bound: float) -> Iterator[_State]:
        """Place as few unknown ones as lead to where something fits that is known.

        Credits come first, so that the others find what they need.
        """
        free = [i for i in self._doubtful if not state.used >> i & 1 and self._open[i].call <= bound]
        free.sort(key=lambda i: self._open[i].kind != "credit")
        wanted = [self._closed[i] for i in candidates]
        wanted += [self._open[i] for i in self._waiting(state, bound)]
        for size in range(1, len(free) + 1):
            for chosen in combinations(free, size):
                self._count_try()
                following: _State | None = state
                for i in chosen:
                    following = following and self._with_open(following, i)
                if following and any(self._bank.done(o, following.books) is not None for o in wanted):
                    yield self._place_readers(following)

    def _place_readers(self, state: _State) -> _State:
        """Place all that fits and changes nothing, again and again."""
        placed = True
        while placed:
            placed = False
            candidates, bound = self._candidates(state)
            for index in candidates:
                following = self._with_closed(state, index) if _only_looks(self._closed[index]) else None
                if following is not None:
                    state, placed = following, True
        for i in self._waiting(state, bound):
            if _only_looks(self._open[i]):
                state = self._with_open(state, i) or state
        return state

    def _count_try(self) -> None:
        self._tries += 1
        if self._tries > self._tries_max:
            raise Undecided(
                f"the order of {len(self._closed)} operations: given up after {self._tries_max} tries"
            )

    def _story(self, state: _State) -> str:
        candidates = [self._closed[index] for index in self._candidates(state)[0]]
        candidates += [self._open[i] for i in self._certain if not state.used >> i & 1]
        told = "; ".join(map(str, candidates[:10]))
        balances = ", ".join(f"{name} has {amount}" for name, amount in state.books.balances)
        done = f"{state.front} of {len(self._closed)} operations"
        return f"after {done} {balances}, and none of these fits: {told}"


def _only_looks(operation: Operation) -> bool:
    return operation.kind == "query" or operation.outcome not in ("ok", None)
