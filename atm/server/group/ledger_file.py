"""The ledger's file at a start, and its replacement by a snapshot: a crash leaves one of the two."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from pathlib import Path

from atm.files import UNFINISHED_SUFFIX, write_and_sync
from atm.ledger.database import put_in_place
from atm.ledger.ledger import Ledger
from atm.raft.messages import Snapshot
from atm.storage.log_recovery import START_EMPTY_ADVICE
from atm.storage.snapshots import SnapshotStore

_PIECE_BYTES = 1024 * 1024


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
    copy = copy_path(ledger)
    if not copy_whole(file, snapshot, copy):
        raise LedgerTooOld(
            f"{file} is damaged: its bytes are not those that were verified when it was made, and the ledger "
            f"needs it. {START_EMPTY_ADVICE}"
        )
    put_in_place(copy, ledger)


def copy_path(ledger: Path) -> Path:
    """Return where a copy is made that is to become the ledger's file; one that a crash left is replaced."""
    return ledger.with_name(ledger.name + UNFINISHED_SUFFIX)


def copy_whole(
    file: Path, snapshot: Snapshot, copy: Path, between: Callable[[], None] = lambda: None
) -> bool:
    """Copy a snapshot's file, synced; return False, without a copy, if it is not as the snapshot says.

    Each piece is synced: one large sync would hold up those of the log. `between` is called after each
    piece, and may raise to end the copying.
    """
    digest, size_bytes = hashlib.sha256(), 0
    descriptor = os.open(copy, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        with file.open("rb", buffering=0) as source:
            while piece := source.read(_PIECE_BYTES):
                digest.update(piece)
                size_bytes += len(piece)
                write_and_sync(descriptor, piece)
                between()
    finally:
        os.close(descriptor)
    whole = (size_bytes, digest.hexdigest()) == (snapshot.size_bytes, snapshot.sha256)
    if not whole:
        copy.unlink()
    return whole
