"""A short run of what `python -m tests.cluster.kill_all` does at length."""

from __future__ import annotations

from pathlib import Path

from tests.cluster.kill_all import run


def test_all_five_are_killed_at_random_points_under_mixed_load_and_the_books_are_right(
    tmp_path: Path,
) -> None:
    tally = run(3, seed=4, folder=tmp_path)
    assert tally.kills == 3
    assert 0 < tally.during_start < 3
    assert tally.acknowledged > 50
    kinds = {name.split()[0] for name in tally.outcomes}
    assert kinds >= {"credit", "debit", "transfer", "batch", "hold", "post", "reverse"}
