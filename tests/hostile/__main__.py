"""`python -m tests.hostile --inputs 100000`: attack everything that takes input, and count."""

from __future__ import annotations

import argparse
import sys
import traceback
from collections.abc import Sequence
from time import monotonic

from tests.hostile.campaign import TARGETS, TLS_TARGETS
from tests.hostile.target import attack


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.hostile", description=__doc__)
    parser.add_argument("--inputs", type=int, default=10_000, help="over all targets together")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--target", choices=TARGETS, help="all inputs for this one")
    parser.add_argument("--tls", action="store_true", help="only both ports, on encrypted connections")
    options = parser.parse_args(argv)
    targets = TLS_TARGETS if options.tls else TARGETS
    inputs = failed = 0
    started_s = monotonic()
    for name, (target, share) in targets.items():
        if options.target not in (None, name):
            continue
        part = options.inputs if options.target else max(1, options.inputs * share // 100)
        began_s = monotonic()
        try:
            tally = attack(target(), part, options.seed)
        except Exception:  # any error is a finding, and the other targets still run
            failed += 1
            print(f"{name}: FAILED", flush=True)
            traceback.print_exc()
        else:
            inputs += tally.inputs
            print(f"{tally}; in {monotonic() - began_s:.0f} s", flush=True)
    print(f"{inputs} inputs in {monotonic() - started_s:.0f} s; {failed} targets failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
