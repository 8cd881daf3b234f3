"""`python -m tests.mutants`: plant each defect in a copy of the project, and see which test catches it.

Each copy runs the expected scripted test, then all tests of that folder, and last the simulation.
The exit code is 1 if one survives, is caught by another test than the catalogue says, or cannot be planted.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from time import monotonic

from tabulate import tabulate

from tests.mutants.catalogue import MUTANTS
from tests.mutants.mutant import Mutant
from tests.mutants.trial import Verdict, try_mutant, try_nothing
from tests.support.seeds import seed_range

SEEDS = range(60)  # for what no scripted test catches


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m tests.mutants", description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument(
        "--only", action="append", metavar="NAME", help="only mutants whose names contain NAME; repeatable"
    )
    parser.add_argument("--workers", type=int, default=2, help="copies at once; default: %(default)s")
    parser.add_argument(
        "--seeds",
        type=seed_range,
        metavar="FIRST-LAST",
        help="run these seeds of the simulation on every mutant too",
    )
    parser.add_argument("--list", action="store_true", help="print the catalogue")
    options = parser.parse_args(argv)
    mutants = [m for m in MUTANTS if not options.only or any(part in m.name for part in options.only)]
    if not mutants:
        parser.error("no mutant has that in its name; --list shows all")
    if options.list:
        print(tabulate([(m.name, m.what, m.symbols, m.caught_by) for m in mutants], _LIST_HEADERS))
        return 0
    started_s = monotonic()
    verdicts = _try_all(mutants, options.seeds, options.workers)
    print(tabulate([_row(verdict) for verdict in verdicts], _HEADERS, floatfmt=".1f"))
    problems = [verdict for verdict in verdicts if verdict.problem]
    for verdict in problems:
        print(f"\n{verdict.name}: {verdict.problem}")
    good = len(mutants) - sum(verdict.problem != "" for verdict in verdicts[1:])
    print(f"\n{good} of {len(mutants)} mutants caught as expected, in {monotonic() - started_s:.0f} s")
    return 1 if problems else 0


_LIST_HEADERS = ("mutant", "what goes wrong", "where", "expected to be caught by")
_HEADERS = ("mutant", "caught by", "s", "seed", "s", "")


def _try_all(mutants: Sequence[Mutant], seeds: range | None, workers: int) -> list[Verdict]:
    """Return the verdict without any mutant, and then that of each."""
    with ThreadPoolExecutor(workers) as pool:
        nothing = pool.submit(try_nothing, mutants, seeds or range(0))
        trials = [
            pool.submit(try_mutant, mutant, seeds or SEEDS, always_seeds=seeds is not None)
            for mutant in mutants
        ]
        return [trial.result() for trial in (nothing, *trials)]


def _row(verdict: Verdict) -> tuple[str, str, float, str, float | None, str]:
    problem = verdict.problem.partition(":")[0]
    seeds_s = verdict.seeds_s if verdict.seed else None
    return verdict.name, verdict.caught_by, verdict.test_s, verdict.seed, seeds_s, problem


if __name__ == "__main__":
    sys.exit(main())
