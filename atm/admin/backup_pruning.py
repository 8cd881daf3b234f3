"""Drops the oldest part of a backup that was just verified: first a newer base is made, then the old pieces
go.

The base is a ledger, rebuilt from the backup itself at the end of its last piece that is old enough. It is
compared and audited, and listed in `backup.json` in place of what it replaces, before any file is removed.
"""

from __future__ import annotations

import os
import shutil

from msgspec.structs import replace

from atm.admin.backup_rebuild import check_books, line_to, rebuild
from atm.files import rename_durably, sha256_of, sync_file
from atm.storage.backup_folder import BackupFolder, Manifest, Piece, snapshot_piece

DAY_US = 24 * 3600 * 1_000_000


def prune(folder: BackupFolder, now_us: int, keep_days: int) -> int:
    """Make every index of the last `keep_days` days the only ones that can be restored; return the first one.

    The backup has just been verified. Returns 0 if nothing is old enough. Raises `DamagedBackup`.
    """
    manifest = folder.manifest
    assert manifest is not None
    assert manifest.verified_index == manifest.last_index
    old = [piece for piece in manifest.pieces if piece.last_time_us <= now_us - keep_days * DAY_US]
    if not old:
        return 0
    base = max(old, key=lambda piece: (piece.last_index, piece.kind == "snapshot"))
    if base.kind == "entries":
        base = _made_base(folder, base)
    folder.write(_without_older(manifest, base))
    folder.remove_unlisted()
    return base.last_index


def _without_older(manifest: Manifest, base: Piece) -> Manifest:
    newer = (piece for piece in manifest.pieces if piece.last_index > base.last_index)
    return replace(manifest, pieces=(base, *newer))


def _made_base(folder: BackupFolder, last: Piece) -> Piece:
    """Return a snapshot at the end of the piece `last`, whose file is durable and right."""
    index, line = line_to(folder, last.last_index)
    with folder.work_folder() as work:
        ledger = work / "ledger.db"
        rebuild(folder, line, index, ledger)
        check_books(folder, ledger, [last])
        path = folder.path / f"snapshot-{index}.db"
        copy = work / path.name
        shutil.copyfile(ledger, copy)
        sync_file(copy)
        size_bytes, sha256 = os.stat(copy).st_size, sha256_of(copy)
        rename_durably(copy, path)
    return snapshot_piece(
        path.name, size_bytes=size_bytes, sha256=sha256, at=last.end, chain_hash=last.chain_hash
    )
