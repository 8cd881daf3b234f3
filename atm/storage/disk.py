"""What the durable log asks of a disk: little, so that a simulated one can lose, tear and fail it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Protocol

from atm import files

_sync_data = getattr(os, "fdatasync", os.fsync)  # not every system has the cheaper one


class Disk(Protocol):
    """Files by number, bytes by offset; every method raises `OSError` when the disk will not.

    Nothing is durable until it was synced: bytes by `sync`, the name of a new file or folder by
    `sync_folder` of the folder it is in.
    """

    def make_folder(self, folder: Path) -> None:
        """Make `folder` unless it is there; whatever had to be made above it is durable, itself not yet."""

    def sync_folder(self, folder: Path) -> None:
        """Make the names in `folder` durable."""

    def names(self, folder: Path) -> list[str]:
        """Return the names in `folder`, in any order."""

    def open(self, path: Path, *, create: bool = False) -> int:
        """Open a file to read and write; with `create`, make it if it is missing."""

    def size(self, file: int) -> int:
        """Return the file's size in bytes."""

    def read(self, file: int, length: int, offset: int) -> bytes:
        """Return up to `length` bytes; none at the end of the file."""

    def write(self, file: int, data: bytes | memoryview, offset: int) -> int:
        """Write `data`, or its beginning; return how many bytes."""

    def truncate(self, file: int, length: int) -> None:
        """Cut the file off behind its first `length` bytes."""

    def sync(self, file: int) -> None:
        """Make the file's bytes and size durable; once it failed, nobody knows which of them are."""

    def close(self, file: int) -> None:
        """Forget the file's number."""

    def random_bytes(self, length: int) -> bytes:
        """Return bytes that nobody can guess."""


class OsDisk:
    """The machine's own disk."""

    def make_folder(self, folder: Path) -> None:
        files.make_folder(folder)

    def sync_folder(self, folder: Path) -> None:
        files.sync_folder(folder)

    def names(self, folder: Path) -> list[str]:
        return os.listdir(folder)

    def open(self, path: Path, *, create: bool = False) -> int:
        return os.open(path, os.O_RDWR | os.O_CLOEXEC | (os.O_CREAT if create else 0), 0o600)

    def size(self, file: int) -> int:
        return os.fstat(file).st_size

    def read(self, file: int, length: int, offset: int) -> bytes:
        return os.pread(file, length, offset)

    def write(self, file: int, data: bytes | memoryview, offset: int) -> int:
        return os.pwrite(file, data, offset)

    def truncate(self, file: int, length: int) -> None:
        os.ftruncate(file, length)

    def sync(self, file: int) -> None:
        _sync_data(file)

    def close(self, file: int) -> None:
        os.close(file)

    def random_bytes(self, length: int) -> bytes:
        return os.urandom(length)
