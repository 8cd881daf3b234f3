"""The picture is drawn, also of a run in which nothing was acknowledged."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.chaos.report import Report, Struck

pytest.importorskip("matplotlib", reason="pictures need the extra 'chaos'")


@pytest.mark.parametrize("served", [0, 400])
def test_a_picture_of_a_run_is_a_png(tmp_path: Path, served: int) -> None:
    from tests.chaos.picture import draw  # noqa: PLC0415  (what was skipped above)

    report = Report(seed=1, duration_s=10, clients=8, begin_s=100.0, end_s=110.0)
    report.struck.append(Struck(name="kill leader", begin_s=103, heal_s=105, served_s=106, fired=True))
    report.done_s = [100 + i / 40 for i in range(served)]
    report.took_ms = [5.0] * served
    draw(report, tmp_path / "run.png")
    assert (tmp_path / "run.png").read_bytes().startswith(b"\x89PNG")
