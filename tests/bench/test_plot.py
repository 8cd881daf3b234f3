"""The picture is drawn, also of a run in which nothing was measured."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.load import Result
from bench.results import Results
from bench.work import CLOSED_LOOP

pytest.importorskip("matplotlib", reason="pictures need the extra 'bench'")


@pytest.mark.parametrize("rounds", [0, 3])
def test_a_picture_of_a_run_is_a_png(tmp_path: Path, rounds: int) -> None:
    from bench.plot import draw  # noqa: PLC0415  (what was skipped above)

    results = Results()
    for number in range(rounds):
        for work in CLOSED_LOOP:
            for system in ("atm", "etcd"):
                figures = Result(100 + number, 1.0, 0.1, [0.001 * work.connections + 0.001 * number] * 100)
                results.add(system, "1.0", work, figures)
    draw(results.rows.values(), tmp_path / "run.png")
    assert (tmp_path / "run.png").read_bytes().startswith(b"\x89PNG")
