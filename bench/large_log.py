"""What a long log costs: memory of each node, time to restart on it, and bytes on disk.

python -m bench.large_log [--entries 1000000]
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

from tabulate import tabulate

from atm.local_cluster import LocalCluster
from bench.cluster import fresh_cluster, load_the_leader

POLL_S = 0.02


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure a cluster with a long log.")
    parser.add_argument("--entries", type=int, default=1_000_000)
    options = parser.parse_args()
    with fresh_cluster() as cluster:
        started = time.monotonic()
        while _last_index(cluster) < options.entries:
            load_the_leader(cluster, 64, 16, 5)
        print(f"{_last_index(cluster):,} entries after {time.monotonic() - started:.0f} s of load")
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
        print(f"restart of a follower: {_restart_s(cluster, [_follower(cluster, leader)]):.1f} s")
        print(f"restart of all nodes at once: {_restart_s(cluster, list(cluster.cluster.nodes)):.1f} s")
        memory = max(_memory_mib(cluster, name) for name in cluster.cluster.nodes)
        print(f"memory after the restart: {memory:.0f} MiB at most")


def _follower(cluster: LocalCluster, leader: str) -> str:
    return next(name for name in cluster.cluster.nodes if name != leader)


def _last_index(cluster: LocalCluster) -> int:
    status = cluster.status(cluster.wait_for_leader())
    return status.last_index if status else 0


def _restart_s(cluster: LocalCluster, names: list[str]) -> float:
    """Kill the nodes, start them, and return the seconds until each has applied what was committed."""
    goal = _last_index(cluster)
    for name in names:
        cluster.kill(name)
    started = time.monotonic()
    for name in names:
        cluster.start(name)
    while any((status := cluster.status(name)) is None or status.applied_index < goal for name in names):
        time.sleep(POLL_S)
    return time.monotonic() - started


def _memory_mib(cluster: LocalCluster, name: str) -> float:
    status = Path(f"/proc/{cluster.processes[name].pid}/status").read_text(encoding="ascii")
    line = next(line for line in status.splitlines() if line.startswith("VmRSS:"))
    return int(line.split()[1]) / 1024


def _mib(folder: Path, pattern: str) -> float:
    return sum(path.stat().st_size for path in folder.rglob(pattern) if path.is_file()) / 2**20


if __name__ == "__main__":
    main()
