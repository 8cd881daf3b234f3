"""A disk in memory that forgets what was not synced, tears writes, fills up and fails.

    disk = SimDisk(Random(seed))               # an `atm.storage.disk.Disk`
    log = LogFile(Path("/data/5000"), disk=disk)
    disk.crash()                               # the power goes: some of what was not synced is lost or torn
    log = LogFile(Path("/data/5000"), disk=disk)

All chance comes from the given random numbers, so a seed tells the whole story.
"""

from __future__ import annotations

import errno
import os
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from random import Random

from atm.storage.disk import FileStatus

SECTOR_BYTES = 512


class PowerCut(Exception):
    """The power went in the middle of a call; the program is gone, and `crash` says what is left."""


@dataclass
class _File:
    """What programs see, what the platter has, and which sectors the next sync will bring there."""

    seen: bytearray = field(default_factory=bytearray)
    kept: bytearray = field(default_factory=bytearray)
    unsynced: set[int] = field(default_factory=set)  # sector numbers
    number: int = field(default_factory=count(1).__next__)

    def touch(self, start: int, stop: int) -> None:
        self.unsynced.update(range(start // SECTOR_BYTES, (stop + SECTOR_BYTES - 1) // SECTOR_BYTES))

    def keep(self, sectors: set[int]) -> None:
        """Bring these sectors, and the size, to the platter."""
        size = len(self.seen)
        del self.kept[size:]
        self.kept.extend(bytes(size - len(self.kept)))
        for sector in sectors:
            start, stop = sector * SECTOR_BYTES, min((sector + 1) * SECTOR_BYTES, size)
            self.kept[start:stop] = self.seen[start:stop]


class SimDisk:
    """Files and folders by absolute path; `/` is there from the start.

    Faults are asked for: `fail_next`, `room_bytes`, `short_writes`, `power_cut_at`, `flip`. A failed sync
    behaves as Linux does: what it should have synced stays visible, is clean from then on, and a later
    sync that succeeds does not bring it to the platter.
    """

    def __init__(self, random: Random, torn_bytes: int = SECTOR_BYTES) -> None:
        """A sector of `torn_bytes` is written wholly or not at all."""
        self.torn_bytes = torn_bytes
        self.room_bytes: int | None = None  # how much the files may still grow; None for any amount
        self.short_writes = False  # whether a write may take only a part of what it is given
        self.power_cut_at: int | None = None  # raise `PowerCut` before the change of this number happens
        self.changes = 0  # calls so far that change or sync anything
        self.synced_folders: list[Path] = []  # each `sync_folder` that succeeded
        self._random = random
        self._files: dict[Path, _File] = {}
        self._names = {Path("/")}  # every file and folder that programs see
        self._kept_names = {Path("/")}  # those whose name is durable in the folder above
        self._unlinked: dict[Path, _File] = {}  # whose name may still be on the platter
        self._touched: list[_File] = []  # all that may have something unsynced
        self._open: dict[int, _File] = {}
        self._next_file = 3
        self._failures: dict[str, int] = {}

    def copied(self) -> SimDisk:
        """Return a disk with the same files, all durable, and no fault to come."""
        copy = SimDisk(self._random, self.torn_bytes)
        copy._names, copy._kept_names = set(self._names), set(self._names)
        copy._files = {
            path: _File(bytearray(file.seen), bytearray(file.seen)) for path, file in self._files.items()
        }
        return copy

    # -- what tests ask for ------------------------------------------------------------------------

    def crash(self) -> None:
        """Cut the power: lose, tear or keep what was not synced, and close every file."""
        self.kill()
        self.power_cut_at = None
        unsynced = sorted(self._names - self._kept_names)
        lost = {name for name in unsynced if self._random.random() < 0.5}
        self._names = {name for name in self._names if not lost.intersection((name, *name.parents))}
        for path in sorted(self._unlinked):
            if self._random.random() < 0.5:
                self._names.add(path)
                self._files[path] = self._unlinked[path]
        self._unlinked.clear()
        self._kept_names = set(self._names)
        self._touched.clear()
        self._files = {path: file for path, file in self._files.items() if path in self._names}
        for path in sorted(self._files):
            self._files[path] = self._survivor(self._files[path])

    def kill(self) -> None:
        """End the program only: the system still has all that was written. Closes every file."""
        self._open.clear()
        self._failures.clear()

    def fail_next(self, call: str, error: int = errno.EIO) -> None:
        """Let the next call of that name ("write", "sync", "sync_folder", "open", "read", …) fail."""
        self._failures[call] = error

    @property
    def fails_next(self) -> bool:
        """Whether a call that is to fail has not come yet."""
        return bool(self._failures)

    @property
    def all_is_synced(self) -> bool:
        """Whether a power cut now would lose nothing."""
        self._touched = [file for file in self._touched if file.unsynced]
        return not self._touched and not self._unlinked and len(self._names) == len(self._kept_names)

    @property
    def open_files(self) -> int:
        """How many files are open."""
        return len(self._open)

    def paths(self) -> list[Path]:
        """Return the paths of all files, sorted."""
        return sorted(self._files)

    def contents(self, path: Path) -> bytes:
        """Return what a program would read from a file."""
        return bytes(self._files[path].seen)

    def put(self, path: Path, contents: bytes) -> None:
        """Make a durable file with these contents, in place of the one that was there."""
        self._files[path] = _File(bytearray(contents), bytearray(contents))
        for name in (path, *path.parents):
            self._names.add(name)
            self._kept_names.add(name)

    def remove(self, path: Path) -> None:
        """Take a file away for good."""
        del self._files[path]
        self._names.remove(path)
        self._kept_names.discard(path)

    def flip(self, path: Path, offset: int, mask: int = 0xFF) -> None:
        """Let bits of one byte rot."""
        self._files[path].seen[offset] ^= mask
        if offset < len(self._files[path].kept):
            self._files[path].kept[offset] ^= mask

    # -- what programs call ------------------------------------------------------------------------

    def make_folder(self, folder: Path) -> None:
        self._change("make_folder")
        for made in (*reversed(folder.parents), folder):
            if made in self._files:
                raise OSError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(made))
            self._names.add(made)
            if made != folder:
                self._kept_names.add(made)

    def sync_folder(self, folder: Path) -> None:
        self._change("sync_folder")
        self._must_exist(folder)
        self._kept_names.update(name for name in self._names - self._kept_names if name.parent == folder)
        for path in [path for path in self._unlinked if path.parent == folder]:
            del self._unlinked[path]
        self.synced_folders.append(folder)

    def names(self, folder: Path) -> list[str]:
        self._fail("names")
        self._must_exist(folder)
        names = sorted(name.name for name in self._names if name.parent == folder and name != folder)
        self._random.shuffle(names)
        return names

    def open(self, path: Path, *, create: bool = False) -> int:
        if create and path not in self._names:
            self._must_exist(path.parent)
            self._change("open")
            self._files[path] = _File()
            self._names.add(path)
            self._unlinked.pop(path, None)
        self._fail("open")
        self._must_exist(path)
        self._next_file += 1
        self._open[self._next_file] = self._files[path]
        return self._next_file

    def size(self, file: int) -> int:
        return len(self._opened(file).seen)

    def read(self, file: int, length: int, offset: int) -> bytes:
        self._fail("read")
        return bytes(self._opened(file).seen[offset : offset + length])

    def write(self, file: int, data: bytes | memoryview, offset: int) -> int:
        self._change("write")
        opened = self._opened(file)
        self._touched.append(opened)
        length = len(data)
        if self.short_writes and length > 1:
            length = self._random.randint(1, length)
        if self.room_bytes is not None:
            length = min(length, max(0, len(opened.seen) - offset) + self.room_bytes)
            if not length:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            self.room_bytes -= max(0, offset + length - len(opened.seen))
        if offset > len(opened.seen):
            opened.touch(len(opened.seen), offset)
            opened.seen.extend(bytes(offset - len(opened.seen)))
        opened.seen[offset : offset + length] = data[:length]
        opened.touch(offset, offset + length)
        return length

    def truncate(self, file: int, length: int) -> None:
        self._change("truncate")
        opened = self._opened(file)
        self._touched.append(opened)
        opened.touch(length, len(opened.seen))
        del opened.seen[length:]

    def sync(self, file: int) -> None:
        opened = self._opened(file)
        try:
            self._change("sync")
        except OSError:
            opened.keep({sector for sector in sorted(opened.unsynced) if self._random.random() < 0.5})
            opened.unsynced.clear()
            raise
        opened.keep(opened.unsynced)
        opened.unsynced.clear()

    def close(self, file: int) -> None:
        self._opened(file)
        del self._open[file]

    def status(self, path: Path) -> FileStatus | None:
        file = self._files.get(path)
        return None if file is None else FileStatus(file.number, len(file.seen))

    def file_status(self, file: int) -> FileStatus:
        opened = self._opened(file)
        return FileStatus(opened.number, len(opened.seen))

    def unlink(self, path: Path) -> None:
        self._must_exist(path)
        self._change("unlink")
        file = self._files.pop(path)
        self._names.remove(path)
        if path in self._kept_names:
            self._kept_names.remove(path)
            self._unlinked[path] = file

    def random_bytes(self, length: int) -> bytes:
        return self._random.randbytes(length)

    # -- inside ------------------------------------------------------------------------------------

    def _survivor(self, file: _File) -> _File:
        """Return the file as it is found after a power cut."""
        seen, kept = file.seen, file.kept
        unit = self.torn_bytes // SECTOR_BYTES
        low, high = sorted((len(seen), len(kept)))
        size = self._random.choice((len(kept), len(seen), self._random.randint(low, high)))
        survives = self._random.choice((0.0, 0.5, 0.9, 1.0))  # the share of unsynced sectors that got there
        found = (kept + bytes(max(0, size - len(kept))))[:size]
        for sector in sorted({sector // unit for sector in file.unsynced}):
            start, stop = sector * self.torn_bytes, min((sector + 1) * self.torn_bytes, size)
            if start >= stop:
                continue
            if self._random.random() < survives:
                new = seen[start:stop]
                found[start : start + len(new)] = new
            elif start >= len(kept) and self._random.random() < 0.2:
                found[start:stop] = self._random.randbytes(
                    stop - start
                )  # a block that held something else before
        return _File(found, bytearray(found))

    def _change(self, call: str) -> None:
        self._fail(call)
        self.changes += 1
        if self.power_cut_at is not None and self.changes >= self.power_cut_at:
            raise PowerCut(call)

    def _fail(self, call: str) -> None:
        error = self._failures.pop(call, None)
        if error is not None:
            raise OSError(error, os.strerror(error))

    def _must_exist(self, path: Path) -> None:
        if path not in self._names:
            raise OSError(errno.ENOENT, os.strerror(errno.ENOENT), str(path))

    def _opened(self, file: int) -> _File:
        if file not in self._open:
            raise OSError(errno.EBADF, os.strerror(errno.EBADF))
        return self._open[file]
