"""The disk operations of the durable log: few, so that a simulated disk can fail each of them."""

from __future__ import annotations

import os
from pathlib import Path
from typing import NamedTuple, Protocol

from atm import files

_sync_data = getattr(os, "fdatasync", os.fsync)  # not every system has fdatasync


class FileStatus(NamedTuple):
    """Which file it is, whatever its name, and its size."""

    number: int
    size_bytes: int


class Disk(Protocol):
    """Files by descriptor, bytes by offset; every method raises `OSError` if the disk fails.

    Nothing is durable before it is synced: bytes by `sync`, the name of a new file or folder by
    `sync_folder` of the folder it is in.
    """

    def make_folder(self, folder: Path) -> None:
        """Make `folder` if it is missing; folders made above it are durable, `folder` itself not yet."""

    def sync_folder(self, folder: Path) -> None:
        """Make the names in `folder` durable."""

    def names(self, folder: Path) -> list[str]:
        """Return the names in `folder`, in any order."""

    def open(self, path: Path, *, create: bool = False) -> int:
        """Open a file to read and write; return its descriptor. With `create`, make it if it is missing."""

    def size(self, file: int) -> int:
        """Return the file's size in bytes."""

    def read(self, file: int, length: int, offset: int) -> bytes:
        """Return up to `length` bytes; none at the end of the file."""

    def write(self, file: int, data: bytes | memoryview, offset: int) -> int:
        """Write `data`, or its beginning; return how many bytes."""

    def truncate(self, file: int, length: int) -> None:
        """Keep only the first `length` bytes of the file."""

    def sync(self, file: int) -> None:
        """Make the file's bytes and size durable; after a failure it is unknown which of them are."""

    def close(self, file: int) -> None:
        """Close the descriptor."""

    def status(self, path: Path) -> FileStatus | None:
        """Return the status of the file that has this name, or None if there is none."""

    def file_status(self, file: int) -> FileStatus:
        """Return the status of an open file."""

    def unlink(self, path: Path) -> None:
        """Remove a file; it may come back in a power cut until the folder is synced."""

    def random_bytes(self, length: int) -> bytes:
        """Return random bytes that cannot be guessed."""


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

    def status(self, path: Path) -> FileStatus | None:
        try:
            found = os.stat(path)
        except (FileNotFoundError, NotADirectoryError):
            return None
        return FileStatus(found.st_ino, found.st_size)

    def file_status(self, file: int) -> FileStatus:
        found = os.fstat(file)
        return FileStatus(found.st_ino, found.st_size)

    def unlink(self, path: Path) -> None:
        os.unlink(path)

    def random_bytes(self, length: int) -> bytes:
        return os.urandom(length)
