"""`python -m course FILE.py`: run seeds on the Raft of a student, and show the first that fails."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from course.judge import CannotLoad, judge
from course.stages import STAGES
from tests.support.seeds import seed_range

LIMIT_S = 20.0


def main(argv: Sequence[str] | None = None) -> int:
    """Return 0 if all seeds pass, 1 if one fails; argparse exits with 2."""
    parser = argparse.ArgumentParser(prog="python -m course", description=__doc__)
    parser.add_argument("file", type=Path, metavar="FILE.py", help="with a class StudentRaft")
    numbers = [stage.number for stage in STAGES]
    parser.add_argument("--stage", type=int, choices=numbers, help="only this one; otherwise all, in order")
    parser.add_argument("--seeds", type=seed_range, default=range(1000), metavar="FIRST-LAST")
    parser.add_argument("--seed", type=int, metavar="N", help="only this one")
    parser.add_argument(
        "--limit", type=float, default=LIMIT_S, metavar="SECONDS", help="that a seed may take (%(default)g)"
    )
    options = parser.parse_args(argv)
    if options.limit <= 0:
        parser.error("--limit must be more than 0")
    seeds: Sequence[int] = options.seeds if options.seed is None else [options.seed]
    if not seeds:
        parser.error("--seeds needs the first seed, and a last one that is not lower")
    try:
        for stage in STAGES:
            if options.stage in (None, stage.number) and judge(
                options.file,
                stage,
                seeds,
                limit_s=options.limit,
                say=print,
                progress=lambda line: print(line, file=sys.stderr, flush=True),
            ):
                return 1
    except OSError as error:
        parser.error(f"{options.file} cannot be read: {error.strerror}")
    except CannotLoad as error:
        print(error)
        return 1
    except KeyboardInterrupt:
        return 130
    return 0
