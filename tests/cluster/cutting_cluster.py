"""Real nodes that cut their logs after little, and a customer whose requests make long log entries."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable
from pathlib import Path

from atm.client import Client, OutcomeUnknown, Unavailable
from atm.ledger.commands import LEGS_MAX, Leg
from atm.local_cluster import LocalCluster, write_cluster_ini
from tests.support.folders import delete_folder

DEADLINE_S = 90.0  # much: the machine may be busy
LOG_MB = 0.1


class CuttingCluster(LocalCluster):
    """Counts what its customer was told, to compare the ledgers with."""

    def __init__(self, folder: Path, count: int = 3) -> None:
        super().__init__(write_cluster_ini(folder, count, snapshot_log_mb=LOG_MB))
        self.balance_min = self.balance_max = 0  # of `alice`: what was acknowledged, and what may be
        self.dies_at: dict[str, str] = {}  # at which step a node dies, see dying_node.py

    def start_and_open(self) -> None:
        self.start_all()
        self.wait_for_leader()
        with Client(self.cluster, timeout=10.0) as client:
            for account in ("alice", "bob"):
                assert client.open(account).outcome == "ok"
            assert client.credit("bob", 10**9).outcome == "ok"

    def command(self, name: str) -> list[str]:
        if name in self.dies_at:
            step = self.dies_at[name]
            here = ["-m", "tests.cluster.dying_node", step, name]
            return [sys.executable, *here, "--config", str(self.cluster.path)]
        return super().command(name)

    def pay_until(self, condition: Callable[[], object]) -> None:
        """Pay from bob to alice, in batches, until the condition is true."""
        legs = [Leg(account="bob", target="alice", amount=1) for _ in range(LEGS_MAX)]
        deadline_s = time.monotonic() + DEADLINE_S
        with Client(self.cluster, timeout=10.0) as client:
            while not condition():
                assert time.monotonic() < deadline_s, "it did not come true in time"
                self.balance_max += LEGS_MAX
                try:
                    assert client.batch(legs).outcome == "ok"
                except Unavailable:
                    self.balance_max -= LEGS_MAX
                except OutcomeUnknown:
                    pass
                else:
                    self.balance_min += LEGS_MAX

    def follower(self) -> str:
        leader = self.wait_for_leader()
        return next(name for name in self.running() if name != leader)

    def folder(self, name: str) -> Path:
        return self.cluster.data_dir / name

    def lose_folder(self, name: str) -> None:
        """Kill the node and delete its folder."""
        self.kill(name)
        delete_folder(self.folder(name))

    def snapshots(self, name: str) -> list[int]:
        """Return the indexes of the node's snapshots."""
        return sorted(int(path.stem) for path in (self.folder(name) / "snapshot").glob("*.json"))

    def first_segment(self, name: str) -> int:
        """Return the number of the first file of the node's log."""
        return min(int(path.suffix[1:]) for path in self.folder(name).glob("raft.log.*"))

    def has_cut(self, *names: str) -> bool:
        """Whether each of these nodes has cut its log."""
        return all(self.first_segment(name) > 1 for name in names)

    def log_bytes(self, name: str) -> int:
        size_bytes = 0
        for path in self.folder(name).glob("raft.log.*"):
            with contextlib.suppress(FileNotFoundError):  # it was cut just now
                size_bytes += path.stat().st_size
        return size_bytes

    def installs(self, name: str) -> int:
        return self.output(name).count("installed the snapshot")


def wait_until(condition: Callable[[], object]) -> None:
    deadline_s = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < deadline_s, "it did not come true in time"
        time.sleep(0.02)
