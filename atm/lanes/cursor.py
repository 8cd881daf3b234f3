"""Asks PostgreSQL what atm/ledger asks SQLite: the same queries, about the one lane of a connection.

The tables of `one_lane` are views that show one lane's rows, so no query has to name it. Only the places of
values are written differently.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any

import psycopg

_PLACES = re.compile(r"\?|(?<!:):([a-z_]+)")


class Rows:
    """The rows of one query, which were all fetched."""

    def __init__(self, rows: list[Any]) -> None:
        self._rows = rows

    def __iter__(self) -> Iterator[Any]:
        return iter(self._rows)

    def fetchall(self) -> list[Any]:
        """Return all rows, as tuples."""
        return self._rows

    @property
    def get(self) -> Any:
        """The first row, its value alone if it has one column; None without a row."""
        if not self._rows:
            return None
        first = self._rows[0]
        return first[0] if len(first) == 1 else first


class LaneCursor:
    """A `Cursor` of atm/ledger/rows.py, on a connection that was set to one lane."""

    def __init__(self, connection: psycopg.Connection[Any]) -> None:
        self._cursor = connection.cursor()

    def execute(self, sql: str, values: Sequence[Any] | Mapping[str, Any] = (), /) -> Rows:
        """Return what a query found; `sql` has SQLite's places, `?` or `:name`."""
        return Rows(self._cursor.execute(in_postgresql(sql), values).fetchall())


@lru_cache
def in_postgresql(sql: str) -> bytes:
    """Return the query with the places that psycopg knows."""
    return _PLACES.sub(lambda place: f"%({place[1]})s" if place[1] else "%s", sql).encode()
