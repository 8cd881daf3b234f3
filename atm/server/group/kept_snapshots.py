"""The snapshots that this node keeps, and their files for those that fetch them."""

from __future__ import annotations

import os
from collections.abc import Collection
from pathlib import Path

from atm.ledger.snapshot import LedgerState
from atm.raft.messages import Snapshot
from atm.storage.snapshots import SnapshotStore
from atm.wire.log_entries import membership_data


def snapshot_of(state: LedgerState, *, term: int, time_us: int, size_bytes: int, sha256: str) -> Snapshot:
    """Describe a ledger's file by what it holds; `term` and `time_us` are those of its last entry."""
    return Snapshot(
        index=state.index,
        term=term,
        time_us=time_us,
        size_bytes=size_bytes,
        sha256=sha256,
        chain_hash=state.chain_hash,
        membership=membership_data(state.members),
        cluster_id=state.cluster_id,
    )


class KeptSnapshots:
    """The newest snapshot, and older ones as long as a follower may be fetching them.

    Only within an iteration, but `open` and `newest`, which any thread may call.
    """

    def __init__(self, store: SnapshotStore) -> None:
        self._store = store
        store.prune()
        newest = store.newest
        self._kept = [newest] if newest is not None else []  # the newest is the last
        self._files: dict[tuple[int, str], Path] = {}  # replaced as a whole: read without a lock
        self._newest = newest  # likewise
        self._publish()

    @property
    def newest(self) -> Snapshot | None:
        """The newest snapshot; None if there is none, or if its file is not there."""
        return self._newest

    @property
    def newest_index(self) -> int:
        """The index up to which the newest snapshot holds the log; 0 without one."""
        return self._store.base.index

    @property
    def making(self) -> Path:
        """Where a snapshot is to be made before it is adopted."""
        return self._store.making

    @property
    def older(self) -> set[int]:
        """The indexes of all but the newest."""
        return {snapshot.index for snapshot in self._kept[:-1]}

    def part(self, snapshot: Snapshot) -> Path:
        """Return where the file is fetched to; the parts of all other snapshots are removed."""
        return self._store.part(snapshot)

    def adopt(self, snapshot: Snapshot, file: Path, *, installed: bool) -> None:
        """Make a verified file the newest snapshot, durably."""
        self._store.adopt(snapshot, file, installed=installed)
        self._kept.append(snapshot)
        self._publish()

    def prune(self, in_use: Collection[int]) -> None:
        """Remove the older ones that are not at the indexes `in_use`."""
        self._kept = [*(each for each in self._kept[:-1] if each.index in in_use), *self._kept[-1:]]
        self._publish()
        self._store.prune(in_use)

    def open(self, index: int, sha256: str) -> int | None:
        """Return a descriptor of this snapshot's file, for the caller to close, or None without that file."""
        path = self._files.get((index, sha256))
        try:
            return None if path is None else os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return None

    def _publish(self) -> None:
        self._files = {(each.index, each.sha256): self._store.path(each) for each in self._kept}
        self._newest = self._kept[-1] if self._kept else None
