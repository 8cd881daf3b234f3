"""Acknowledged, synced, replicated credits a second, on five fresh nodes of this machine.

python -m bench.throughput [--connections 1,8,64,256] [--depth 1] [--seconds 5] [--rounds 3]
"""

from __future__ import annotations

import argparse
import statistics

from tabulate import tabulate

from bench.cluster import fresh_cluster, load_the_leader


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure acknowledged credits a second.")
    parser.add_argument("--connections", default="1,8,64,256", help="numbers of connections, by commas")
    parser.add_argument("--depth", type=int, default=1, help="credits under way on each connection")
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    rows = []
    with fresh_cluster() as cluster:
        for connections in map(int, options.connections.split(",")):
            runs = [
                load_the_leader(cluster.cluster, connections, options.depth, options.seconds)
                for _ in range(options.rounds)
            ]
            rates = [run.per_second for run in runs]
            rows.append(
                [
                    connections,
                    options.depth,
                    *(statistics.median(rates), min(rates), max(rates)),
                    statistics.median(run.percentile_ms(0.5) for run in runs),
                    statistics.median(run.percentile_ms(0.99) for run in runs),
                    statistics.median(run.cpu_s / run.seconds for run in runs),
                ]
            )
    headers = [
        "connections",
        "deep",
        "credits/s",
        "lowest",
        "highest",
        "p50 ms",
        "p99 ms",
        "load's own cores",
    ]
    print(tabulate(rows, headers=headers, floatfmt=("", "", ".0f", ".0f", ".0f", ".2f", ".2f", ".2f")))


if __name__ == "__main__":
    main()
