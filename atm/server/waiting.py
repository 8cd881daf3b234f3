"""Requests that wait for their end: proposed here, reading here, or passed on to the leader."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from atm.raft.messages import Entry
from atm.server.inbox import Asked


class Proposals:
    """Commands in this node's log, each settled by the index *and* the term it was proposed at.

    An index alone would answer one client with another's result when a later leader replaced the entry.
    """

    def __init__(self) -> None:
        self._waiting: dict[int, tuple[int, Asked]] = {}  # by index: term and who asked

    def __len__(self) -> int:
        return len(self._waiting)

    def add(self, first_index: int, term: int, commands: Iterable[Asked]) -> list[Asked]:
        """Remember commands proposed from `first_index` on; return whose entries they replaced."""
        replaced = []
        for index, asked in enumerate(commands, first_index):
            before = self._waiting.get(index)
            if before is not None:
                replaced.append(before[1])
            self._waiting[index] = (term, asked)
        return replaced

    def take(self, entry: Entry) -> tuple[bool, Asked] | None:
        """Return whether a committed entry is the very one proposed at its index, and who waits there."""
        found = self._waiting.pop(entry.index, None)
        return None if found is None else (found[0] == entry.term, found[1])

    def take_all_but(self, term: int | None) -> list[Asked]:
        """Return who waits for an entry of another term than `term`."""
        gone = {index: asked for index, (at_term, asked) in self._waiting.items() if at_term != term}
        for index in gone:
            del self._waiting[index]
        return list(gone.values())


class Reads:
    """Queries that wait for the core to confirm that this node still leads; one id for all of a turn."""

    def __init__(self) -> None:
        self._waiting: dict[int, Sequence[Asked]] = {}
        self._last_id = 0
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def add(self, queries: Sequence[Asked]) -> int:
        """Remember the queries under a new id and return it."""
        self._last_id += 1
        self._waiting[self._last_id] = queries
        self._count += len(queries)
        return self._last_id

    def take(self, read_id: int) -> Sequence[Asked]:
        """Return who waits for this read."""
        queries = self._waiting.pop(read_id, ())
        self._count -= len(queries)
        return queries

    def take_all(self) -> list[Asked]:
        """Return who waits for any read."""
        return [asked for read_id in list(self._waiting) for asked in self.take(read_id)]


class PassedOn:
    """Requests passed on to the leader, by number.

    Numbers are never used again, and `first_number` is drawn by chance: an answer that was meant for an
    earlier process under this node's name finds nobody.
    """

    def __init__(self, first_number: int) -> None:
        self._next_number = first_number
        self._waiting: dict[int, tuple[float, Asked]] = {}  # the oldest first, with its deadline

    def __len__(self) -> int:
        return len(self._waiting)

    def add(self, requests: Iterable[Asked], deadline_s: float) -> list[tuple[int, bytes]]:
        """Remember the requests and return them as a `Forward` carries them."""
        numbered = []
        for number, asked in enumerate(requests, self._next_number):
            self._waiting[number] = (deadline_s, asked)
            numbered.append((number, asked.payload))
        self._next_number += len(numbered)
        return numbered

    def take(self, number: int) -> Asked | None:
        """Return who waits for the answer with this number."""
        found = self._waiting.pop(number, None)
        return None if found is None else found[1]

    def take_expired(self, now_s: float) -> list[Asked]:
        """Return whose deadline has passed."""
        expired = []
        for number, (deadline_s, asked) in self._waiting.items():
            if deadline_s > now_s:
                break
            expired.append((number, asked))
        for number, _ in expired:
            del self._waiting[number]
        return [asked for _, asked in expired]

    def take_all(self) -> list[Asked]:
        """Return everybody."""
        everybody = [asked for _, asked in self._waiting.values()]
        self._waiting.clear()
        return everybody
