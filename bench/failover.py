"""How long tellers wait when the leader dies: kill -9 under load, again and again.

    python -m bench.failover [--rounds 30] [--clients 8]

For each kill: the time from the kill to the first acknowledgement of a credit that was asked for after it, by
the first client and by the last, and the terms that the election used (1: the first candidate won).
"""

from __future__ import annotations

import argparse
import statistics
import time

from tabulate import tabulate

from atm.local_cluster import LocalCluster
from bench.cluster import Busy, fresh_cluster


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m bench.failover",
        description="Measure failover: kill the leader under load, and time the next acknowledgement.",
    )
    parser.add_argument("--rounds", type=int, default=30, help="default: %(default)s")
    parser.add_argument("--clients", type=int, default=8, help="default: %(default)s")
    options = parser.parse_args()
    rows = []
    with fresh_cluster() as cluster:
        busy = Busy(cluster.cluster.path, options.clients)
        busy.start()
        try:
            for number in range(1, options.rounds + 1):
                rows.append(_kill_the_leader(cluster, busy))
                print(
                    f"{number:3}: first {rows[-1][0]:.0f} ms, last {rows[-1][1]:.0f} ms, terms {rows[-1][2]}"
                )
        finally:
            busy.stop()
    first, last, terms = zip(*rows, strict=True)
    table = [
        ["first client served, ms", statistics.median(first), max(first)],
        ["last client served, ms", statistics.median(last), max(last)],
        ["terms used", statistics.median(terms), max(terms)],
    ]
    print(tabulate(table, headers=[f"{options.rounds} kills", "median", "worst"], floatfmt=".0f"))
    print(f"elections won at the first try: {sum(t == 1 for t in terms)} of {len(terms)}")


def _kill_the_leader(cluster: LocalCluster, busy: Busy) -> tuple[float, float, int]:
    leader = cluster.wait_for_leader()
    term = _term(cluster, leader)
    busy.first_after(time.monotonic())  # the load is on
    killed = time.monotonic()
    cluster.kill(leader)
    served = busy.first_after(killed)
    terms = _term(cluster, cluster.wait_for_leader()) - term
    cluster.start(leader)
    _wait_until_caught_up(cluster, leader)
    return (min(served) - killed) * 1000, (max(served) - killed) * 1000, terms


def _term(cluster: LocalCluster, node: str) -> int:
    status = cluster.status(node)
    if status is None:
        raise SystemExit(f"node {node} does not answer")
    return status.term


def _wait_until_caught_up(cluster: LocalCluster, node: str, deadline_s: float = 30.0) -> None:
    deadline = time.monotonic() + deadline_s
    while time.monotonic() < deadline:
        status, leader = cluster.status(node), cluster.status(cluster.wait_for_leader())
        if status and leader and status.applied_index >= leader.commit_index - 1000:
            return
        time.sleep(0.05)
    raise SystemExit(f"node {node} did not catch up within {deadline_s:g} s")


if __name__ == "__main__":
    main()
