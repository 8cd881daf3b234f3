"""`python -m tests.power --cuts 200`: cut the power of five nodes under load; nothing may be lost."""

from __future__ import annotations

import argparse
import signal
import sys
from collections.abc import Sequence
from time import monotonic

from tests.power import snapshots
from tests.power.cuts import run
from tests.power.filesystem import why_not


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.power", description=__doc__)
    parser.add_argument("--cuts", type=int, default=20, help="how often; default: %(default)s")
    parser.add_argument("--seed", type=int, default=0, help="decides when to cut; default: %(default)s")
    parser.add_argument(
        "--some", action="store_true", help="a disk for each node: cut some of them while the others run"
    )
    parser.add_argument(
        "--snapshots", action="store_true", help="cut one server's storage that is busy with snapshots"
    )
    parser.add_argument("--nodes", type=int, default=5, help="default: %(default)s")
    options = parser.parse_args(argv)
    reason = why_not()
    if reason is not None:
        print(f"NOT RUN: {reason}", file=sys.stderr)
        return 2
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that everything is unmounted then too
    started_s = monotonic()
    try:
        if options.snapshots:
            print(dict(snapshots.run(options.cuts, options.seed)))
        else:
            print(run(options.cuts, options.seed, nodes=options.nodes, some=options.some, tell=print))
    except AssertionError as error:
        print(f"FAILED: {error}")
        return 1
    print(f"nothing lost, every node started each time, in {monotonic() - started_s:.0f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
