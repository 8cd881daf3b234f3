"""`bin/bench`: this project compared with its alternatives, on this machine, in one run.

Every replicated system gets five local servers, or three. Each syncs what it acknowledges (PySyncObj cannot),
and does the same work under the same load program, in interleaved rounds. Compare figures of one run only:
those of operations a second are of this machine, the processor time of all servers holds better elsewhere.
Exit code 0: done; 1: a system failed; 2: wrong arguments.
"""

from __future__ import annotations

import argparse
import math
import os
import platform
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from atm.command_line import add_version
from bench.arguments import listed, positive
from bench.command import no_pictures, say, stop_in_order, unwritable
from bench.rounds import Run
from bench.systems import PEERS, Atm
from bench.systems.system import MEMBERS
from bench.work import LABELS

ROUNDS, SECONDS, WARM_UP_S = 7, 3.0, 1.0
QUICK_ROUNDS, QUICK_SECONDS, QUICK_WARM_UP_S = 3, 0.8, 0.3
QUICK_WITHIN_S = 155.0  # three minutes, less what a round may take longer than the one before
PICTURES = (".png", ".svg", ".pdf")


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, print, write; return the exit code."""
    options = _options(argv)
    if (problem := _problem(options)) is not None:
        print(f"bench: {problem}", file=sys.stderr)
        return 2
    stop_in_order()
    say(f"{os.cpu_count()} cores, {platform.platform()}, Python {platform.python_version()}")
    run = Run(
        [Atm, *(PEERS[name] for name in options.peers)],
        options.only,
        seconds=options.seconds or (QUICK_SECONDS if options.quick else SECONDS),
        warm_up_s=QUICK_WARM_UP_S if options.quick else WARM_UP_S,
        folder=options.folder,
        members=options.nodes,
        say=say,
    )
    interrupted = False
    try:
        run.rounds(
            options.rounds or (QUICK_ROUNDS if options.quick else ROUNDS),
            QUICK_WITHIN_S if options.quick else math.inf,
        )
    except KeyboardInterrupt:
        interrupted = True
        say("Interrupted: these are the figures so far")
    results = run.results
    print(results.table())
    for warning in results.warnings():
        say(f"NOTE: {warning}")
    if options.json:
        results.write_json(options.json)
    if options.plot:
        from bench.plot import draw  # noqa: PLC0415  (needs the extra 'bench')

        draw(results.rows.values(), options.plot)
    return 128 + signal.SIGINT if interrupted else int(run.broke_down)


def _options(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="bin/bench", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add_version(parser)
    parser.add_argument(
        "--quick", action="store_true", help="end within three minutes; figures are less exact"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures of each round to FILE")
    parser.add_argument(
        "--plot", type=Path, metavar="FILE.png", help="draw throughput and latency to FILE.png"
    )
    parser.add_argument(
        "--peers",
        type=listed(PEERS, "peer"),
        default=list(PEERS),
        metavar=",".join(PEERS),
        help="compare with these, by commas; '' is none; default: all",
    )
    parser.add_argument(
        "--only",
        type=listed(LABELS, "work"),
        default=list(LABELS),
        metavar="WORK,...",
        help=f"measure these only, by commas: {', '.join(LABELS)}",
    )
    parser.add_argument(
        "--nodes",
        type=int,
        choices=(3, 5),
        default=MEMBERS,
        help="servers of each replicated system; default: %(default)s",
    )
    parser.add_argument("--rounds", type=positive(int), help=f"default: {ROUNDS}")
    parser.add_argument(
        "--seconds", type=positive(float), help=f"length of each measurement; default: {SECONDS:g}"
    )
    parser.add_argument("--folder", type=Path, help="folder for the systems' data while they run")
    return parser.parse_args(argv)


def _problem(options: argparse.Namespace) -> str | None:
    """Return the mistake that would otherwise show only after minutes of measuring, or None."""
    if not options.only:
        return "--only names no work"
    for path in (options.json, options.plot):
        if path is not None and (why := unwritable(path)) is not None:
            return why
    if options.folder is not None and not options.folder.is_dir():
        return f"--folder {options.folder}: there is no such folder"
    if options.plot is not None:
        if (why := no_pictures("--plot")) is not None:
            return why
        if options.plot.suffix not in PICTURES:
            return f"--plot {options.plot}: the name should end in one of {', '.join(PICTURES)}"
    return None


if __name__ == "__main__":
    sys.exit(main())
