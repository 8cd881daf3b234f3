"""What two ledgers at one log index are compared by: hashes that are equal if the ledgers are.

Three hashes, because none alone is cheap and sees everything. The journal's chain hash covers every posting
there ever was, and the balances right after it, but not what became of refused commands. The hash of the
decisions covers every receipt since the last comparison. Both are of what was in memory when it was decided.
The hash of the rows is of a piece of the file, read anew each time: so a row that has rotted is found without
being asked for, once the pieces have come round to it.
"""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, Struct

ROWS_MAX = 10_000  # of one piece


class RowsFrom(Struct, frozen=True, array_like=True):
    """Where a piece of the rows begins: behind the key `after` of `table` (None: with its first row)."""

    table: Annotated[str, Meta(max_length=64)] = ""
    after: Annotated[str, Meta(max_length=64)] | int | None = None


FIRST_ROW = RowsFrom()


class StateHash(Struct, frozen=True, kw_only=True):
    """The hashes of a ledger that has applied the log up to `index`.

    `decisions` is of the receipts behind entry `decided_from`. `rows` is of `rows_max` rows from `rows_from`
    on, through all tables, and `rows_to` is where the next piece begins.
    """

    index: int
    journal: bytes
    decided_from: int
    decisions: bytes
    rows_from: RowsFrom
    rows_max: int
    rows: bytes
    rows_to: RowsFrom
