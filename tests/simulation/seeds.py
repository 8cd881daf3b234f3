"""Many seeds, in several processes, and what happened in all of them together."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

from tests.simulation.checks import Violation
from tests.simulation.plan import FAULTS, MESSAGE_FAULTS
from tests.simulation.world import Report, run


def attempt(seed: int) -> Report | str:
    """Run one seed; return its report, or the story of its failure."""
    try:
        return run(seed)
    except Violation as violation:
        return str(violation)


def run_all(seeds: Sequence[int], workers: int) -> Iterator[Report | str]:
    """Run `seeds` in `workers` processes; yield the results in the order of the seeds."""
    if workers == 1:
        yield from map(attempt, seeds)
        return
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        yield from pool.map(attempt, seeds, chunksize=4)


def summary(reports: Sequence[Report]) -> str:
    """Return how much happened in all runs together, and which faults never did."""
    if not reports:
        return "nothing was run to its end"
    fired: Counter[str] = Counter()
    outcomes: Counter[str] = Counter()
    for report in reports:
        fired.update(report.fired)
        outcomes.update(report.outcomes)
    commits = sorted(report.commits for report in reports)
    median = commits[len(commits) // 2]
    never = [fault for fault in (*FAULTS, *MESSAGE_FAULTS) if not fired[fault]]
    lines = [
        f"{len(reports)} seeds, {sum(commits)} commands committed (median {median} a seed), "
        f"{sum(r.terms for r in reports)} leaders, {sum(r.crashes for r in reports)} crashes",
        "faults: " + ", ".join(f"{name} {count}" for name, count in sorted(fired.items())),
        "answers: " + ", ".join(f"{name} {count}" for name, count in sorted(outcomes.items())),
    ]
    return "\n".join(lines + ["never fired: " + ", ".join(never)] * bool(never))
