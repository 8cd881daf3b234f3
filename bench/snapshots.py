"""What others notice of a snapshot and of an install: `python -m bench.snapshots [--megabytes 1000]`.

Makes the ledgers of three nodes large by rows of SQL, the same on each, and then credits in a closed loop
while nothing happens, while a node takes a snapshot, and while one that lost its folder is brought up. Prints
the latencies of each phase, how long it took, and how large a ledger's write-ahead log became.
"""

from __future__ import annotations

import argparse
import shutil
import sqlite3
import threading
import time
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path

from tabulate import tabulate

from atm.client import Client
from atm.client.each_node import ask_one
from atm.local_cluster import LocalCluster
from atm.wire.client_messages import TakeSnapshot
from bench.cluster import Busy, fresh_cluster, load_the_leader, makes_snapshot
from bench.load import NotAcknowledged

ROW_BYTES = 400
CLIENTS = 8
CALM_S = 10.0
WITHIN_S = 900.0
LOG_MB = 64  # so much that no other server makes a snapshot of its own while one is measured
BULK = """
    with recursive number(n) as (select 1 union all select n + 1 from number where n < ?)
    insert into receipt (request_id, op, account, amount, details, outcome, log_index, time_us, actor)
    select printf('bulk-%d', n), 'credit', 'main', 1, printf('%0*d', ?, n), 'busy', 1, n, 'local' from number
"""


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.snapshots", description=__doc__)
    parser.add_argument("--megabytes", type=int, default=1000, help="of ledger; default: %(default)s")
    options = parser.parse_args()
    with fresh_cluster(3, snapshot_log_mb=LOG_MB) as cluster:
        make_large(cluster, options.megabytes)
        leader = cluster.wait_for_leader()
        followers = [name for name in cluster.cluster.nodes if name != leader]
        busy = Busy(cluster.cluster.path, CLIENTS)
        busy.start()
        phases = Phases(cluster, busy)
        phases.measure("calm", lambda: time.sleep(CALM_S))
        phases.measure("snapshot at a follower", lambda: take(cluster, followers[0]))
        phases.measure("snapshot at the leader", lambda: take(cluster, leader))
        cut_the_log(cluster, leader)
        wait_until_no_snapshot(cluster)
        cluster.kill(followers[1])
        shutil.rmtree(cluster.cluster.data_dir / followers[1])
        phases.measure("calm, two nodes", lambda: time.sleep(CALM_S))
        phases.measure("install", lambda: bring_up(cluster, followers[1]))
        busy.stop()
        phases.print()


def make_large(cluster: LocalCluster, megabytes: int) -> None:
    """Stop the nodes, add the same rows to each ledger, and start them again."""
    with Client(cluster.cluster) as client:
        for _ in range(200):
            client.credit("main", 1)
    for name in cluster.cluster.nodes:
        cluster.stop(name)
    for name in cluster.cluster.nodes:
        with closing(sqlite3.connect(cluster.cluster.data_dir / name / "ledger.db")) as ledger:
            ledger.execute("pragma synchronous = off")
            ledger.execute("pragma journal_mode = off")
            ledger.execute(BULK, (megabytes * 10**6 // ROW_BYTES, ROW_BYTES - 60))
            ledger.commit()
    cluster.start_all()
    cluster.wait_for_leader()


def take(cluster: LocalCluster, name: str) -> None:
    answer = ask_one(cluster.cluster.nodes[name].client, TakeSnapshot(id="bench"), WITHIN_S)
    if getattr(answer, "outcome", "") != "ok":
        raise SystemExit(f"node {name} took no snapshot: {answer}")


def cut_the_log(cluster: LocalCluster, name: str) -> None:
    """Write until the beginning of the leader's log is cut: a node without it then needs a snapshot."""
    deadline_s = time.monotonic() + WITHIN_S
    while (cluster.cluster.data_dir / name / "raft.log.000001").exists():
        if time.monotonic() > deadline_s:
            raise SystemExit(f"node {name} does not cut its log")
        with suppress(NotAcknowledged):
            load_the_leader(cluster, connections=64, depth=16, seconds=2.0)


def wait_until_no_snapshot(cluster: LocalCluster) -> None:
    deadline_s = time.monotonic() + WITHIN_S
    while makes_snapshot(cluster):
        if time.monotonic() > deadline_s:
            raise SystemExit("the servers make one snapshot after another")
        time.sleep(0.5)


def bring_up(cluster: LocalCluster, name: str) -> None:
    cluster.start(name)
    deadline_s = time.monotonic() + WITHIN_S
    while "installed the snapshot" not in cluster.output(name):
        if time.monotonic() > deadline_s:
            raise SystemExit(f"nothing was installed: {cluster.output(name)}")
        time.sleep(0.05)


class Phases:
    """What the clients saw while something happened."""

    def __init__(self, cluster: LocalCluster, busy: Busy) -> None:
        self._cluster = cluster
        self._busy = busy
        self._rows: list[list[float | str]] = []

    def measure(self, name: str, happening: Callable[[], None]) -> None:
        wal, over = [0], threading.Event()
        watcher = threading.Thread(target=self._watch, args=(wal, over))
        watcher.start()
        begun_s = time.monotonic()
        happening()
        ended_s = time.monotonic()
        over.set()
        watcher.join()
        latencies_ms = sorted(
            1000 * (returned - called)
            for log in self._busy.done
            for called, returned in list(log)
            if begun_s <= called and returned <= ended_s
        )
        shares = [
            latencies_ms[min(len(latencies_ms) - 1, int(s * len(latencies_ms)))] for s in (0.5, 0.99, 0.999)
        ]
        rate = len(latencies_ms) / (ended_s - begun_s)
        self._rows.append([name, ended_s - begun_s, rate, *shares, latencies_ms[-1], max(wal) / 2**20])
        print(name, *(f"{number:.1f}" for number in self._rows[-1][1:]), flush=True)

    def _watch(self, wal: list[int], over: threading.Event) -> None:
        """Note the largest size of a ledger's write-ahead log."""
        while not over.wait(0.1):
            for path in Path(self._cluster.cluster.data_dir).glob("*/ledger.db-wal"):
                try:
                    wal.append(path.stat().st_size)
                except FileNotFoundError:
                    continue

    def print(self) -> None:
        headers = ["phase", "seconds", "credits/s", "p50, ms", "p99, ms", "p99.9, ms", "max, ms", "WAL, MiB"]
        print(tabulate(self._rows, headers=headers, floatfmt=".1f"))


if __name__ == "__main__":
    main()
