"""What was saved to the log is there after any restart, and every range reads as that of a list."""

from __future__ import annotations

from pathlib import Path
from random import Random

import msgspec
import pytest

from atm.raft.messages import Entry, EntryKind, HardState
from atm.storage.log_file import LogFile
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
    random_save,
    runs_of,
    saved_in,
    state,
)


def test_what_was_saved_is_there_after_a_restart(tmp_path: Path) -> None:
    folder = tmp_path / "data" / "5000"
    log = LogFile(folder)
    assert (log.hard_state, log.last_index, log.terms, log.tail(1)) == (HardState(), 0, [], [])
    log.save(state(1, "5002"), entries(1, 3))
    log.save(state(4, None, 2), entries(4, 2, term=4))
    log.close()
    again = LogFile(folder)
    assert saved_in(again) == (state(4, None, 2), entries(1, 3) + entries(4, 2, term=4))
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
def test_a_save_that_only_a_bug_can_ask_for_is_refused(hard_state: HardState, new: tuple[Entry, ...]) -> None:
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
        assert tuple(opened.read_entries(4, 4, 1)) == want[3:]


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
        saved = after_save(saved, *new) if changed else saved
        if random.random() < 0.2:
            log.close()
            log = open_log(disk, limit)
        assert log.hard_state == saved[0]
        assert log.terms == runs_of(saved[1])
        assert log.last_index == len(saved[1])
    for first in range(1, len(saved[1]) + 1):
        assert tuple(log.tail(first)) == saved[1][first - 1 :]
        for last in range(first, len(saved[1]) + 1):
            assert tuple(log.read_entries(first, last, 1 << 30)) == saved[1][first - 1 : last]
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
            found = log.read_entries(first, 6, bytes_max)
            assert found == written[first - 1 : first - 1 + len(found)]
            assert found
            assert len(found) == 1 or len(msgspec.msgpack.encode(found)) - 1 <= bytes_max
    assert log.read_entries(1, 6, 10**6) == written


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
    assert saved_in(open_log(disk)) == (state(2), written)
