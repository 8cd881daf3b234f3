"""The durable log: what was saved is there after any crash, and damage is told from a torn tail."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Sequence
from contextlib import closing
from itertools import pairwise
from pathlib import Path
from random import Random
from zlib import crc32

import msgspec
import pytest

from atm import files
from atm.raft.messages import Entry, EntryKind, HardState
from atm.storage import disk as disk_module
from atm.storage.disk import OsDisk
from atm.storage.log_file import DamagedLog, LogFailed, LogFile, LogOfAnotherRelease
from atm.storage.log_format import BATCH_HEADER_BYTES, SEGMENT_HEADER_BYTES
from atm.storage.log_segment import SegmentReader
from tests.support.sim_disk import PowerCut, SimDisk

FOLDER = Path("/data/5000")
FIRST, SECOND, THIRD = (FOLDER / f"raft.log.00000{number}" for number in (1, 2, 3))

Saved = tuple[HardState, tuple[Entry, ...]]


def entries(first: int, count: int, term: int = 1, command: bytes = b"credit") -> tuple[Entry, ...]:
    return tuple(
        Entry(
            index=index,
            term=term,
            time_us=1_000_000 + index,
            kind=EntryKind.COMMAND,
            data=b"%s %d.%d" % (command, index, term),
        )
        for index in range(first, first + count)
    )


def state(term: int, voted_for: str | None = None, commit_index: int = 0) -> HardState:
    return HardState(term=term, voted_for=voted_for, commit_index=commit_index)


def new_disk(seed: int = 0) -> SimDisk:
    return SimDisk(Random(seed))


def open_log(disk: SimDisk, segment_bytes_max: int = 1 << 20) -> LogFile:
    return LogFile(FOLDER, disk=disk, segment_bytes_max=segment_bytes_max)


def held(log: LogFile) -> Saved:
    return log.hard_state, tuple(log.tail(1))


def after(saved: Saved, hard_state: HardState, new: Sequence[Entry]) -> Saved:
    """Return what a log should hold after one more save."""
    kept = saved[1][: new[0].index - 1] if new else saved[1]
    return hard_state, (*kept, *new)


def runs_of(log_entries: Sequence[Entry]) -> list[tuple[int, int]]:
    terms = [0, *(entry.term for entry in log_entries)]
    return [(index, new) for index, (old, new) in enumerate(pairwise(terms), 1) if new != old]


def random_save(random: Random, saved: Saved) -> Saved:
    """Return arguments for a save that may follow: a new term, a vote, entries, a replaced suffix."""
    term, vote, last = saved[0].term, saved[0].voted_for, len(saved[1])
    commit_index = saved[0].commit_index
    if random.random() < 0.4:
        term, vote = term + random.randint(1, 3), None
    if vote is None and random.random() < 0.5:
        term, vote = max(term, 1), random.choice(("5000", "5001", "fünf"))
    first = random.randint(commit_index + 1, last + 1) if random.random() < 0.3 else last + 1
    count = random.choice((0, 1, 1, 2, 9))
    lowest = saved[1][first - 2].term if first > 1 else 1
    term = max(term, lowest)
    new_terms = sorted(random.randint(lowest, term) for _ in range(count))
    new = tuple(
        Entry(
            index=index,
            term=of_term,
            time_us=index,
            kind=EntryKind.COMMAND,
            data=random.randbytes(random.choice((0, 5, 40, 700))),
        )
        for index, of_term in enumerate(new_terms, first)
    )
    if new and random.random() < 0.5:
        commit_index = random.randint(commit_index, new[-1].index)
    return state(term, vote if term == saved[0].term or vote else None, commit_index), new


def three_batches_and_two_more(disk: SimDisk) -> list[tuple[Path, int, int, Saved]]:
    """Write three batches in one segment and two in the next.

    Return for each where it is (path, start, stop) and what the log held when it was saved.
    """
    saves = [
        (state(1, "5000"), ()),
        (state(1, "5000"), entries(1, 3)),
        (state(2), entries(3, 2, term=2, command=b"\n\x00\xff line\n")),
        (state(2, "5003"), entries(5, 4, term=2)),
        (state(3, None, 5), entries(9, 1, term=3)),
    ]
    log = open_log(disk, segment_bytes_max=430)
    batches = []
    saved: Saved = (HardState(), ())
    for hard_state, new in saves:
        before = {path: len(disk.contents(path)) for path in disk.paths()}
        log.save(hard_state, new)
        path = disk.paths()[-1]
        saved = after(saved, hard_state, new)
        start = before.get(path, SEGMENT_HEADER_BYTES)
        batches.append((path, start, len(disk.contents(path)), saved))
    log.close()
    assert [path for path, *_ in batches] == [FIRST, FIRST, FIRST, SECOND, SECOND]
    return batches


# -- saving and reading ----------------------------------------------------------------------------


def test_what_was_saved_is_there_after_a_restart(tmp_path: Path) -> None:
    folder = tmp_path / "data" / "5000"
    log = LogFile(folder)
    assert (log.hard_state, log.last_index, log.terms, log.tail(1)) == (HardState(), 0, [], [])
    log.save(state(1, "5002"), entries(1, 3))
    log.save(state(4, None, 2), entries(4, 2, term=4))
    log.close()
    again = LogFile(folder)
    assert held(again) == (state(4, None, 2), entries(1, 3) + entries(4, 2, term=4))
    assert again.last_index == 5
    assert again.terms == [(1, 1), (4, 4)]
    assert again.tail(5) == list(entries(5, 1, term=4))
    assert again.tail(6) == []
    again.close()
    assert [path.name for path in folder.iterdir()] == ["raft.log.000001"]


def test_a_vote_without_entries_survives_a_crash() -> None:
    for seed in range(20):
        disk = new_disk(seed)
        open_log(disk).save(state(7, "5003"), ())
        disk.crash()
        assert open_log(disk).hard_state == state(7, "5003")


@pytest.mark.parametrize(
    ("before", "new"),
    [(state(7), state(7, "5003")), (state(7), state(8)), (state(7, "5003"), state(8, "5003"))],
    ids=["vote", "term", "both"],
)
def test_a_vote_or_a_term_alone_survives_a_crash(before: HardState, new: HardState) -> None:
    for seed in range(20):
        disk = new_disk(seed)
        log = open_log(disk)
        log.save(before, ())
        log.save(new, ())
        disk.crash()
        assert open_log(disk).hard_state == new


def test_a_new_term_clears_the_vote_on_disk_too() -> None:
    disk = new_disk()
    log = open_log(disk)
    log.save(state(7, "5003"), ())
    log.save(state(8), ())
    disk.crash()
    assert open_log(disk).hard_state == state(8)


def test_a_server_without_a_name_is_not_taken_for_no_vote() -> None:
    disk = new_disk()
    open_log(disk).save(state(1, ""), ())
    disk.kill()
    assert open_log(disk).hard_state.voted_for == ""


def test_a_commit_index_alone_is_not_worth_a_sync() -> None:
    disk = new_disk()
    log = open_log(disk)
    log.save(state(1, "5000"), entries(1, 2))
    changes = disk.changes
    log.save(state(1, "5000", 2), ())
    assert disk.changes == changes
    assert log.hard_state.commit_index == 0
    log.save(state(1, "5000", 2), entries(3, 1))
    disk.crash()
    assert open_log(disk).hard_state == state(1, "5000", 2)


def test_one_save_is_one_write_and_one_sync() -> None:
    disk = new_disk()
    log = open_log(disk)
    changes = disk.changes
    log.save(state(1, "5000"), entries(1, 100))
    assert disk.changes == changes + 2


def test_a_commit_index_behind_the_last_entry_is_believed_only_up_to_there() -> None:
    disk = new_disk()
    log = open_log(disk)
    log.save(state(1, "5000", 9), entries(1, 2))
    log.save(state(1, "5000", 9), entries(3, 1))
    disk.kill()
    assert open_log(disk).hard_state == state(1, "5000", 3)


@pytest.mark.parametrize(
    ("hard_state", "new"),
    [
        (state(4, "5000"), ()),  # the term goes back
        (state(5, "5001"), ()),  # another vote in the same term
        (state(5), entries(3, 1)),  # the vote forgotten
        (state(5, "5000"), entries(4, 1, term=5)),  # a gap
        (state(5, "5000"), entries(1, 1, term=5)),  # replaces what is committed
        (state(5, "5000"), entries(3, 1) + entries(5, 1)),  # a gap within
    ],
)
def test_what_can_only_be_our_mistake_is_not_saved(hard_state: HardState, new: tuple[Entry, ...]) -> None:
    disk = new_disk()
    log = open_log(disk)
    log.save(state(5, "5000", 1), entries(1, 2))
    before = disk.contents(FIRST)
    with pytest.raises(AssertionError):
        log.save(hard_state, new)
    assert disk.contents(FIRST) == before
    log.save(state(5, "5000"), entries(3, 1))


def test_an_entry_at_an_index_that_exists_replaces_the_suffix() -> None:
    disk = new_disk()
    log = open_log(disk)
    log.save(state(1), entries(1, 5))
    log.save(state(1), entries(6, 5))
    log.save(state(2), entries(4, 1, term=2))
    want = entries(1, 3) + entries(4, 1, term=2)
    for opened in (log, open_log(disk)):
        assert opened.last_index == 4
        assert opened.terms == [(1, 1), (4, 2)]
        assert tuple(opened.tail(1)) == want
        assert tuple(opened.read(4, 4, 1)) == want[3:]


@pytest.mark.parametrize("seed", range(20))
def test_every_range_reads_as_in_a_plain_list(seed: int) -> None:
    random = Random(seed)
    disk = new_disk(seed)
    disk.short_writes = bool(seed % 2)
    limit = random.choice((1, 300, 2000, 1 << 20))
    log = open_log(disk, limit)
    saved: Saved = (HardState(), ())
    for _ in range(25):
        new = random_save(random, saved)
        changed = bool(new[1]) or (new[0].term, new[0].voted_for) != (saved[0].term, saved[0].voted_for)
        log.save(*new)
        saved = after(saved, *new) if changed else saved
        if random.random() < 0.2:
            log.close()
            log = open_log(disk, limit)
        assert log.hard_state == saved[0]
        assert log.terms == runs_of(saved[1])
        assert log.last_index == len(saved[1])
    for first in range(1, len(saved[1]) + 1):
        assert tuple(log.tail(first)) == saved[1][first - 1 :]
        for last in range(first, len(saved[1]) + 1):
            assert tuple(log.read(first, last, 1 << 30)) == saved[1][first - 1 : last]
    log.close()
    assert disk.open_files == 0


def test_a_read_gives_at_least_one_entry_and_else_no_more_than_fits() -> None:
    log = open_log(new_disk())
    written = [
        Entry(index=index, term=2**40, time_us=2**60, kind=EntryKind.COMMAND, data=bytes(size))
        for index, size in enumerate((300, 10, 70_000, 10, 10, 500), 1)
    ]
    log.save(state(2**40), written)
    for first in range(1, 7):
        for bytes_max in (0, 1, 60, 400, 70_100, 10**6):
            found = log.read(first, 6, bytes_max)
            assert found == written[first - 1 : first - 1 + len(found)]
            assert found
            assert len(found) == 1 or len(msgspec.msgpack.encode(found)) - 1 <= bytes_max
    assert log.read(1, 6, 10**6) == written


def test_a_batch_over_the_size_of_a_segment_gets_one_of_its_own() -> None:
    disk = new_disk()
    log = open_log(disk, segment_bytes_max=1)
    for index in (1, 2, 3):
        log.save(state(1), entries(index, 1))
    assert disk.paths() == [FIRST, SECOND, THIRD]
    assert all(len(disk.contents(path)) > SEGMENT_HEADER_BYTES for path in disk.paths())


def test_records_may_hold_any_bytes() -> None:
    disk = new_disk()
    log = open_log(disk)
    log.save(state(1), entries(1, 2, command=b"\n"))
    look_alike = disk.contents(FIRST)  # whole batches, header and all
    odd = [b"", b"\n" * 9, bytes(range(256)), look_alike, look_alike[SEGMENT_HEADER_BYTES:]]
    written = entries(1, 2, command=b"\n") + tuple(
        Entry(index=index, term=1, time_us=0, kind=EntryKind.COMMAND, data=command)
        for index, command in enumerate(odd, 3)
    )
    log.save(state(1), written[2:])
    log.save(state(2), ())
    disk.crash()
    assert held(open_log(disk)) == (state(2), written)


# -- torn tails ------------------------------------------------------------------------------------


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
            assert held(log) == expected, (path, cut)
            last_index = len(expected[1])
            log.save(state(9, "5004"), entries(last_index + 1, 2, term=9))
            torn.crash()
            assert held(open_log(torn)) == after(
                expected, state(9, "5004"), entries(last_index + 1, 2, term=9)
            )


@pytest.mark.parametrize("tail", [bytes(1), bytes(3000), b"\xff" * 700, b"garbage\n" * 40])
def test_what_stands_behind_the_last_batch_is_cut_off(tail: bytes) -> None:
    disk = new_disk()
    *_, (path, _, stop, expected) = three_batches_and_two_more(disk)
    disk.put(path, disk.contents(path) + tail)
    log = open_log(disk)
    assert held(log) == expected
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
            assert held(open_log(torn)) == batches[-2][3]


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
    assert held(open_log(disk)) == (state(1), entries(1, 1))
    assert len(disk.contents(FIRST)) == stop


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
            "was written by release 1.0, which decided some commands otherwise: export the books with that",
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


@pytest.mark.parametrize("size", [0, 1, 20, SEGMENT_HEADER_BYTES - 1, SEGMENT_HEADER_BYTES])
def test_a_new_segment_whose_header_never_got_there_is_begun_again(size: int) -> None:
    disk = new_disk()
    *_, (_, _, _, expected) = three_batches_and_two_more(disk)
    disk.put(THIRD, bytes(size))
    log = open_log(disk)
    assert held(log) == expected
    new = entries(10, 2, term=3)
    log.save(state(3), new)
    disk.crash()
    assert held(open_log(disk)) == after(expected, state(3), new)
    assert len(disk.contents(THIRD)) > SEGMENT_HEADER_BYTES


# -- damage ----------------------------------------------------------------------------------------


def refuses(disk: SimDisk, path: Path, offset: int | None = None) -> str:
    """Assert that the log does not open because of `path`, and that nothing on the disk changed."""
    before = {path: disk.contents(path) for path in disk.paths()}
    with pytest.raises(DamagedLog) as caught:
        open_log(disk)
    assert {path: disk.contents(path) for path in disk.paths()} == before
    assert disk.open_files == 0
    line = str(caught.value)
    assert "\n" not in line
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
                    assert held(open_log(rotten)) == batches[-2][3]
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
    assert tuple(log.read(3, 4, 1000)) == entries(3, 2)
    with pytest.raises(DamagedLog, match=f"raft.log.000001 is damaged at byte {SEGMENT_HEADER_BYTES}: "):
        log.read(2, 4, 1000)
    assert disk.open_files == 1


def test_a_batch_that_got_to_the_place_of_another_is_noticed_by_the_read() -> None:
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
            log.read(first, 4, 1000)


@pytest.mark.parametrize("chunk_bytes", [*range(8, 24), 100, 1000])
def test_a_segment_reads_the_same_in_chunks_of_any_size(chunk_bytes: int) -> None:
    disk = new_disk()
    starts = [start for path, start, *_ in three_batches_and_two_more(disk) if path == FIRST]
    reader = SegmentReader(disk, FIRST, chunk_bytes)
    for start, behind in zip(starts, [*starts[1:], None], strict=True):
        found = reader.batch_at(start)
        assert found is not None
        assert start + BATCH_HEADER_BYTES + found[0].payload_bytes == (behind or reader.end)
        assert reader.batch_at(start + 1) is None
        assert reader.mark_behind(start) == behind
    assert reader.batch_at(reader.end) is None


# -- a disk that fails -----------------------------------------------------------------------------


@pytest.mark.parametrize("call", ["write", "sync"])
def test_after_a_failed_write_or_sync_nothing_more_is_taken(call: str) -> None:
    disk = new_disk()
    log = open_log(disk)
    log.save(state(1), entries(1, 2))
    disk.fail_next(call)
    with pytest.raises(LogFailed, match=r"^the log in /data/5000 failed \(Input/output error\): "):
        log.save(state(1), entries(3, 1))
    changes = disk.changes
    for _ in range(2):
        with pytest.raises(LogFailed, match="failed before"):
            log.save(state(2), entries(3, 1))
    assert disk.changes == changes, "it must not try again"
    assert held(log) == (state(1), entries(1, 2))


@pytest.mark.parametrize("call", ["open", "write", "sync", "sync_folder", "truncate"])
def test_a_segment_that_cannot_be_begun_ends_the_log_and_a_restart_goes_on(call: str) -> None:
    disk = new_disk()
    log = open_log(disk, segment_bytes_max=1)
    log.save(state(1), entries(1, 1))
    disk.fail_next(call)
    with pytest.raises(LogFailed):
        log.save(state(1), entries(2, 1))
    with pytest.raises(LogFailed):
        log.save(state(1), entries(2, 1))
    disk.kill()
    log = open_log(disk, segment_bytes_max=1)
    assert held(log) == (state(1), entries(1, 1))
    log.save(state(1), entries(2, 1))
    disk.crash()
    assert held(open_log(disk)) == (state(1), entries(1, 2))


def test_what_a_restart_found_after_a_failed_sync_is_durable_from_then_on() -> None:
    found_whole = 0
    for seed in range(60):
        disk = new_disk(seed)
        log = open_log(disk)
        log.save(state(1), entries(1, 1))
        disk.fail_next("sync")
        with pytest.raises(LogFailed):
            log.save(state(2, "5001"), entries(2, 9, term=2, command=bytes(300)))
        disk.kill()
        found = held(open_log(disk))
        found_whole += len(found[1]) == 10
        disk.crash()
        assert held(open_log(disk)) == found
    assert found_whole == 60, "the system's memory had all of it"


def test_what_a_killed_server_had_not_synced_yet_is_durable_once_it_was_read() -> None:
    for seed in range(60):
        disk = new_disk(seed)
        log = open_log(disk)
        disk.power_cut_at = disk.changes + 2  # behind the write, before the sync
        with pytest.raises(PowerCut):
            log.save(state(2, "5001"), entries(1, 9, term=2, command=bytes(300)))
        disk.power_cut_at = None
        disk.kill()
        found = held(open_log(disk))
        assert found[0] == state(2, "5001")
        disk.crash()
        assert held(open_log(disk)) == found


@pytest.mark.parametrize("room_bytes", [0, 1, 40, 200])
@pytest.mark.parametrize("segment_bytes_max", [1, 1 << 20])
def test_a_full_disk_is_named_and_nothing_is_lost_once_there_is_room(
    room_bytes: int, segment_bytes_max: int
) -> None:
    disk = new_disk()
    log = open_log(disk, segment_bytes_max)
    log.save(state(1), entries(1, 3))
    disk.room_bytes = room_bytes
    with pytest.raises(LogFailed, match="no room for the log in /data/5000: make room"):
        log.save(state(1), entries(4, 50))
    disk.kill()
    disk.room_bytes = None
    log = open_log(disk, segment_bytes_max)
    assert held(log) == (state(1), entries(1, 3))
    log.save(state(1), entries(4, 50))
    disk.crash()
    assert held(open_log(disk)) == (state(1), entries(1, 53))


def test_a_full_disk_does_not_hinder_a_restart() -> None:
    disk = new_disk()
    log = open_log(disk)
    log.save(state(1), entries(1, 3))
    disk.room_bytes = 70
    with pytest.raises(LogFailed):
        log.save(state(1), entries(4, 50))
    disk.kill()
    assert held(open_log(disk)) == (state(1), entries(1, 3))


@pytest.mark.parametrize("call", ["make_folder", "sync_folder", "names", "open", "read", "write", "sync"])
def test_a_log_that_cannot_be_opened_says_so_in_one_line(call: str) -> None:
    disk = new_disk()
    open_log(disk).save(state(1), entries(1, 1))
    disk.kill()
    disk.fail_next(call)
    with pytest.raises(LogFailed, match=r"^the log in /data/5000 failed \(Input/output error\): [^\n]*$"):
        open_log(disk)
    assert disk.open_files == 0
    assert held(open_log(disk)) == (state(1), entries(1, 1))


def test_a_read_that_the_disk_refuses_says_so() -> None:
    disk = new_disk()
    log = open_log(disk)
    log.save(state(1), entries(1, 1))
    disk.fail_next("read")
    with pytest.raises(LogFailed, match=r"cannot read /data/5000/raft\.log\.000001 "):
        log.read(1, 1, 1)
    assert disk.open_files == 1


# -- power cuts ------------------------------------------------------------------------------------


def test_the_folder_and_the_one_above_are_synced_when_files_are_made() -> None:
    disk = new_disk()
    log = open_log(disk, segment_bytes_max=1)
    assert {FOLDER, FOLDER.parent} <= set(disk.synced_folders)
    log.save(state(1), entries(1, 1))
    disk.synced_folders.clear()
    log.save(state(1), entries(2, 1))
    assert disk.synced_folders == [FOLDER]


def reopen_through_power_cuts(disk: SimDisk, random: Random, segment_bytes_max: int) -> LogFile:
    """Open the log; the power may go again while it recovers."""
    while True:
        disk.crash()
        if random.random() < 0.5:
            disk.power_cut_at = disk.changes + random.randint(1, 8)
        try:
            log = open_log(disk, segment_bytes_max)
        except PowerCut:
            continue
        disk.power_cut_at = None
        return log


@pytest.mark.parametrize("segment_bytes_max", [1, 1500])
def test_a_power_cut_at_any_change_loses_nothing_acknowledged(segment_bytes_max: int) -> None:
    cut = 0
    ended = False
    while not ended:
        cut += 1
        for seed in range(4):
            ended = live_until_power_cut(cut, seed, segment_bytes_max)
    assert cut > 40


def live_until_power_cut(cut: int, seed: int, segment_bytes_max: int) -> bool:
    """Save until the power goes, check what is left, and go on; tell whether the script ended before."""
    disk, random, script = new_disk(1000 * cut + seed), Random(cut + seed), Random(seed)
    disk.power_cut_at = cut
    saved: Saved = (HardState(), ())
    under_way = saved
    try:
        log = open_log(disk, segment_bytes_max)
        for _ in range(20):
            new = random_save(script, saved)
            under_way = after(saved, *new)
            log.save(*new)
            saved = log.hard_state, under_way[1]
    except PowerCut:
        log = reopen_through_power_cuts(disk, random, segment_bytes_max)
        assert held(log) in (saved, under_way)
        now = held(log)
        next_state = state(now[0].term + 1, "5004", now[0].commit_index)
        next_entries = entries(len(now[1]) + 1, 2, term=next_state.term)
        log.save(next_state, next_entries)
        want = after(now, next_state, next_entries)
        assert held(reopen_through_power_cuts(disk, random, segment_bytes_max)) == want
        return False
    return True


@pytest.mark.parametrize("seed", range(60))
def test_a_life_of_faults_never_loses_what_was_acknowledged_or_read(seed: int) -> None:
    random = Random(seed)
    disk = new_disk(seed)
    limit = random.choice((1, 900, 5000))
    saved: Saved = (HardState(), ())
    log = open_log(disk, limit)
    faults: list[Callable[[], None]] = [
        lambda: disk.fail_next("sync"),
        lambda: disk.fail_next("write"),
        lambda: disk.fail_next("sync_folder"),
        lambda: setattr(disk, "power_cut_at", disk.changes + random.randint(1, 5)),
        lambda: setattr(disk, "room_bytes", random.randint(0, 900)),
        lambda: setattr(disk, "short_writes", not disk.short_writes),
    ]
    for _ in range(60):
        if random.random() < 0.4:
            random.choice(faults)()
        new = random_save(random, saved)
        under_way = after(saved, *new)
        try:
            log.save(*new)
            saved = log.hard_state, under_way[1]
            continue
        except (LogFailed, PowerCut):
            disk.power_cut_at = disk.room_bytes = None
        if random.random() < 0.5:
            disk.kill()
            log = open_log(disk, limit)
        else:
            log = reopen_through_power_cuts(disk, random, limit)
        assert held(log) in (saved, under_way)
        assert log.hard_state.term >= saved[0].term
        saved = held(log)


# -- real files ------------------------------------------------------------------------------------


class CountingDisk(OsDisk):
    """The machine's disk, telling what was synced until `monkeypatch` undoes it."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folders: list[Path] = []
        self.files = 0
        sync_folder = files.sync_folder

        def note(folder: Path) -> None:
            sync_folder(folder)
            self.folders.append(folder)

        monkeypatch.setattr(files, "sync_folder", note)

    def sync(self, file: int) -> None:
        super().sync(file)
        self.files += 1


def test_segments_on_a_real_disk_are_rolled_synced_and_read_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, disk = tmp_path / "a folder" / "data" / "5000", CountingDisk(monkeypatch)
    log = LogFile(folder, segment_bytes_max=400, disk=disk)
    assert {tmp_path, folder.parent.parent, folder.parent, folder} <= set(disk.folders)
    for index in range(1, 30):
        before = disk.files
        log.save(state(1, "5000"), entries(index, 1))
        assert disk.files > before
    log.close()
    paths = sorted(folder.iterdir())
    assert len(paths) > 5
    assert all(path.stat().st_size <= 400 for path in paths)
    assert all(path.stat().st_mode & 0o077 == 0 for path in paths)
    with paths[-1].open("ab") as file:
        file.write(b"torn")
    log = LogFile(folder, segment_bytes_max=400)
    assert held(log) == (state(1, "5000"), entries(1, 29))
    assert tuple(log.read(3, 17, 10**6)) == entries(3, 15)
    log.close()
    assert not paths[-1].read_bytes().endswith(b"torn")


def test_syncs_of_the_real_disk_reach_the_operating_system(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[int] = []

    def note(file: int) -> None:
        synced.append(os.fstat(file).st_ino)

    monkeypatch.setattr(disk_module, "_sync_data", note)
    monkeypatch.setattr(os, "fsync", note)
    disk, path = OsDisk(), tmp_path / "file"
    file = disk.open(path, create=True)
    disk.sync(file)
    disk.close(file)
    disk.sync_folder(tmp_path)
    assert synced == [path.stat().st_ino, tmp_path.stat().st_ino]


def test_no_file_stays_open_whatever_happens(tmp_path: Path) -> None:
    folder = tmp_path / "5000"
    open_before = len(os.listdir("/proc/self/fd"))
    log = LogFile(folder, segment_bytes_max=1)
    for index in range(1, 5):
        log.save(state(1), entries(index, 1))
    log.read(1, 4, 10**6)
    log.read(1, 2, 1)
    log.close()
    log.close()
    damaged = folder / "raft.log.000002"
    damaged.write_bytes(damaged.read_bytes()[:-1])
    with pytest.raises(DamagedLog):
        LogFile(folder)
    assert len(os.listdir("/proc/self/fd")) == open_before


def test_files_of_others_in_the_folder_are_left_alone(tmp_path: Path) -> None:
    for name in ("ledger.db", "raft.log", "raft.log.2", "raft.log.000002.bak", "raft.log.000007~"):
        (tmp_path / name).write_bytes(b"mine")
    log = LogFile(tmp_path)
    log.save(state(1), entries(1, 1))
    log.close()
    assert held(LogFile(tmp_path)) == (state(1), entries(1, 1))
    assert (tmp_path / "raft.log").read_bytes() == b"mine"


def test_a_file_where_the_folder_should_be_gets_one_line(tmp_path: Path) -> None:
    (tmp_path / "5000").write_bytes(b"")
    with pytest.raises(LogFailed, match=r"^the log in [^\n]*/5000 failed \([A-Za-z ]+\): [^\n]*$"):
        LogFile(tmp_path / "5000")


def test_a_full_real_disk_is_told_from_a_broken_one(tmp_path: Path) -> None:
    class FullDisk(OsDisk):
        def write(self, file: int, data: bytes | memoryview, offset: int) -> int:
            raise OSError(errno.EDQUOT, os.strerror(errno.EDQUOT))

    with pytest.raises(LogFailed, match="make room"):
        LogFile(tmp_path, disk=FullDisk())
