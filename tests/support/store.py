"""What survives a crash, in memory: it has the interface of `LogFile`, and tests compare one with it."""

from __future__ import annotations

from collections.abc import Sequence

from atm.raft.log import BEGINNING, Log, LogStart
from atm.raft.messages import Entry, EntryKind, HardState


class Store:
    """Term, vote and log of one server as last saved; `entries` are those after `start`."""

    def __init__(self, hard_state: HardState | None = None, entries: Sequence[Entry] = ()) -> None:
        self.hard_state = hard_state or HardState()
        self.start = BEGINNING
        self.entries = list(entries)

    @property
    def last_index(self) -> int:
        return self.start.index + len(self.entries)

    @property
    def terms(self) -> list[tuple[int, int]]:
        """Return (first index, term) of each run of entries of one term."""
        runs: list[tuple[int, int]] = []
        for entry in self.entries:
            if not runs or runs[-1][1] != entry.term:
                runs.append((entry.index, entry.term))
        return runs

    def term_at(self, index: int) -> int | None:
        """Return the term of the entry at `index`, 0 for index 0, None where there is no entry."""
        if index == self.start.index:
            return self.start.term
        return self.entry_at(index).term if self.start.index < index <= self.last_index else None

    def entry_at(self, index: int) -> Entry:
        """Return the entry at `index`, which is there."""
        return self.entries[index - self.start.index - 1]

    def save(self, hard_state: HardState, entries: Sequence[Entry]) -> None:
        """Make `hard_state` and `entries` durable, as one; the first entry may replace a suffix."""
        if entries:
            assert self.start.index < entries[0].index <= self.last_index + 1, "a gap in the log"
            assert [e.index for e in entries] == list(range(entries[0].index, entries[-1].index + 1))
            del self.entries[entries[0].index - self.start.index - 1 :]
            self.entries += entries
        self.hard_state = hard_state

    def tail(self, first_index: int) -> list[Entry]:
        return self.entries[first_index - self.start.index - 1 :]

    def cut(self, first_index: int) -> None:
        """Drop the entries before `first_index`, which are in a snapshot."""
        last = self.entry_at(first_index - 1)
        self.entries = self.tail(first_index)
        self.start = LogStart(last.index, last.term, last.time_us)

    def reset(self, start: LogStart) -> None:
        """Drop all entries: the log begins after `start`, the last entry of a snapshot."""
        self.start = start
        self.entries.clear()

    def read_entries(self, first: int, last: int, bytes_max: int) -> list[Entry]:
        """Return entries `first` to at most `last`, at least one, within `bytes_max` of commands."""
        assert self.start.index < first <= last <= self.last_index
        chosen: list[Entry] = []
        for entry in self.tail(first)[: last - first + 1]:
            bytes_max -= len(entry.data)
            if chosen and bytes_max < 0:
                break
            chosen.append(entry)
        return chosen

    def load(self, base_index: int = 0) -> Log:
        """Return the log as a restart gives it to the core, entries after `base_index` in memory."""
        base_index = max(min(base_index, self.last_index - 1), self.start.index)
        tail = self.tail(base_index + 1)
        return Log(entries=tail, terms=self.terms, base_index=base_index, start=self.start)


def entries_of_terms(*terms: int) -> list[Entry]:
    """Return a log by the terms of its entries, as the boxes of Figure 7 show one."""
    return [
        Entry(
            index=index,
            term=term,
            time_us=index,
            kind=EntryKind.COMMAND,
            data=b"%d of term %d" % (index, term),
        )
        for index, term in enumerate(terms, start=1)
    ]
