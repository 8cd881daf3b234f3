"""A short run of faults over a bank on PostgreSQL; the long one is `python -m tests.chaos.postgresql`."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.chaos.postgresql import run
from tests.support.postgresql import need_postgres


@pytest.mark.timeout(400)
@pytest.mark.parametrize("lanes", [1, 4])
def test_under_faults_of_servers_and_database_every_answer_has_its_place_in_one_order(
    tmp_path: Path, lanes: int
) -> None:
    need_postgres()
    lines: list[str] = []
    assert run(tmp_path, 20.0, 7, lines.append, lanes) == [], lines
