"""The kinds of growth that are measured: servers, ledger, log, payload, connections."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing
from functools import cache, partial
from math import nan
from pathlib import Path

from atm.client import Client
from atm.config import LEDGER_FILE
from atm.ledger.commands import LEGS_MAX, Batch, Leg
from atm.local_cluster import LocalCluster
from atm.wire.codec import encode
from bench.cluster import fresh_cluster, restart_s
from bench.growth.curve import PANELS, Figures, Panel
from bench.growth.growth import Growth, Reading
from bench.growth.loaded import loaded
from bench.growth.past import credits_to_one, furnish, make_past, openings
from bench.load import NotAcknowledged
from bench.results import median
from bench.systems.load_connection import PLACE, LoadConnection, split_at_id
from bench.usage import processor_s, resident_bytes
from bench.work import ACCOUNTS, HOT_ACCOUNT, Kind, Work, account

CONNECTIONS = 64  # each with one request under way, unless a curve says otherwise
HOT = Work("credits", CONNECTIONS)
BUSY = f"{CONNECTIONS} connections"
ALONE = "1 connection"
TELLERS_MAX = 1_900  # a server has room for 2,000 and is asked for its status meanwhile
PAST_MAX = 10_000_000
FUNDS = 10**13  # enough for all the legs of any run
MIB, KIB = 2**20, 2**10


class Nodes(Growth):
    """Clusters of so many servers."""

    name = "nodes"
    title = "Credits against servers"
    what = "servers"
    usual = (1, 3, 5, 7)
    limits = (1, 15)

    def measure(self, points: Sequence[int]) -> Iterator[Reading]:
        for point in points:
            with fresh_cluster(point) as cluster:
                yield Reading(BUSY, point, loaded(cluster, HOT, self._seconds))
                yield Reading(ALONE, point, loaded(cluster, Work("credits", 1), self._seconds))


class WithPast(Growth):
    """Five servers that start with so much behind them."""

    def prepare(self, folder: Path) -> None:
        self._pasts = {point: folder / f"{self.name}-{point}" for point in self._points}
        for point, past in self._pasts.items():
            past.mkdir()
            self._make(past, point)

    def measure(self, points: Sequence[int]) -> Iterator[Reading]:
        for point in points:
            with fresh_cluster(furnish=partial(furnish, self._pasts[point])) as cluster:
                yield Reading(BUSY, point, self._measure(cluster, point))

    @abstractmethod
    def _make(self, past: Path, point: int) -> None:
        """Make the past of this point."""

    @abstractmethod
    def _measure(self, cluster: LocalCluster, point: int) -> Figures:
        """Measure on a cluster that has it."""


class LedgerSize(WithPast):
    """Of all accounts that a ledger holds, as many are worked with at every point."""

    name = "ledger"
    title = "Credits to 10,000 accounts against all accounts in the ledger"
    what = "accounts"
    usual = (ACCOUNTS, 1_000_000)
    limits = (2, PAST_MAX)

    def _make(self, past: Path, point: int) -> None:
        make_past(past, openings(point))

    def _measure(self, cluster: LocalCluster, point: int) -> Figures:
        worked = min(ACCOUNTS, *self._points)
        work = Work("accounts", CONNECTIONS, accounts=worked, apart=point // worked)
        return loaded(cluster, work, self._seconds)


class LogLength(WithPast):
    """Credits to one account lie behind, each with its posting and receipt in the ledger."""

    name = "log"
    title = "Credits, and starting again, against the length of the log"
    what = "entries"
    usual = (0, 100_000, 1_000_000)
    limits = (0, PAST_MAX)
    panels = (
        *PANELS,
        Panel("start, s: with the ledger, without one", ("restart_s", "rebuild_s")),
        Panel("processor time of a start, s", ("restart_processor_s", "rebuild_processor_s")),
    )

    def _make(self, past: Path, point: int) -> None:
        make_past(past, credits_to_one(point))

    def _measure(self, cluster: LocalCluster, point: int) -> Figures:
        figures = loaded(cluster, HOT, self._seconds)
        return {**figures, **_restarted(cluster), **_rebuilt(cluster)}


def _restarted(cluster: LocalCluster) -> Figures:
    """Kill all nodes and start them; each has then a ledger that is nearly as far as its log."""
    names = list(cluster.cluster.nodes)
    took_s = restart_s(cluster, names)
    used_s = [processor_s(cluster.processes[name].pid) for name in names]
    return {"restart_s": took_s, "restart_processor_s": median(used_s)}


def _rebuilt(cluster: LocalCluster) -> Figures:
    """Kill a follower and start it without its ledger, which it makes anew from its log."""
    leader = cluster.wait_for_leader()
    follower = next(name for name in cluster.cluster.nodes if name != leader)

    def lose_the_ledger() -> None:
        for file in (cluster.cluster.data_dir / follower).glob(f"{LEDGER_FILE}*"):
            file.unlink()

    took_s = restart_s(cluster, [follower], while_down=lose_the_ledger)
    return {"rebuild_s": took_s, "rebuild_processor_s": processor_s(cluster.processes[follower].pid)}


class Payload(WithPast):
    """Batches of so many legs, the only request of the bank that may be large, from one account to many."""

    name = "payload"
    title = "Batches against their legs"
    what = "legs"
    usual = (1, 4, 16, 64)
    limits = (1, LEGS_MAX)
    panels = (Panel("acknowledged / s", ("requests_per_s", "legs_per_s")), *PANELS[1:])

    def _make(self, past: Path, point: int) -> None:
        make_past(past, openings(ACCOUNTS))

    def _measure(self, cluster: LocalCluster, point: int) -> Figures:
        with Client(cluster.cluster.path) as client:
            client.credit(HOT_ACCOUNT, FUNDS)
        work = Work("batches", CONNECTIONS, accounts=ACCOUNTS)
        figures = loaded(cluster, work, self._seconds, template=partial(batch_around_the_id, point))
        before, after = batch_around_the_id(point, Kind.CREDIT, account(0))
        return {
            **figures,
            "legs_per_s": point * figures["requests_per_s"],
            "request_bytes": len(before) + len(PLACE) + len(after),
        }


@cache
def batch_around_the_id(legs: int, _: Kind, first: str) -> tuple[bytes, bytes]:
    """Return, up to its id and from there on, a batch from the hot account to `first` and those after it."""
    number = int(first.rpartition("-")[2])
    targets = [account((number + place) % ACCOUNTS) for place in range(legs)]
    postings = tuple(Leg(account=HOT_ACCOUNT, target=target, amount=1) for target in targets)
    return split_at_id(encode(Batch(id=PLACE, legs=postings)))


class Connections(Growth):
    """So many that were used once and do nothing, and so many with a credit under way on each."""

    name = "connections"
    title = "Credits, and memory, against connections"
    what = "connections"
    usual = (1, 8, 16, 64, 256, 1_000)
    limits = (1, TELLERS_MAX)
    panels = (*PANELS, Panel("leader's memory, MiB", ("leader_mib",)))

    def measure(self, points: Sequence[int]) -> Iterator[Reading]:
        with fresh_cluster() as cluster:
            for point, figures in _idle(cluster, self._points):
                yield Reading("idle", point, figures)
            for point in points:
                yield Reading("busy", point, loaded(cluster, Work("credits", point), self._seconds))


def _idle(cluster: LocalCluster, points: Sequence[int]) -> Iterator[tuple[int, Figures]]:
    """Open more and more connections to the leader, each of which asks once."""
    leader = cluster.wait_for_leader()
    address, pid = cluster.cluster.nodes[leader].client, cluster.processes[leader].pid
    with ExitStack() as opened:
        count, first_bytes = 0, 0
        for point in points:
            for _ in range(point - count):
                connection = opened.enter_context(closing(LoadConnection(address)))
                connection.send([(Kind.QUERY, HOT_ACCOUNT)])
                while not connection.receive():
                    if connection.refused:
                        raise NotAcknowledged(connection.refused[0])
            count = point
            used_bytes = resident_bytes(pid)
            first_bytes = first_bytes or used_bytes
            each = (used_bytes - first_bytes) / (point - points[0]) if point > points[0] else nan
            yield point, {"leader_mib": used_bytes / MIB, "connection_kib": each / KIB}


KINDS: dict[str, type[Growth]] = {
    growth.name: growth for growth in (Nodes, LedgerSize, LogLength, Payload, Connections)
}
