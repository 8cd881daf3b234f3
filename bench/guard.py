"""Whether a change made the project slower: `python -m bench.guard [--rounds 5] [--seconds 2] [--share 0.5]`.

Machines differ and have bad hours, so nothing is judged by the clock: each figure is divided by what the
bare limit did in the same round, and compared with the same quotient of a good day, which is kept here.
Exit code 0: none lost more than allowed; 1: one did; 2: wrong arguments.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from tabulate import tabulate

from bench.arguments import positive
from bench.command import say
from bench.results import Results, ratio
from bench.rounds import Run
from bench.systems.atm import Atm
from bench.systems.limit import ONE_CONNECTION, Limit

# Our credits a second for each of the bare limit's. After a change that is meant to be faster, or slower,
# write down here what `bench.guard` prints as found, on a quiet machine. These are of two idle cores; a busy
# machine shows more, since other work delays the bare limit most.
EXPECTED = {"credits-1": 0.17, "credits-64": 2.4, "credits-64x16": 6.4}
SHARE = 0.5  # of what is expected; noise has been seen to take a third
WARM_UP_S = 0.5


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, compare, print a table; return the exit code."""
    options = _options(argv)
    run = Run(
        [Atm, Limit],
        list(EXPECTED),
        seconds=options.seconds,
        warm_up_s=WARM_UP_S,
        folder=None,
        say=say,
    )
    run.rounds(options.rounds)
    if run.broke_down:
        return 1
    found = quotients(run.results)
    lost = [label for label, quotient in found.items() if quotient < options.share * EXPECTED[label]]
    rows = [[label, found[label], EXPECTED[label], found[label] / EXPECTED[label]] for label in EXPECTED]
    print(
        tabulate(
            rows, headers=["our ops/s for each of the limit's", "found", "expected", "share"], floatfmt=".2f"
        )
    )
    for label in lost:
        print(
            f"{label}: less than {options.share:.0%} of what is expected is left: find out why",
            file=sys.stderr,
        )
    return 1 if lost else 0


def quotients(results: Results) -> dict[str, float]:
    """Return, for each kind of work, our rate for each of the limit's: the median of the rounds'."""
    limit = results.rows[ONE_CONNECTION.label, Limit.name]
    return {label: ratio(results.rows[label, Atm.name].ops_per_s, limit.ops_per_s) for label in EXPECTED}


def _options(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m bench.guard",
        description="Compare this project with the bare limit; fail on a large loss.",
    )
    parser.add_argument("--rounds", type=positive(int), default=5, help="default: %(default)s")
    parser.add_argument("--seconds", type=positive(float), default=2.0, help="default: %(default)s")
    parser.add_argument(
        "--share",
        type=positive(float),
        default=SHARE,
        help="smallest part of the expected figure that passes; default: %(default)s",
    )
    return parser.parse_args(argv)


if __name__ == "__main__":
    sys.exit(main())
