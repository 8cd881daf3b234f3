"""The whole cluster is killed at random points under mixed load, again and again, and is right at the end.

    python -m tests.cluster.kill_all --times 50 --seed 1

Exit code 0: everything that was acknowledged is there, once, on all five nodes, and their books are right.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from atm.local_cluster import LocalCluster, write_cluster_ini
from tests.cluster.mixed_customers import MixedCustomers
from tests.support.ledgers import assert_files_are_sound, assert_kept, wait_until_equal
from tests.support.server_parts import wait_until

DURING_START_SHARE = 0.3  # of the kills fall before anything was acknowledged again
ANSWERS_BEFORE_A_KILL = range(1, 150)
PAUSE_S = 0.05  # and then a random part of this: many iterations of a node's run loop
RETURN_S = 30.0


@dataclass
class Tally:
    """What was done and seen."""

    kills: int = 0
    during_start: int = 0
    acknowledged: int = 0
    unknown: int = 0
    refused: int = 0
    outcomes: Counter[str] = field(default_factory=Counter)  # in the ledger, by request and outcome
    rows: dict[str, int] = field(default_factory=dict)  # of each table
    seconds: float = 0.0

    def __str__(self) -> str:
        rows = ", ".join(f"{count} {table}" for table, count in self.rows.items())
        return (
            f"{self.kills} times all killed, {self.during_start} of them while they started; "
            f"{self.acknowledged} requests acknowledged, {self.unknown} unknown, "
            f"{self.refused} certainly not done; rows: {rows}; {self.seconds:.0f} s"
        )


def run(times: int, seed: int, folder: Path, tell: Callable[[str], None] = lambda _: None) -> Tally:
    """Kill all five nodes `times` times; raise AssertionError at what is not as promised."""
    chance, tally, began_s = random.Random(seed), Tally(), time.monotonic()
    config = write_cluster_ini(folder)
    with LocalCluster(config) as cluster:
        cluster.start_all()
        cluster.wait_for_leader()
        with MixedCustomers(config, seed=seed) as customers:
            for _ in range(times):
                tally.during_start += _wait_for_a_random_point(cluster, customers, chance)
                _kill_at_once(cluster)
                tally.kills += 1
                tell(f"{tally.kills}: {len(customers.receipts)} acknowledged so far")
                cluster.start_all()
            customers.wait_for_more(deadline_s=RETURN_S)
        ledger = wait_until_equal(cluster)
        assert_files_are_sound(cluster)
        assert_kept(ledger, customers)
    tally.acknowledged, tally.unknown = len(customers.receipts), len(customers.unknown)
    tally.refused = len(customers.refused)
    tally.outcomes = Counter(f"{row.op} {row.outcome}" for row in ledger["receipt"])
    tally.rows = {table: len(rows) for table, rows in ledger.items()}
    tally.seconds = time.monotonic() - began_s
    return tally


def _wait_for_a_random_point(cluster: LocalCluster, customers: MixedCustomers, chance: random.Random) -> bool:
    """Return whether it is one before anything was acknowledged again."""
    during_start = chance.random() < DURING_START_SHARE
    if during_start:
        up = chance.randint(0, len(cluster.cluster.nodes))
        wait_until(lambda: sum(cluster.status(name) is not None for name in cluster.cluster.nodes) >= up)
    else:
        customers.wait_for_more(chance.choice(ANSWERS_BEFORE_A_KILL), RETURN_S)
    threading.Event().wait(chance.uniform(0, PAUSE_S))
    return during_start


def _kill_at_once(cluster: LocalCluster) -> None:
    for process in cluster.processes.values():
        process.kill()
    for name in cluster.cluster.nodes:
        cluster.kill(name)


def main(argv: Sequence[str] | None = None) -> int:
    """Return the exit code: 0, or 1 and what is wrong."""
    parser = argparse.ArgumentParser(prog="python -m tests.cluster.kill_all", description=__doc__)
    parser.add_argument("--times", type=int, default=50, help="how often; default: %(default)s")
    parser.add_argument("--seed", type=int, default=random.randrange(1_000_000), help="default: random")
    options = parser.parse_args(argv)
    print(f"seed {options.seed}", flush=True)
    with tempfile.TemporaryDirectory(prefix="atm-kill-all-") as folder:
        try:
            tally = run(options.times, options.seed, Path(folder), lambda line: print(line, flush=True))
        except AssertionError as error:
            print(f"NOT AS PROMISED: {error}")
            return 1
    for name, count in sorted(tally.outcomes.items()):
        print(f"{count:8} {name}")
    print(tally)
    return 0


if __name__ == "__main__":
    sys.exit(main())
