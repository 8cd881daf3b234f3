"""A consistent view of a ledger file, whether its node runs or not."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import apsw

from atm.ledger.database import BUSY_TIMEOUT_MS, brief

CACHE_KIB = 32 * 1024


class NoLedger(Exception):
    """There is nothing to read; `str()` of it is one line for people."""


class DamagedLedger(Exception):
    """What the file holds cannot be read; `str()` of it is one line for people."""


@contextmanager
def open_read_only(path: Path) -> Iterator[apsw.Cursor]:
    """Yield a cursor that sees one snapshot of the ledger in all its statements and cannot write.

    Raise `NoLedger` if there is no such file, and `DamagedLedger` in place of SQLite's own errors within.
    """
    try:
        connection = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY)
    except apsw.Error as error:
        raise NoLedger(f"{path}: there is no ledger that can be read") from error
    try:
        connection.set_busy_timeout(BUSY_TIMEOUT_MS)
        cursor = connection.cursor()
        for pragma in (f"cache_size = -{CACHE_KIB}", "cell_size_check = 1", "trusted_schema = 0"):
            with contextlib.suppress(apsw.NotADBError, apsw.CorruptError):
                cursor.execute(f"pragma {pragma}")
        cursor.execute("begin")
        yield cursor
    except (apsw.Error, UnicodeDecodeError) as error:
        raise DamagedLedger(f"{path}: the ledger cannot be read: {brief(error)}") from error
    finally:
        connection.close(True)
