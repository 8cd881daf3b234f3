"""What the measurements share: a cluster in a folder of its own, and clients that keep it busy."""

from __future__ import annotations

import tempfile
import threading
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from atm.client import Client, OutcomeUnknown, Unavailable
from atm.config import Cluster
from atm.local_cluster import LocalCluster, write_cluster_ini
from atm.wire.client_messages import StatusReply
from bench.load import Result, run
from bench.systems.load_connection import LoadConnection
from bench.work import Work

POLL_S = 0.02
STATUS_WITHIN_S = 15.0
APPLIED_WITHIN_S = 300.0


@contextmanager
def fresh_cluster(
    count: int = 5, *, furnish: Callable[[Cluster], None] = lambda _: None, **settings: str | float
) -> Iterator[LocalCluster]:
    """Yield a running cluster with a leader; it is stopped, and its folder removed, at the end.

    `furnish` may put something into the nodes' folders before they start.
    """
    with (
        tempfile.TemporaryDirectory(prefix="atm-bench-") as folder,
        LocalCluster(write_cluster_ini(Path(folder), count, **settings)) as cluster,
    ):
        furnish(cluster.cluster)
        cluster.start_all()
        cluster.wait_for_leader()
        yield cluster


def leaders_status(cluster: LocalCluster, within_s: float = STATUS_WITHIN_S) -> StatusReply:
    """Return what the leader says of itself; a busy one may be late. Raise `NoLeader` or `TimeoutError`."""
    deadline_s = time.monotonic() + within_s
    while (status := cluster.status(cluster.wait_for_leader())) is None:
        if time.monotonic() > deadline_s:
            raise TimeoutError(f"the leader does not answer within {within_s:g} s")
    return status


def last_index(cluster: LocalCluster) -> int:
    """Return the index of the leader's last entry; raise as `leaders_status`."""
    return leaders_status(cluster).last_index


def wait_until_applied(
    cluster: LocalCluster, names: Collection[str], goal: int, within_s: float = APPLIED_WITHIN_S
) -> None:
    """Return when each of the nodes has applied entry `goal`; raise `TimeoutError`."""
    deadline_s = time.monotonic() + within_s
    while any((status := cluster.status(name)) is None or status.applied_index < goal for name in names):
        if time.monotonic() > deadline_s:
            raise TimeoutError(f"not all of {', '.join(names)} applied entry {goal} within {within_s:g} s")
        time.sleep(POLL_S)


def restart_s(
    cluster: LocalCluster, names: Collection[str], *, while_down: Callable[[], None] = lambda: None
) -> float:
    """Kill the nodes, start them, and return the seconds until each has applied what was committed."""
    goal = last_index(cluster)
    for name in names:
        cluster.kill(name)
    while_down()
    started_s = time.monotonic()
    for name in names:
        cluster.start(name)
    wait_until_applied(cluster, names, goal)
    return time.monotonic() - started_s


def load_the_leader(cluster: LocalCluster, connections: int, depth: int, seconds: float) -> Result:
    """Credit in a closed loop at the leader; raise `bench.load.NotAcknowledged`."""
    leader = cluster.cluster.nodes[cluster.wait_for_leader()]
    work = Work("credits", connections, depth)
    return run(partial(LoadConnection, leader.client), work, seconds=seconds, warm_up_s=1.0)


def makes_snapshot(cluster: LocalCluster) -> bool:
    """Whether a server makes a snapshot now."""
    return any(cluster.cluster.data_dir.glob("*/snapshot/making.db"))


@dataclass
class Busy:
    """Clients that credit in a closed loop, a thread each, until `stop`; `done` holds (called, returned)."""

    config: Path
    clients: int
    done: list[list[tuple[float, float]]] = field(default_factory=list)
    _stop: threading.Event = field(default_factory=threading.Event)
    _threads: list[threading.Thread] = field(default_factory=list)

    def start(self) -> None:
        self.done = [[] for _ in range(self.clients)]
        self._threads = [threading.Thread(target=self._credit, args=(log,)) for log in self.done]
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def first_after(self, since: float, deadline_s: float = 30.0) -> list[float]:
        """Wait until each client had a request, called after `since`, acknowledged; return when."""
        firsts: list[float] = []
        for log in self.done:
            while (first := _first_called_after(log, since)) is None:
                if time.monotonic() > since + deadline_s:
                    raise SystemExit(f"no client was served within {deadline_s:g} s")
                time.sleep(0.005)
            firsts.append(first)
        return firsts

    def _credit(self, log: list[tuple[float, float]]) -> None:
        with Client(self.config) as client:
            while not self._stop.is_set():
                called = time.monotonic()
                try:
                    client.credit("main", 1)
                except (Unavailable, OutcomeUnknown):
                    continue
                log.append((called, time.monotonic()))


def _first_called_after(log: list[tuple[float, float]], since: float) -> float | None:
    for position in range(len(log) - 1, -1, -1):
        if log[position][0] < since:
            return log[position + 1][1] if position + 1 < len(log) else None
    return log[0][1] if log else None
