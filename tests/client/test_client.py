"""The client against fake nodes: receipts, refusals before sending, and the status of all nodes."""

from __future__ import annotations

import time
from typing import Any

import pytest

from atm.client import (
    InvalidAccount,
    InvalidAmount,
    InvalidRequest,
    InvalidRequestId,
    UnknownNode,
    new_request_id,
)
from atm.client.receipt import ID_CHARACTERS
from atm.ledger.commands import AMOUNT_MINOR_MAX
from tests.support.both_clients import Connect
from tests.support.fake_cluster import FakeCluster

SHORT_S = 0.3


# -- receipts -------------------------------------------------------------------------------------


def test_a_receipt_has_the_decision(cluster: FakeCluster, connect: Connect) -> None:
    with connect(cluster.config) as client:
        assert client.open("alice").outcome == "ok"
        assert client.open("alice").outcome == "exists"
        receipt = client.credit("alice", 500_00, request_id="a-1")
        assert (receipt.outcome, receipt.request_id) == ("ok", "a-1")
        assert (receipt.balance, receipt.available) == (500_00, 500_00)
        assert receipt.log_index > 0
        assert receipt.time_us > 0
        assert client.debit("alice", 120_00).balance == 380_00
        assert client.debit("alice", 999_00).outcome == "insufficient_funds"
        assert client.credit("unknown", 1).outcome == "no_such_account"
        assert client.query("alice").balance == 380_00


def test_the_same_id_again_gets_the_same_receipt(cluster: FakeCluster, connect: Connect) -> None:
    with connect(cluster.config) as client:
        first = client.credit("main", 5, request_id="again")
        assert client.credit("main", 5, request_id="again") == first
        assert client.query("main").balance == 5


def test_request_ids_rise_with_time_and_are_never_the_same() -> None:
    ids = [new_request_id() for _ in range(1000)]
    assert len(set(ids)) == len(ids)
    assert all(len(i) == 20 and set(i) <= set(ID_CHARACTERS) for i in ids)
    times_ms = [milliseconds(i) for i in ids]
    assert times_ms == sorted(times_ms)
    assert abs(times_ms[0] / 1000 - time.time()) < 60


def milliseconds(request_id: str) -> int:
    """Return the time in an id that this client made."""
    number = 0
    for character in request_id:
        number = number * 32 + ID_CHARACTERS.index(character)
    return number >> 55


# -- refused before it is sent --------------------------------------------------------------------


@pytest.mark.parametrize("amount", [0, -1, True, 1.0, 1.5, "5", None, AMOUNT_MINOR_MAX + 1, 10**40])
def test_an_invalid_amount_is_refused_before_it_is_sent(
    cluster: FakeCluster, amount: Any, connect: Connect
) -> None:
    with connect(cluster.config) as client:
        for operation in (client.credit, client.debit):
            with pytest.raises(InvalidAmount, match="whole number of minor units"):
                operation("main", amount)
    assert cluster.requests() == 0


@pytest.mark.parametrize("account", ["", "a b", "a" * 65, "-a", "a\n", "\x1b[31m", "ä", 5, None, "\ud800"])
def test_a_wrong_account_name_is_refused_before_it_is_sent(
    cluster: FakeCluster, account: Any, connect: Connect
) -> None:
    with connect(cluster.config) as client:
        for operation in (client.open, client.query):
            with pytest.raises(InvalidAccount, match="1 to 64 letters"):
                operation(account)
    assert cluster.requests() == 0


@pytest.mark.parametrize("request_id", ["", "a b", "x" * 65, "\n", 7])
def test_a_wrong_request_id_is_refused_before_it_is_sent(
    cluster: FakeCluster, request_id: Any, connect: Connect
) -> None:
    with connect(cluster.config) as client, pytest.raises(InvalidRequestId):
        client.credit("main", 1, request_id=request_id)
    assert cluster.requests() == 0


def test_the_largest_amount_is_sent(cluster: FakeCluster, connect: Connect) -> None:
    with connect(cluster.config) as client:
        assert client.credit("main", AMOUNT_MINOR_MAX).balance == AMOUNT_MINOR_MAX


@pytest.mark.parametrize("timeout", [0, -1, float("nan"), float("inf")])
def test_a_timeout_is_a_number_of_seconds(cluster: FakeCluster, timeout: float, connect: Connect) -> None:
    with pytest.raises(ValueError, match="number of seconds"):
        connect(cluster.config, timeout=timeout)


def test_an_unknown_node_is_named_with_the_known_ones(cluster: FakeCluster, connect: Connect) -> None:
    with pytest.raises(UnknownNode, match="no node 5009: the nodes are 5000, 5001, 5002"):
        connect(cluster.config, "5009")


# -- status ---------------------------------------------------------------------------------------


def test_the_status_has_every_node_in_the_files_order(cluster: FakeCluster, connect: Connect) -> None:
    for node in cluster.nodes.values():
        node.leader = "5001"
    cluster["5002"].stop()
    with connect(cluster.config) as client:
        first, second, third = client.status()
    assert (first.node, first.role, first.lag) == ("5000", "follower", 2)
    assert (second.node, second.role, second.lag, second.term) == ("5001", "leader", 0, 3)
    assert (third.node, third.role, third.lag, third.term) == ("5002", "down", None, None)


def test_a_node_that_does_not_answer_or_is_another_counts_as_down(
    cluster: FakeCluster, monkeypatch: pytest.MonkeyPatch, connect: Connect
) -> None:
    monkeypatch.setattr("atm.client.node_status.STATUS_TIMEOUT_S", 0.2)
    cluster["5000"].always = cluster["5000"].silence
    cluster["5001"].name = "impostor"
    cluster["5002"].always = cluster["5002"].raw(b"nonsense")
    with connect(cluster.config) as client:
        assert [status.role for status in client.status()] == ["down"] * 3


# -- gateways -------------------------------------------------------------------------------------


def test_a_gateways_requests_say_for_whom_they_are(cluster: FakeCluster, connect: Connect) -> None:
    with connect(cluster.config, end_user="eve") as client:
        client.credit("main", 5, request_id="a")
        client.on_behalf_of("bob").credit("main", 5, request_id="b")
        client.query("main", request_id="c")
    asked = [request for node in cluster.nodes.values() for request in node.requests]
    assert {request["id"]: request["end_user"] for request in asked} == {"a": "eve", "b": "bob", "c": "eve"}


@pytest.mark.parametrize("name", ["", "-eve", "e" * 32, "eve/ann"])
def test_a_wrong_name_of_an_end_user_is_refused_before_anything_is_sent(
    cluster: FakeCluster, name: str, connect: Connect
) -> None:
    with connect(cluster.config) as client, pytest.raises(InvalidRequest, match="An end user's name is"):
        client.on_behalf_of(name).credit("main", 5)
    assert cluster.requests() == 0
