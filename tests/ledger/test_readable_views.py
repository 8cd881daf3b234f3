"""The views for people who look into a ledger with SQL."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from atm.ledger.audit.digest import TABLES
from atm.ledger.database import LEVEL_2_TABLES
from atm.ledger.ledger import Ledger
from tests.support.entries import records

LINES = ["paid credit main 123405", "refused debit main 999900", "nobody transfer ghost main 7"]


def looked_into(path: Path, sql: str) -> list[dict[str, Any]]:
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as shell:
        shell.execute("pragma trusted_schema = off")  # as the strictest of shells
        shell.row_factory = lambda cursor, row: {
            column[0]: value for column, value in zip(cursor.description, row, strict=True)
        }
        return shell.execute(sql).fetchall()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "ledger.db"
    with closing(Ledger(path)) as ledger:
        ledger.apply(records(["level 2", *LINES]))
    return path


def test_the_journal_is_shown_with_dates_decimals_and_hashes_in_hex(path: Path) -> None:
    """Trial 40: the hash as it is moves the terminal's cursor."""
    [row] = looked_into(path, "select * from readable_journal")
    [raw] = looked_into(path, "select * from journal")
    time = looked_into(path, f"select datetime({raw['time_us']} / 1000000, 'unixepoch') as t")[0]["t"]
    assert row == {
        "posting": raw["posting"],
        "time": time.replace(" ", "T") + "Z",
        "debit_account": "cash",
        "credit_account": "main",
        "amount": "1234.05",
        "debit_balance": "-1234.05",
        "credit_balance": "1234.05",
        "request_id": "paid",
        "log_index": 2,
        "hash": raw["hash"].hex(),
    }


def test_the_receipts_are_shown_likewise_and_what_is_not_there_stays_null(path: Path) -> None:
    rows = {row["request_id"]: row for row in looked_into(path, "select * from readable_receipt")}
    assert rows["paid"]["amount"] == rows["paid"]["balance"] == rows["paid"]["available"] == "1234.05"
    assert (rows["refused"]["amount"], rows["refused"]["outcome"]) == ("9999.00", "insufficient_funds")
    assert (rows["nobody"]["amount"], rows["nobody"]["balance"], rows["nobody"]["available"]) == (
        "0.07",
        None,
        None,
    )
    for row, raw in zip(
        looked_into(path, "select * from readable_receipt order by request_id"),
        looked_into(path, "select * from receipt order by request_id"),
        strict=True,
    ):
        assert set(row) == (set(raw) - {"time_us"}) | {"time"}
        assert str(row["time"]).endswith("Z")


def test_the_views_are_no_tables_and_a_ledger_of_release_1_1_has_none(tmp_path: Path, path: Path) -> None:
    """What is hashed and compared is the tables."""
    assert "CREATE VIEW" in LEVEL_2_TABLES
    assert not [row for row in looked_into(path, TABLES) if row["name"].startswith("readable_")]
    old = tmp_path / "old.db"
    with closing(Ledger(old)) as ledger:
        ledger.apply(records(LINES))
    assert looked_into(old, "select name from sqlite_schema where type = 'view'") == []
