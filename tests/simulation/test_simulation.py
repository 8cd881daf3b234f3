"""Hundreds of seeds of five servers under faults; `python -m tests.simulation` runs as many as you like."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.simulation.plan import FAULTS, MESSAGE_FAULTS
from tests.simulation.seeds import run_all, summary
from tests.simulation.world import Report

ROOT = Path(__file__).parents[2]
SEEDS = 300
WORKERS = 2


@pytest.mark.timeout(600)
def test_raft_and_the_bank_survive_hundreds_of_seeds() -> None:
    """Scenarios 36, 38 to 43, 58 and 59, and all of Figure 3 (see `checks.py` and `history.py`)."""
    results = list(run_all(range(SEEDS), WORKERS))
    failures = [result for result in results if isinstance(result, str)]
    reports = [result for result in results if isinstance(result, Report)]
    print(summary(reports))
    assert not failures, failures[0]
    for fault in (*FAULTS, *MESSAGE_FAULTS):
        assert sum(report.fired.get(fault, 0) for report in reports) > 0, f"{fault} never happened"
    assert sum(report.outcomes.get("query ok", 0) for report in reports) > SEEDS
    assert sum(report.outcomes.get("debit insufficient_funds", 0) for report in reports) > SEEDS // 10


def test_a_seed_tells_the_same_story_whatever_the_hash_seed() -> None:
    def digests(hash_seed: str) -> str:
        command = [sys.executable, "-m", "tests.simulation", "--seeds", "3-6", "--digest"]
        environment = {**os.environ, "PYTHONHASHSEED": hash_seed}
        return subprocess.run(
            command, cwd=ROOT, env=environment, check=True, capture_output=True, text=True
        ).stdout

    first = digests("1")
    assert len(set(first.split())) == 8, "four seeds and four different digests"
    assert digests("2") == first
