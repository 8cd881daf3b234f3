"""The ledger's file at a start: the one that is there, or a copy of the newest snapshot."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from atm.ledger.database import put_in_place
from atm.ledger.ledger import Ledger, LedgerFault
from atm.storage.log_recovery import START_EMPTY_ADVICE
from atm.storage.snapshots import SnapshotStore, wrong_with

COPY_BYTES = 1024 * 1024
SYNC_BYTES = 4 * 1024 * 1024  # one large sync would hold up those of the log


class LedgerLost(Exception):
    """Neither ledger nor snapshot holds what was cut from the log; `str()` of it is one line for people."""


def open_ledger(path: Path, first_index: int, snapshots: SnapshotStore) -> Ledger:
    """Open the ledger of a log that begins with `first_index`; raise `LedgerFault` and `LedgerLost`.

    The file is used as it is if the log goes on from there. Only else is the newest snapshot copied.
    """
    if path.exists() or first_index == 1:
        ledger = Ledger(path)
        if ledger.applied_index >= first_index - 1:
            return ledger
        ledger.close()
    newest = snapshots.newest
    if newest is None or newest.index < first_index - 1:
        raise LedgerLost(
            f"the log begins with entry {first_index}, and {path} and the snapshots end before it: files of "
            f"this folder are lost, or older ones were put back. {START_EMPTY_ADVICE}"
        )
    wrong = wrong_with(newest, snapshots.path(newest))
    if wrong is not None:
        raise LedgerLost(f"the ledger has to be made of a snapshot, and {wrong}. {START_EMPTY_ADVICE}")
    copy = copy_path(path)
    try:
        copy_durably(snapshots.path(newest), copy)
        put_in_place(copy, path)
    except OSError as error:
        raise LedgerFault(
            f"{path} cannot be made of the newest snapshot ({error.strerror or error}): make room, or check "
            "the disk"
        ) from error
    return Ledger(path)


def copy_path(ledger: Path) -> Path:
    """Return where a copy is made before it becomes the ledger's file."""
    return ledger.with_name(f"{ledger.name}.installing")


def copy_durably(file: Path, copy: Path, between: Callable[[], None] = lambda: None) -> None:
    """Copy in pieces, each synced; call `between` after each, which may raise to end it."""
    unsynced = 0
    with file.open("rb", buffering=0) as source, copy.open("wb", buffering=0) as target:
        while piece := source.read(COPY_BYTES):
            target.write(piece)
            unsynced += len(piece)
            if unsynced >= SYNC_BYTES:
                os.fsync(target.fileno())
                unsynced = 0
            between()
        os.fsync(target.fileno())
