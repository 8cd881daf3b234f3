"""Strangers at the servers' port: they keep no server out (H5), not even with few descriptors left (M4)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from atm.client import Client
from atm.local_cluster import LocalCluster, write_cluster_ini
from tests.attacks.strangers import strangers

ELECTED_S = 40.0  # far more than it takes on a busy machine; a server that is kept out never comes


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[LocalCluster]:
    with LocalCluster(write_cluster_ini(tmp_path, 3)) as local:
        local.start_all()
        local.wait_for_leader()
        yield local


def peer_ports(cluster: LocalCluster) -> list[int]:
    return [node.peer.port for node in cluster.cluster.nodes.values()]


@pytest.mark.parametrize("said", [0, 2])  # the kernel keeps who says nothing at all to itself
def test_silent_strangers_keep_out_neither_a_restarted_follower_nor_a_killed_leader(
    cluster: LocalCluster, said: int
) -> None:
    flood = strangers(80, peer_ports(cluster), said=said)
    with flood, Client(cluster.cluster.path, timeout=ELECTED_S) as client:
        leader = cluster.wait_for_leader()
        follower = next(name for name in cluster.running() if name != leader)
        cluster.kill(follower)
        assert client.credit("main", 5).outcome == "ok"
        cluster.start(follower)
        cluster.kill(leader)  # the other two are all there is: the bank needs the follower
        found = cluster.wait_for_leader(ELECTED_S)
        assert found != leader
        assert client.credit("main", 7).balance == 12
        cluster.start(leader)
        cluster.kill(found)
        assert cluster.wait_for_leader(ELECTED_S) != found
        assert client.query("main").balance == 12


class FewDescriptors(LocalCluster):
    """Its nodes may have 64 files and sockets open."""

    def command(self, name: str) -> list[str]:
        return ["sh", "-c", 'ulimit -n 64 && exec "$@"', "sh", *super().command(name)]


def test_strangers_at_a_server_with_few_descriptors_keep_nobody_out(tmp_path: Path) -> None:
    with FewDescriptors(write_cluster_ini(tmp_path, 3)) as cluster:
        cluster.start_all()
        cluster.wait_for_leader()
        flood = strangers(70, peer_ports(cluster), said=2)
        with flood, Client(cluster.cluster.path, timeout=ELECTED_S) as client:
            leader = cluster.wait_for_leader()
            cluster.kill(leader)
            assert client.credit("main", 5).outcome == "ok"
            cluster.start(leader)
            assert cluster.wait_for_leader(ELECTED_S)
            assert client.query("main").balance == 5
            assert set(cluster.running()) == set(cluster.cluster.nodes), "none has ended"
