"""Makes a bank on PostgreSQL of a ledger in SQLite: the same ids, receipts, holds, PINs and chain."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from itertools import islice
from pathlib import Path

import apsw
from msgspec import Struct

from atm.lanes.bank import SCHEMA, SCHEMA_VERSION, has_bank
from atm.lanes.copying import NOT_COPIED, copy_rows
from atm.lanes.engine import EngineConnection
from atm.lanes.faults import EngineRefused
from atm.ledger.audit.digest import table_digest, table_names
from atm.ledger.audit.read_only import open_read_only
from atm.ledger.database import Database
from atm.ledger.posting import NO_HASH
from atm.version import FEATURE_LEVEL_MAX

ROWS_AT_ONCE = 2_000
NEW_BANK = "insert into atm.bank values (1, %s, 1, %s, %s)"
NEW_LANE = "insert into atm.lane values (0, %s, '', %s, %s, %s, %s)"
CLUSTER = "select id, feature_level, log_index from cluster, applied"
LAST_POSTING = "select hash from journal order by posting desc limit 1"
LAST_DEED = "select hash from deed order by deed desc limit 1"


class LoadedFrom(Struct, frozen=True):
    """Where the books of a ledger end: the term and the time of its last entry, and its first pepper."""

    term: int
    time_us: int
    pepper: str


def require_no_bank(url: str) -> None:
    """Raise `EngineRefused` if the database holds a bank already."""
    with closing(EngineConnection(url)) as engine, engine.asking():
        _refuse_bank(engine)


def load_ledger(url: str, ledger: Path, end: LoadedFrom) -> None:
    """Make the bank of the ledger, all in one transaction, in a database that has none; compare every row.

    Raise `EngineRefused`, and `EngineFault`: then the database has no bank.
    """
    with (
        open_read_only(ledger) as books,
        closing(EngineConnection(url, lane=0)) as engine,
        engine.asking(writes=True),
        engine.psycopg.transaction(),
    ):
        _refuse_bank(engine)
        _load(engine, books, end)
        _compare(engine, books)


def _refuse_bank(engine: EngineConnection) -> None:
    if has_bank(engine):
        raise EngineRefused("there is a bank in this database already: name an empty one in [engine] url")


def _load(engine: EngineConnection, books: apsw.Cursor, end: LoadedFrom) -> None:
    [(cluster_id, level, index)] = books.execute(CLUSTER).fetchall()
    if level != FEATURE_LEVEL_MAX:
        raise EngineRefused(
            f"these books are of feature level {level}, and PostgreSQL keeps those of {FEATURE_LEVEL_MAX}: "
            "run all servers of that bank with this release first"
        )
    send = engine.psycopg
    send.execute(SCHEMA.encode())
    send.execute(NEW_BANK, (cluster_id, end.pepper, SCHEMA_VERSION))
    hashes = [books.execute(sql).get or NO_HASH for sql in (LAST_POSTING, LAST_DEED)]
    send.execute(NEW_LANE, (end.term, index, end.time_us, *hashes))
    for table in table_names(books):
        if table not in NOT_COPIED:
            _copy_rows(engine, books, table)


def _copy_rows(engine: EngineConnection, books: apsw.Cursor, table: str) -> None:
    columns = [str(name) for (name,) in books.execute("select name from pragma_table_info(?)", (table,))]
    names = ", ".join(columns)
    rows = iter(books.execute(f'select {names} from "{table}"'))
    with engine.psycopg.cursor().copy(f"copy atm.{table} (lane, {names}) from stdin".encode()) as copy:
        for some in _chunks(rows):
            for row in some:
                copy.write_row((0, *row))
            engine.extend()


def _chunks(rows: Iterator[tuple[object, ...]]) -> Iterator[list[tuple[object, ...]]]:
    while some := list(islice(rows, ROWS_AT_ONCE)):
        yield some


def _compare(engine: EngineConnection, books: apsw.Cursor) -> None:
    """Raise `EngineRefused` unless every table now holds the same rows."""
    with closing(Database(":memory:")) as copy:
        copy_rows(engine, 0, copy)
        for table in table_names(books):
            if table in NOT_COPIED:
                continue
            if table_digest(copy.cursor(), table) != table_digest(books, table):
                raise EngineRefused(f"the table {table} is not in PostgreSQL what it is in the ledger")
