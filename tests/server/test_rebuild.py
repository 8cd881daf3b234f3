"""A wrong ledger is moved aside as a whole, and the newest such one is kept."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from atm.server.group.rebuild import move_ledger_aside
from tests.support.story import write_ledger


def test_the_ledger_can_be_read_where_it_is_kept_with_what_its_write_ahead_log_has(tmp_path: Path) -> None:
    path = write_ledger(tmp_path / "ledger.db")
    reader = sqlite3.connect(path)  # keeps the write-ahead log from being taken into the file
    reader.execute("begin")
    reader.execute("select * from applied").fetchall()
    with closing(sqlite3.connect(path)) as ledger, ledger:
        ledger.execute("update applied set log_index = 77")
    aside = move_ledger_aside(tmp_path)
    reader.close()
    assert aside == tmp_path / "ledger.db.wrong-1"
    assert [file.name for file in tmp_path.glob("ledger.db*") if "wrong" not in file.name] == []
    with closing(sqlite3.connect(aside)) as ledger:
        assert ledger.execute("select log_index from applied").fetchall() == [(77,)]


def test_the_newest_is_kept_under_the_next_number_and_older_ones_go(tmp_path: Path) -> None:
    for number in range(1, 12):
        (tmp_path / "ledger.db").write_text(f"ledger {number}")
        (tmp_path / "ledger.db-wal").write_text(f"wal {number}")
        assert move_ledger_aside(tmp_path).name == f"ledger.db.wrong-{number}"
    assert {file.name: file.read_text() for file in tmp_path.iterdir()} == {
        "ledger.db.wrong-11": "ledger 11",
        "ledger.db.wrong-11-wal": "wal 11",
    }


def test_the_write_ahead_log_goes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Should the machine fail in between, one that was left alone would be applied to the new ledger."""
    for suffix in ("", "-wal"):
        (tmp_path / f"ledger.db{suffix}").write_text("x")
    moved: list[str] = []
    rename = Path.rename

    def watched(path: Path, to: Path) -> Path:
        moved.append(path.name)
        return rename(path, to)

    monkeypatch.setattr(Path, "rename", watched)
    move_ledger_aside(tmp_path)
    assert moved == ["ledger.db-wal", "ledger.db"]


def test_without_a_ledger_nothing_is_moved(tmp_path: Path) -> None:
    move_ledger_aside(tmp_path)
    assert list(tmp_path.iterdir()) == []
