"""How cost grows: `python -m bench.growth [--only nodes,ledger,log,payload,connections]`.

For each curve it starts real servers here, five unless it is the one of servers, and drives credits in a
closed loop at the leader. For each point it prints the medians of the rounds: requests/s, p50 and p99,
processor time a request on the leader and on the median follower, and what the leader wrote to files for one.
What an election falls into is measured again; how many there were in all rounds stands in the table.

nodes        1, 3, 5, 7 servers; 64 connections with one request under way on each, and one connection
ledger       10,000 and 1,000,000 accounts in the ledger, of which 10,000 are worked with
log          0, 100,000, 1,000,000 entries in the log; and the time to start again on it, all servers with
             their ledgers, and one that has lost its ledger
payload      batches of 1, 4, 16, 64 legs
connections  1 to 1,000 idle ones: the leader's memory; and as many busy ones

Everything is on the same cores: the load program's use of them stands beside each rate. Needs Linux.
Exit code 0: done; 1: something broke down; 2: wrong arguments.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import signal
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from atm.local_cluster import NoLeader
from bench.arguments import listed, positive
from bench.command import no_pictures, say, stop_in_order, unwritable
from bench.growth.growth import Growth
from bench.growth.kinds import KINDS
from bench.load import NotAcknowledged

ROUNDS, SECONDS = 3, 3.0


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, print, write; return the exit code."""
    options = _options(argv)
    if (problem := _problem(options)) is not None:
        print(f"bench.growth: {problem}", file=sys.stderr)
        return 2
    stop_in_order()
    machine = f"{os.cpu_count()} cores, {platform.platform()}, Python {platform.python_version()}"
    say(machine)
    growths = [KINDS[name](options.points or KINDS[name].usual, options.seconds) for name in options.only]
    broke_down = interrupted = False
    try:
        for growth in growths:
            broke_down |= not _measured(growth, int(options.rounds))
            print(f"{growth.title}\n{growth.curve.table()}\n", flush=True)
    except KeyboardInterrupt:
        interrupted = True
        say("Interrupted: here is what was measured until now")
        print(f"{growth.title}\n{growth.curve.table()}")
    curves = [growth.curve for growth in growths if growth.curve.rounds]
    if options.json:
        told = {
            "machine": machine,
            "seconds": options.seconds,
            "curves": [curve.as_dict() for curve in curves],
        }
        options.json.write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")
    if options.plots:
        from bench.growth.picture import draw  # noqa: PLC0415  (needs the extra 'bench')

        for curve in curves:
            draw(curve, options.plots / f"{curve.name}.png")
    return 128 + signal.SIGINT if interrupted else int(broke_down)


def _measured(growth: Growth, rounds: int) -> bool:
    """Measure all rounds; tell and return False if the curve has to be given up."""
    try:
        with tempfile.TemporaryDirectory(prefix="atm-bench-") as folder:
            growth.prepare(Path(folder))
            for number in range(1, rounds + 1):
                for series, point, figures in growth.round(number):
                    rate = figures.get("requests_per_s")
                    told = f"{rate:9,.0f}/s" if rate else f"{figures['leader_mib']:9,.1f} MiB"
                    if elections := figures.get("elections"):
                        told += f", measured again for {elections:.0f} elections"
                    place = f"round {number} of {rounds}  {point:9,} {growth.what:<11}"
                    say(f"{place} {series:<14} {told}")
    except (NotAcknowledged, NoLeader, OSError) as error:
        say(f"GIVEN UP: {growth.name}: {error}")
        return False
    return True


def _options(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m bench.growth",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--only",
        type=listed(KINDS, "curve"),
        default=list(KINDS),
        metavar="CURVE,...",
        help="by commas; default: all",
    )
    parser.add_argument(
        "--points", type=_points, metavar="N,...", help="measure these of the one curve that --only names"
    )
    parser.add_argument(
        "--rounds", type=positive(int), default=ROUNDS, help="over all points; default: %(default)s"
    )
    parser.add_argument(
        "--seconds", type=positive(float), default=SECONDS, help="of each measurement; default: %(default)s"
    )
    parser.add_argument("--plots", type=Path, metavar="DIR", help="draw a picture of each curve in there")
    parser.add_argument(
        "--json", type=Path, metavar="FILE", help="write medians and the figures of each round"
    )
    return parser.parse_args(argv)


def _points(text: str) -> list[int]:
    """Return the numbers in the text, rising, each once."""
    try:
        points = sorted({int(number) for number in text.split(",")})
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} are no whole numbers with commas between") from None
    return points


def _problem(options: argparse.Namespace) -> str | None:
    """Return what would go wrong only after minutes of measuring."""
    if not options.only:
        return "--only names no curve"
    if not Path("/proc/self/smaps_rollup").exists():
        return "what servers use is read from /proc: this needs Linux"
    if options.points is not None:
        if len(options.only) != 1:
            return "--points are those of one curve: name it with --only"
        lowest, highest = KINDS[options.only[0]].limits
        if not lowest <= options.points[0] <= options.points[-1] <= highest:
            return f"--points of {options.only[0]} are from {lowest:,} to {highest:,}"
    if options.json is not None and (why := unwritable(options.json)) is not None:
        return why
    if options.plots is not None:
        if not options.plots.is_dir() or not os.access(options.plots, os.W_OK):
            return f"--plots {options.plots}: there is no such folder, or it is not yours to write to"
        return no_pictures("--plots")
    return None


if __name__ == "__main__":
    sys.exit(main())
