"""Files that stay whole in a power cut: content is synced before its name, the name before the return.

What is made here is its owner's alone: files have mode 0600, folders 0700. Every function raises `OSError` if
the disk fails.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
from pathlib import Path

UNFINISHED_SUFFIX = ".new"
OTHERS = 0o077  # the rights of all but the owner


def keep_private() -> None:
    """Let all files and folders that this process makes from now on be its owner's alone."""
    os.umask(OTHERS)


def write_durably(path: Path, content: bytes, *, mode: int = 0o600) -> None:
    """Make `path` hold `content`, all or nothing, in place of what it held. One writer at a time."""
    unfinished = path.with_name(path.name + UNFINISHED_SUFFIX)
    descriptor = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        write_and_sync(descriptor, content)
        os.fchmod(descriptor, mode)  # whatever the umask
    finally:
        os.close(descriptor)
    rename_durably(unfinished, path)


def create_durably(path: Path, content: bytes, *, mode: int) -> None:
    """Make `path` hold `content` unless it is there; of several processes that do so at once, one wins."""
    unfinished = path.with_name(f"{path.name}.{os.urandom(8).hex()}")
    descriptor = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
    try:
        write_and_sync(descriptor, content)
        with contextlib.suppress(FileExistsError):
            os.link(unfinished, path)  # which, unlike a rename, replaces nothing
    finally:
        os.close(descriptor)
        unfinished.unlink()
    sync_folder(path.parent)


def write_and_sync(descriptor: int, content: bytes) -> None:
    """Write all of `content` at the file's position, on disk before this returns."""
    unwritten = memoryview(content)
    while unwritten:
        unwritten = unwritten[os.write(descriptor, unwritten) :]
    os.fsync(descriptor)


def sync_file(path: Path) -> None:
    """Make the bytes of a file durable, whoever wrote them."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file's bytes, in hexadecimal."""
    with path.open("rb", buffering=0) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def rename_durably(unfinished: Path, path: Path) -> None:
    """Give a file that is synced its name, in the same folder and in place of what had it."""
    os.replace(unfinished, path)
    sync_folder(path.parent)


def make_folder(folder: Path) -> None:
    """Make `folder` unless it is there. What had to be made above it is durable; it itself is not yet.

    `sync_folder` of its parent makes it durable, which a caller may owe to a folder that it found, too.
    """
    missing = [folder, *folder.parents]
    while missing and missing[-1].is_dir():
        missing.pop()
    for made in reversed(missing):
        made.mkdir(mode=0o700, exist_ok=True)
        if made != folder:
            sync_folder(made.parent)


def sync_folder(folder: Path) -> None:
    """Make the names in `folder` durable."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
