"""A small file system of its own that a test fills, so that what is on it meets a full disk."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from atm.local_postgres import find_programs

MIB = 1024 * 1024


class NotMounted(Exception):
    """`str()` of it is one line that says why."""


class SmallDisk:
    """A mounted file system; `folder` is on it, and PostgreSQL's user may write there."""

    def __init__(self, mounted: Path) -> None:
        self.folder = mounted / "folder"
        self.folder.mkdir(mode=0o700)
        self._ballast = mounted / "ballast"
        if (user := find_programs().user) is not None:
            os.chown(self.folder, user.uid, user.gid)

    def fill(self) -> None:
        """Leave no room on it."""
        with self._ballast.open("ab", buffering=0) as ballast:
            for size in (MIB, 4096):
                with contextlib.suppress(OSError):
                    while True:
                        ballast.write(bytes(size))

    def empty(self) -> None:
        """Make the room again that `fill` has taken."""
        self._ballast.unlink()


@contextmanager
def small_disk(mib: int) -> Iterator[SmallDisk]:
    """Mount one, in memory; raise `NotMounted` where that is not permitted."""
    mounted = Path(tempfile.mkdtemp(prefix="atm-disk-"))
    options = f"size={mib}m,mode=711"
    mount = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", options, "tmpfs", mounted], capture_output=True, text=True, check=False
    )
    if mount.returncode != 0:
        mounted.rmdir()
        raise NotMounted(f"no file system can be mounted here, which takes root: {mount.stderr.strip()}")
    try:
        yield SmallDisk(mounted)
    finally:
        subprocess.run(["umount", "--lazy", mounted], check=True)
        shutil.rmtree(mounted, ignore_errors=True)
