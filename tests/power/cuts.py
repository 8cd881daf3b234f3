"""Lives of a cluster under load whose power is cut again and again, and what is asked of each cut."""

from __future__ import annotations

import random
import sqlite3
import tempfile
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

from atm.client import Receipt
from atm.local_cluster import LocalCluster, write_cluster_ini
from tests.cluster.customers import Customers
from tests.cluster.ledgers import assert_kept, wait_until_equal
from tests.power.filesystem import FileSystem

CUTS_PER_LIFE = 10  # then the books are compared row by row, and a new life begins on an empty disk
RECEIPTS_BEFORE_A_CUT = range(1, 250)
RETURN_DEADLINE_S = 30.0

# Elections are no part of what is tried here, so they are made short.
SETTINGS: dict[str, str | int] = {"heartbeat_ms": 25, "election_timeout_ms": "150-300"}


@dataclass
class Tally:
    """What was done and seen; the claim is about these numbers."""

    cuts: int = 0
    acknowledged: int = 0
    unknown: int = 0
    return_s: list[float] = field(default_factory=list)  # from the power's return to all nodes answering
    cut_s: list[float] = field(default_factory=list)  # from one cut's beginning to the end of its checks

    def __str__(self) -> str:
        returns, cuts = sorted(self.return_s), sorted(self.cut_s)
        return (
            f"{self.cuts} power cuts of all nodes at once; {self.acknowledged} requests acknowledged, "
            f"{self.unknown} unknown; all nodes back after {returns[len(returns) // 2]:.2f} s in the "
            f"median, {returns[-1]:.2f} s at worst; {cuts[len(cuts) // 2]:.2f} s a cut with its checks"
        )


def run(cuts: int, seed: int, *, nodes: int = 5, tell: Callable[[str], None] = lambda line: None) -> Tally:
    """Cut the power `cuts` times; raise AssertionError at the first thing that is not as promised."""
    chance = random.Random(seed)
    tally = Tally()
    while tally.cuts < cuts:
        _live(min(CUTS_PER_LIFE, cuts - tally.cuts), nodes, chance, tally)
        tell(f"{tally}")
    return tally


def _live(cuts: int, nodes: int, chance: random.Random, tally: Tally) -> None:
    with tempfile.TemporaryDirectory() as name, FileSystem(Path(name)) as disk:
        config = write_cluster_ini(Path(name), nodes, data_dir=str(disk.path / "data"), **SETTINGS)
        # The cluster is left first, also on failure: the disk cannot be unmounted under its nodes.
        with LocalCluster(config) as cluster:
            cluster.start_all()
            cluster.wait_for_leader()
            with Customers(config) as customers:
                for _ in range(cuts):
                    _cut_once(cluster, disk, customers, chance, tally)
            assert_kept(wait_until_equal(cluster), customers)
            tally.acknowledged += len(customers.receipts)
            tally.unknown += len(customers.unknown)


def _cut_once(
    cluster: LocalCluster, disk: FileSystem, customers: Customers, chance: random.Random, tally: Tally
) -> None:
    began_s = time.monotonic()
    known = customers.receipts.keys() | ()
    customers.wait_for_more(chance.choice(RECEIPTS_BEFORE_A_CUT), RETURN_DEADLINE_S)
    disk.cut()
    for name in cluster.running():
        cluster.kill(name)
    told = {id_: receipt for id_, receipt in dict(customers.receipts).items() if id_ not in known}
    disk.restore()
    restored_s = time.monotonic()
    cluster.start_all()
    _wait_until_applied(cluster, customers, max(receipt.reference for receipt in told.values()))
    tally.return_s.append(time.monotonic() - restored_s)
    for name in cluster.cluster.nodes:
        _assert_holds(cluster.cluster.data_dir / name / "ledger.db", told)
    tally.cuts += 1
    tally.cut_s.append(time.monotonic() - began_s)


def _wait_until_applied(cluster: LocalCluster, customers: Customers, reference: int) -> None:
    """Wait until every node runs and has applied the entry at `reference`."""
    deadline = time.monotonic() + RETURN_DEADLINE_S
    for name in cluster.cluster.nodes:
        while (status := cluster.status(name)) is None or status.applied_index < reference:
            ended = cluster.processes[name].poll()
            assert not customers.errors, f"a customer saw what cannot be: {customers.errors}"
            assert ended is None, f"{name} did not start again ({ended}): {cluster.output(name)[-2000:]}"
            assert time.monotonic() < deadline, f"{name} has not applied {reference} in time: {status}"
            time.sleep(0.01)


def _assert_holds(ledger: Path, told: dict[str, Receipt]) -> None:
    with closing(sqlite3.connect(f"file:{ledger}?mode=ro", uri=True)) as connection:
        select = "select outcome, balance, reference from receipt where request_id = ?"
        for request_id, receipt in told.items():
            kept = connection.execute(select, (request_id,)).fetchone()
            assert kept == (receipt.outcome, receipt.balance, receipt.reference), (
                f"{request_id} was acknowledged as {receipt}, and {ledger} has {kept}"
            )
