"""A file system for SQLite that records every write and sync, and can refuse one."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import apsw

NAME = "recording"


@dataclass(frozen=True)
class Change:
    """One thing done to a file: `write` of data at an offset, `truncate` to an offset, `sync`, `delete`."""

    kind: str
    file: str
    offset: int = 0
    data: bytes = b""


class RecordingDisk(apsw.VFS):
    """SQLite's default file system while it is registered; `refuse` may raise before a change is made."""

    def __init__(self) -> None:
        self.changes: list[Change] = []
        self.refuse: Callable[[Change], None] = lambda change: None
        self.base = apsw.vfs_names()[0]  # the default until now
        super().__init__(NAME, self.base, makedefault=True)

    def note(self, change: Change) -> None:
        """Record `change`, unless it is refused."""
        self.refuse(change)
        self.changes.append(change)

    def xOpen(self, name: str | apsw.URIFilename | None, flags: list[int]) -> apsw.VFSFile:
        return RecordingFile(self, name, flags)

    def xDelete(self, filename: str, syncdir: bool) -> None:
        self.note(Change("delete", Path(filename).name))
        super().xDelete(filename, syncdir)


class RecordingFile(apsw.VFSFile):
    """A file of a `RecordingDisk`."""

    def __init__(self, disk: RecordingDisk, name: str | apsw.URIFilename | None, flags: list[int]) -> None:
        path = name.filename() if isinstance(name, apsw.URIFilename) else name or "temporary"
        self._disk, self._name = disk, Path(path).name
        super().__init__(disk.base, name, flags)

    def xWrite(self, data: bytes, offset: int) -> None:
        self._disk.note(Change("write", self._name, offset, bytes(data)))
        super().xWrite(data, offset)

    def xTruncate(self, newsize: int) -> None:
        self._disk.note(Change("truncate", self._name, newsize))
        super().xTruncate(newsize)

    def xSync(self, flags: int) -> None:
        self._disk.note(Change("sync", self._name))
        super().xSync(flags)


def files_after(changes: Sequence[Change], chance: random.Random | None = None) -> dict[str, bytes]:
    """Return the contents of the files if the process ends after `changes`.

    Without `chance` the process was killed: every write is there. With it the power was cut: each write
    since its file's last sync is there whole, in part, or not at all.
    """
    last_sync = {change.file: at for at, change in enumerate(changes) if change.kind == "sync"}
    files: dict[str, bytearray] = {}
    for at, change in enumerate(changes):
        if change.kind == "delete":
            files.pop(change.file, None)
            continue
        content = files.setdefault(change.file, bytearray())
        if change.kind == "truncate":
            del content[change.offset :]
        elif change.kind == "write":
            durable = chance is None or at < last_sync.get(change.file, -1)
            data = change.data if durable or chance is None else part_of(change.data, chance)
            content.extend(bytes(max(0, change.offset + len(data) - len(content))))
            content[change.offset : change.offset + len(data)] = data
    return {name: bytes(content) for name, content in files.items()}


def part_of(data: bytes, chance: random.Random) -> bytes:
    """Return all, none, or the whole sectors at the beginning of `data`."""
    sectors = len(data) // 512
    return chance.choice([data, data, b"", data[: 512 * chance.randint(0, sectors)]])
