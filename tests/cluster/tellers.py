"""A teller at every node, so that a story can take place at several of them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from atm.client import Client
from atm.local_cluster import LocalCluster


@contextmanager
def tellers(cluster: LocalCluster) -> Iterator[dict[str, Client]]:
    """Yield a client at each running node, by the node's name; it stays there while the node answers."""
    with ExitStack() as stack:
        yield {
            name: stack.enter_context(Client(cluster.cluster, node=name, timeout=15.0))
            for name in cluster.running()
        }
