"""A short run of what `python -m tests.cluster.year` does at length."""

from __future__ import annotations

from pathlib import Path

from tests.cluster.year import run

LOG_BYTES_MAX = 4 * 1024 * 1024  # with a snapshot for each quarter of a megabyte


def test_a_bank_lives_through_all_that_an_operator_does_to_it(tmp_path: Path) -> None:
    tally = run(1, seed=4, folder=tmp_path)
    assert tally.acknowledged > 500
    assert tally.rows > 1_000
    assert 0 < tally.log_bytes_max < LOG_BYTES_MAX
    done = {"a lost disk", "a server replaced by another", "a server moved", "leadership handed over"}
    assert tally.waits_s.keys() >= done | {"a backup", "two killed, the leader too", "all killed at once"}
