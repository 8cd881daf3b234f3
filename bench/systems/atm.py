"""This project: five nodes as `bin/run` starts them."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from importlib import metadata
from pathlib import Path

from atm.client.admin_client import AdminClient
from atm.client.receipt import new_request_id
from atm.local_cluster import LocalCluster, NoLeader, write_cluster_ini
from atm.wire.client_messages import TransferLeadership
from bench.load import Connection
from bench.systems.load_connection import LoadConnection
from bench.systems.outage import outage_ms
from bench.systems.system import MEMBERS, START_S, NotStarted, Served


class Atm(Served):
    """Credits and queries over the tellers' port of the leader."""

    name = "atm"
    fails_over = True

    def __init__(self) -> None:
        self._cluster: LocalCluster | None = None
        self._leader = ""

    @classmethod
    def missing(cls) -> str | None:
        return None

    @classmethod
    def version(cls) -> str:
        return metadata.version("atm-raft")

    @classmethod
    def settings(cls) -> str:
        return (
            f"{MEMBERS} nodes with the defaults of cluster.ini; credits, synced on a majority and booked in "
            "the ledger; linearizable queries; at the leader"
        )

    def start(self, folder: Path) -> None:
        self._cluster = LocalCluster(write_cluster_ini(folder, MEMBERS))
        self._cluster.start_all()
        try:
            self._leader = self._cluster.wait_for_leader(START_S)
        except NoLeader as error:
            raise NotStarted(str(error)) from error

    def stop(self) -> None:
        if self._cluster is not None:
            self._cluster.stop_all()

    def connect(self) -> Callable[[], Connection]:
        return self._connect_to(self._leader)

    def fail_over(self) -> float:
        assert self._cluster is not None
        survivors = [self._connect_to(name) for name in self._cluster.cluster.nodes if name != self._leader]
        return outage_ms(survivors, partial(self._cluster.kill, self._leader))

    def connect_to_each(self) -> list[Callable[[], Connection]]:
        """Return how to connect to each server."""
        assert self._cluster is not None
        return [self._connect_to(name) for name in self._cluster.cluster.nodes]

    def change_leader(self) -> None:
        """Let the leader hand over to the best of the others; return when another one leads."""
        assert self._cluster is not None
        client = AdminClient(self._cluster.cluster, timeout_s=START_S)
        reply = client.change(TransferLeadership(id=new_request_id()))
        if reply.outcome != "ok":
            raise NotStarted(reply.message)

    def _connect_to(self, node: str) -> Callable[[], Connection]:
        assert self._cluster is not None
        return partial(LoadConnection, self._cluster.cluster.nodes[node].client)
