"""Data folders of a new cluster whose books begin with a ledger that is there already.

Such a folder has a snapshot at the ledger's index and an empty log behind it. No 1.1 server can start from
it.
"""

from __future__ import annotations

import secrets
import shutil
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import msgspec
from msgspec import Struct

from atm.config import LEDGER_FILE, Cluster
from atm.files import make_folder, sha256_of, sync_file, sync_folder, write_durably
from atm.ledger.commands import Member
from atm.ledger.epoch import Epoch, begin_epoch
from atm.ledger.snapshot import state_of
from atm.raft.messages import HardState, Snapshot
from atm.server.group.kept_snapshots import snapshot_of
from atm.storage.backup_folder import BackupRefused
from atm.storage.data_folder import FORMAT, NODE_FILE, Owner
from atm.storage.entry_file import Position
from atm.storage.log_file import LogBase, LogFile
from atm.storage.snapshots import SNAPSHOT_FOLDER, SnapshotStore


class NewCluster(Struct, frozen=True, kw_only=True):
    """What its folders have in common.

    `pepper` is the name of the first secret that the PINs are sealed with; None: all these secrets are lost.
    """

    epoch: Epoch
    end: Position  # of the last entry in its books
    pepper: str | None


def new_cluster_id() -> str:
    """Draw the id of a new cluster."""
    return secrets.token_hex(16)


def founders_of(cluster: Cluster, names: Sequence[str]) -> tuple[Member, ...]:
    """Return these nodes of a cluster.ini as the voters of a new cluster."""
    nodes = (cluster.nodes[name] for name in names)
    return tuple(Member(each.name, True, peer=str(each.peer), client=str(each.client)) for each in nodes)


def require_empty(cluster: Cluster, names: Sequence[str]) -> None:
    """Raise `BackupRefused` if the data folder of one of these nodes holds anything."""
    for name in names:
        folder = cluster.data_dir / name
        if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            raise BackupRefused(
                f"{folder} is not empty: a restore replaces nothing. Name another data_dir in "
                f"{cluster.path}, or "
                "move that folder away if it is not needed any more"
            )


def take_over(ledger: Path, new: NewCluster) -> None:
    """Make the ledger that of the new cluster, and durable."""
    begin_epoch(ledger, new.epoch, peppers_known=new.pepper is not None)
    sync_file(ledger)


def write_folder(folder: Path, node: str, ledger: Path, new: NewCluster) -> None:
    """Make `folder`, which is not there yet, the data folder of `node`, durably but for its name."""
    make_folder(folder)
    shutil.copyfile(ledger, folder / LEDGER_FILE)
    sync_file(folder / LEDGER_FILE)
    snapshots = SnapshotStore(folder / SNAPSHOT_FOLDER)
    shutil.copyfile(ledger, snapshots.making)
    snapshots.adopt(_snapshot(snapshots.making, new), snapshots.making, installed=True)
    end = new.end
    with closing(LogFile(folder)) as log:
        log.save(HardState(term=end.term), ())
        log.reset(LogBase(end.index, end.term, end.time_us, installed=True))
    owner = Owner(
        format=FORMAT,
        node=node,
        store=secrets.token_hex(16),
        cluster_id=new.epoch.cluster,
        pepper=new.pepper,
    )
    write_durably(folder / NODE_FILE, msgspec.json.format(msgspec.json.encode(owner)))
    sync_folder(folder)


def _snapshot(file: Path, new: NewCluster) -> Snapshot:
    return snapshot_of(
        state_of(file),
        term=new.end.term,
        time_us=new.end.time_us,
        size_bytes=file.stat().st_size,
        sha256=sha256_of(file),
    )
