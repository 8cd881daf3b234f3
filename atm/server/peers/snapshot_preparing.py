"""Brings an offered snapshot to the point where installing it takes no time: fetched, verified, copied."""

from __future__ import annotations

from pathlib import Path
from threading import Event

from atm.ledger.snapshot import LedgerState, NotMade, state_of
from atm.raft.messages import NodeId, Snapshot
from atm.server.group.installer import Abandoned, InstallFailed
from atm.server.group.ledger_file import copy_durably
from atm.server.peers.snapshot_fetcher import FetchFailed, Interrupted, SnapshotFetcher
from atm.storage.snapshots import wrong_with


class SnapshotPreparer:
    """The `Prepare` of installer.py; called by one thread at a time."""

    def __init__(self, fetcher: SnapshotFetcher, copy: Path) -> None:
        """`copy` is where the ledger's copy goes, beside its file."""
        self._fetcher = fetcher
        self._copy = copy
        copy.unlink(missing_ok=True)  # left by a crash

    def prepare(self, snapshot: Snapshot, leader: NodeId, part: Path, stop: Event) -> Path:
        """Return the copy of the snapshot's file; raise `InstallFailed`, `Abandoned` and OSError."""
        try:
            self._fetcher.fetch(snapshot, leader, part, stop)
        except FetchFailed as error:
            raise InstallFailed(str(error)) from error
        except Interrupted as error:
            raise Abandoned from error
        self._verify(snapshot, part)

        def unless_stopped() -> None:
            if stop.is_set():
                raise Abandoned

        copy_durably(part, self._copy, unless_stopped)
        return self._copy

    def _verify(self, snapshot: Snapshot, part: Path) -> None:
        """Raise `InstallFailed` unless it is the snapshot that was offered; then the file is removed."""
        wrong = wrong_with(snapshot, part) or _wrong_inside(snapshot, part)
        if wrong is not None:
            part.unlink()
            raise InstallFailed(f"{wrong}. It is fetched anew")


def _wrong_inside(snapshot: Snapshot, part: Path) -> str | None:
    """Return why the ledger in the file must not become this node's, or None."""
    try:
        found = state_of(part)
    except NotMade as error:
        return str(error)
    offered = LedgerState(
        index=snapshot.index, cluster_id=snapshot.cluster_id, chain_hash=snapshot.chain_hash
    )
    return None if found == offered else f"the file holds {found}, and {offered} was offered"
