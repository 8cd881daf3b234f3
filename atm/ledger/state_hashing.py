"""Hashes the state of a ledger (see `state_hash.py`): receipts as they come, rows as the file has them."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

import apsw
from msgspec.msgpack import Encoder

from atm.ledger.audit.digest import table_names
from atm.ledger.state_hash import FIRST_ROW, RowsFrom
from atm.ledger.unit_of_work import IdempotencyRecord

encode = Encoder().encode


class DecisionsHash:
    """A running hash over receipts, and what was asked for each."""

    def __init__(self, index: int) -> None:
        self.decided_from = index
        self._hash = hashlib.sha256()

    def update(self, records: Sequence[IdempotencyRecord]) -> None:
        """Add the receipts of some entries, in the order of the log; how they are cut does not matter."""
        self._hash.update(b"".join(map(encode, records)))

    def digest(self) -> bytes:
        return self._hash.digest()


def hash_rows(cursor: apsw.Cursor, start: RowsFrom, rows_max: int) -> tuple[bytes, RowsFrom]:
    """Return the hash of a piece of the rows, in the order of tables and keys, and where the next begins."""
    digest, left = hashlib.sha256(), rows_max
    for table in table_names(cursor):
        if table < start.table:
            continue
        after = start.after if table == start.table else None
        rows = _rows(cursor, table, after, left)
        digest.update(encode((table, rows)))
        left -= len(rows)
        if not left:
            return digest.digest(), RowsFrom(table, rows[-1][0])
    return digest.digest(), FIRST_ROW


def _rows(cursor: apsw.Cursor, table: str, after: str | int | None, limit: int) -> list[tuple[Any, ...]]:
    if after is None:
        return cursor.execute(f'select * from "{table}" order by 1 limit ?', (limit,)).fetchall()
    key: str = cursor.execute("select name from pragma_table_info(?) where cid = 0", (table,)).get
    sql = f'select * from "{table}" where "{key}" > ? order by 1 limit ?'
    return cursor.execute(sql, (after, limit)).fetchall()
