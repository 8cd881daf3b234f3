"""A short run of `python -m tests.chaos.crossings`."""

from __future__ import annotations

from pathlib import Path

from tests.chaos import crossings
from tests.support.postgresql import need_postgres


def test_servers_are_killed_while_money_goes_between_lanes(tmp_path: Path) -> None:
    need_postgres()
    said: list[str] = []
    assert crossings.run(tmp_path, 8.0, 3, said.append) == [], said
    assert len(said) == 2
