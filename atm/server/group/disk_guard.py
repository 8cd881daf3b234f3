"""Watches the room on this server's disk: below a reserve it says so, before anything fails."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from atm.server.logger.logger import Logger

MIB = 1024 * 1024
RESERVE_SHARE = 0.05  # of a disk, if that is less than the reserve of cluster.ini
ENOUGH_AGAIN = 1.1  # times the reserve: the alarm does not come and go with each file that is deleted
START_BYTES_MIN = MIB  # below that, what a start writes first fails in ways that name other causes


class Room(NamedTuple):
    """The room on a disk, in bytes: what this process may still use, and the size of all."""

    free: int
    size: int


def room_in(folder: Path) -> Room:
    """Return the room on the disk that `folder`, or the first existing folder above it, is on."""
    while not folder.exists():
        folder = folder.parent
    found = os.statvfs(folder)
    return Room(found.f_bavail * found.f_frsize, found.f_blocks * found.f_frsize)


class NoRoom(Exception):
    """The disk is full at the start; `str()` of it is one line for people."""


def check_room(folder: Path, room: Callable[[Path], Room]) -> None:
    """Raise `NoRoom` if a node cannot be expected to start; SQLite's shared memory would end it by SIGBUS."""
    free = room(folder).free
    if free < START_BYTES_MIN:
        raise NoRoom(
            f"the disk of {folder} is full: {free // 1024} KiB are free, and a start takes "
            f"{START_BYTES_MIN // 1024} at least. Make room and start again; nothing is lost"
        )


class DiskGuard:
    """Whether there is less room than the reserve. Only within an iteration."""

    def __init__(self, room: Callable[[], Room], reserve_bytes: int, logger: Logger) -> None:
        self._room = room
        self._reserve_bytes = reserve_bytes
        self._logger = logger
        self.free_bytes = room().free
        self.is_low = False

    @property
    def alarms(self) -> list[str]:
        if not self.is_low:
            return []
        return [
            f"the disk is nearly full: {self.free_bytes // MIB} MiB are free. Unless a majority of the "
            "servers has room, the bank takes no changes; queries go on"
        ]

    def look(self) -> None:
        """Look at the disk; say when it has become low, and when there is room again."""
        free, size = self._room()
        reserve = min(self._reserve_bytes, int(RESERVE_SHARE * size))
        was_low, self.free_bytes = self.is_low, free
        self.is_low = free < reserve * (ENOUGH_AGAIN if was_low else 1)
        if self.is_low and not was_low:
            self._logger.error("disk.low", self.alarms[0], free_bytes=free)
        elif was_low and not self.is_low:
            line = f"there is room on the disk again: {free // MIB} MiB are free"
            self._logger.info("disk.room", line, free_bytes=free)
