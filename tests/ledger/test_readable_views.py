"""The views for people who look into a ledger with SQL."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from atm.currencies import MINOR_UNITS
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
        "currency": None,
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
        assert set(row) == (set(raw) - {"time_us"}) | {"time", "currency"}
        assert str(row["time"]).endswith("Z")


def test_amounts_have_the_decimals_of_their_currency(tmp_path: Path) -> None:
    lines = (
        *("level 2", "o1 open jo in JPY", "o2 open kay in JPY", "o3 open bea in BHD", "o4 open ann in CLF"),
        *("c1 credit jo 1234 in JPY", "c2 credit bea 1234 in BHD", "c3 credit ann 1234 in CLF"),
        *("d1 debit jo 5 in BHD", "b1 batch jo kay 4, kay jo 1 in JPY", "b2 batch jo kay 9999 in JPY"),
        *(
            "h1 hold bea 6 60s in BHD",
            "h2 hold bea 7 60s in BHD",
            "p1 post h1",
            "v1 void h2",
            "r1 reverse p1",
        ),
        *("n1 set_approval_limit write_off 0", "w1 write_off jo 8 in JPY", "c4 credit main 7"),
    )
    path = tmp_path / "ledger.db"
    with closing(Ledger(path)) as ledger:
        ledger.apply(records(lines))
    journal = {
        row["request_id"]: (row["currency"], row["amount"], row["debit_balance"], row["credit_balance"])
        for row in looked_into(path, "select * from readable_journal order by posting desc")
    }
    assert journal == {
        "c1": ("JPY", "1234", "-1234", "1234"),
        "c2": ("BHD", "1.234", "-1.234", "1.234"),
        "c3": ("CLF", "0.1234", "-0.1234", "0.1234"),
        "b1": ("JPY", "4", "1230", "4"),
        "p1": ("BHD", "0.006", "1.228", "-1.228"),
        "r1": ("BHD", "0.006", "-1.234", "1.234"),
        "w1": ("JPY", "8", "-8", "1239"),
        "c4": (None, "0.07", "-0.07", "0.07"),
    }
    receipts = {
        row["request_id"]: (row["currency"], row["amount"], row["balance"], row["available"])
        for row in looked_into(path, "select * from readable_receipt")
    }
    assert receipts["d1"] == ("JPY", "0.005", "1234", "1234")  # said in another currency, and refused
    assert receipts["b1"] == ("JPY", None, "1231", "1231")
    assert receipts["b2"] == (None, None, "1231 minor units", "1231 minor units")
    assert receipts["h1"] == ("BHD", "0.006", "1.234", "1.228")
    assert receipts["p1"] == ("BHD", None, "1.228", "1.221")
    assert receipts["v1"] == (None, None, "1228 minor units", "1228 minor units")
    assert receipts["r1"] == ("BHD", None, "1.234", "1.234")
    assert receipts["n1"] == (None, "0.00", None, None)
    assert receipts["c4"] == (None, "0.07", "0.07", "0.07")


def test_the_views_know_the_decimals_of_all_currencies(path: Path) -> None:
    told = {row["currency"]: row for row in looked_into(path, "select * from readable_currency")}
    assert {code: row["decimals"] for code, row in told.items()} == {
        code: decimals for code, decimals in MINOR_UNITS.items() if decimals != 2
    }
    assert all(row["scale"] == 10 ** row["decimals"] for row in told.values())


def test_the_views_are_no_tables_and_a_ledger_of_release_1_1_has_none(tmp_path: Path, path: Path) -> None:
    """What is hashed and compared is the tables."""
    assert "CREATE VIEW" in LEVEL_2_TABLES
    assert not [row for row in looked_into(path, TABLES) if row["name"].startswith("readable_")]
    old = tmp_path / "old.db"
    with closing(Ledger(old)) as ledger:
        ledger.apply(records(LINES))
    assert looked_into(old, "select name from sqlite_schema where type = 'view'") == []
