"""What a power cut would leave: bytes and names that were synced, and nothing else."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

State = tuple[int, int]  # of a file: its size and when it was last written


class Synced:
    """Notes what is synced, from its construction on until `monkeypatch` undoes it.

    Files are told apart by their numbers, so one that is renamed stays the same.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.named_too_early: list[Path] = []  # under these names stood bytes that were not synced
        self._bytes: dict[int, State] = {}  # of each file, at its last sync
        self._names: dict[int, dict[str, int]] = {}  # in each folder, at its last sync
        sync = os.fsync

        def fsync(file: int) -> None:
            sync(file)
            self._note(file)

        monkeypatch.setattr(os, "fsync", fsync)
        for name in ("rename", "replace"):
            monkeypatch.setattr(os, name, self._watched(getattr(os, name)))

    def survives(self, path: Path, root: Path) -> bool:
        """Return whether `path`, as it is now, is there after a power cut if `root` is."""
        if path.is_file() and not self._has_its_bytes(path):
            return False
        while path != root:
            if self._names.get(path.parent.stat().st_ino, {}).get(path.name) != path.stat().st_ino:
                return False
            path = path.parent
        return True

    def _note(self, file: int) -> None:
        status = os.fstat(file)
        if os.path.isdir(file):
            names = os.listdir(file)
            self._names[status.st_ino] = {name: os.stat(name, dir_fd=file).st_ino for name in names}
        else:
            self._bytes[status.st_ino] = (status.st_size, status.st_mtime_ns)

    def _has_its_bytes(self, path: Path) -> bool:
        status = path.stat()
        return self._bytes.get(status.st_ino) == (status.st_size, status.st_mtime_ns)

    def _watched(self, rename: Callable[[Path, Path], None]) -> Callable[[Path, Path], None]:
        def watched(old: Path, new: Path) -> None:
            if not self._has_its_bytes(Path(old)):
                self.named_too_early.append(Path(new))
            rename(old, new)

        return watched
