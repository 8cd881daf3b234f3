"""Many seeds, in several processes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

from tests.simulation.plan import Plan
from tests.simulation.report import Report, summary
from tests.simulation.world import run
from tests.support.checks import Violation

__all__ = ["attempt", "run_all", "summary"]


def attempt(case: int | Plan) -> Report | str:
    """Run one seed or plan; return its report, or the story of its failure."""
    try:
        return run(case)
    except Violation as violation:
        return str(violation)


def run_all(cases: Sequence[int | Plan], workers: int) -> Iterator[Report | str]:
    """Run seeds or plans in `workers` processes; yield the results in the order of the cases."""
    if workers == 1:
        yield from map(attempt, cases)
        return
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        yield from pool.map(attempt, cases, chunksize=4)
