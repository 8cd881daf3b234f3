"""What survives a crash, in memory: it has the interface of `LogFile`, and tests compare one with it."""

from __future__ import annotations

from collections.abc import Sequence

from atm.raft.log import Log
from atm.raft.messages import Entry, EntryKind, HardState


class Store:
    """Term, vote and log of one server as last saved; entry i stands at `entries[i - 1]`."""

    def __init__(self, hard_state: HardState | None = None, entries: Sequence[Entry] = ()) -> None:
        self.hard_state = hard_state or HardState()
        self.entries = list(entries)

    @property
    def last_index(self) -> int:
        return len(self.entries)

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
        if index == 0:
            return 0
        return self.entries[index - 1].term if 0 < index <= len(self.entries) else None

    def save(self, hard_state: HardState, entries: Sequence[Entry]) -> None:
        """Make `hard_state` and `entries` durable, as one; the first entry may replace a suffix."""
        if entries:
            assert 1 <= entries[0].index <= self.last_index + 1, "a gap in the log"
            assert [e.index for e in entries] == list(range(entries[0].index, entries[-1].index + 1))
            del self.entries[entries[0].index - 1 :]
            self.entries += entries
        self.hard_state = hard_state

    def tail(self, first_index: int) -> list[Entry]:
        return self.entries[first_index - 1 :]

    def read_entries(self, first: int, last: int, bytes_max: int) -> list[Entry]:
        """Return entries `first` to at most `last`, at least one, within `bytes_max` of commands."""
        assert 1 <= first <= last <= self.last_index
        chosen: list[Entry] = []
        for entry in self.entries[first - 1 : last]:
            bytes_max -= len(entry.data)
            if chosen and bytes_max < 0:
                break
            chosen.append(entry)
        return chosen

    def load(self, base_index: int = 0) -> Log:
        """Return the log as a restart gives it to the core, entries after `base_index` in memory."""
        base_index = min(base_index, max(self.last_index - 1, 0))
        return Log(entries=self.tail(base_index + 1), terms=self.terms, base_index=base_index)


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
