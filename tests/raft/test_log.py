"""The core's log: which entries it keeps in memory, and which it evicts."""

from __future__ import annotations

from atm.raft.log import Log, entry_bytes
from tests.support.store import entries_of_terms


def test_truncated_entries_take_no_memory() -> None:
    """Otherwise a follower whose log is cut again and again would evict nearly all entries in the end."""
    entries = entries_of_terms(1, 1, 1, 1)
    log = Log(entries=entries)
    for _ in range(10):
        log.truncate(2)
        log.append(entries[1:])
    log.evict(applied_index=4, bytes_max=sum(map(entry_bytes, entries)))
    assert (log.base_index, log.last_index) == (0, 4)


def test_a_slice_may_have_all_the_bytes_that_are_allowed_and_no_more() -> None:
    entries = entries_of_terms(1, 1, 1)
    log, two_bytes = Log(entries=entries), entry_bytes(entries[0]) + entry_bytes(entries[1])
    assert len(log.slice(1, 3, two_bytes)) == 2
    assert len(log.slice(1, 3, two_bytes - 1)) == 1
    assert len(log.slice(1, 3, 0)) == 1


def test_entries_over_the_bound_are_evicted_down_to_half_of_it() -> None:
    entries = entries_of_terms(*[1] * 8)
    log, each_bytes = Log(entries=entries), entry_bytes(entries[0])
    log.evict(applied_index=8, bytes_max=8 * each_bytes)
    assert log.base_index == 0
    log.evict(applied_index=8, bytes_max=6 * each_bytes)
    assert (log.base_index, log.last_index) == (5, 8)
    log.evict(applied_index=8, bytes_max=3 * each_bytes)
    assert log.base_index == 5, "what was let go of counts no more"
    log.evict(applied_index=8, bytes_max=0)
    assert log.base_index == 7, "the last entry stays"


def test_a_term_whose_entries_are_all_truncated_is_gone_from_the_log() -> None:
    log = Log(entries=entries_of_terms(1, 3, 3))
    log.truncate(2)
    assert (log.last_term, log.last_index_of_term(3), log.last_index_of_term(1)) == (1, None, 1)
    log.append(entries_of_terms(1, 2)[1:])
    assert [log.last_index_of_term(term) for term in (1, 2, 3)] == [1, 2, None]
