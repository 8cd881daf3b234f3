"""Moves a wrong ledger aside, so that the next start rebuilds it from the log."""

from __future__ import annotations

from pathlib import Path

from atm.config import LEDGER_FILE
from atm.files import sync_folder

KEPT = 1  # wrong ledgers, the newest: each may be as long as the ledger


def move_ledger_aside(folder: Path) -> Path:
    """Rename the ledger in the closed data folder `folder`, with its write-ahead log; return its new path.

    The write-ahead log goes first: SQLite would apply one that is left alone to the new ledger.
    """
    ledger = folder / LEDGER_FILE
    earlier = sorted(folder.glob(f"{LEDGER_FILE}.wrong-[0-9]*[0-9]"), key=_number)
    aside = ledger.with_name(f"{LEDGER_FILE}.wrong-{_number(earlier[-1]) + 1 if earlier else 1}")
    for suffix in ("-wal", ""):
        file = ledger.with_name(ledger.name + suffix)
        if file.exists():
            file.rename(aside.with_name(aside.name + suffix))
    ledger.with_name(f"{LEDGER_FILE}-shm").unlink(missing_ok=True)
    sync_folder(folder)
    for old in earlier[: len(earlier) + 1 - KEPT]:
        old.with_name(f"{old.name}-wal").unlink(missing_ok=True)
        old.unlink()
    return aside


def _number(path: Path) -> int:
    return int(path.name.rpartition("-")[2])
