"""Moves a wrong ledger aside, so that the next start rebuilds it from the log."""

from __future__ import annotations

from pathlib import Path

from atm.config import LEDGER_FILE
from atm.files import sync_folder

PREFIX = ".wrong-"


def move_ledger_aside(folder: Path) -> Path:
    """Rename the ledger in `folder`, which nobody has open; return its new path. Older such ones are deleted.

    The write-ahead log goes first: SQLite would apply one that is left alone to the new ledger.
    """
    ledger = folder / LEDGER_FILE
    earlier = {
        int(file.suffix.removeprefix(PREFIX)): file
        for file in folder.glob(f"{LEDGER_FILE}{PREFIX}*")
        if file.suffix.removeprefix(PREFIX).isdecimal()
    }
    aside = ledger.with_name(f"{LEDGER_FILE}{PREFIX}{max(earlier, default=0) + 1}")
    for suffix in ("-wal", ""):
        file = ledger.with_name(ledger.name + suffix)
        if file.exists():
            file.rename(aside.with_name(aside.name + suffix))
    ledger.with_name(f"{LEDGER_FILE}-shm").unlink(missing_ok=True)
    sync_folder(folder)
    for old in earlier.values():
        old.with_name(f"{old.name}-wal").unlink(missing_ok=True)
        old.unlink()
    return aside
