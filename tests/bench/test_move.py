"""The measurement of a move moves a bank there and back, and times each step of the stop."""

from __future__ import annotations

import pytest

from bench import move
from tests.support.postgresql import need_postgres


def test_each_step_of_a_move_there_and_back_is_timed(capsys: pytest.CaptureFixture[str]) -> None:
    need_postgres()
    assert move.main(["--postings", "200", "--accounts", "3", "--nodes", "1"]) == 0
    told = capsys.readouterr().out
    steps = [
        "the last backup",
        "old servers stop",
        "restore",
        "verify",
        "new servers up",
        "the first acknowledged command",
        "the stop",
    ]
    assert [told.count(f"\n{step} ") for step in steps] == [2] * len(steps)


def test_without_postgresql_it_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(move, "missing_part", lambda: "there is no PostgreSQL")
    assert move.main([]) == 3
    assert capsys.readouterr().err == "bench.move: there is no PostgreSQL\n"
