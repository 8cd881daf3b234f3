"""The log is cut behind a snapshot, or emptied for one: whole segments go, term and vote stay."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from random import Random

import pytest

from atm.raft.log import LogStart
from atm.raft.messages import Entry, HardState
from atm.storage.disk import FileStatus
from atm.storage.log_file import DamagedLog, LogBase, LogFailed, LogFile
from atm.storage.log_format import SEGMENT_HEADER_BYTES
from atm.storage.log_index import NO_SNAPSHOT
from tests.storage.logs import (
    FIRST,
    FOLDER,
    SECOND,
    THIRD,
    Saved,
    entries,
    new_disk,
    random_save,
    state,
)
from tests.support.sim_disk import PowerCut, SimDisk

FOURTH = FOLDER / "raft.log.000004"


def base_at(index: int, term: int = 1, *, installed: bool = False) -> LogBase:
    return LogBase(index, term, 1_000_000 + index, installed)


def open_log(disk: SimDisk, base: LogBase = NO_SNAPSHOT, segment_bytes_max: int = 1) -> LogFile:
    return LogFile(FOLDER, disk=disk, base=base, segment_bytes_max=segment_bytes_max)


def log_of_four(disk: SimDisk) -> LogFile:
    """Return a log with two entries in each of the first three segments, and one in the fourth."""
    log = open_log(disk)
    for first in (1, 3, 5):
        log.save(state(1, "5000"), entries(first, 2))
    log.save(state(2, "5003", 6), entries(7, 1, term=2))
    return log


Contents = tuple[HardState, int, list[tuple[int, int]], tuple[Entry, ...]]


def contents(log: LogFile) -> Contents:
    return log.hard_state, log.first_index, log.terms, tuple(log.tail(log.first_index))


def segments(disk: SimDisk) -> list[int]:
    return [int(path.suffix[1:]) for path in disk.paths()]


@pytest.mark.parametrize(
    ("first_kept", "left"),
    [(1, [1, 2, 3, 4]), (2, [1, 2, 3, 4]), (3, [2, 3, 4]), (4, [2, 3, 4]), (5, [3, 4]), (7, [4])],
)
def test_a_cut_takes_the_segments_whose_entries_are_all_before_it(first_kept: int, left: list[int]) -> None:
    disk = new_disk()
    log = log_of_four(disk)
    size_bytes = log.size_bytes
    log.set_base(base_at(6))
    log.cut(first_kept)
    assert segments(disk) == left
    first = {1: 1, 2: 3, 3: 5, 4: 7}[left[0]]
    assert log.first_index == first
    assert log.last_index == 7
    assert log.size_bytes == sum(len(disk.contents(path)) for path in disk.paths())
    assert (log.size_bytes < size_bytes) == (left != [1, 2, 3, 4])
    before = contents(log)
    disk.crash()
    again = open_log(disk, base_at(6))
    assert contents(again) == before
    assert before[3] == (*entries(first, 7 - first), *entries(7, 1, term=2))
    assert again.size_bytes == sum(len(disk.contents(path)) for path in disk.paths())


def test_a_cut_never_goes_beyond_the_base() -> None:
    disk = new_disk()
    log = log_of_four(disk)
    log.set_base(base_at(4))
    with pytest.raises(AssertionError):
        log.cut(6)
    assert segments(disk) == [1, 2, 3, 4]
    log.cut(5)
    assert segments(disk) == [3, 4]


def test_a_base_is_an_entry_of_the_log_and_never_goes_back() -> None:
    log = log_of_four(new_disk())
    log.set_base(base_at(4))
    for index in (3, 8):
        with pytest.raises(AssertionError):
            log.set_base(base_at(index))


def test_a_log_that_is_wholly_in_the_snapshot_keeps_term_vote_and_its_end() -> None:
    for seed in range(20):
        disk = new_disk(seed)
        log = log_of_four(disk)
        log.set_base(base_at(7, term=2))
        log.cut(8)
        assert segments(disk) == [5]
        disk.crash()
        log = open_log(disk, base_at(7, term=2))
        assert contents(log) == (state(2, "5003", 7), 8, [], ())
        assert log.last_index == 7
        log.save(state(2, "5003", 7), entries(8, 2, term=2))
        disk.crash()
        log = open_log(disk, base_at(7, term=2))
        assert contents(log) == (state(2, "5003", 7), 8, [(8, 2)], entries(8, 2, term=2))


def test_a_log_that_was_cut_wholly_is_not_cut_again_for_nothing() -> None:
    disk = new_disk()
    log = log_of_four(disk)
    log.set_base(base_at(7, term=2))
    log.cut(8)
    changes = disk.changes
    log.cut(8)
    assert disk.changes == changes


def test_the_vote_survives_a_cut_when_the_last_segment_has_no_batch_yet() -> None:
    """The power went after its header was written, and before the batch that it was begun for."""
    disk = new_disk()
    log = log_of_four(disk)
    disk.power_cut_at = disk.changes + 6  # open, truncate, header, sync, sync of the folder; the batch
    with pytest.raises(PowerCut):
        log.save(state(3, "5001", 7), entries(8, 1, term=3))
    disk.power_cut_at = None
    disk.kill()
    log = open_log(disk, base_at(7, term=2))
    assert len(disk.contents(FOLDER / "raft.log.000005")) == SEGMENT_HEADER_BYTES
    log.cut(8)
    assert segments(disk) == [5]
    disk.crash()
    assert contents(open_log(disk, base_at(7, term=2))) == (state(2, "5003", 7), 8, [], ())


def test_entries_that_were_replaced_hinder_no_cut() -> None:
    disk = new_disk()
    log = open_log(disk)
    log.save(state(1), entries(1, 9))
    log.save(state(2), entries(3, 4, term=2))
    log.save(state(3), entries(5, 1, term=3))
    log.set_base(base_at(4, term=2))
    log.cut(5)
    assert segments(disk) == [3]
    disk.kill()
    assert contents(open_log(disk, base_at(4, term=2)))[1:] == (5, [(5, 3)], entries(5, 1, term=3))
    assert segments(disk) == [3]


def test_replaced_entries_that_a_cut_left_at_the_front_do_not_count() -> None:
    disk = new_disk()
    log = open_log(disk)
    log.save(state(1), entries(1, 5))
    log.save(state(1), entries(6, 4))  # replaced by what follows
    log.save(state(2), entries(4, 2, term=2))
    log.set_base(base_at(3))
    disk.remove(FIRST)  # as if the power had gone in the middle of the cut
    disk.kill()
    log = open_log(disk, base_at(3))
    assert contents(log) == (state(2, None, 3), 4, [(4, 2)], entries(4, 2, term=2))


@pytest.mark.parametrize("installed", [False, True])
def test_a_log_that_begins_after_its_snapshot_is_refused_with_place_and_advice(installed: bool) -> None:
    disk = new_disk()
    log = log_of_four(disk)
    log.set_base(base_at(6))
    log.cut(5)
    log.close()
    before = {path: disk.contents(path) for path in disk.paths()}
    with pytest.raises(
        DamagedLog, match=r"raft\.log\.000003 is damaged .* entry 5, .* with entry 3"
    ) as caught:
        open_log(disk, base_at(3, installed=installed))
    assert "only if a majority of all nodes is up" in str(caught.value)
    with pytest.raises(
        DamagedLog, match=r"raft\.log\.000001 is damaged .* missing, but raft\.log\.000003 is there"
    ):
        open_log(disk)
    assert {path: disk.contents(path) for path in disk.paths()} == before
    assert disk.open_files == 0
    open_log(disk, base_at(4))


def test_an_emptied_log_without_its_snapshot_is_refused() -> None:
    disk = new_disk()
    log = log_of_four(disk)
    log.reset(base_at(20, term=3))
    log.close()
    with pytest.raises(
        DamagedLog, match=r"the log begins with entry 21, and the newest snapshot .* entry 19"
    ):
        open_log(disk, base_at(19, term=3))
    with pytest.raises(DamagedLog, match=r"raft\.log\.000001 is damaged .* missing"):
        open_log(disk)
    assert open_log(disk, base_at(20, term=3)).last_index == 20


@pytest.mark.parametrize("missing", [SECOND, THIRD])
def test_a_segment_that_is_missing_in_between_is_damage_behind_a_snapshot_too(missing: Path) -> None:
    disk = new_disk()
    log_of_four(disk).close()
    disk.remove(missing)
    with pytest.raises(DamagedLog, match=f"{missing} is damaged at byte 0: it is missing"):
        open_log(disk, base_at(6))


def test_a_log_without_any_segment_is_damage_if_there_is_a_snapshot() -> None:
    disk = new_disk()
    log_of_four(disk).close()
    for path in disk.paths():
        disk.remove(path)
    for installed in (False, True):
        with pytest.raises(DamagedLog, match="missing, but a snapshot up to entry 6 is there"):
            open_log(disk, base_at(6, installed=installed))


def test_the_only_segment_of_a_cut_log_without_a_header_is_damage() -> None:
    disk = new_disk()
    log = log_of_four(disk)
    log.set_base(base_at(7, term=2))
    log.cut(8)
    log.close()
    [path] = disk.paths()
    disk.put(path, disk.contents(path)[:10])
    with pytest.raises(DamagedLog, match="no valid header"):
        open_log(disk, base_at(7, term=2))


def test_a_batch_that_leaves_out_an_entry_is_damage() -> None:
    disk = new_disk()
    log = open_log(disk, segment_bytes_max=1 << 20)
    log.save(state(1), entries(1, 2))
    log._index.last_index = 5  # what no server does
    log.save(state(1), entries(6, 1))
    log.close()
    with pytest.raises(DamagedLog, match="leaves out entry 3"):
        open_log(disk, segment_bytes_max=1 << 20)


# -- emptied for a snapshot that was installed ------------------------------------------------------


@pytest.mark.parametrize("base", [base_at(20, term=3), base_at(5, term=4)], ids=["short", "other entries"])
def test_a_reset_log_goes_on_after_its_base(base: LogBase) -> None:
    for seed in range(10):
        disk = new_disk(seed)
        log = open_log(disk)
        log.save(state(4, "5001", 3), entries(1, 9))
        log.reset(base)
        assert segments(disk) == [2]
        want: Contents = state(4, "5001", base.index), base.index + 1, [], ()
        assert contents(log) == want
        disk.crash()
        log = open_log(disk, base)
        assert contents(log) == want
        assert log.start == LogStart(base.index, base.term, base.time_us)
        log.save(state(4, "5001", base.index), entries(base.index + 1, 1, term=4))
        disk.crash()
        log = open_log(disk, base)
        assert contents(log)[1:] == (
            base.index + 1,
            [(base.index + 1, 4)],
            entries(base.index + 1, 1, term=4),
        )
        with pytest.raises(AssertionError):
            log.save(state(4, "5001", base.index), entries(base.index, 1, term=4))


def test_a_start_ends_a_reset_that_a_crash_prevented() -> None:
    """The snapshot was adopted, and the node died before the log was emptied."""
    for base in (base_at(20, term=3, installed=True), base_at(5, term=4, installed=True)):
        disk = new_disk()
        log = open_log(disk)
        log.save(state(4, "5001", 3), entries(1, 9))
        disk.kill()
        log = open_log(disk, base)
        want: Contents = state(4, "5001", base.index), base.index + 1, [], ()
        assert contents(log) == want
        disk.crash()
        assert contents(open_log(disk, base)) == want


def test_a_log_that_agrees_with_an_installed_snapshot_is_kept() -> None:
    disk = new_disk()
    log = open_log(disk)
    log.save(state(4, "5001", 3), entries(1, 9))
    disk.kill()
    log = open_log(disk, base_at(5, installed=True))
    assert contents(log) == (state(4, "5001", 5), 1, [(1, 1)], entries(1, 9))


@pytest.mark.parametrize(
    ("base", "what"),
    [(base_at(20), "the log ends with entry 9"), (base_at(5, term=2), "the log has another entry there")],
)
def test_a_log_that_lacks_what_a_snapshot_was_made_from_has_lost_it(base: LogBase, what: str) -> None:
    disk = new_disk()
    log = open_log(disk)
    log.save(state(4, "5001", 3), entries(1, 9))
    log.close()
    before = {path: disk.contents(path) for path in disk.paths()}
    with pytest.raises(
        DamagedLog, match=f"snapshot up to entry {base.index} of term {base.term}, and {what}"
    ):
        open_log(disk, base)
    assert {path: disk.contents(path) for path in disk.paths()} == before


def test_a_committed_entry_is_never_emptied_away_for_another() -> None:
    disk = new_disk()
    log = open_log(disk)
    log.save(state(4, "5001", 6), entries(1, 9))
    log.close()
    with pytest.raises(DamagedLog, match="has another entry there"):
        open_log(disk, base_at(5, term=3, installed=True))


def test_the_start_is_the_base_or_the_first_entry_that_is_kept() -> None:
    disk = new_disk()
    log = log_of_four(disk)
    assert log.start == LogStart(0, 0, 0)
    log.set_base(base_at(6))
    assert log.start == LogStart(0, 0, 0)
    log.cut(4)
    assert log.start == LogStart(3, 1, 1_000_003)
    log.cut(7)
    assert log.start == LogStart(6, 1, 1_000_006)


# -- crashes and failures at every step -------------------------------------------------------------


def survive(disk: SimDisk, random: Random, base: LogBase, segment_bytes_max: int) -> LogFile:
    """Open the log after power cuts, of which some come while it recovers."""
    while True:
        disk.crash()
        if random.random() < 0.5:
            disk.power_cut_at = disk.changes + random.randint(1, 12)
        try:
            log = open_log(disk, base, segment_bytes_max)
        except PowerCut:
            continue
        disk.power_cut_at = None
        return log


@pytest.mark.parametrize("segment_bytes_max", [1, 700])
@pytest.mark.parametrize("act", ["cut", "cut all", "reset", "reset others"])
def test_a_power_cut_at_any_step_leaves_the_old_log_or_the_new(act: str, segment_bytes_max: int) -> None:
    for seed in range(6):
        step, ended = 0, False
        while not ended:
            step += 1
            ended = act_until_power_cut(act, step, seed, segment_bytes_max)
        assert step > 2


def act_until_power_cut(act: str, step: int, seed: int, segment_bytes_max: int) -> bool:
    disk, random = new_disk(100 * step + seed), Random(step + seed)
    log = open_log(disk, segment_bytes_max=segment_bytes_max)
    for index in range(1, 13):
        log.save(state(2, "5003", index // 2), entries(index, 2))
    base = {
        "cut": base_at(6),
        "cut all": base_at(13),
        "reset": base_at(20, term=2, installed=True),
        "reset others": base_at(8, term=2, installed=True),
    }[act]
    before = tuple(log.tail(1))
    disk.power_cut_at = disk.changes + step
    try:
        if act.startswith("cut"):
            log.set_base(base)
            log.cut(base.index + 1)
        else:
            log.reset(base)
    except PowerCut:
        ended = False
    else:
        ended = True
    disk.power_cut_at = None
    log = survive(disk, random, base, segment_bytes_max)
    hard_state, first_index, _, found = contents(log)
    assert (hard_state.term, hard_state.voted_for) == (2, "5003")
    assert first_index <= base.index + 1
    if act.startswith("cut"):
        assert found == before[first_index - 1 :]
    else:
        assert found == ()
    assert not ended or act == "cut" or first_index == base.index + 1
    log.save(state(3, "5001", base.index), entries(log.last_index + 1, 2, term=3))
    after = contents(log)
    log.cut(base.index + 1)
    assert (
        contents(survive(disk, random, base, segment_bytes_max))[3] == after[3][log.first_index - after[1] :]
    )
    return ended


@pytest.mark.parametrize("call", ["unlink", "sync_folder", "open", "write", "sync"])
def test_a_cut_that_fails_ends_the_log_and_a_restart_goes_on(call: str) -> None:
    disk = new_disk()
    log = log_of_four(disk)
    log.set_base(base_at(7, term=2))
    disk.fail_next(call)
    with pytest.raises(LogFailed):
        log.cut(8)
    with pytest.raises(LogFailed, match="failed before"):
        log.save(state(3), ())
    disk.crash()
    assert contents(open_log(disk, base_at(7, term=2)))[0] == state(2, "5003", 7)


@pytest.mark.parametrize("seed", range(40))
def test_random_saves_cuts_and_crashes_read_as_a_plain_list(seed: int) -> None:
    random, disk = Random(seed), new_disk(seed)
    limit = random.choice((1, 900, 5000))
    base, log = NO_SNAPSHOT, open_log(disk, segment_bytes_max=limit)
    saved: Saved = (HardState(), ())
    steps: list[Callable[[], None]] = [disk.crash, disk.kill]
    for _ in range(60):
        new = random_save(random, saved)
        changed = bool(new[1]) or (new[0].term, new[0].voted_for) != (saved[0].term, saved[0].voted_for)
        log.save(*new)
        if changed:
            kept = saved[1][: new[1][0].index - 1] if new[1] else saved[1]
            saved = new[0], (*kept, *new[1])
        if random.random() < 0.3 and saved[0].commit_index >= max(base.index, 1):
            entry = saved[1][random.randint(max(base.index, 1), saved[0].commit_index) - 1]
            base = LogBase(entry.index, entry.term, entry.time_us)
            log.set_base(base)
            log.cut(random.randint(1, base.index + 1))
        if random.random() < 0.2:
            first_index = log.first_index
            random.choice(steps)()
            log = open_log(disk, base, limit)
            assert log.first_index == first_index
        assert log.hard_state.term == saved[0].term
        assert log.hard_state.voted_for == saved[0].voted_for
        assert log.last_index == len(saved[1])
        assert tuple(log.tail(log.first_index)) == saved[1][log.first_index - 1 :]
        assert log.first_index <= base.index + 1
        kept_terms = [entry.term for entry in saved[1][log.first_index - 1 :]]
        starts = [at for at, term in enumerate(kept_terms) if at == 0 or kept_terms[at - 1] != term]
        assert log.terms == [(log.first_index + at, kept_terms[at]) for at in starts]
    assert base.index


def check_all(log: LogFile) -> None:
    """Look at every file: the one that is written to each time, and the three others in turn."""
    for _ in range(3):
        log.check_present()


# -- files that vanish ------------------------------------------------------------------------------


@pytest.mark.parametrize("victim", [FIRST, SECOND, THIRD, FOURTH])
@pytest.mark.parametrize("act", ["deleted", "replaced", "shortened"])
def test_a_file_that_vanishes_under_the_running_node_ends_it(victim: Path, act: str) -> None:
    disk = new_disk()
    log = log_of_four(disk)
    for _ in range(6):
        log.check_present()
    old = disk.contents(victim)
    if act == "shortened":
        file = disk.open(victim)
        disk.truncate(file, len(old) - 1)
        disk.close(file)
    else:
        disk.remove(victim)
        if act == "replaced":
            disk.put(victim, old)
    with pytest.raises(LogFailed, match=f"{victim} was deleted, moved or replaced") as caught:
        check_all(log)
    assert "only if a majority of all nodes is up" in str(caught.value)
    assert "\n" not in str(caught.value)
    with pytest.raises(LogFailed):
        log.save(state(3), ())


def test_a_check_costs_two_looks_at_names(monkeypatch: pytest.MonkeyPatch) -> None:
    disk = new_disk()
    log = log_of_four(disk)
    looks: list[Path] = []
    status = disk.status

    def noted(path: Path) -> FileStatus | None:
        looks.append(path)
        return status(path)

    monkeypatch.setattr(disk, "status", noted)
    log.check_present()
    assert looks == [FOURTH, FIRST]


def test_files_that_are_all_there_are_found_after_cuts_and_restarts() -> None:
    disk = new_disk()
    log = log_of_four(disk)
    log.set_base(base_at(6))
    log.cut(5)
    disk.kill()
    log = open_log(disk, base_at(6))
    for index in range(8, 12):
        log.save(state(2, "5003", 6), entries(index, 1, term=2))
        log.check_present()
