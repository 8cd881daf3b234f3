"""Strangers and greedy clients at the clients' port: others are served meanwhile (H3)."""

from __future__ import annotations

from pathlib import Path

from atm.client import Client
from atm.client.node_status import ask_all
from atm.local_cluster import LocalCluster, write_cluster_ini
from tests.attacks.strangers import strangers

SILENT = 220  # more than a server has places for that may have 264 files and sockets open
SERVED_S = 30.0


class FewPlaces(LocalCluster):
    """Its nodes have room for some hundred clients, so that the attack is over soon."""

    def command(self, name: str) -> list[str]:
        return ["sh", "-c", 'ulimit -n 264 && exec "$@"', "sh", *super().command(name)]


def test_more_silent_connections_than_places_keep_nobody_out(tmp_path: Path) -> None:
    with FewPlaces(write_cluster_ini(tmp_path, 1)) as cluster:
        cluster.start_all()
        cluster.wait_for_leader()
        [node] = cluster.cluster.nodes.values()
        with strangers(SILENT, [node.client.port]):
            with Client(cluster.cluster.path, timeout=SERVED_S) as client:
                for number in range(20):
                    assert client.credit("main", 1).balance == number + 1
            assert ask_all(cluster.cluster).available
