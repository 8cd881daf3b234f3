"""A log that is only looked at: nothing on the disk changes, whatever is found."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from zlib import crc32

import pytest

from atm.raft.messages import Entry, EntryKind, HardState
from atm.storage.log_file import LogFile, LogOfAnotherRelease
from atm.storage.log_format import segment_path
from atm.storage.read_only_log import ReadOnlyLog


def entry(index: int, term: int = 1, data: bytes = b"x") -> Entry:
    return Entry(index=index, term=term, time_us=index, kind=EntryKind.NOOP, data=data)


def write(folder: Path, *batches: Sequence[Entry], segment_bytes_max: int = 2**20) -> None:
    with closing(LogFile(folder, segment_bytes_max=segment_bytes_max)) as log:
        for batch in batches:
            log.save(HardState(term=batch[-1].term, commit_index=log.last_index), batch)


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def seen(folder: Path) -> list[tuple[int, int]]:
    before = contents(folder)
    log = ReadOnlyLog(folder)
    found = [(each.index, each.term) for each in log.entries(log.first_index, log.last_index)]
    assert contents(folder) == before
    return found


def test_all_entries_are_seen_over_all_segments(tmp_path: Path) -> None:
    write(tmp_path, *([entry(i)] for i in range(1, 30)), segment_bytes_max=400)
    assert len(contents(tmp_path)) > 3
    assert seen(tmp_path) == [(i, 1) for i in range(1, 30)]
    log = ReadOnlyLog(tmp_path)
    assert [each.index for each in log.entries(7, 9)] == [7, 8, 9]
    assert (log.first_index, log.last_index, log.damage, log.hard_state.term) == (1, 29, None, 1)


def test_entries_that_were_replaced_are_not_seen(tmp_path: Path) -> None:
    write(tmp_path, [entry(1), entry(2), entry(3)], [entry(2, term=2)], [entry(3, term=2), entry(4, term=2)])
    assert seen(tmp_path) == [(1, 1), (2, 2), (3, 2), (4, 2)]


def test_a_log_whose_beginning_was_cut_off_is_seen_from_there(tmp_path: Path) -> None:
    write(tmp_path, *([entry(i)] for i in range(1, 30)), segment_bytes_max=400)
    for segment in (1, 2):
        segment_path(tmp_path, segment).unlink()
    found = seen(tmp_path)
    assert found == [(i, 1) for i in range(found[0][0], 30)]
    assert found[0][0] > 1


def test_a_torn_end_is_no_damage_and_stays(tmp_path: Path) -> None:
    """A running node may be writing it."""
    write(tmp_path, [entry(1)], [entry(2)])
    path = segment_path(tmp_path, 1)
    path.write_bytes(path.read_bytes()[:-3])
    assert seen(tmp_path) == [(1, 1)]
    assert ReadOnlyLog(tmp_path).damage is None


def test_a_new_file_without_a_header_is_no_damage(tmp_path: Path) -> None:
    write(tmp_path, [entry(1)])
    segment_path(tmp_path, 2).write_bytes(b"ATM")
    assert seen(tmp_path) == [(1, 1)]
    assert ReadOnlyLog(tmp_path).damage is None


def test_damage_is_told_with_its_place_and_what_stands_before_is_seen(tmp_path: Path) -> None:
    write(tmp_path, [entry(1)], [entry(2, data=b"here")], [entry(3)])
    path = segment_path(tmp_path, 1)
    data = path.read_bytes()
    path.write_bytes(data.replace(b"here", b"hers"))
    assert seen(tmp_path) == [(1, 1)]
    damage = ReadOnlyLog(tmp_path).damage
    assert damage is not None
    assert damage.startswith(f"{path} is damaged at byte ")


def test_a_missing_file_is_damage(tmp_path: Path) -> None:
    write(tmp_path, *([entry(i)] for i in range(1, 30)), segment_bytes_max=400)
    segment_path(tmp_path, 3).unlink()
    log = ReadOnlyLog(tmp_path)
    assert log.damage == f"{segment_path(tmp_path, 3)} is missing"
    assert log.last_index > 1


def test_no_log_has_no_entries(tmp_path: Path) -> None:
    log = ReadOnlyLog(tmp_path)
    assert (log.first_index, log.last_index, log.damage) == (1, 0, None)


def test_the_files_need_not_be_writable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path, [entry(1)])
    flags: list[int] = []
    opened = os.open

    def noting(path: Path, flag: int, *further: int) -> int:
        flags.append(flag)
        return int(opened(path, flag, *further))

    monkeypatch.setattr("os.open", noting)
    assert seen(tmp_path) == [(1, 1)]
    assert all(flag & 3 == 0 for flag in flags)  # O_RDONLY


def test_the_log_of_another_release_is_refused(tmp_path: Path) -> None:
    write(tmp_path, [entry(1)])
    path = segment_path(tmp_path, 1)
    path.write_bytes(_as_version_3(path.read_bytes()))
    with pytest.raises(LogOfAnotherRelease):
        ReadOnlyLog(tmp_path)


def _as_version_3(data: bytes) -> bytes:
    """Return a segment with a valid header of version 3 of the format."""
    magic = data[:7] + bytes([3])
    body = data[12:36]
    return magic + crc32(body, crc32(magic)).to_bytes(4, "big") + body + data[36:]
