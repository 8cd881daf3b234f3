"""The replicated log as the core sees it: all terms, but only the newest entries, in memory.

The log on disk begins after `start`; what the entries up to there have done is in a snapshot (section 7). In
memory are the term of every index from `start` on, as runs of equal terms (a term lasts for thousands of
entries), and the entries after `base_index`. Entries that are not applied are always in memory.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence

from msgspec import Struct

from atm.raft.messages import Entry, Snapshot

ENTRY_OVERHEAD_BYTES = 200  # what an entry takes in memory besides its data


def entry_bytes(entry: Entry) -> int:
    return len(entry.data) + ENTRY_OVERHEAD_BYTES


class LogStart(Struct, frozen=True):
    """The last entry that is no longer in the log: its index, term, and time stamp (0 if not known)."""

    index: int
    term: int
    time_us: int


BEGINNING = LogStart(0, 0, 0)  # of a log that is whole


class Log:
    """Entries are numbered from 1; index 0 stands for the empty log and has term 0.

    `start` is the last entry that is no longer there: all up to it is committed, applied, and in a snapshot.
    (If the disk does not tell what came before its first entry, that entry itself can be the start.) `terms`
    holds (first index, term) of each run of entries of one term, of the whole log; `entries` is the tail from
    `base_index + 1` on, with at least the last entry if there is any.
    """

    def __init__(
        self,
        *,
        entries: Sequence[Entry] = (),
        terms: Sequence[tuple[int, int]] = (),
        base_index: int = 0,
        start: LogStart = BEGINNING,
    ) -> None:
        self.start = start
        self.base_index = max(base_index, start.index)
        self._entries = list(entries)
        self._run_starts = [start.index] if start.index else []
        self._run_terms = [start.term] if start.index else []
        self._bytes = sum(map(entry_bytes, self._entries))
        for first, term in terms or [(entry.index, entry.term) for entry in self._entries]:
            if first > start.index:
                self._note_term(first, term)
        assert self._entries or self.base_index == start.index == (self._run_starts or [0])[-1]
        assert not self._entries or self._entries[0].index == self.base_index + 1
        assert not self._entries or self._entries[-1].term == self._run_terms[-1]

    @property
    def first_index(self) -> int:
        """The index of the first entry that the log has or will have."""
        return self.start.index + 1

    @property
    def last_index(self) -> int:
        return self.base_index + len(self._entries)

    @property
    def last_term(self) -> int:
        return self._run_terms[-1] if self._run_terms else 0

    @property
    def last_time_us(self) -> int:
        return self._entries[-1].time_us if self._entries else self.start.time_us

    def time_us_at(self, index: int) -> int:
        """Return the stamp of the entry at `index`, or 0 if it is neither in memory nor the start."""
        if index == self.start.index:
            return self.start.time_us
        return self._entries[index - self.base_index - 1].time_us if self.base_index < index else 0

    def term_at(self, index: int) -> int | None:
        """Return the term of the entry at `index`, 0 for index 0, or None if the log does not know it."""
        if index == self.start.index:
            return self.start.term
        if not self.start.index < index <= self.last_index:
            return None
        return self._run_terms[bisect_right(self._run_starts, index) - 1]

    def agrees(self, index: int, term: int) -> bool:
        """Return whether the entry at `index` is of `term`.

        One from before the start is: it is committed, and a leader has the same.
        """
        return index < self.start.index or self.term_at(index) == term

    def first_index_of_run(self, index: int) -> int:
        """Return the first index of the run of equal terms that holds `index`."""
        return self._run_starts[bisect_right(self._run_starts, index) - 1]

    def last_index_of_term(self, term: int) -> int | None:
        """Return the last index of `term`, or None if the log has no entry of it."""
        run = bisect_right(self._run_terms, term) - 1
        if run < 0 or self._run_terms[run] != term:
            return None
        return self._run_starts[run + 1] - 1 if run + 1 < len(self._run_starts) else self.last_index

    def runs_from(self, index: int) -> tuple[tuple[int, int], ...]:
        """Return (first index, term) of each run of equal terms that ends at `index` or later."""
        run = max(0, bisect_right(self._run_starts, index) - 1)
        return tuple(zip(self._run_starts[run:], self._run_terms[run:], strict=True))

    def up_to_date(self, last_term: int, last_index: int) -> bool:
        """Return whether a log that ends so is at least as up to date as this one (section 5.4.1)."""
        return (last_term, last_index) >= (self.last_term, self.last_index)

    def slice(self, first: int, last: int, bytes_max: int | None = None) -> tuple[Entry, ...]:
        """Return entries `first` to `last`, which are in memory: at least one, and at most `bytes_max`."""
        assert self.base_index < first <= last <= self.last_index
        entries = self._entries[first - self.base_index - 1 : last - self.base_index]
        if bytes_max is not None:
            total_bytes = 0
            for count, entry in enumerate(entries):
                total_bytes += entry_bytes(entry)
                if total_bytes > bytes_max and count:
                    return tuple(entries[:count])
        return tuple(entries)

    def append(self, entries: Sequence[Entry]) -> None:
        """Append `entries` after the last one."""
        assert not entries or entries[0].index == self.last_index + 1
        last_term = self.last_term
        for entry in entries:
            if entry.term != last_term:
                self._note_term(entry.index, entry.term)
                last_term = entry.term
            self._bytes += entry_bytes(entry)
        self._entries += entries

    def truncate(self, first: int) -> None:
        """Drop the entries from `first` on, which must be in memory; entries that may conflict always are."""
        assert self.base_index < first
        kept = first - self.base_index - 1
        self._bytes -= sum(map(entry_bytes, self._entries[kept:]))
        del self._entries[kept:]
        while self._run_starts and self._run_starts[-1] >= first:
            del self._run_starts[-1], self._run_terms[-1]

    def evict(self, applied_index: int, bytes_max: int) -> None:
        """Evict the oldest applied entries once they take more than `bytes_max`, down to half of it."""
        if self._bytes <= bytes_max:
            return
        evictable = min(applied_index, self.last_index - 1) - self.base_index
        count = freed_bytes = 0
        while count < evictable and self._bytes - freed_bytes > bytes_max // 2:
            freed_bytes += entry_bytes(self._entries[count])
            count += 1
        self._evict(count)

    def compact(self, index: int) -> None:
        """Let the log begin after `index`, unless it begins later; what is up to there is in a snapshot."""
        if index <= self.start.index:
            return
        term = self.term_at(index)
        assert term is not None
        start = LogStart(index, term, self.time_us_at(index))
        self._evict(max(0, index - self.base_index))
        run = bisect_right(self._run_starts, index)
        self._run_starts[:run], self._run_terms[:run] = [index], [term]
        self.start = start

    def reset(self, snapshot: Snapshot) -> None:
        """Empty the log; it begins after what is in `snapshot`."""
        self.start = LogStart(snapshot.index, snapshot.term, snapshot.time_us)
        self.base_index, self._bytes = snapshot.index, 0
        self._entries.clear()
        self._run_starts, self._run_terms = [snapshot.index], [snapshot.term]

    def _evict(self, count: int) -> None:
        """Drop the oldest `count` entries from memory."""
        self._bytes -= sum(map(entry_bytes, self._entries[:count]))
        del self._entries[:count]
        self.base_index += count

    def _note_term(self, first_index: int, term: int) -> None:
        if not self._run_terms or self._run_terms[-1] != term:
            self._run_starts.append(first_index)
            self._run_terms.append(term)
