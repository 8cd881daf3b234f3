"""The log on the machine's own disk: names, modes, syncs, descriptors."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from atm import files
from atm.storage import disk as disk_module
from atm.storage.disk import OsDisk
from atm.storage.log_file import DamagedLog, LogFailed, LogFile
from tests.storage.logs import entries, saved_in, state


class CountingDisk(OsDisk):
    """Record what is synced to the machine's disk, until `monkeypatch` undoes it."""

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
    assert saved_in(log) == (state(1, "5000"), entries(1, 29))
    assert tuple(log.read_entries(3, 17, 10**6)) == entries(3, 15)
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
    log.read_entries(1, 4, 10**6)
    log.read_entries(1, 2, 1)
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
    assert saved_in(LogFile(tmp_path)) == (state(1), entries(1, 1))
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
