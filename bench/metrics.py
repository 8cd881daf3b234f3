"""`python -m bench.metrics`: what counting costs, and a scrape; `--beside FOLDER`: beside another checkout.

Two clusters, of this code and of the other, run for the whole time. Each figure is measured at one and then
at the other, the first by turns. What counts is the leader's processor time: on a busy machine it varies
less than the rate.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
import time
import timeit
from collections.abc import Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from unittest.mock import patch
from urllib.request import urlopen

from tabulate import tabulate

from atm.config import Address
from atm.ledger.commands import Credit
from atm.local_cluster import LocalCluster, write_cluster_ini
from atm.server.metrics.counters import Counters
from bench.arguments import positive
from bench.command import say, stop_in_order
from bench.load import run
from bench.systems.load_connection import LoadConnection
from bench.usage import processor_s
from bench.work import Work
from tests.support.metrics import add_metrics

NODES, ROUNDS, SECONDS, WARM_UP_S = 3, 7, 3.0, 1.0
WORKS = (Work("credits", 64), Work("credits", 64, 16), Work("queries", 64, queries_in_10=10))
SCRAPES = 50
CALLS, BATCH = 200_000, 64


class Bank:
    """A cluster, and the leader's figures."""

    def __init__(self, cluster: LocalCluster) -> None:
        self._cluster = cluster

    def measure(self, work: Work, seconds: float) -> tuple[float, float]:
        """Return requests a second, and the leader's processor time for one, in microseconds."""
        leader = self._cluster.wait_for_leader()
        client, pid = self._cluster.cluster.nodes[leader].client, self._cluster.processes[leader].pid
        run(partial(LoadConnection, client), work, seconds=WARM_UP_S, warm_up_s=0.0)
        before_s = processor_s(pid)
        result = run(partial(LoadConnection, client), work, seconds=seconds, warm_up_s=0.0)
        return result.per_second, 1e6 * (processor_s(pid) - before_s) / result.acknowledged

    def metrics(self) -> Address:
        """Return where the leader tells its metrics."""
        address = self._cluster.cluster.nodes[self._cluster.wait_for_leader()].metrics
        assert address is not None
        return address


def main(argv: Sequence[str] | None = None) -> int:
    """Measure and print; return the exit code."""
    options = _options(argv)
    stop_in_order()
    print(f"Counting a request: {counting_us():.2f} µs of processor time")
    with tempfile.TemporaryDirectory(prefix="atm-bench-metrics-") as folder, ExitStack() as running:
        banks = {"this": _started(running, Path(folder) / "this", None)}
        if options.beside is not None:
            banks["other"] = _started(running, Path(folder) / "other", options.beside.resolve())
        figures: dict[str, dict[str, list[tuple[float, float]]]] = {}
        for number in range(options.rounds):
            say(f"round {number + 1} of {options.rounds}")
            for work in WORKS:
                for name in sorted(banks, reverse=number % 2 == 0):
                    found = banks[name].measure(work, options.seconds)
                    figures.setdefault(work.label, {}).setdefault(name, []).append(found)
        print(_table(figures))
        took_ms, size = scrape(banks["this"].metrics())
        print(f"A scrape of the leader: {took_ms:.1f} ms, {size:,} bytes")
    return 0


def counting_us() -> float:
    """Return what is added to each request: it is stamped when it arrives, counted and timed."""
    counters = Counters()

    def count() -> None:
        arrived = [time.monotonic() for _ in range(BATCH)]
        now_s = time.monotonic()
        counters.decided.done([Credit for _ in arrived])
        counters.request_seconds.observe_all([now_s - arrived_s for arrived_s in arrived if arrived_s])

    took_s = timeit.repeat(count, number=CALLS // BATCH, repeat=5, timer=time.process_time)
    return 1e6 * min(took_s) / CALLS


def scrape(address: Address) -> tuple[float, int]:
    """Return how long it takes, the median in milliseconds, and its bytes."""
    took_s: list[float] = []
    size = 0
    for _ in range(SCRAPES):
        time.sleep(0.05)  # apart, as from Prometheus: the port lets nobody ask without pause
        began_s = time.perf_counter()
        with urlopen(f"http://{address}/metrics", timeout=5.0) as answer:
            size = len(answer.read())
        took_s.append(time.perf_counter() - began_s)
    return 1000 * statistics.median(took_s), size


def _table(figures: dict[str, dict[str, list[tuple[float, float]]]]) -> str:
    rows = []
    for label, by_bank in figures.items():
        row: list[object] = [label]
        for name in ("this", "other"):
            if name in by_bank:
                rates, costs = zip(*by_bank[name], strict=True)
                row += [f"{statistics.median(rates):,.0f}", f"{statistics.median(costs):.1f}"]
        if "other" in by_bank:
            pairs = zip(by_bank["this"], by_bank["other"], strict=True)
            ratios = [(this[0] / other[0], this[1] / other[1]) for this, other in pairs]
            row += [f"{statistics.median(column):.3f}" for column in zip(*ratios, strict=True)]
        rows.append(row)
    heads = ["work", "a second", "leader µs", "other a second", "leader µs", "rates", "µs"]
    return tabulate(rows, heads[: len(rows[0])])


def _started(running: ExitStack, folder: Path, code: Path | None) -> Bank:
    """Start a cluster of the code in that folder, with metrics if it is this one's."""
    folder.mkdir()
    path = write_cluster_ini(folder, NODES, election_timeout_ms="3000-6000")  # no election by chance
    if code is None:
        add_metrics(path)
    cluster = running.enter_context(LocalCluster(path))
    with patch.dict(os.environ, {} if code is None else {"PYTHONPATH": str(code)}):
        cluster.start_all()
    cluster.wait_for_leader()
    return Bank(cluster)


def _options(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.metrics", description=__doc__)
    parser.add_argument("--rounds", type=positive(int), default=ROUNDS, help=f"default: {ROUNDS}")
    parser.add_argument("--seconds", type=positive(float), default=SECONDS, help=f"default: {SECONDS:g}")
    parser.add_argument("--beside", type=Path, metavar="FOLDER", help="a checkout of another release")
    return parser.parse_args(argv)


if __name__ == "__main__":
    sys.exit(main())
