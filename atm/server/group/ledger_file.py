"""The ledger's file at a start, and its replacement by a snapshot: a crash leaves one of the two."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from atm.files import UNFINISHED_SUFFIX, rename_durably, sync_folder, write_and_sync
from atm.ledger.ledger import Ledger
from atm.raft.messages import Snapshot
from atm.storage.log_recovery import START_EMPTY_ADVICE
from atm.storage.snapshots import SnapshotStore

_PIECE_BYTES = 1024 * 1024
_BESIDE = ("-wal", "-shm", "-journal")  # SQLite's files beside a database


class LedgerTooOld(Exception):
    """Ledger, snapshot and log leave out entries that were applied; `str()` is one line for people."""


def open_ledger(path: Path, snapshots: SnapshotStore, first_index: int) -> Ledger:
    """Open the ledger at `path` if the log, which begins at `first_index`, continues it; else its snapshot's.

    A ledger that the log does not continue lost its last entries in a power cut, or a snapshot was being
    installed when the node ended. Raises `LedgerTooOld`, `LedgerFault` and `OSError`.
    """
    if path.exists() or first_index == 1:
        ledger = Ledger(path)
        if ledger.applied_index >= first_index - 1:
            return ledger
        ledger.close()
    newest = snapshots.newest
    if newest is None or newest.index < first_index - 1:
        raise LedgerTooOld(
            f"{path} is missing, or ends before entry {first_index - 1}; the log begins with entry "
            f"{first_index}, and no whole snapshot holds the entries before it. Put back the ledger, the "
            f"snapshot and the log that this node ran with last. {START_EMPTY_ADVICE}"
        )
    place(snapshots.path(newest), newest, path)
    return Ledger(path)


def place(file: Path, snapshot: Snapshot, ledger: Path) -> None:
    """Put a copy of a snapshot's file in the place of the ledger, which no connection has open.

    Raises `LedgerTooOld` and changes nothing if the file is not as the snapshot says.
    """
    unfinished = ledger.with_name(ledger.name + UNFINISHED_SUFFIX)
    if _copied(file, unfinished) != (snapshot.size_bytes, snapshot.sha256):
        unfinished.unlink()
        raise LedgerTooOld(
            f"{file} is damaged: its bytes are not those that were verified when it was made, and the ledger "
            f"needs it. {START_EMPTY_ADVICE}"
        )
    # The files beside it belong to the old one: SQLite would add what they hold to the new one. So they go in
    # between, when there is no ledger. The old one goes first: without them, it may not be whole.
    for old in (ledger, *(ledger.with_name(ledger.name + suffix) for suffix in _BESIDE)):
        old.unlink(missing_ok=True)
        sync_folder(ledger.parent)
    rename_durably(unfinished, ledger)


def _copied(file: Path, copy: Path) -> tuple[int, str]:
    """Copy a file, synced; return size and SHA-256 of what was copied."""
    digest, size_bytes = hashlib.sha256(), 0
    descriptor = os.open(copy, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o666)
    try:
        with file.open("rb", buffering=0) as source:
            while piece := source.read(_PIECE_BYTES):
                digest.update(piece)
                size_bytes += len(piece)
                write_and_sync(descriptor, piece)
    finally:
        os.close(descriptor)
    return size_bytes, digest.hexdigest()
