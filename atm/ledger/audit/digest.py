"""Hashes over whole tables: equal on ledgers that hold the same rows."""

from __future__ import annotations

import hashlib

import apsw
import msgspec

TABLES = "select name from sqlite_schema where type = 'table' order by name"


def table_names(cursor: apsw.Cursor) -> list[str]:
    """Return the ledger's tables in the order of their names."""
    return [str(name) for (name,) in cursor.execute(TABLES).fetchall()]


def table_digest(cursor: apsw.Cursor, table: str) -> str:
    """Return a hash over all rows of `table`, in the order of its key."""
    digest, encode = hashlib.sha256(), msgspec.msgpack.Encoder().encode
    for row in cursor.execute(f'select * from "{table}" order by 1'):
        digest.update(encode(row))
    return digest.hexdigest()
