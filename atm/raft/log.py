"""The replicated log as the core sees it: all terms, but only the newest entries, in memory.

The whole log is on disk. In memory are the term of every index, as runs of equal terms (a term lasts for
thousands of entries), and the entries after `base_index`. Entries that are not applied are always in memory.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence

from atm.raft.messages import Entry

ENTRY_OVERHEAD_BYTES = 200  # what an entry takes in memory besides its data


def entry_bytes(entry: Entry) -> int:
    return len(entry.data) + ENTRY_OVERHEAD_BYTES


class Log:
    """Entries are numbered from 1; index 0 stands for the empty log and has term 0.

    `terms` holds (first index, term) of each run of entries of one term, of the whole log; `entries` is
    the tail from `base_index + 1` on, with at least the last entry if there is any.
    """

    def __init__(
        self, *, entries: Sequence[Entry] = (), terms: Sequence[tuple[int, int]] = (), base_index: int = 0
    ) -> None:
        self.base_index = base_index
        self._entries = list(entries)
        self._run_starts = [first for first, _ in terms]
        self._run_terms = [term for _, term in terms]
        self._bytes = sum(map(entry_bytes, self._entries))
        if not terms:
            for entry in self._entries:
                self._note_term(entry)
        assert self._entries or (base_index == 0 and not self._run_starts)
        assert not self._entries or self._entries[0].index == base_index + 1
        assert not self._entries or self._entries[-1].term == self._run_terms[-1]

    @property
    def last_index(self) -> int:
        return self.base_index + len(self._entries)

    @property
    def last_term(self) -> int:
        return self._run_terms[-1] if self._run_terms else 0

    @property
    def last_time_us(self) -> int:
        return self._entries[-1].time_us if self._entries else 0

    def time_us_at(self, index: int) -> int:
        """Return the stamp of the entry at `index`, or 0 if it is not in memory."""
        return self._entries[index - self.base_index - 1].time_us if self.base_index < index else 0

    def term_at(self, index: int) -> int | None:
        """Return the term of the entry at `index`, 0 for index 0, or None beyond the end."""
        if index == 0:
            return 0
        if not 0 < index <= self.last_index:
            return None
        return self._run_terms[bisect_right(self._run_starts, index) - 1]

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
                self._note_term(entry)
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
        del self._entries[:count]
        self.base_index += count
        self._bytes -= freed_bytes

    def _note_term(self, entry: Entry) -> None:
        if not self._run_terms or self._run_terms[-1] != entry.term:
            self._run_starts.append(entry.index)
            self._run_terms.append(entry.term)
