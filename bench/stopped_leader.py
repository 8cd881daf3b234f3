"""How long clients wait when the leader stops: `python -m bench.stopped_leader [--rounds N] [--json FILE]`.

Five nodes of this machine and 16 clients, each with one credit under way at a time. The leader is stopped in
turn by SIGTERM, when it hands leadership over first, and by kill -9. Of each client the longest wait is taken
that was under way or began within `WINDOW_S` of that; median and worst are those of all clients and rounds.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from atm.client import Client, OutcomeUnknown
from atm.local_cluster import LocalCluster, write_cluster_ini

CLIENTS = 16
SETTLE_S = 1.5  # before each stop, and after each new start
WINDOW_S = 3.0


@dataclass
class Waits:
    """When each credit of a client began, and how long it took."""

    stop: threading.Event = field(default_factory=threading.Event)
    of_client: list[list[tuple[float, float]]] = field(default_factory=lambda: [[] for _ in range(CLIENTS)])
    unknown: int = 0

    def run(self, config: Path, number: int) -> None:
        with Client(config, timeout=10.0) as client:
            while not self.stop.is_set():
                began_s = time.monotonic()
                try:
                    client.credit("main", 1)
                except OutcomeUnknown:
                    self.unknown += 1
                self.of_client[number].append((began_s, time.monotonic() - began_s))

    def longest_ms(self, at_s: float) -> list[float]:
        """Return, for each client, its longest wait around `at_s`."""
        return [
            1000 * max(took for began, took in waits if began + took >= at_s and began <= at_s + WINDOW_S)
            for waits in self.of_client
        ]


def measure(rounds: int) -> dict[str, list[float]]:
    """Return each client's longest wait in ms, round by round, for both ways to stop a leader."""
    found: dict[str, list[float]] = {"SIGTERM": [], "kill -9": []}
    with (
        tempfile.TemporaryDirectory() as folder,
        LocalCluster(write_cluster_ini(Path(folder), 5)) as cluster,
    ):
        cluster.start_all()
        cluster.wait_for_leader()
        time.sleep(SETTLE_S)
        for number in range(rounds):
            for way in ("SIGTERM", "kill -9") if number % 2 else ("kill -9", "SIGTERM"):
                found[way] += _stop_once(cluster, way)
    return found


def _stop_once(cluster: LocalCluster, way: str) -> list[float]:
    waits = Waits()
    threads = [threading.Thread(target=waits.run, args=(cluster.cluster.path, n)) for n in range(CLIENTS)]
    for thread in threads:
        thread.start()
    time.sleep(SETTLE_S)
    leader = cluster.wait_for_leader()
    at_s = time.monotonic()
    if way == "SIGTERM":
        cluster.stop(leader)
    else:
        cluster.kill(leader)
    time.sleep(max(0.0, at_s + WINDOW_S - time.monotonic()))
    waits.stop.set()
    for thread in threads:
        thread.join()
    if waits.unknown:
        print(f"{way}: {waits.unknown} outcomes were unknown", file=sys.stderr)
    cluster.start(leader)
    time.sleep(SETTLE_S)
    cluster.wait_for_leader()
    return waits.longest_ms(at_s)


def main(argv: Sequence[str] | None = None) -> int:
    """Measure and print; return the exit code."""
    parser = argparse.ArgumentParser(prog="bench.stopped_leader", description=__doc__)
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--json", type=Path, metavar="FILE")
    options = parser.parse_args(argv)
    found = measure(options.rounds)
    for way, waits_ms in found.items():
        print(
            f"{way:8} median {statistics.median(waits_ms):6.0f} ms, worst {max(waits_ms):6.0f} ms "
            f"({len(waits_ms)} clients' longest waits)"
        )
    if options.json is not None:
        options.json.write_text(json.dumps(found), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
