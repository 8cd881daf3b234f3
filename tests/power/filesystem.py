"""An ext4 file system of our own on a loop device, and a switch that cuts its power.

After the cut nothing that was not synced is there any more, as after a real one; a killed process alone
leaves all it wrote in the system's memory, and proves nothing about syncing.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import struct
import subprocess
import tempfile
import time
from pathlib import Path
from types import TracebackType
from typing import Self

IMAGE_BYTES = 192 * 1024 * 1024  # sparse: only what is written takes room
UNMOUNT_DEADLINE_S = 10.0

_EXT4_IOC_SHUTDOWN = 0x8004587D
_WITHOUT_FLUSHING_THE_LOG = struct.pack("I", 2)
_PROGRAMS = ("mkfs.ext4", "losetup", "mount", "umount")


class NotPossible(Exception):
    """This machine cannot have its power cut; `str()` of it says what is missing."""


def why_not() -> str | None:
    """Return why power cannot be cut here, or None if it can: this tries it, with all that belongs to it."""
    try:
        with tempfile.TemporaryDirectory() as folder, FileSystem(Path(folder)) as disk:
            disk.cut()
            disk.restore()
    except NotPossible as reason:
        return str(reason)
    return None


class FileSystem:
    """The file system at `path`, mounted from construction to `close`; undoes only what it did itself."""

    def __init__(self, folder: Path, name: str = "mounted") -> None:
        """Make it at `folder / name`, with its image beside; nothing is there yet; raise `NotPossible`."""
        if os.geteuid() != 0:
            raise NotPossible("a power cut needs root, to mount a file system of its own")
        missing = [program for program in _PROGRAMS if shutil.which(program) is None]
        if missing:
            raise NotPossible(f"a power cut needs the program {missing[0]}")
        self.path = folder / name
        self.path.mkdir()
        self._image = folder / f"{name}.image"
        self._device: str | None = None
        self._is_shared = False
        self._mounted = False
        try:
            self._share_mount_point()
            with self._image.open("wb") as image:
                image.truncate(IMAGE_BYTES)
            _run("mkfs.ext4", "-q", "-F", "-m", "0", str(self._image))
            self._device = _run("losetup", "--find", "--show", str(self._image))
            self.restore()
        except NotPossible:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def cut(self) -> None:
        """Cut the power: what is not on the device by now never will be; nothing works until `restore`."""
        folder = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            fcntl.ioctl(folder, _EXT4_IOC_SHUTDOWN, _WITHOUT_FLUSHING_THE_LOG)
        except OSError as error:
            raise NotPossible(f"this file system cannot be shut down: {error.strerror}") from error
        finally:
            os.close(folder)

    def restore(self) -> None:
        """Bring the power back: forget what was in memory and mount what is on the device."""
        self._unmount()
        assert self._device is not None
        _run("mount", "-t", "ext4", self._device, str(self.path))
        self._mounted = True

    def close(self) -> None:
        """Unmount it and give the loop device back; may be called again."""
        self._unmount()
        if self._is_shared:
            _run("umount", str(self.path))
            self._is_shared = False
        if self._device is not None:
            _run("losetup", "--detach", self._device)
            self._device = None
        self._image.unlink(missing_ok=True)

    def _share_mount_point(self) -> None:
        """Let each unmounting be one for all.

        A program that makes a mount namespace of its own, as `ip netns exec` does, has copies of all mounts.
        If its copy stayed, the next mounting would find the file system still in use, and still shut down.
        """
        _run("mount", "--bind", str(self.path), str(self.path))
        self._is_shared = True
        _run("mount", "--make-shared", str(self.path))

    def _unmount(self) -> None:
        """Wait until it is unused, which is soon after its last process ended."""
        deadline = time.monotonic() + UNMOUNT_DEADLINE_S
        while self._mounted:
            try:
                _run("umount", str(self.path))
                self._mounted = False
            except NotPossible:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.01)


def _run(*command: str) -> str:
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    if done.returncode != 0:
        raise NotPossible(f"{command[0]} failed: {done.stderr.strip()}")
    return done.stdout.strip()
