"""Counts elections under full load without a fault: there must be none.

python -m bench.calm [--minutes 5] [--clients 64]
"""

from __future__ import annotations

import argparse
import time

from atm.local_cluster import LocalCluster
from bench.cluster import fresh_cluster, load_the_leader


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m bench.calm", description="Count elections under full load without a fault."
    )
    parser.add_argument("--minutes", type=float, default=5.0, help="default: %(default)s")
    parser.add_argument("--clients", type=int, default=64, help="default: %(default)s")
    options = parser.parse_args()
    with fresh_cluster() as cluster:
        before = _terms(cluster)
        started = time.monotonic()
        result = load_the_leader(cluster, options.clients, 1, options.minutes * 60)
        minutes = (time.monotonic() - started) / 60
        after = _terms(cluster)
    print(f"{result.acknowledged} credits acknowledged in {minutes:.1f} minutes ({result.per_second:.0f}/s)")
    print(f"terms before {sorted(before.values())}, after {sorted(after.values())}")
    print(f"elections: {max(after.values()) - max(before.values())}")


def _terms(cluster: LocalCluster) -> dict[str, int]:
    return {name: status.term for name in cluster.cluster.nodes if (status := cluster.status(name))}


if __name__ == "__main__":
    main()
