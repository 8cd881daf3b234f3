"""A torn last batch, which was never acknowledged, is cut off."""

from __future__ import annotations

import pytest

from atm.raft.messages import Entry, EntryKind, HardState
from atm.storage.log_format import SEGMENT_HEADER_BYTES
from tests.storage.logs import (
    FIRST,
    SECOND,
    THIRD,
    Saved,
    after_save,
    entries,
    new_disk,
    open_log,
    saved_in,
    state,
    three_batches_and_two_more,
)


def test_a_log_cut_at_any_byte_holds_the_batches_before_the_cut() -> None:
    disk = new_disk()
    batches = three_batches_and_two_more(disk)
    whole = {path: disk.contents(path) for path in disk.paths()}
    for path, contents in whole.items():
        for cut in range(len(contents) + 1):
            torn = new_disk(cut)
            if path == SECOND:
                torn.put(FIRST, whole[FIRST])
            torn.put(path, contents[:cut])
            kept = [batch for batch in batches if batch[0] < path or (batch[0] == path and batch[2] <= cut)]
            expected: Saved = kept[-1][3] if kept else (HardState(), ())
            log = open_log(torn, 430)
            assert saved_in(log) == expected, (path, cut)
            last_index = len(expected[1])
            log.save(state(9, "5004"), entries(last_index + 1, 2, term=9))
            torn.crash()
            assert saved_in(open_log(torn)) == after_save(
                expected, state(9, "5004"), entries(last_index + 1, 2, term=9)
            )


@pytest.mark.parametrize("tail", [bytes(1), bytes(3000), b"\xff" * 700, b"garbage\n" * 40])
def test_what_stands_behind_the_last_batch_is_cut_off(tail: bytes) -> None:
    disk = new_disk()
    *_, (path, _, stop, expected) = three_batches_and_two_more(disk)
    disk.put(path, disk.contents(path) + tail)
    log = open_log(disk)
    assert saved_in(log) == expected
    assert len(disk.contents(path)) == stop


def test_the_last_batch_with_a_hole_of_zeros_is_cut_off() -> None:
    disk = new_disk()
    batches = three_batches_and_two_more(disk)
    path, start, stop, _ = batches[-1]
    contents = disk.contents(path)
    for hole in range(start, stop - 8):
        torn = new_disk()
        torn.put(FIRST, disk.contents(FIRST))
        torn.put(path, contents[:hole] + bytes(8) + contents[hole + 8 :])
        if torn.contents(path) != contents:
            assert saved_in(open_log(torn)) == batches[-2][3]


def test_a_torn_batch_that_imitates_later_batches_inside_is_still_cut_off() -> None:
    other = new_disk(seed=99)
    three_batches_and_two_more(other)
    disk = new_disk()
    log = open_log(disk)
    log.save(state(1), entries(1, 1))
    stop = len(disk.contents(FIRST))
    log.save(
        state(1),
        [
            Entry(
                index=2,
                term=1,
                time_us=0,
                kind=EntryKind.COMMAND,
                data=other.contents(FIRST) + other.contents(SECOND),
            )
        ],
    )
    disk.put(FIRST, disk.contents(FIRST)[:-1])
    assert saved_in(open_log(disk)) == (state(1), entries(1, 1))
    assert len(disk.contents(FIRST)) == stop


@pytest.mark.parametrize("size", [0, 1, 20, SEGMENT_HEADER_BYTES - 1, SEGMENT_HEADER_BYTES])
def test_a_new_segment_whose_header_never_got_there_is_begun_again(size: int) -> None:
    disk = new_disk()
    *_, (_, _, _, expected) = three_batches_and_two_more(disk)
    disk.put(THIRD, bytes(size))
    log = open_log(disk)
    assert saved_in(log) == expected
    new = entries(10, 2, term=3)
    log.save(state(3), new)
    disk.crash()
    assert saved_in(open_log(disk)) == after_save(expected, state(3), new)
    assert len(disk.contents(THIRD)) > SEGMENT_HEADER_BYTES
