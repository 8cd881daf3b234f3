"""A peer that breaks the protocol, frame upon frame; after each batch *service* is required.

Numbers are said as they stand or counted from the node's own term and last index, so that some are believed.
Left out is what no server could refuse, as it looks like a valid message (README, "What is not"):
entries that can be applied, a commit index ahead of what is committed, and acknowledgements of entries.
"""

from __future__ import annotations

import time
from itertools import cycle
from types import TracebackType
from typing import Self

from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from atm.raft.messages import EntryKind
from atm.version import FEATURE_LEVEL_MAX
from atm.wire.codec import encode
from tests.support.welcomed import FAULTY_PEER, NODES, Bank

RESTART_EVERY = 25  # batches: what was saved must not stop the bank either

# A number is counted from "0", from the node's "term", from its "last" index, or from the time "now".
_absolute = st.sampled_from([0, 1, 2, 2**31, 2**32, 2**33, 2**53, 2**61, 2**62 - 1, 2**62, 2**63])
_term = (
    st.tuples(st.just("term"), st.sampled_from([0, 0, 0, 1, 1, 2, 2**32, 2**33, -1]))
    | st.tuples(st.just("term"), st.integers(-2, 5))
    | st.tuples(st.just("0"), _absolute)
)
_index = st.tuples(st.just("last"), st.integers(-3, 3)) | st.tuples(st.just("0"), _absolute)
_zero = st.just(("0", 0))
_bad_command = st.binary(max_size=30) | st.sampled_from([b"x" * 70_000, b"\x80", b"\x81\xa2op\xa5query"])
_stamp = st.tuples(st.just("0"), st.sampled_from([2**58, 2**61, 2**62]))
_bad_level = st.integers(FEATURE_LEVEL_MAX + 1, 10**6 + 1).map(lambda level: encode([level]))
_next = (st.just(("last", 1)), _term)
_bad_entry = st.one_of(
    st.tuples(*_next, st.just(("now", 0)), st.just(EntryKind.COMMAND), st.just(1), _bad_command),
    st.tuples(*_next, _stamp, st.just(EntryKind.NOOP), st.just(1), st.just(b"")),
    st.tuples(*_next, st.just(("now", 0)), st.sampled_from([3, 5, 255, 256, -1]), st.just(1), _bad_command),
    st.tuples(*_next, st.just(("now", 0)), st.integers(0, 4), st.sampled_from([0, 2, 255]), _bad_command),
    st.tuples(*_next, st.just(("now", 0)), st.just(EntryKind.FEATURE_LEVEL), st.just(1), _bad_level),
)
_entries = st.lists(_bad_entry, min_size=1, max_size=2)
_violations = st.one_of(
    st.tuples(st.just(1), _term, _index, _term, st.booleans()),
    st.tuples(st.just(2), _term, st.booleans(), st.booleans()),
    st.tuples(st.just(3), _term, _index, _term, st.just([]), _zero, _index),
    st.tuples(st.just(3), _term, st.just(("last", 0)), st.just(("term", 0)), _entries, _zero, _index),
    st.tuples(st.just(4), _term, st.just(False), _index, _index, _term, _index),
    st.tuples(st.just(4), _term, st.just(True), st.just(("0", 2**62)), _index, _term, _index),
)


class WelcomedPeer:
    """The servers' port of nodes of a running bank, from behind a hello that is right."""

    name = "welcomed peer"
    inputs: SearchStrategy[list[tuple[object, ...]]] = st.lists(_violations, min_size=1, max_size=5)

    def __enter__(self) -> Self:
        self.bank = Bank().__enter__()
        self._targets = cycle(NODES)
        self._batches = 0
        self._stopped = ""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.bank.__exit__(kind, error, trace)

    def saved(self) -> list[list[tuple[object, ...]]]:
        return []

    def attempt(self, given: list[tuple[object, ...]]) -> str:
        assert not self._stopped, self._stopped  # by an earlier batch, and nothing is the same since
        self._batches += 1
        try:
            return self._send_batch(given)
        except Exception as error:
            said = {name: lines[-3:] for name, lines in self.bank.said().items()}
            self._stopped = f"batch {self._batches} stopped the bank: {error!r:.200}, {said}, {given!r:.1000}"
            raise AssertionError(self._stopped) from error

    def _send_batch(self, given: list[tuple[object, ...]]) -> str:
        to = next(self._targets)
        term = self.bank.status(to).term
        self.bank.send_as_peer(to, *(self._resolved(to, violation) for violation in given))
        self.bank.assert_serves()
        if self._batches % RESTART_EVERY == 0:
            self.bank.restart()
            return "served after a restart"
        return "served" if self.bank.status(to).term == term else "served after an election"

    def finish(self) -> None:
        """Assert that the bank serves after one more restart."""
        self.bank.restart()

    def _resolved(self, to: str, violation: tuple[object, ...]) -> object:
        status = self.bank.status(to)
        now_us = time.time_ns() // 1000
        known = {"0": 0, "term": status.term, "last": status.last_index, "now": now_us}
        kind, *rest = violation
        return [kind, FAULTY_PEER, *(_said(value, known) for value in rest)]


def _said(value: object, known: dict[str, int]) -> object:
    match value:
        case (str(base), int(offset)):
            return max(0, known[base] + offset)
        case list(entries):
            return [[_said(element, known) for element in entry] for entry in entries]
        case _:
            return value
