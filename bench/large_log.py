"""What a long log costs: memory of each node, time to restart on it, and bytes on disk.

python -m bench.large_log [--entries 1000000]
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

from tabulate import tabulate

from atm.local_cluster import LocalCluster
from bench.cluster import fresh_cluster, last_index, load_the_leader, restart_s
from bench.usage import resident_bytes


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m bench.large_log",
        description="Measure memory, restart and disk of a cluster with a long log.",
    )
    parser.add_argument("--entries", type=int, default=1_000_000, help="default: %(default)s")
    options = parser.parse_args()
    with fresh_cluster() as cluster:
        started = time.monotonic()
        while last_index(cluster) < options.entries:
            load_the_leader(cluster, 64, 16, 5)
        print(f"{last_index(cluster):,} entries after {time.monotonic() - started:.0f} s of load")
        leader = cluster.wait_for_leader()
        rows = []
        for name in cluster.cluster.nodes:
            folder = cluster.cluster.data_dir / name
            role = "leader" if name == leader else "follower"
            rows.append(
                [name, role, _memory_mib(cluster, name), _mib(folder, "ledger.db*"), _mib(folder, "*")]
            )
        print(
            tabulate(
                rows, headers=["node", "role", "memory, MiB", "ledger, MiB", "folder, MiB"], floatfmt=".0f"
            )
        )
        print(f"restart of a follower: {restart_s(cluster, [_follower(cluster, leader)]):.1f} s")
        print(f"restart of all nodes at once: {restart_s(cluster, list(cluster.cluster.nodes)):.1f} s")
        memory = max(_memory_mib(cluster, name) for name in cluster.cluster.nodes)
        print(f"memory after the restart: {memory:.0f} MiB at most")


def _follower(cluster: LocalCluster, leader: str) -> str:
    return next(name for name in cluster.cluster.nodes if name != leader)


def _memory_mib(cluster: LocalCluster, name: str) -> float:
    return resident_bytes(cluster.processes[name].pid) / 2**20


def _mib(folder: Path, pattern: str) -> float:
    return sum(path.stat().st_size for path in folder.rglob(pattern) if path.is_file()) / 2**20


if __name__ == "__main__":
    main()
