"""Brings an offered snapshot to the point where installing it takes no time: fetched, verified, copied."""

from __future__ import annotations

from pathlib import Path
from threading import Event

from atm.ledger.snapshot import NotMade, state_of
from atm.raft.messages import NodeId, Snapshot
from atm.server.group.installer import Abandoned, InstallFailed
from atm.server.group.ledger_file import copy_whole
from atm.server.peers.snapshot_fetcher import FetchFailed, Interrupted, SnapshotFetcher
from atm.version import FEATURE_LEVEL_MAX, RELEASE
from atm.wire.log_entries import membership_data


class SnapshotPreparer:
    """The `Prepare` of installer.py; called by one thread at a time."""

    def __init__(self, fetcher: SnapshotFetcher, copy: Path) -> None:
        """`copy` is where the ledger's copy goes, beside its file."""
        self._fetcher = fetcher
        self._copy = copy

    def prepare(self, snapshot: Snapshot, leader: NodeId, part: Path, stop: Event) -> Path:
        """Return the copy of the snapshot's file; raise `InstallFailed`, `Abandoned` and OSError."""
        try:
            self._fetcher.fetch(snapshot, leader, part, stop)
        except FetchFailed as error:
            raise InstallFailed(str(error)) from error
        except Interrupted as error:
            raise Abandoned from error

        def unless_stopped() -> None:
            if stop.is_set():
                raise Abandoned

        whole = copy_whole(part, snapshot, self._copy, unless_stopped)
        wrong = wrong_inside(snapshot, part) if whole else "its bytes are not those that were offered"
        if wrong is not None:
            part.unlink()
            raise InstallFailed(f"what was fetched is wrong: {wrong}. It is fetched anew")
        return self._copy


def wrong_inside(snapshot: Snapshot, part: Path) -> str | None:
    """Return why the ledger in the file must not become this node's, or None."""
    try:
        found = state_of(part)
    except NotMade as error:
        return str(error)
    if found.feature_level > FEATURE_LEVEL_MAX:
        return (
            f"the cluster is at feature level {found.feature_level}, and release {RELEASE} knows only up to "
            f"{FEATURE_LEVEL_MAX}, so install a newer release on this node"
        )
    holds = found.index, found.cluster_id, found.chain_hash, membership_data(found.members)
    if holds != (snapshot.index, snapshot.cluster_id, snapshot.chain_hash, snapshot.membership):
        return f"it holds {found}, which is not what was offered"
    return None
