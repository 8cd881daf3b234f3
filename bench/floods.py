"""What other customers notice of a flood: the latency of their credits, calm and under each kind.

    python -m bench.floods [--seconds 8] [--nodes 3] [--only silent-clients,pins]

Eight connections credit at a steady pace, one request each. Printed are their median and their 99th
percentile, how much more that is than without a flood, and how many credits were refused. Everything is on
the loopback and ends by itself: floods and servers share the machine's processors, so a flood also costs what
its own program costs.
"""

from __future__ import annotations

import argparse
from functools import partial

from tabulate import tabulate

from atm.local_cluster import LocalCluster
from bench.arguments import listed, positive
from bench.cluster import fresh_cluster
from bench.command import say
from bench.flooders import FLOODS, flood
from bench.load import NotAcknowledged, Result, run
from bench.systems.load_connection import LoadConnection
from bench.work import Work

CUSTOMERS = Work("credits", 8)
PER_S = 200.0  # credits of all customers together
WARM_UP_S = 2.0
AIM = 3.0  # times the calm 99th percentile


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m bench.floods", description="Measure what customers notice of a flood."
    )
    parser.add_argument("--seconds", type=positive(float), default=8.0, help="of each; default: %(default)s")
    parser.add_argument("--nodes", type=int, default=3, help="default: %(default)s")
    parser.add_argument("--only", type=listed(FLOODS, "flood"), default=list(FLOODS), metavar="FLOODS")
    options = parser.parse_args()
    rows: list[list[str]] = []
    with fresh_cluster(options.nodes) as cluster:
        calm_ms = 0.0
        for name in ["calm", *options.only, "calm again"]:
            say(name)
            try:
                result = _measured(cluster, name, options.seconds)
            except NotAcknowledged as refused:
                rows.append([name, "", "", f"not served: {refused}"])
                continue
            p99_ms = result.percentile_ms(0.99)
            calm_ms = calm_ms or p99_ms
            times = p99_ms / calm_ms if calm_ms else 0.0
            verdict = (
                ""
                if name.startswith("calm")
                else f"{times:.1f} times" + ("" if times < AIM else "  TOO MUCH")
            )
            rows.append([name, f"{result.percentile_ms(0.5):.1f}", f"{p99_ms:.1f}", verdict])
    print(tabulate(rows, headers=["flood", "median, ms", "99th percentile, ms", "against calm"]))


def _measured(cluster: LocalCluster, name: str, seconds: float) -> Result:
    leader = cluster.cluster.nodes[cluster.wait_for_leader()]

    def credits() -> Result:
        connect = partial(LoadConnection, leader.client)
        return run(connect, CUSTOMERS, seconds=seconds, warm_up_s=WARM_UP_S, per_second=PER_S)

    if name not in FLOODS:
        return credits()
    with flood(name, leader, cluster.cluster):
        return credits()


if __name__ == "__main__":
    main()
