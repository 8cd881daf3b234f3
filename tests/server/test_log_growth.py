"""By how much the log has grown since an entry."""

from __future__ import annotations

from atm.server.group.log_growth import MARKS_MAX, LogGrowth

STEP_BYTES = 100


def grown(*stands: tuple[int, int]) -> LogGrowth:
    """Return the growth of an empty log after it stood so: (last index, size in bytes)."""
    growth = LogGrowth(1, 0, 0, step_bytes=STEP_BYTES)
    for last_index, size_bytes in stands:
        growth.note(last_index, size_bytes)
    return growth


def test_what_was_written_after_an_entry_is_counted() -> None:
    growth = grown((10, 1000), (20, 1500), (30, 3500))
    assert [growth.bytes_after(index) for index in (0, 10, 20, 25, 30, 40)] == [3500, 2500, 2000, 1000, 0, 0]


def test_an_entry_is_found_by_what_was_written_after_it() -> None:
    growth = grown((10, 1000), (20, 1500), (30, 3500))
    assert [growth.index_before(size) for size in (0, 1000, 2000, 2500, 3500, 9999)] == [30, 25, 20, 10, 0, 0]


def test_a_cut_takes_nothing_back() -> None:
    growth = grown((10, 1000), (20, 1500))
    growth.note(20, 700)
    growth.note(30, 900)
    assert growth.bytes_after(10) == 700
    assert growth.index_before(700) == 10


def test_what_a_log_holds_at_the_start_is_spread_over_its_entries() -> None:
    growth = LogGrowth(101, 200, 5000, step_bytes=STEP_BYTES)
    assert [growth.bytes_after(index) for index in (50, 100, 150, 200)] == [5000, 5000, 2500, 0]
    growth.note(250, 10_000)
    assert growth.bytes_after(200) == 5000
    assert growth.index_before(20_000) == 100


def test_entries_that_were_replaced_are_not_marked_any_more() -> None:
    growth = grown((10, 1000), (20, 2000))
    growth.note(15, 2500)
    growth.note(25, 3500)
    assert growth.bytes_after(15) == 1000
    assert growth.bytes_after(20) == 500


def test_small_steps_are_marked_rarely_and_the_marks_are_bounded() -> None:
    growth = LogGrowth(1, 0, 0, step_bytes=STEP_BYTES)
    for index in range(1, 20_000):
        growth.note(index, index * 10)
    assert len(growth._marks) == MARKS_MAX
    assert growth._marks[-1][0] - growth._marks[-2][0] == STEP_BYTES // 10
    assert growth.index_before(1000) == 19_999 - 100


def test_an_empty_log_has_grown_by_nothing() -> None:
    growth = grown()
    assert growth.bytes_after(0) == 0
    assert growth.index_before(100) == 0
