"""`python -m bench.tls`: TLS beside plain connections, in one run on this machine.

Both clusters run for the whole time; each figure is measured at one and then at the other, the first by
turns, so that a machine's bad minutes come to both alike. Needs the extra 'test'.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack, closing
from functools import partial
from pathlib import Path

from tabulate import tabulate

from atm.client.connection import ServerConnection
from atm.config import Cluster, NodeConfig
from atm.local_cluster import LocalCluster, write_cluster_ini
from atm.tls.of_cluster import client_credentials
from atm.tls.tls_socket import connect_tls
from atm.wire.framing import CLIENT_FRAME_BYTES_MAX
from bench.arguments import positive
from bench.command import say, stop_in_order
from bench.load import Result, run
from bench.systems.load_connection import LoadConnection
from bench.work import Work
from tests.support.certificates import Authority, write_tls_ini

CONNECTIONS = (1, 64, 256)
NODES, ROUNDS, SECONDS, WARM_UP_S = 3, 5, 3.0, 1.0
HANDSHAKES_S = 3.0  # how long handshakes are counted in a round
HELD = 500  # connections, of which the memory is measured
WITHIN_S = 30.0


class TlsLoadConnection(LoadConnection):
    """The load program's connection, encrypted."""

    def __init__(self, cluster: Cluster, node: NodeConfig) -> None:
        super().__init__(node.client)
        credentials = client_credentials(cluster)
        assert credentials is not None
        context = credentials.for_dialling()
        self._tls = connect_tls(self._socket, context, node.name, time.monotonic() + WITHIN_S)

    def _send(self, data: bytes) -> None:
        self._tls.sendall(data)

    def _receive(self) -> bytes:
        return self._tls.recv(CLIENT_FRAME_BYTES_MAX)


class Bank:
    """A cluster, and how the load program connects to its leader."""

    def __init__(self, cluster: LocalCluster) -> None:
        self._cluster = cluster

    def connect(self) -> Callable[[], LoadConnection]:
        """Return what makes a connection to the leader."""
        node = self._leader
        if self._cluster.cluster.tls is None:
            return partial(LoadConnection, node.client)
        return partial(TlsLoadConnection, self._cluster.cluster, node)

    def measure(self, work: Work, seconds: float) -> Result:
        """Do the work at the leader; raise `bench.load.NotAcknowledged`."""
        return run(self.connect(), work, seconds=seconds, warm_up_s=WARM_UP_S)

    def connections_per_s(self) -> float:
        """Return how many connections one client can make to the leader in a second, one after another."""
        node, credentials = self._leader, self._cluster.credentials
        count, until_s = 0, time.monotonic() + HANDSHAKES_S
        while (now_s := time.monotonic()) < until_s:
            ServerConnection(
                node.client.pair, now_s + WITHIN_S, credentials=credentials, node=node.name
            ).close()
            count += 1
        return count / HANDSHAKES_S

    def kib_a_connection(self) -> float:
        """Return by how much the leader's memory grows for each connection that is held, in KiB."""
        node, credentials = self._leader, self._cluster.credentials
        before = self._memory_kib(node.name)
        with ExitStack() as held:
            for _ in range(HELD):
                until_s = time.monotonic() + WITHIN_S
                connection = ServerConnection(
                    node.client.pair, until_s, credentials=credentials, node=node.name
                )
                held.enter_context(closing(connection))
            return (self._memory_kib(node.name) - before) / HELD

    @property
    def _leader(self) -> NodeConfig:
        return self._cluster.cluster.nodes[self._cluster.wait_for_leader()]

    def _memory_kib(self, name: str) -> int:
        status = Path(f"/proc/{self._cluster.processes[name].pid}/status").read_text()
        return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS"))


def main(argv: Sequence[str] | None = None) -> int:
    """Measure and print; return the exit code."""
    options = _options(argv)
    stop_in_order()
    rows: dict[str, tuple[list[float], list[float]]] = {}
    with tempfile.TemporaryDirectory(prefix="atm-bench-tls-") as folder, ExitStack() as running:
        plain = _started(running, Path(folder) / "plain", lambda path: write_cluster_ini(path, NODES))
        tls = _started(running, Path(folder) / "tls", lambda path: write_tls_ini(path, Authority(), NODES))
        for number in range(options.rounds):
            say(f"round {number + 1} of {options.rounds}")
            for bank in (plain, tls) if number % 2 else (tls, plain):
                for label, figure in _figures(bank, options.connections, options.seconds):
                    rows.setdefault(label, ([], []))[bank is tls].append(figure)
    print(tabulate(_table(rows), headers=["", "plain", "TLS", "TLS / plain", "lowest - highest"]))
    return 0


def _started(running: ExitStack, folder: Path, write: Callable[[Path], Path]) -> Bank:
    folder.mkdir()
    cluster = running.enter_context(LocalCluster(write(folder)))
    cluster.start_all()
    cluster.wait_for_leader()
    return Bank(cluster)


def _figures(bank: Bank, connections: Iterable[int], seconds: float) -> Iterable[tuple[str, float]]:
    for kind in ("credits", "queries"):
        for count in connections:
            work = Work(kind, count, queries_in_10=10 if kind == "queries" else 0)
            result = bank.measure(work, seconds)
            yield f"{kind}/s, {count} connections", result.per_second
            yield f"{kind}, {count} connections, p50 ms", result.percentile_ms(0.5)
            yield f"{kind}, {count} connections, p99 ms", result.percentile_ms(0.99)
    yield "connections made/s, by one client", bank.connections_per_s()
    yield "KiB a connection, at the leader", bank.kib_a_connection()


def _table(rows: dict[str, tuple[list[float], list[float]]]) -> list[list[str]]:
    table = []
    for label, (plain, tls) in rows.items():
        ratios = [b / a for a, b in zip(plain, tls, strict=True) if a > 0]
        spread = f"{min(ratios):.2f} - {max(ratios):.2f}" if ratios else ""
        ratio = f"{statistics.median(ratios):.2f}" if ratios else ""
        table.append(
            [label, f"{statistics.median(plain):,.2f}", f"{statistics.median(tls):,.2f}", ratio, spread]
        )
    return table


def _options(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.tls", description=__doc__)
    parser.add_argument("--rounds", type=positive(int), default=ROUNDS, help="default: %(default)s")
    parser.add_argument(
        "--seconds", type=positive(float), default=SECONDS, help="of each rate; default: %(default)g"
    )
    parser.add_argument(
        "--connections", type=positive(int), nargs="+", default=CONNECTIONS, help="default: 1 64 256"
    )
    return parser.parse_args(argv)


if __name__ == "__main__":
    sys.exit(main())
