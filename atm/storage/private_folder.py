"""A folder that only its owner enters: others can neither read what is in it nor lock it.

SQLite and `flock` let whoever can read a file lock it, too, so a stranger who can read a ledger stops its
server.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

from atm.files import OTHERS

OTHERS_WRITE = 0o022


class NotOurs(Exception):
    """Another user owns a file or a folder; `str()` of it is a line for people."""


def tighten(folder: Path) -> list[Path]:
    """Take all rights of others from `folder` and what is in it; return what had some.

    Folders above are not looked at, and symbolic links not followed. Raises `NotOurs` before anything is
    changed, and `OSError`.
    """
    found = list(_entries(folder))
    for path, status in found:
        _check_owner(path, status)
    loose = [path for path, status in found if status.st_mode & OTHERS]
    for path in loose:
        path.chmod(stat.S_IMODE(path.stat().st_mode) & ~OTHERS)
    return loose


def keep_others_from_writing(folder: Path) -> bool:
    """Let nobody but the owner put files into `folder`, if it is ours; return whether anybody could.

    Whoever can may put a data folder of their own into its place. A sticky folder, such as /tmp, is left.
    """
    status = folder.stat()
    if status.st_uid != os.geteuid() or status.st_mode & stat.S_ISVTX or not status.st_mode & OTHERS_WRITE:
        return False
    folder.chmod(stat.S_IMODE(status.st_mode) & ~OTHERS_WRITE)
    return True


def _entries(folder: Path) -> Iterator[tuple[Path, os.stat_result]]:
    """Yield the folder and what is in it, at any depth, without the links; the folder itself may be one."""
    yield folder, folder.stat()
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.is_symlink():
                continue
            path = Path(entry.path)
            if entry.is_dir(follow_symlinks=False):
                yield from _entries(path)
            else:
                yield path, entry.stat(follow_symlinks=False)


def _check_owner(path: Path, status: os.stat_result) -> None:
    if status.st_uid != os.geteuid():
        raise NotOurs(
            f"{path} belongs to another user (number {status.st_uid}), who could read and change it: run as "
            "that user, or make it yours (chown -R) and look who has written there"
        )
