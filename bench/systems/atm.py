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

    def __init__(self, members: int = MEMBERS) -> None:
        super().__init__(members)
        self._cluster: LocalCluster | None = None

    @classmethod
    def missing(cls) -> str | None:
        return None

    @classmethod
    def version(cls) -> str:
        return metadata.version("atm-raft")

    def settings(self) -> str:
        return (
            f"{self.members} nodes with the defaults of cluster.ini; credits and transfers, synced on a "
            f"majority and booked in the ledger; bulk: batches of {self.legs} transfers, all or none; "
            "linearizable queries; at the leader"
        )

    def start(self, folder: Path) -> None:
        self._cluster = LocalCluster(write_cluster_ini(folder, self.members))
        self._cluster.start_all()
        self._leader()

    def stop(self) -> None:
        if self._cluster is not None:
            self._cluster.stop_all()

    def processes(self) -> list[int]:
        return [] if self._cluster is None else [each.pid for each in self._cluster.processes.values()]

    def connect(self) -> Callable[[], Connection]:
        return self._connect_to(self._leader())

    def fail_over(self) -> float:
        assert self._cluster is not None
        leader = self._leader()
        survivors = [self._connect_to(name) for name in self._cluster.cluster.nodes if name != leader]
        return outage_ms(survivors, partial(self._cluster.kill, leader))

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

    def _leader(self) -> str:
        """Return who leads now: on a busy machine it may be another than at the start."""
        assert self._cluster is not None
        try:
            return self._cluster.wait_for_leader(START_S)
        except NoLeader as error:
            raise NotStarted(str(error)) from error

    def _connect_to(self, node: str) -> Callable[[], Connection]:
        assert self._cluster is not None
        return partial(LoadConnection, self._cluster.cluster.nodes[node].client)
