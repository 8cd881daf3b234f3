"""Fake nodes with a `cluster.ini` that names them."""

from __future__ import annotations

from pathlib import Path

from tests.support.fake_node import FakeBank, FakeNode


class FakeCluster:
    """Several fake nodes before one fake bank."""

    def __init__(self, folder: Path, size: int) -> None:
        self.bank = FakeBank()
        self.nodes = {name: FakeNode(name, self.bank) for name in (str(5000 + i) for i in range(size))}
        self.config = folder / "cluster.ini"
        self.config.write_text(
            "[cluster]\n"
            + "".join(
                f"[node {node.name}]\nclient = 127.0.0.1:{node.port}\npeer = 127.0.0.1:{1000 + i}\n"
                for i, node in enumerate(self.nodes.values())
            )
        )

    def __getitem__(self, name: str) -> FakeNode:
        return self.nodes[name]

    def follow(self, leader: str) -> None:
        """Let all nodes name this leader."""
        for node in self.nodes.values():
            node.leader = leader

    def requests(self) -> int:
        """Return how many requests came in, at all nodes together."""
        return sum(len(node.requests) for node in self.nodes.values())

    def stop(self) -> None:
        for node in self.nodes.values():
            node.stop()
