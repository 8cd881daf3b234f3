"""`python -m tests.simulation --seeds 0-999`: run seeds, and say what happened in them."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from time import monotonic

from tests.simulation.seeds import run_all, summary
from tests.simulation.world import Report, Simulation, retell

FAILURES_TOLD_MAX = 5


def seed_range(text: str) -> range:
    """Return the seeds of `7` or of `0-999`, both ends included."""
    first, _, last = text.partition("-")
    return range(int(first), int(last or first) + 1)


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.add_argument("--seeds", type=seed_range, default=range(100), metavar="FIRST-LAST")
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--trace", action="store_true", help="print all that happens")
    parser.add_argument("--digest", action="store_true", help="print a digest of each seed's trace")
    options = parser.parse_args(argv)
    if options.trace:
        for seed in options.seeds:
            print(retell(seed, print).splitlines()[-2])
        return 0
    if options.digest:
        for seed in options.seeds:
            print(seed, Simulation(seed, tracing=True).run().digest)
        return 0
    started_s = monotonic()
    results = list(run_all(options.seeds, options.workers))
    failures = [result for result in results if isinstance(result, str)]
    for story in failures[:FAILURES_TOLD_MAX]:
        print(story, end="\n\n")
    print(summary([result for result in results if isinstance(result, Report)]))
    print(f"{len(failures)} of {len(results)} seeds failed, in {monotonic() - started_s:.1f} s")
    for story in failures:
        print(story.splitlines()[0][:200])
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
