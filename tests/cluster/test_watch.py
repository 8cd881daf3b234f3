"""The feed of postings of five real servers: no gap and no repetition, whoever is killed meanwhile."""

from __future__ import annotations

from itertools import cycle
from threading import Thread

import pytest

from atm.client import Client, Posted
from atm.local_cluster import LocalCluster
from tests.support.both_clients import Awaited, Connect
from tests.support.ledgers import right_ledger

CREDITS = 300
PATIENT_S = 60.0


@pytest.mark.parametrize("connect", [Client, Awaited], ids=["threads", "asyncio"])
def test_a_feed_has_every_posting_once_in_order_over_deaths_of_its_node_and_of_the_leader(
    cluster: LocalCluster, connect: Connect
) -> None:
    def pay() -> None:
        with Client(cluster.cluster, timeout=PATIENT_S) as teller:
            for number in range(CREDITS):
                teller.credit("main", 1 + number, request_id=f"c{number}").check()

    paying = Thread(target=pay)
    paying.start()
    seen: list[Posted] = []
    nodes = cycle(cluster.cluster.nodes)
    while len(seen) < CREDITS:
        node = next(nodes)
        with connect(cluster.cluster, node, timeout=PATIENT_S) as client:
            feed = client.watch(after=seen[-1] if seen else None)
            seen += [next(feed) for _ in range(10)]
            cluster.kill(node)
            seen += [next(feed) for _ in range(min(50, CREDITS - len(seen)))]
            cluster.start(node)
        leader = cluster.wait_for_leader()
        if len(seen) == 120:
            cluster.kill(leader)
            cluster.start(leader)
    paying.join()
    journal = sorted(right_ledger(cluster)["journal"], key=lambda row: row.posting)
    assert [posted.posting for posted in seen] == [row.posting for row in journal]
    assert [posted.hash for posted in seen] == [bytes(row.hash).hex() for row in journal]
    assert sorted(posted.request_id for posted in seen) == sorted(f"c{number}" for number in range(CREDITS))
    assert len({posted.cluster for posted in seen}) == 1
