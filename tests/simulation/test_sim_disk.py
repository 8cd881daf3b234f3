"""The simulated disk is as bad as a real one, and no worse."""

from __future__ import annotations

import errno
from pathlib import Path
from random import Random

import pytest

from tests.support.sim_disk import SECTOR_BYTES, SimDisk

FOLDER = Path("/data")
FILE = FOLDER / "file"
SYNCED, UNSYNCED = b"a" * 700, b"b" * 3000


def disk_with(seed: int) -> tuple[SimDisk, int]:
    """Return a disk with a durable file of `SYNCED` bytes, and the open file."""
    disk = SimDisk(Random(seed))
    disk.put(FILE, SYNCED)
    return disk, disk.open(FILE)


def test_a_crash_keeps_what_was_synced_and_loses_tears_or_keeps_the_rest() -> None:
    outcomes = set()
    for seed in range(200):
        disk, file = disk_with(seed)
        disk.write(file, UNSYNCED, len(SYNCED))
        disk.crash()
        found = disk.contents(FILE)
        assert found.startswith(SYNCED)
        assert len(found) <= len(SYNCED) + len(UNSYNCED)
        rest = found[len(SYNCED) :]
        if not rest or rest == UNSYNCED:
            outcomes.add("whole" if rest else "lost")
        elif UNSYNCED.startswith(rest):
            outcomes.add("short")
        else:
            outcomes.add("zeros" if set(rest) <= set(b"b\0") else "garbage")
    assert outcomes == {"lost", "whole", "short", "zeros", "garbage"}


def test_a_sector_that_is_overwritten_has_its_old_or_its_new_contents() -> None:
    outcomes = set()
    for seed in range(50):
        disk, file = disk_with(seed)
        disk.write(file, b"c" * SECTOR_BYTES, 0)
        disk.crash()
        outcomes.add(disk.contents(FILE)[:SECTOR_BYTES])
    assert outcomes == {SYNCED[:SECTOR_BYTES], b"c" * SECTOR_BYTES}


def test_larger_sectors_are_old_or_new_as_a_whole() -> None:
    outcomes = set()
    for seed in range(50):
        disk = SimDisk(Random(seed), 4096)
        disk.put(FILE, b"a" * 8192)
        disk.write(disk.open(FILE), b"b" * 8192, 0)
        disk.crash()
        found = disk.contents(FILE)
        outcomes.add((found[:4096], found[4096:]))
    assert outcomes == {(one * 4096, other * 4096) for one in (b"a", b"b") for other in (b"a", b"b")}


def test_whether_a_power_cut_would_lose_anything_is_known() -> None:
    disk, file = disk_with(0)
    assert disk.all_is_synced
    disk.write(file, b"x", 0)
    assert not disk.all_is_synced
    disk.sync(file)
    assert disk.all_is_synced
    disk.open(FOLDER / "another", create=True)
    assert not disk.all_is_synced
    disk.sync_folder(FOLDER)
    assert disk.all_is_synced


def test_a_new_name_is_lost_or_kept_until_its_folder_is_synced() -> None:
    outcomes = set()
    for seed in range(50):
        disk = SimDisk(Random(seed))
        disk.make_folder(FOLDER)
        disk.sync(disk.open(FILE, create=True))
        if seed % 2:
            disk.sync_folder(FOLDER)
            disk.sync_folder(FOLDER.parent)
        disk.crash()
        assert seed % 2 == 0 or disk.paths() == [FILE]
        outcomes.add(bool(disk.paths()))
    assert outcomes == {True, False}


def test_what_a_failed_sync_left_out_stays_out_until_it_is_written_again() -> None:
    lost = 0
    for seed in range(50):
        disk, file = disk_with(seed)
        disk.write(file, UNSYNCED, 0)
        disk.fail_next("sync")
        with pytest.raises(OSError, match="Input/output error"):
            disk.sync(file)
        disk.sync(file)
        assert disk.contents(FILE) == UNSYNCED
        if seed % 2:
            disk.write(file, UNSYNCED, 0)
            disk.sync(file)
        disk.crash()
        assert seed % 2 == 0 or disk.contents(FILE) == UNSYNCED
        lost += disk.contents(FILE) != UNSYNCED
    assert lost > 10


def test_a_full_disk_takes_what_fits_and_then_nothing() -> None:
    disk, file = disk_with(0)
    disk.room_bytes = 10
    assert disk.write(file, UNSYNCED, len(SYNCED)) == 10
    with pytest.raises(OSError, match="No space left") as caught:
        disk.write(file, UNSYNCED, len(SYNCED) + 10)
    assert caught.value.errno == errno.ENOSPC
    assert disk.write(file, SYNCED, 0) == len(SYNCED)


def test_a_seed_determines_the_whole_run() -> None:
    def story() -> bytes:
        disk, file = disk_with(7)
        for offset in range(0, 20_000, 900):
            disk.write(file, UNSYNCED, offset)
        disk.crash()
        return disk.contents(FILE)

    assert story() == story()
