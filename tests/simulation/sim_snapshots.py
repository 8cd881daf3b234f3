"""The snapshots of one simulated server: files in memory, made and fetched in simulated time.

The production code decides when one is due, how the log is cut and how one is installed; here is what it does
with files, processes and connections. A kill leaves each file as it is, a power cut a part of it.
"""

from __future__ import annotations

import errno
import hashlib
from collections import Counter
from collections.abc import Callable, Collection
from contextlib import closing
from pathlib import Path
from random import Random

import apsw
import msgspec

from atm.ledger.commands import MembershipChange
from atm.ledger.snapshot import LedgerState, MadeSnapshot, read_state
from atm.raft.messages import NodeId, Snapshot
from atm.server.group import installer, snapshotter
from atm.server.group.kept_snapshots import KeptSnapshots
from atm.server.group.snapshot_maker import SnapshotMaker
from atm.storage.log_index import NO_SNAPSHOT, LogBase
from atm.storage.snapshots import SnapshotStore
from atm.wire.codec import encode
from tests.simulation.fuse import Fuse
from tests.support.checks import require

FOLDER = Path("/node/snapshot")
LOSSES_MAX = 3  # of the connection, one after the other: then the fetch has failed
COPY = Path("/node/ledger.db.unfinished")


class SnapshotDisk:
    """What outlives the crashes of a server: the files, and which of them are adopted snapshots."""

    def __init__(self, chance: Random) -> None:
        self.files: dict[Path, bytes] = {}
        self.adopted: dict[int, tuple[Snapshot, bool]] = {}  # and whether it was installed
        self._chance = chance

    def power_cut(self) -> None:
        """Of a file that is being fetched or made, only a beginning is left, if anything."""
        for path, contents in list(self.files.items()):
            if path.suffix == ".part":
                self.files[path] = contents[: self._chance.randint(0, len(contents))]

    def copied(self) -> SnapshotDisk:
        copy = SnapshotDisk(self._chance)
        copy.files, copy.adopted = dict(self.files), dict(self.adopted)
        return copy

    def lose(self) -> None:
        self.files.clear()
        self.adopted.clear()


class SimSnapshotStore(SnapshotStore):
    """The production store's methods, on a `SnapshotDisk`."""

    def __init__(self, disk: SnapshotDisk, fuse: Fuse, is_full: Callable[[], bool]) -> None:
        self.disk = disk
        self._fuse = fuse
        self._is_full = is_full

    @property
    def newest(self) -> Snapshot | None:
        return self.disk.adopted[max(self.disk.adopted)][0] if self.disk.adopted else None

    @property
    def base(self) -> LogBase:
        if not self.disk.adopted:
            return NO_SNAPSHOT
        snapshot, installed = self.disk.adopted[max(self.disk.adopted)]
        return LogBase(snapshot.index, snapshot.term, snapshot.time_us, installed)

    @property
    def making(self) -> Path:
        return FOLDER / "making.db"

    def path(self, snapshot: Snapshot) -> Path:
        return FOLDER / f"{snapshot.index}.db"

    def part(self, snapshot: Snapshot) -> Path:
        part = FOLDER / f"{snapshot.index}-{snapshot.sha256}.part"
        for path in [path for path in self.disk.files if path.suffix == ".part" and path != part]:
            del self.disk.files[path]
        return part

    def adopt(self, snapshot: Snapshot, file: Path, *, installed: bool) -> None:
        if self._is_full():
            raise OSError(errno.ENOSPC, "no space left on device")
        newest = self.newest
        require(
            newest is None or snapshot.index > newest.index, "a snapshot is newer than the last", snapshot
        )
        contents = self.disk.files[file]
        found = hashlib.sha256(contents).hexdigest()
        require(found == snapshot.sha256, "only what was verified is adopted", snapshot)
        self._fuse.burn()
        del self.disk.files[file]
        self.disk.files[self.path(snapshot)] = contents
        self.disk.adopted[snapshot.index] = snapshot, installed
        self._fuse.burn()

    def prune(self, in_use: Collection[int] = ()) -> None:
        for index in sorted(self.disk.adopted)[:-1]:
            if index not in in_use:
                snapshot, _ = self.disk.adopted.pop(index)
                del self.disk.files[self.path(snapshot)]

    def contents(self, index: int, sha256: str) -> bytes | None:
        """Return the file of an adopted snapshot, as another server fetches it."""
        snapshot, _ = self.disk.adopted.get(index, (None, False))
        if snapshot is None or snapshot.sha256 != sha256:
            return None
        return self.disk.files[self.path(snapshot)]


def state_in(contents: bytes) -> LedgerState:
    """Return which state of the bank a ledger's file holds."""
    with closing(apsw.Connection(":memory:")) as connection:
        connection.deserialize("main", contents)
        return read_state(connection)


Later = Callable[[Callable[[], None]], None]  # do it after a while, if the server is still up then
Ask = Callable[[Snapshot, int, Callable[[bytes | None], None]], None]


class Making(snapshotter.Job):
    """Makes a snapshot of what the ledger's file holds as it begins; it takes a while."""

    def __init__(
        self, maker: SnapshotMaker, kept: KeptSnapshots, *, contents: bytes, disk: SnapshotDisk, later: Later
    ) -> None:
        self._contents, self._disk, self._later = contents, disk, later
        self._ended = False
        super().__init__(maker, kept)

    def start(self) -> None:
        self._later(self._end)

    def is_alive(self) -> bool:
        return not self._ended

    def interrupt(self) -> None:
        """The ledger's file is about to be replaced: the process that copies it is killed."""
        if not self._ended:
            self._ended, self.error = True, "interrupted"

    def _end(self) -> None:
        if self._ended:
            return
        self._ended = True
        self._disk.files[self._path] = self._contents
        self.made = MadeSnapshot(
            **msgspec.structs.asdict(state_in(self._contents)),
            size_bytes=len(self._contents),
            sha256=hashlib.sha256(self._contents).hexdigest(),
            seconds=0.0,
        )


class Fetching(installer.Job):
    """Fetches a snapshot piece by piece, going on where an interrupted fetch has ended."""

    def __init__(
        self,
        prepare: installer.Prepare,
        snapshot: Snapshot,
        leader: NodeId,
        part: Path,
        before: installer.Job | None,
        *,
        disk: SnapshotDisk,
        ask: Ask,
        later: Later,
        fired: Counter[str],
    ) -> None:
        """`ask(snapshot, offset, answer)` calls `answer` with a piece, or with None if none came."""
        self._disk, self._ask, self._later, self._fired = disk, ask, later, fired
        self._ended = False
        self._losses = 0  # since the last piece
        super().__init__(prepare, snapshot, leader, part, before)

    def start(self) -> None:
        self._losses += len(self._disk.files.get(self.part, b"")) > 0  # what a fetch before this one has left
        self._go_on()

    def is_alive(self) -> bool:
        return not self._ended

    def _go_on(self) -> None:
        before = self._before
        if before is not None and before.is_alive():
            self._later(self._go_on)
            return
        self._before = None
        had = self._disk.files.setdefault(self.part, b"")
        if self.stop.is_set():
            self._ended = True
        elif len(had) < self.snapshot.size_bytes:
            self._ask(self.snapshot, len(had), self._take)
        else:
            self._end(had)

    def _take(self, piece: bytes | None) -> None:
        if self.stop.is_set():
            self._ended = True
        elif piece is None:
            self._fired["fetch interrupted"] += 1
            self._losses += 1
            if self._losses > LOSSES_MAX:
                self._ended, self.error = True, "the connection was lost again and again"
            else:
                self._go_on()
        else:
            had = self._disk.files[self.part]
            self._fired["fetch resumed"] += had != b"" and self._losses > 0
            self._losses = 0
            self._disk.files[self.part] = had + piece
            self._go_on()

    def _end(self, contents: bytes) -> None:
        """What was offered is what came: there is nobody here who changes it."""
        snapshot, found = self.snapshot, state_in(contents)
        same = hashlib.sha256(contents).hexdigest() == snapshot.sha256
        require(same, "pieces that were fetched are those of the file", snapshot)
        holds = found.index, found.cluster_id, found.chain_hash, encode(MembershipChange(found.members))
        offered = snapshot.index, snapshot.cluster_id, snapshot.chain_hash, snapshot.membership
        require(holds == offered, "a snapshot holds what its offer says", (holds, offered))
        self._disk.files[COPY] = contents
        self.prepared, self._ended = COPY, True
