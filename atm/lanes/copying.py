"""Copies the books of one lane into a SQLite ledger, as a node has one: to audit, to export, to compare."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import apsw

from atm.lanes.engine import EngineConnection
from atm.lanes.faults import EngineFault
from atm.ledger.audit.digest import table_names
from atm.ledger.database import Database
from atm.version import FEATURE_LEVEL_MAX

NOT_COPIED = {
    "applied",
    "cluster",
    "member",
    "removed",
}  # of a node; the first two are made from the lane's row
ROWS_AT_ONCE = 2_000
COLUMNS = "select name from pragma_table_info(?)"  # without those that are generated
LANE = "select applied, time_us, journal_hash, deed_hash from atm.lane where lane = %s"
SNAPSHOT = "set transaction isolation level repeatable read, read only"
SET_APPLIED = "update applied set log_index = ?"
SET_CLUSTER = "update cluster set id = ?, feature_level = ?"


class NoLane(EngineFault):
    """The lane is not in this database."""


def copy_lane(engine: EngineConnection, lane: int, into: Database) -> Sequence[Any]:
    """Copy a lane, as it is at one time, into a new ledger; return the columns `LANE` of its row.

    The connection must be set to this lane.
    """
    with engine.asking(), engine.psycopg.transaction():
        engine.psycopg.execute(SNAPSHOT)
        return copy_rows(engine, lane, into)


def copy_rows(engine: EngineConnection, lane: int, into: Database) -> Sequence[Any]:
    """Copy a lane as the caller's transaction sees it; see `copy_lane`."""
    with into.transaction():
        into.add_level_2_tables()
        return _copy(engine, lane, into.cursor())


def _copy(engine: EngineConnection, lane: int, into: apsw.Cursor) -> Sequence[Any]:
    postgresql = engine.psycopg
    found_rows = postgresql.execute(LANE, (lane,)).fetchall()
    if not found_rows:
        raise NoLane(f"lane {lane} is not in the database that it should be in")
    [row] = found_rows
    [(bank_id,)] = postgresql.execute("select id from cluster").fetchall()
    for table in table_names(into):
        if table in NOT_COPIED:
            continue
        into.execute(f'delete from "{table}"')
        columns = [str(name) for (name,) in into.execute(COLUMNS, (table,)).fetchall()]
        insert = f'insert into "{table}" values ({", ".join("?" * len(columns))})'
        with postgresql.cursor(f"copying_{table}") as rows:
            rows.itersize = ROWS_AT_ONCE
            rows.execute(f"select {', '.join(columns)} from one_lane.{table} order by 1".encode())
            while some := rows.fetchmany(ROWS_AT_ONCE):
                into.executemany(insert, some)
                engine.extend()
    into.execute(SET_APPLIED, (row[0],))
    into.execute(SET_CLUSTER, (bank_id, FEATURE_LEVEL_MAX))
    found: Sequence[Any] = row
    return found
