"""What a server tells of itself in a status, besides what Raft and the ledger know."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Protocol

from msgspec.structs import replace

from atm.config import LEDGER_FILE
from atm.server.group.disk_guard import Room, room_in
from atm.server.group.timed_disk import TimedDisk
from atm.wire.client_messages import StatusReply

REFRESH_S = 1.0


class SizedLog(Protocol):
    """What is told of the log."""

    @property
    def size_bytes(self) -> int: ...


class LatestSnapshot(Protocol):
    """What is told of the snapshots."""

    @property
    def newest_index(self) -> int: ...


class Vitals:
    """Sizes, room, times. For the thread of the run loop.

    `tick` looks at the disk, once a second, while no lock is held; `completed` only tells what it saw.
    """

    def __init__(
        self,
        folder: Path,
        log: SizedLog,
        disk: TimedDisk,
        snapshots: LatestSnapshot,
        *,
        incarnation: int,
        config: str,
        peppers: Callable[[], Sequence[str]],
        clock: Callable[[], float] = time.monotonic,
        wall_clock_us: Callable[[], int] = lambda: time.time_ns() // 1000,
        room: Callable[[Path], Room] = room_in,
    ) -> None:
        """`config` is the digest of cluster.ini; `peppers` tells the names of the peppers."""
        self._folder = folder
        self._log = log
        self._disk = disk
        self._snapshots = snapshots
        self._clock = clock
        self._wall_clock_us = wall_clock_us
        self._room = room
        self._started_s = clock()
        self._looked_s = -REFRESH_S
        self._fixed = {"incarnation": incarnation, "config": config}
        self._peppers = peppers
        self._seen: dict[str, int] = {}

    @property
    def sizes(self) -> Mapping[str, int]:
        """What the last look at the disk saw, in bytes; empty if it failed. Any thread."""
        return self._seen

    def tick(self) -> None:
        """Look at the sizes again, if a second has passed."""
        now_s = self._clock()
        if now_s < self._looked_s + REFRESH_S:
            return
        self._looked_s = now_s
        try:
            free_bytes = self._room(self._folder).free
            ledger_bytes = sum(
                path.stat().st_size
                for path in (self._folder / LEDGER_FILE, self._folder / f"{LEDGER_FILE}-wal")
                if path.exists()
            )
        except OSError:
            self._seen = {}  # whoever needs the disk says what is wrong with it
            return
        self._seen = {
            "ledger_bytes": ledger_bytes,
            "log_bytes": self._log.size_bytes,
            "disk_free_bytes": free_bytes,
        }

    def completed(self, status: StatusReply) -> StatusReply:
        """Return the status with all this."""
        first, *further = self._peppers()
        return replace(
            status,
            pepper=first,
            further_peppers=tuple(further),
            **self._fixed,
            **self._seen,
            snapshot_index=self._snapshots.newest_index,
            uptime_s=round(self._clock() - self._started_s, 1),
            clock_us=self._wall_clock_us(),
            sync_ms=round(self._disk.longest_sync_ms(), 1),
        )
