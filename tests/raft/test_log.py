"""The log by itself: what it keeps in memory, and what it lets go of."""

from __future__ import annotations

from atm.raft.log import Log, entry_bytes
from tests.support.store import entries_of_terms


def test_what_is_cut_off_takes_no_memory_any_more() -> None:
    """Else a follower whose log is cut again and again would keep next to nothing in memory in the end."""
    entries = entries_of_terms(1, 1, 1, 1)
    log = Log(entries=entries)
    for _ in range(10):
        log.truncate(2)
        log.append(entries[1:])
    log.forget(applied_index=4, bytes_max=sum(map(entry_bytes, entries)))
    assert (log.base_index, log.last_index) == (0, 4)
