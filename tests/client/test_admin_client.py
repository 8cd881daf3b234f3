"""What an administrator's client says when nobody takes its request."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from atm.client import Unavailable
from atm.client.admin_client import AdminClient
from atm.config import load
from atm.wire.client_messages import TransferLeadership
from tests.support.fake_cluster import FakeCluster

SHORT_S = 0.3
WHY = "too many connections: try another node"
REQUESTS: list[Callable[[AdminClient], object]] = [
    lambda admin: admin.members(),
    lambda admin: admin.change(TransferLeadership(id="t")),
    lambda admin: admin.take_snapshot("5000", SHORT_S),
]


@pytest.mark.parametrize("ask", REQUESTS, ids=["members", "change", "snapshot"])
def test_it_tells_why_a_bank_that_is_there_takes_nothing(
    cluster: FakeCluster, ask: Callable[[AdminClient], object]
) -> None:
    """On the tree before, it said that no majority of servers answered."""
    first, *others = cluster.nodes.values()
    first.always = first.fault("busy", id="", message=WHY)
    for node in others:
        node.stop()
    with pytest.raises(Unavailable) as caught:
        ask(AdminClient(load(cluster.config), SHORT_S))
    assert str(caught.value) == f"The bank is not available: {WHY}"


@pytest.mark.parametrize("ask", REQUESTS[:2], ids=["members", "change"])
def test_if_nobody_said_why_no_majority_answered(
    cluster: FakeCluster, ask: Callable[[AdminClient], object]
) -> None:
    for node in cluster.nodes.values():
        node.always = node.fault("unavailable", message="no leader is known")
    with pytest.raises(Unavailable) as caught:
        ask(AdminClient(load(cluster.config), SHORT_S))
    assert str(caught.value) == "The bank is not available: no majority of servers answered"


def test_a_leader_that_takes_nothing_now_is_not_asked_again_without_a_pause(
    cluster: FakeCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("random.random", lambda: 0.0)  # it is asked first
    first, *others = cluster.nodes.values()
    first.always = first.fault("busy", message="a change is under way", leader=first.name)
    for node in others:
        node.stop()
    with pytest.raises(Unavailable, match="a change is under way"):
        AdminClient(load(cluster.config), SHORT_S).change(TransferLeadership(id="t"))
    assert len(first.requests) < 20
