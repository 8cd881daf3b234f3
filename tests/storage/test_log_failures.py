"""A disk that fails, is full or loses power: nothing acknowledged is lost, nothing more is accepted."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

import pytest

from atm.raft.messages import HardState
from atm.storage.log_file import LogFailed, LogFile
from tests.storage.logs import (
    FOLDER,
    Saved,
    after_save,
    entries,
    new_disk,
    open_log,
    random_save,
    saved_in,
    state,
)
from tests.support.sim_disk import PowerCut, SimDisk

# -- a disk that fails ----------------------------------------------------------------------------


@pytest.mark.parametrize("call", ["write", "sync"])
def test_after_a_failed_write_or_sync_nothing_more_is_accepted(call: str) -> None:
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
    assert saved_in(log) == (state(1), entries(1, 2))


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
    assert saved_in(log) == (state(1), entries(1, 1))
    log.save(state(1), entries(2, 1))
    disk.crash()
    assert saved_in(open_log(disk)) == (state(1), entries(1, 2))


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
        found = saved_in(open_log(disk))
        found_whole += len(found[1]) == 10
        disk.crash()
        assert saved_in(open_log(disk)) == found
    assert found_whole == 60, "the page cache had all of it"


def test_what_a_killed_server_had_not_synced_yet_is_durable_once_it_was_read() -> None:
    for seed in range(60):
        disk = new_disk(seed)
        log = open_log(disk)
        disk.power_cut_at = disk.changes + 2  # after the write, before the sync
        with pytest.raises(PowerCut):
            log.save(state(2, "5001"), entries(1, 9, term=2, command=bytes(300)))
        disk.power_cut_at = None
        disk.kill()
        found = saved_in(open_log(disk))
        assert found[0] == state(2, "5001")
        disk.crash()
        assert saved_in(open_log(disk)) == found


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
    assert saved_in(log) == (state(1), entries(1, 3))
    log.save(state(1), entries(4, 50))
    disk.crash()
    assert saved_in(open_log(disk)) == (state(1), entries(1, 53))


def test_a_full_disk_does_not_hinder_a_restart() -> None:
    disk = new_disk()
    log = open_log(disk)
    log.save(state(1), entries(1, 3))
    disk.room_bytes = 70
    with pytest.raises(LogFailed):
        log.save(state(1), entries(4, 50))
    disk.kill()
    assert saved_in(open_log(disk)) == (state(1), entries(1, 3))


@pytest.mark.parametrize("call", ["make_folder", "sync_folder", "names", "open", "read", "write", "sync"])
def test_a_log_that_cannot_be_opened_says_so_in_one_line(call: str) -> None:
    disk = new_disk()
    open_log(disk).save(state(1), entries(1, 1))
    disk.kill()
    disk.fail_next(call)
    with pytest.raises(LogFailed, match=r"^the log in /data/5000 failed \(Input/output error\): [^\n]*$"):
        open_log(disk)
    assert disk.open_files == 0
    assert saved_in(open_log(disk)) == (state(1), entries(1, 1))


def test_a_failed_read_is_reported() -> None:
    disk = new_disk()
    log = open_log(disk)
    log.save(state(1), entries(1, 1))
    disk.fail_next("read")
    with pytest.raises(LogFailed, match=r"cannot read /data/5000/raft\.log\.000001 "):
        log.read_entries(1, 1, 1)
    assert disk.open_files == 1


# -- power cuts -----------------------------------------------------------------------------------


def test_the_folder_and_the_one_above_are_synced_when_files_are_made() -> None:
    disk = new_disk()
    log = open_log(disk, segment_bytes_max=1)
    assert {FOLDER, FOLDER.parent} <= set(disk.synced_folders)
    log.save(state(1), entries(1, 1))
    disk.synced_folders.clear()
    log.save(state(1), entries(2, 1))
    assert disk.synced_folders == [FOLDER]


def reopen_through_power_cuts(disk: SimDisk, random: Random, segment_bytes_max: int) -> LogFile:
    """Open the log; the power may fail again while it recovers."""
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
    """Save until the power fails, check what is left, continue; return whether the script ended before."""
    disk, random, script = new_disk(1000 * cut + seed), Random(cut + seed), Random(seed)
    disk.power_cut_at = cut
    saved: Saved = (HardState(), ())
    in_progress = saved
    try:
        log = open_log(disk, segment_bytes_max)
        for _ in range(20):
            new = random_save(script, saved)
            in_progress = after_save(saved, *new)
            log.save(*new)
            saved = log.hard_state, in_progress[1]
    except PowerCut:
        log = reopen_through_power_cuts(disk, random, segment_bytes_max)
        assert saved_in(log) in (saved, in_progress)
        now = saved_in(log)
        next_state = state(now[0].term + 1, "5004", now[0].commit_index)
        next_entries = entries(len(now[1]) + 1, 2, term=next_state.term)
        log.save(next_state, next_entries)
        want = after_save(now, next_state, next_entries)
        assert saved_in(reopen_through_power_cuts(disk, random, segment_bytes_max)) == want
        return False
    return True


@pytest.mark.parametrize("seed", range(60))
def test_random_faults_never_lose_what_was_acknowledged_or_read(seed: int) -> None:
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
        in_progress = after_save(saved, *new)
        try:
            log.save(*new)
            saved = log.hard_state, in_progress[1]
            continue
        except (LogFailed, PowerCut):
            disk.power_cut_at = disk.room_bytes = None
        if random.random() < 0.5:
            disk.kill()
            log = open_log(disk, limit)
        else:
            log = reopen_through_power_cuts(disk, random, limit)
        assert saved_in(log) in (saved, in_progress)
        assert log.hard_state.term >= saved[0].term
        saved = saved_in(log)
