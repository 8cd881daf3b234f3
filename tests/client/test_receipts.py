"""What a receipt says, for programs and for mypy; and the iterators over pages."""

from __future__ import annotations

import json
from typing import Any, get_type_hints

import msgspec
import pytest

import atm.client
from atm.client import (
    Accepted,
    Balance,
    Client,
    ClientError,
    Done,
    InvalidAccount,
    Outcome,
    Refusal,
    Refused,
    StatementPage,
    Unavailable,
)
from atm.client.operations import Operations
from atm.client.receipt import kind_of
from tests.support.both_clients import Connect
from tests.support.fake_cluster import FakeCluster
from tests.support.fake_node import FakeNode, Map, Step

LINE = {
    "time_us": 5, "op": "credit", "request_id": "a",
    "account": "main", "other": "cash", "amount": 1, "balance": 1,
}  # fmt: skip


def test_a_receipt_says_whether_it_is_ok_and_is_of_a_kind_for_each(
    cluster: FakeCluster, connect: Connect
) -> None:
    with connect(cluster.config) as client:
        done = client.credit("main", 5)
        assert isinstance(done, Done)
        assert done.ok
        assert done.check() is done
        assert isinstance(client.query("main"), Balance)
        refused = client.debit("main", 6)
    assert isinstance(refused, Refusal)
    assert not refused.ok


def test_who_wants_an_exception_for_a_refusal_asks_for_one(cluster: FakeCluster, connect: Connect) -> None:
    with connect(cluster.config) as client:
        assert client.credit("main", 5).check().balance == 5
        told = "refused the request r, and no money was moved: insufficient_funds"
        with pytest.raises(Refused, match=told) as caught:
            client.debit("main", 6, request_id="r").check()
    assert (caught.value.outcome, caught.value.request_id) == (Outcome.INSUFFICIENT_FUNDS, "r")
    assert isinstance(caught.value, ClientError)


def test_a_receipt_is_printed_and_written_as_json_without_what_it_has_not(cluster: FakeCluster) -> None:
    with Client(cluster.config) as client:
        done = client.credit("main", 5, request_id="r")
        refused = client.credit("nobody", 5, request_id="s")
    assert "None" not in repr(done)
    assert repr(refused) == "Refusal(id='s', outcome=<Outcome.NO_SUCH_ACCOUNT: 'no_such_account'>)"
    fields = done.as_dict()
    assert fields == {
        "id": "r", "outcome": "ok", "balance": 5, "available": 5,
        "log_index": 1, "time_us": 1_700_000_000_000_000,
    }  # fmt: skip
    assert json.loads(json.dumps(fields)) == fields
    assert json.loads(msgspec.json.encode(done)) == fields
    assert msgspec.convert(fields, Done) == done


@pytest.mark.parametrize("account", [None, "", 5])
def test_closing_no_account_does_not_close_the_client(
    cluster: FakeCluster, connect: Connect, account: Any
) -> None:
    with connect(cluster.config) as client:
        with pytest.raises(InvalidAccount):
            client.close(account)
        assert client.query("main").ok


def test_each_operation_answers_as_its_request_is_answered() -> None:
    """The kind in the signature, which mypy believes, is the one that the reply is made into."""
    told = 0
    for name, found in vars(Operations).items():
        kind = getattr(found, "__annotations__", {}).get("return")
        if isinstance(kind, type) and issubclass(kind, Accepted):
            told += 1
            assert kind is kind_of(get_type_hints(found.__wrapped__)["return"]), name
    assert told > 25


def test_all_that_the_package_exports_is_there() -> None:
    for name in (
        "Outcome",
        "ConfigError",
        "Credit",
        "AccountState",
        "HoldState",
        "AdminClient",
        "AsyncClient",
    ):
        assert name in atm.client.__all__
    assert all(hasattr(atm.client, name) for name in atm.client.__all__)


def test_a_reply_that_lacks_what_was_asked_for_is_none(cluster: FakeCluster, connect: Connect) -> None:
    told: list[str] = []
    cluster["5000"].always = cluster["5000"].map(outcome="ok", balance=5, log_index=1)  # nothing `available`
    with connect(cluster.config, "5000", on_unknown=told.append) as client:
        assert client.credit("main", 5, request_id="r").check().available == 5
    assert told == ["r"]


def test_what_a_server_of_release_1_1_finds_under_an_id_is_taken(
    cluster: FakeCluster, connect: Connect
) -> None:
    for node in cluster.nodes.values():
        node.always = node.map(outcome="ok", balance=5, available=5, log_index=3, asked={"op": "credit"})
    with connect(cluster.config) as client:
        found = client.lookup("c1").check()
    assert (found.asked.op, found.actor, found.balance) == ("credit", None, 5)


# -- pages ----------------------------------------------------------------------------------------


def lines_in_pages(node: FakeNode, count: int) -> Step:
    """Answer for an account with so many postings, two to a page."""

    def answer(request: Map) -> bytes | None:
        before = request.get("before") or count
        numbers = range(before - 1, max(before - 3, -1), -1)
        page = [LINE | {"posting": number} for number in numbers]
        rest = {"next": numbers[-1]} if numbers and numbers[-1] > 0 else {}
        return node.map(outcome="ok", balance=1, available=1, lines=page, **rest)(request)

    return answer


@pytest.mark.parametrize("count", [0, 1, 2, 5])
def test_an_iterator_yields_the_lines_of_all_pages(
    cluster: FakeCluster, connect: Connect, count: int
) -> None:
    for node in cluster.nodes.values():
        node.always = lines_in_pages(node, count)
    with connect(cluster.config) as client:
        assert [line.posting for line in client.statement_lines("main")] == list(reversed(range(count)))
        page = client.statement("main").check()
    assert isinstance(page, StatementPage)
    asked = [request["id"] for node in cluster.nodes.values() for request in node.requests]
    assert len(set(asked)) == len(asked)


def test_an_iterator_asks_for_a_page_when_it_is_reached(cluster: FakeCluster, connect: Connect) -> None:
    for node in cluster.nodes.values():
        node.always = lines_in_pages(node, 100)
    with connect(cluster.config) as client:
        lines = client.statement_lines("main")
        assert [next(lines).posting for _ in range(3)] == [99, 98, 97]
        assert cluster.requests() == 2
        for node in cluster.nodes.values():
            node.always = node.fault("unavailable")
        assert next(lines).posting == 96


def test_an_iterator_raises_what_the_bank_refuses(cluster: FakeCluster, connect: Connect) -> None:
    for node in cluster.nodes.values():
        node.always = node.map(outcome="not_allowed")
    with connect(cluster.config) as client, pytest.raises(Refused, match="not_allowed"):
        list(client.all_accounts())
    for node in cluster.nodes.values():
        node.always = node.fault("unavailable")
    with connect(cluster.config, timeout=0.2) as client, pytest.raises(Unavailable):
        list(client.all_accounts())
