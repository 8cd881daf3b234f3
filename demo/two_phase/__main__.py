"""Kill a two-phase commit's coordinator, then a Raft leader, and see which customers wait, and how long.

Takes five to ten seconds more than the outage.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from types import FrameType
from typing import NoReturn

from tabulate import tabulate

from atm.client import ClientError
from atm.command_line import add_version
from atm.local_cluster import NoLeader
from demo.two_phase import on_raft, on_two_phase
from demo.two_phase.customers import Failed
from demo.two_phase.story import Row

OUTAGE_S_MAX = 600.0
ENDING_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
HEADERS = ("system", "what died", "account", "not available, s", "what a person had to do")


def main(argv: Sequence[str] | None = None) -> int:
    """Return the exit code: 0, 1 if the demo could not be shown, 2 for wrong arguments, 128 + signal."""
    options = _options(argv)
    for number in ENDING_SIGNALS:
        if signal.getsignal(number) is not signal.SIG_IGN:  # nohup stays nohup
            signal.signal(number, _leave)
    try:
        with tempfile.TemporaryDirectory(prefix="atm-two-phase-") as folder:
            rows = _both(Path(folder), options.outage)
        print(f"\n{_table(rows)}\n\n{_moral(rows, options.outage)}", flush=True)
    except BrokenPipeError:
        # The interpreter flushes once more at its end, and would complain.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except (Failed, NoLeader, ClientError, OSError) as error:
        print(f"The demo cannot go on: {error}", file=sys.stderr)
        return 1
    return 0


def _both(folder: Path, outage_s: float) -> list[Row]:
    rows = []
    for name, part in (("two-phase", lambda f: on_two_phase.run(f, outage_s)), ("raft", on_raft.run)):
        (folder / name).mkdir()
        rows += part(folder / name)
    return rows


def _table(rows: Sequence[Row]) -> str:
    cells = [(r.system, r.died, r.account, r.unavailable_s, r.by_hand) for r in rows]
    return tabulate(cells, headers=HEADERS, floatfmt=".2f")


def _moral(rows: Sequence[Row], outage_s: float) -> str:
    worst = max(row.unavailable_s for row in rows if row.system == on_raft.SYSTEM)
    return (
        f"The coordinator was away for {outage_s:g} s, and with it all that it had locked.\n"
        f"The leader never came back: the others needed {worst:.2f} s to go on without it."
    )


def _options(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="bin/two_phase_demo", description=__doc__, allow_abbrev=False)
    add_version(parser)
    parser.add_argument(
        "--outage",
        type=_seconds,
        default=5.0,
        metavar="SECONDS",
        help="how long the coordinator stays down; default: %(default)g",
    )
    return parser.parse_args(argv)


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if not 0 < seconds <= OUTAGE_S_MAX:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of seconds up to {OUTAGE_S_MAX:g}")
    return seconds


def _leave(number: int, _frame: FrameType | None) -> NoReturn:
    """End at once and cleanly, and only once: impatience must not leave processes behind."""
    for each in ENDING_SIGNALS:
        signal.signal(each, signal.SIG_IGN)
    raise SystemExit(128 + number)


if __name__ == "__main__":
    sys.exit(main())
