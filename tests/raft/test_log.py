"""The core's log: which entries it keeps in memory, and which it evicts."""

from __future__ import annotations

import pytest

from atm.raft.log import Log, LogStart, entry_bytes
from tests.raft.single import snapshot_at
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


# -- a log that was cut -------------------------------------------------------------------------------


def test_a_log_that_was_cut_knows_what_is_left_and_the_term_before_it() -> None:
    log = Log(entries=entries_of_terms(1, 1, 3, 3, 4, 4))
    log.compact(3)
    assert log.start == LogStart(3, 3, 3)
    assert (log.first_index, log.base_index, log.last_index, log.last_term) == (4, 3, 6, 4)
    assert [log.term_at(index) for index in range(8)] == [None, None, None, 3, 3, 4, 4, None]
    assert [log.agrees(index, 3) for index in range(8)] == [True] * 3 + [True, True, False, False, False]
    assert [log.time_us_at(index) for index in (3, 4)] == [3, 4]
    assert [log.last_index_of_term(term) for term in (1, 3, 4)] == [None, 4, 6]
    assert (log.first_index_of_run(4), log.first_index_of_run(6)) == (3, 5)
    assert log.runs_from(3) == ((3, 3), (5, 4))


def test_a_log_that_was_cut_whole_goes_on_from_its_start() -> None:
    log = Log(entries=entries_of_terms(1, 1, 3))
    log.compact(3)
    assert (log.first_index, log.last_index, log.last_term, log.last_time_us) == (4, 3, 3, 3)
    assert log.up_to_date(3, 3)
    assert not log.up_to_date(2, 9)
    log.append(entries_of_terms(1, 1, 3, 3, 4)[3:])
    assert (log.last_index, log.last_term, log.last_index_of_term(3)) == (5, 4, 4)
    log.truncate(4)
    assert (log.last_index, log.last_term, log.last_time_us) == (3, 3, 3)


def test_a_start_never_goes_back() -> None:
    log = Log(entries=entries_of_terms(1, 1, 1, 1))
    log.compact(3)
    log.compact(2)
    log.compact(0)
    assert log.start == LogStart(3, 1, 3)


def test_what_is_cut_takes_no_memory_and_what_was_evicted_is_cut_too() -> None:
    entries = entries_of_terms(*[1] * 8)
    log, each_bytes = Log(entries=entries), entry_bytes(entries[0])
    log.compact(4)
    log.evict(applied_index=8, bytes_max=4 * each_bytes)
    assert log.base_index == 4, "the four that are left fit"
    log.evict(applied_index=8, bytes_max=2 * each_bytes)
    assert log.base_index == 7
    log.compact(6)
    assert (log.first_index, log.base_index, log.term_at(6), log.start.time_us) == (7, 7, 1, 0)
    assert log.slice(8, 8) == (entries[7],)


def test_a_log_that_is_reset_has_nothing_but_its_start() -> None:
    entries = entries_of_terms(1, 2, 2)
    log = Log(entries=entries)
    log.reset(snapshot_at(9, 4))
    assert log.start == LogStart(9, 4, 9)
    assert (log.first_index, log.base_index, log.last_index, log.last_term) == (10, 9, 9, 4)
    assert (log.last_time_us, log.last_index_of_term(2), log.term_at(2)) == (9, None, None)
    log.append(entries_of_terms(*[4] * 11)[9:])
    log.evict(applied_index=11, bytes_max=2 * entry_bytes(entries[0]) + 20)
    assert log.base_index == 9, "what was dropped takes no memory"


@pytest.mark.parametrize("terms", [((1, 1), (3, 3), (5, 4)), ((4, 3), (5, 4)), ((3, 3), (5, 4))], ids=str)
def test_a_restart_may_tell_the_terms_of_more_or_less_than_is_left(terms: list[tuple[int, int]]) -> None:
    """A log file may know the run that its first entry is in, or only where the entries begin."""
    tail = entries_of_terms(1, 1, 3, 3, 4, 4)[4:]
    log = Log(entries=tail, terms=terms, base_index=4, start=LogStart(3, 3, 3))
    assert [log.term_at(index) for index in range(2, 8)] == [None, 3, 3, 4, 4, None]
    assert log.runs_from(0) == ((3, 3), (5, 4))


def test_a_log_without_entries_may_begin_anywhere() -> None:
    log = Log(start=LogStart(7, 2, 70))
    assert (log.first_index, log.last_index, log.last_term, log.last_time_us) == (8, 7, 2, 70)
    assert log.term_at(0) is None
    with pytest.raises(AssertionError):
        Log(entries=entries_of_terms(1), start=LogStart(7, 2, 70))
    with pytest.raises(AssertionError):
        Log(terms=[(8, 2), (9, 3)], start=LogStart(7, 2, 70))
