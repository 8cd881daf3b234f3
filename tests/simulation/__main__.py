"""`python -m tests.simulation --seeds 0-999`: run seeds, and say what happened in them."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from time import monotonic

from tests.simulation import plan as plans
from tests.simulation.branches import measured
from tests.simulation.report import Report, summary
from tests.simulation.seeds import run_all
from tests.simulation.shrink import shrink, size
from tests.simulation.world import Simulation, how_to_replay, retell
from tests.support.seeds import seed_range

FAILURES_TOLD_MAX = 5
PROGRESS_S = 10
STORY_CHARS_MAX = 200  # of a failure's first line


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.add_argument("--seeds", type=seed_range, default=range(100), metavar="FIRST-LAST")
    parser.add_argument(
        "--plan", type=plans.parse, metavar="JSON", help="run this plan, as --shrink tells it"
    )
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1, help="processes; one a core")
    parser.add_argument("--trace", action="store_true", help="print all that happens")
    parser.add_argument("--digest", action="store_true", help="print a digest of each seed's trace")
    parser.add_argument("--shrink", type=int, metavar="SEED", help="make a failing seed as small as possible")
    parser.add_argument("--coverage", action="store_true", help="print the branches taken, and never taken")
    options = parser.parse_args(argv)
    cases: Sequence[int | plans.Plan] = [options.plan] if options.plan else options.seeds
    if options.shrink is not None:
        return shrink_seed(options.shrink)
    if options.trace:
        for case in cases:
            print("\n".join(retell(case, print, failed_before=False).splitlines()[-2:]))
        return 0
    if options.digest:
        for seed in options.seeds:
            print(seed, Simulation(seed, tracing=True).run().digest)
        return 0
    if options.coverage:
        results: list[Report | str] = []
        print(measured(lambda: results.extend(progress(run_all(cases, 1), len(cases)))))
        return tell(results)
    started_s = monotonic()
    workers = min(options.workers, len(cases))
    failed = tell(list(progress(run_all(cases, workers), len(cases))))
    print(f"in {monotonic() - started_s:.1f} s with {workers} workers")
    return failed


def progress(results: Iterable[Report | str], total: int) -> Iterator[Report | str]:
    """Pass `results` on; say on stderr now and then how many there are, and at once which one failed."""
    due_s, failed = monotonic() + PROGRESS_S, 0
    for done, result in enumerate(results, 1):
        if isinstance(result, str):
            failed += 1
            print(result.splitlines()[0][:STORY_CHARS_MAX], file=sys.stderr, flush=True)
        if monotonic() >= due_s:
            print(f"{done} of {total} done, {failed} failed", file=sys.stderr, flush=True)
            due_s = monotonic() + PROGRESS_S
        yield result


def tell(results: Sequence[Report | str]) -> int:
    """Print the stories of failures and the summary; return 0 if each run passed and showed something."""
    failures = [result for result in results if isinstance(result, str)]
    reports = [result for result in results if isinstance(result, Report)]
    for story in failures[:FAILURES_TOLD_MAX]:
        print(story, end="\n\n")
    print(summary(reports))
    empty = sum(bool(report.hollow) for report in reports)
    print(f"{len(failures)} of {len(results)} runs failed, {empty} showed nothing")
    for story in failures:
        print(story.splitlines()[0][:STORY_CHARS_MAX])
    return 1 if failures or empty else 0


def shrink_seed(seed: int) -> int:
    """Print the smallest plan found that fails as `seed` does, as a command."""
    try:
        plan = shrink(plans.draw(seed), say=print)
    except ValueError as error:
        print(error)
        return 1
    print(f"{size(plan)}\n{how_to_replay(plan)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
