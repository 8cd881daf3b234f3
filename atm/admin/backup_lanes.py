"""Backups of a bank on PostgreSQL, and banks on PostgreSQL made of backups: so a bank moves there and back.

Such a backup is a ledger as it was at one time, as a snapshot of a bank on Raft is; there are no log entries.
"""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

from msgspec.structs import replace

from atm.config import Cluster
from atm.files import rename_durably, sha256_of, sync_file
from atm.lanes.bank import read_bank
from atm.lanes.copying import copy_lane
from atm.lanes.engine import EngineConnection
from atm.lanes.faults import EngineRefused
from atm.lanes.loading import LoadedFrom, load_ledger, require_no_bank
from atm.lanes.places import url_of_lane
from atm.ledger.database import Database
from atm.storage.backup_folder import (
    UNFINISHED_SNAPSHOT,
    BackupFolder,
    BackupRefused,
    Manifest,
    Piece,
    snapshot_piece,
    with_piece,
)
from atm.storage.entry_file import Position
from atm.version import FEATURE_LEVEL_MAX, RELEASE

__all__ = ["LoadedFrom", "load_ledger", "require_no_bank", "take_lanes"]

PEPPERS = """select pepper, coalesce((select name from pepper order by generation desc limit 1), '')
    from atm.bank"""


def take_lanes(cluster: Cluster, folder: BackupFolder, now_us: int) -> Piece | None:
    """Add the books as they are now; return their piece, None if it is there already.

    Raise `EngineFault`, `EngineRefused`, `BackupRefused` and `OSError`.
    """
    with closing(EngineConnection(url_of_lane(cluster.engine.urls, 0), lane=0)) as engine:
        bank = read_bank(engine, home=None)
        if bank.lanes > 1:
            raise EngineRefused(
                f"this bank has {bank.lanes} lanes, and a backup is of one ledger: back it up as PostgreSQL "
                "is, by pg_basebackup with an archive of its WAL, or by pg_dump"
            )
        old = folder.manifest
        if old is not None and old.cluster != bank.id:
            raise BackupRefused(
                f"{folder.path} holds a backup of cluster {old.cluster}, and this bank is {bank.id}: name "
                "another folder for it"
            )
        with engine.asking():
            [(pepper, current_pepper)] = engine.psycopg.execute(PEPPERS).fetchall()
        unfinished = folder.path / f"{UNFINISHED_SNAPSHOT}-0"
        unfinished.unlink(missing_ok=True)
        at, chain_hash = _copied(engine, unfinished)
    manifest = Manifest(
        release=RELEASE,
        cluster=bank.id,
        feature_level=FEATURE_LEVEL_MAX,
        nodes=tuple(cluster.nodes),
        pepper=pepper,
        current_pepper=current_pepper,
        made_us=now_us,
    )
    if old is not None:
        manifest = replace(
            manifest,
            pieces=old.pieces,
            sealed_pepper_sha256=old.sealed_pepper_sha256,
            verified_us=old.verified_us,
            verified_index=old.verified_index,
        )
    if at.index == manifest.last_index:
        unfinished.unlink()
        folder.write(manifest)
        return None
    path = folder.path / f"snapshot-{at.index}.db"
    size_bytes, sha256 = unfinished.stat().st_size, sha256_of(unfinished)
    rename_durably(unfinished, path)
    piece = snapshot_piece(path.name, size_bytes=size_bytes, sha256=sha256, at=at, chain_hash=chain_hash)
    folder.write(with_piece(manifest, piece))
    folder.remove_unlisted()
    return piece


def _copied(engine: EngineConnection, path: Path) -> tuple[Position, str]:
    """Copy the lane into a file, durably; return where it ends, and the journal's last hash."""
    with closing(Database(path)) as into:
        index, time_us, journal_hash, _ = copy_lane(engine, 0, into)
    sync_file(path)
    with engine.asking():
        [(epoch,)] = engine.psycopg.execute("select epoch from atm.lane where lane = 0").fetchall()
    return Position(index, epoch, time_us), bytes(journal_hash).hex()
