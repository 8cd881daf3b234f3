"""Where each entry of the durable log is: 16 bytes of memory a batch, none an entry."""

from __future__ import annotations

from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Sequence

from atm.raft.messages import Entry

_OFFSET_BITS = 40  # a position is a segment's number and an offset of less than a tebibyte in it


def term_runs(entries: Sequence[Entry]) -> list[tuple[int, int]]:
    """Return (first index, term) of each run of entries of one term; terms only rise in a log."""
    runs = [(entries[0].index, entries[0].term)]
    if entries[-1].term != entries[0].term:
        for entry in entries:
            if entry.term != runs[-1][1]:
                runs.append((entry.index, entry.term))
    return runs


class LogIndex:
    """First index and position of every batch that has entries of the log.

    A batch replaces all entries from its first index on. So batches that start there or later are dropped
    from this index, and earlier ones count only up to there. The first indexes therefore rise strictly, and
    an entry is in the last batch whose first index is not greater.
    """

    def __init__(self) -> None:
        self._firsts = array("Q")
        self._positions = array("Q")
        self.terms: list[tuple[int, int]] = []
        self.last_index = 0

    def append(
        self, first_index: int, last_index: int, runs: list[tuple[int, int]], segment: int, offset: int
    ) -> None:
        """Add the batch at `offset` of `segment`, which holds entries `first_index` to `last_index`."""
        assert 0 < first_index <= min(self.last_index + 1, last_index)
        if first_index <= self.last_index:
            kept = bisect_left(self._firsts, first_index)
            del self._firsts[kept:], self._positions[kept:]
            while self.terms and self.terms[-1][0] >= first_index:
                self.terms.pop()
        self._firsts.append(first_index)
        self._positions.append(segment << _OFFSET_BITS | offset)
        if self.terms and self.terms[-1][1] == runs[0][1]:
            runs = runs[1:]
        self.terms.extend(runs)
        self.last_index = last_index

    def __len__(self) -> int:
        return len(self._firsts)

    def find(self, index: int) -> int:
        """Return which batch holds the entry at `index`."""
        assert 0 < index <= self.last_index
        return bisect_right(self._firsts, index) - 1

    def position(self, batch: int) -> tuple[int, int]:
        """Return the segment of a batch, and the offset in it."""
        position = self._positions[batch]
        return position >> _OFFSET_BITS, position & ((1 << _OFFSET_BITS) - 1)

    def indexes(self, batch: int) -> range:
        """Return the indexes of a batch's entries that were not replaced."""
        last = batch + 1 == len(self._firsts)
        return range(self._firsts[batch], self.last_index + 1 if last else self._firsts[batch + 1])
