"""Where each entry of the durable log is: 16 bytes of memory a batch, none an entry."""

from __future__ import annotations

import sys
from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Sequence

from msgspec import Struct

from atm.raft.messages import Entry

_OFFSET_BITS = 40  # a position is a segment's number and an offset of less than a tebibyte in it


class LogBase(Struct, frozen=True):
    """The last entry that the newest verified snapshot holds: up to it, the log may have been cut.

    `installed` says that the snapshot came from another server. Then this log may end before it, or hold
    other entries; a snapshot that was made here is of entries that this log had.
    """

    index: int = 0
    term: int = 0
    time_us: int = 0
    installed: bool = False


NO_SNAPSHOT = LogBase()


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
        self.start_term = 0  # of the entry before the first one, if that is known

    @property
    def first_index(self) -> int:
        """Index of the first entry, or of the next one if there is none."""
        return self._firsts[0] if self._firsts else self.last_index + 1

    def term_at(self, index: int) -> int | None:
        """Return the term of an entry or of the one before the first; None if it is not known."""
        if index == self.first_index - 1:
            return self.start_term or None
        run = bisect_right(self.terms, (index, sys.maxsize)) - 1
        return self.terms[run][1] if self.first_index <= index <= self.last_index else None

    def begin_after(self, index: int, term: int) -> None:
        """Empty the index; the next entry is `index + 1`."""
        del self._firsts[:], self._positions[:]
        self.terms.clear()
        self.last_index, self.start_term = index, term

    def append(
        self, first_index: int, last_index: int, runs: list[tuple[int, int]], segment: int, offset: int
    ) -> None:
        """Add the batch at `offset` of `segment`, which holds entries `first_index` to `last_index`."""
        assert 0 < first_index <= min(self.last_index + 1, last_index)
        if first_index < self.first_index:
            self.begin_after(first_index - 1, 0)
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

    def drop_before(self, segment: int) -> None:
        """Drop the batches that are in earlier segments than `segment`."""
        dropped = bisect_left(self._positions, segment << _OFFSET_BITS)
        if not dropped:
            return
        first_index = self._firsts[dropped] if dropped < len(self) else self.last_index + 1
        start_term = self.term_at(first_index - 1) or 0
        del self._firsts[:dropped], self._positions[:dropped]
        self.start_term = start_term
        kept = bisect_right(self.terms, (first_index, sys.maxsize)) - 1
        del self.terms[:kept]
        if not self._firsts:
            self.terms.clear()
        elif self.terms[0][0] < first_index:
            self.terms[0] = (first_index, self.terms[0][1])

    def __len__(self) -> int:
        return len(self._firsts)

    def find(self, index: int) -> int:
        """Return which batch holds the entry at `index`."""
        assert self.first_index <= index <= self.last_index
        return bisect_right(self._firsts, index) - 1

    def position(self, batch: int) -> tuple[int, int]:
        """Return the segment of a batch, and the offset in it."""
        position = self._positions[batch]
        return position >> _OFFSET_BITS, position & ((1 << _OFFSET_BITS) - 1)

    def indexes(self, batch: int) -> range:
        """Return the indexes of a batch's entries that were not replaced."""
        last = batch + 1 == len(self._firsts)
        return range(self._firsts[batch], self.last_index + 1 if last else self._firsts[batch + 1])
