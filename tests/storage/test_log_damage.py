"""A log that no crash can have left so is damaged, and refused."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from zlib import crc32

import pytest

from atm.storage.log_file import DamagedLog, LogOfAnotherRelease
from atm.storage.log_format import BATCH_HEADER_BYTES, SEGMENT_HEADER_BYTES
from atm.storage.log_segment import SegmentReader
from tests.storage.logs import (
    FIRST,
    SECOND,
    THIRD,
    entries,
    new_disk,
    open_log,
    saved_in,
    state,
    three_batches_and_two_more,
)
from tests.support.sim_disk import SimDisk


def refuses(disk: SimDisk, path: Path, offset: int | None = None) -> str:
    """Assert that the log does not open because of `path`, and that nothing on the disk changed."""
    before = {path: disk.contents(path) for path in disk.paths()}
    with pytest.raises(DamagedLog) as caught:
        open_log(disk)
    assert {path: disk.contents(path) for path in disk.paths()} == before
    assert disk.open_files == 0
    line = str(caught.value)
    assert "\n" not in line
    assert all(words in line for words in ("older copy", "only if a majority of all nodes", "vote is lost"))
    assert line.startswith(f"{path} is damaged at byte {'' if offset is None else f'{offset}: '}")
    return line


def test_a_rotten_byte_is_damage_unless_it_is_in_the_last_batch() -> None:
    disk = new_disk()
    batches = three_batches_and_two_more(disk)
    for path in (FIRST, SECOND):
        for offset in range(len(disk.contents(path))):
            at = [
                index
                for index, batch in enumerate(batches)
                if batch[0] == path and batch[1] <= offset < batch[2]
            ]
            for mask in (0xFF, 1 << offset % 8):
                rotten = new_disk()
                for whole in disk.paths():
                    rotten.put(whole, disk.contents(whole))
                rotten.flip(path, offset, mask)
                if at == [len(batches) - 1]:
                    assert saved_in(open_log(rotten)) == batches[-2][3]
                else:
                    refuses(rotten, path, batches[at[0]][1] if at else 0)


def test_an_earlier_segment_cut_at_any_byte_is_damage() -> None:
    disk = new_disk()
    stops = [stop for path, _, stop, _ in three_batches_and_two_more(disk) if path == FIRST]
    contents = disk.contents(FIRST)
    for cut in range(len(contents)):
        disk.put(FIRST, contents[:cut])
        refuses(disk, SECOND if cut in (SEGMENT_HEADER_BYTES, *stops) else FIRST)
    disk.put(FIRST, contents)
    open_log(disk)


def test_zeros_in_place_of_a_batch_are_damage_if_another_follows() -> None:
    disk = new_disk()
    path, start, stop, _ = three_batches_and_two_more(disk)[1]
    contents = disk.contents(path)
    disk.put(path, contents[:start] + bytes(stop - start) + contents[stop:])
    disk.remove(SECOND)
    refuses(disk, path, start)


def test_a_bad_batch_is_damage_even_if_the_one_behind_it_is_torn() -> None:
    disk = new_disk()
    batches = three_batches_and_two_more(disk)
    path, start, _, _ = batches[-2]
    disk.put(path, disk.contents(path)[: batches[-1][1] + 20])
    disk.flip(path, start + 50)
    refuses(disk, path, start)


def test_a_batch_at_another_place_is_damage() -> None:
    disk = new_disk()
    log = open_log(disk)
    log.save(state(1), entries(1, 1))
    start = len(disk.contents(FIRST))
    log.save(state(2), ())
    middle = len(disk.contents(FIRST))
    log.save(state(3), ())
    log.close()
    contents = disk.contents(FIRST)
    disk.put(FIRST, contents[:start] + contents[middle:])  # one left out
    refuses(disk, FIRST, start)
    disk.put(FIRST, contents + contents[middle:])  # one doubled
    refuses(disk, FIRST, len(contents))


def test_a_segment_that_is_missing_or_at_another_place_is_damage() -> None:
    disk = new_disk()
    log = open_log(disk, segment_bytes_max=1)
    for index in range(1, 5):
        log.save(state(1), entries(index, 1))
    log.close()
    first, second, third = (disk.contents(path) for path in (FIRST, SECOND, THIRD))
    disk.remove(SECOND)
    assert "missing" in refuses(disk, SECOND, 0)
    disk.put(SECOND, third)
    disk.put(THIRD, second)
    refuses(disk, SECOND, 0)
    disk.put(SECOND, second)
    disk.put(THIRD, third)
    disk.remove(FIRST)
    assert "missing" in refuses(disk, FIRST, 0)
    disk.put(FIRST, first)
    disk.put(SECOND, second[:SEGMENT_HEADER_BYTES])  # its only batch is gone
    refuses(disk, THIRD, 0)


def test_a_bit_that_rots_while_the_server_runs_is_noticed_by_the_read() -> None:
    disk = new_disk()
    log = open_log(disk)
    log.save(state(1), entries(1, 2))
    log.save(state(1), entries(3, 2))
    disk.flip(FIRST, SEGMENT_HEADER_BYTES + BATCH_HEADER_BYTES + 20)
    assert tuple(log.read_entries(3, 4, 1000)) == entries(3, 2)
    with pytest.raises(DamagedLog, match=f"raft.log.000001 is damaged at byte {SEGMENT_HEADER_BYTES}: "):
        log.read_entries(2, 4, 1000)
    assert disk.open_files == 1


def test_a_batch_in_the_place_of_another_is_noticed_by_the_read() -> None:
    disk = new_disk()
    log = open_log(disk)
    log.save(state(1), entries(1, 2))
    middle = len(disk.contents(FIRST))
    log.save(state(1), entries(3, 2))
    contents = disk.contents(FIRST)
    batches = contents[SEGMENT_HEADER_BYTES:middle], contents[middle:]
    disk.put(FIRST, contents[:SEGMENT_HEADER_BYTES] + batches[1] + batches[0])
    for first in (1, 3):
        with pytest.raises(DamagedLog):
            log.read_entries(first, 4, 1000)


@pytest.mark.parametrize("chunk_bytes", [*range(8, 24), 100, 1000])
def test_a_segment_reads_the_same_in_chunks_of_any_size(chunk_bytes: int) -> None:
    disk = new_disk()
    starts = [start for path, start, *_ in three_batches_and_two_more(disk) if path == FIRST]
    reader = SegmentReader(disk, FIRST, chunk_bytes)
    for start, next_start in zip(starts, [*starts[1:], None], strict=True):
        found = reader.batch_at(start)
        assert found is not None
        assert start + BATCH_HEADER_BYTES + found[0].payload_bytes == (next_start or reader.end)
        assert reader.batch_at(start + 1) is None
        assert reader.find_mark_after(start) == next_start
    assert reader.batch_at(reader.end) is None


def of_release(version: int, segment: bytes) -> bytes:
    """Return the segment with the header that another version of the format has."""
    magic = segment[:7] + bytes([version])
    body = segment[12:SEGMENT_HEADER_BYTES]
    crc = crc32(body) if version == 1 else crc32(magic + body)
    return magic + crc.to_bytes(4, "big") + body + segment[SEGMENT_HEADER_BYTES:]


@pytest.mark.parametrize("size", [SEGMENT_HEADER_BYTES, None], ids=["a header alone", "with batches"])
@pytest.mark.parametrize(
    ("version", "what_to_do"),
    [
        (
            1,
            "was written by release 1.0, which decided some commands differently: export the books with that",
        ),
        (3, "is in format 3 of the log, written by a newer release: install that one"),
    ],
)
def test_the_log_of_another_release_is_no_damage_and_is_left_alone(
    version: int, what_to_do: str, size: int | None
) -> None:
    disk = new_disk()
    with closing(open_log(disk)) as log:
        log.save(state(1), entries(1, 2))
    before = of_release(version, disk.contents(FIRST)[:size])
    disk.put(FIRST, before)
    with pytest.raises(LogOfAnotherRelease) as refused:
        open_log(disk)
    assert what_to_do in str(refused.value)
    assert "damage" not in str(refused.value)
    assert "\n" not in str(refused.value)
    assert disk.contents(FIRST) == before


def test_a_header_of_another_release_that_is_not_whole_is_damage() -> None:
    disk = new_disk()
    with closing(open_log(disk)) as log:
        log.save(state(1), entries(1, 2))
    segment = bytearray(of_release(1, disk.contents(FIRST)))
    segment[20] ^= 1
    disk.put(FIRST, bytes(segment))
    with pytest.raises(DamagedLog, match="no valid header"):
        open_log(disk)
