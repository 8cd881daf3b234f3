"""Whatever a false server replies, the teller says a line that can be printed and goes on.

Trial M7: release 1.1.0 (e233312) ended with a traceback (`JSONDecodeError`) when the reply to a lookup had
the details "{"; also when a page had no list, a query no balance, or a posting a time that no calendar has.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import msgspec
import pytest

from atm.client import connection
from atm.client.connection import ServerConnection
from tests.support.fake_cluster import FakeCluster
from tests.support.fake_node import Map
from tests.support.running import Run
from tests.teller.ledger_bank import LedgerBank

NASTY: list[Any] = [
    None, "", "{", "\x1b[2J\n\r\u202e", "x" * 5000, True, -1, 2**63 - 1, 2**64 - 1, 1e308,
    float("nan"), [], [None], {}, {"a": {"b": []}},
]  # fmt: skip
COMMANDS = {
    "query": ["query"],
    "statement": ["statement 1", "more"],
    "exceptions": ["exceptions 1", "more"],
    "accounts": ["accounts 1", "more"],
    "lookup": ["receipt given-id"],
    "status": ["status"],
    "credit": ["credit 5"],
    "transfer": ["transfer bob 1"],
}
BEFORE: list[Map] = [
    {"op": "credit", "id": "c1", "account": "main", "amount": 10_000},
    {"op": "open", "id": "o1", "account": "bob"},
    {"op": "transfer", "id": "given-id", "account": "main", "target": "bob", "amount": 500},
    {"op": "write_off", "id": "w1", "account": "bob", "amount": 1},
    {"op": "write_off", "id": "w2", "account": "bob", "amount": 1},
]
OTHER_REPLIES: list[Map] = [
    {"balance": 1, "available": 1},
    {"lines": [], "next": None},
    {"accounts": [], "next": "x"},
    {"asked": {"op": "credit", "account": "main", "amount": 1}, "time_us": 1},
    {"members": [], "index": 1},
    {"index": 1, "message": ""},
    {"node": "5000"},
    {"findings": {}},
    {},
]
MISSING = object()


class FalseServers:
    """Between the teller and the fake nodes: one reply to `op` is changed, the next ones are as they were."""

    def __init__(self, cluster: FakeCluster, op: str) -> None:
        self._nodes = {node.port: node for node in cluster.nodes.values()}
        self._op = op
        self.honest: Map = {}
        self.change: Callable[[Map], Map] | None = None

    def reply(self, port: int, payload: bytes) -> bytes:
        request = msgspec.msgpack.decode(payload)
        node = self._nodes[port]
        answer = msgspec.msgpack.decode(node.answer(request)[4:])
        if request["op"] == self._op:
            self.honest = answer
            if self.change is not None:
                answer, self.change = self.change(copy.deepcopy(answer)), None
        return msgspec.msgpack.encode(answer)


def changed(path: tuple[Any, ...], value: object, answer: Map) -> Map:
    place: Any = answer
    for step in path[:-1]:
        place = place[step]
    if value is MISSING:
        del place[path[-1]]
    else:
        place[path[-1]] = value
    return answer


def other(reply: Map, answer: Map) -> Map:
    """Return a reply to another request, under this one's id."""
    return {"id": answer["id"], "outcome": "ok"} | reply


def places(answer: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yield the way to each field of a reply; of a list, to those of its first element."""
    inside = answer.items() if isinstance(answer, dict) else list(enumerate(answer))[:1]
    for key, value in inside:
        yield (*path, key)
        if isinstance(value, dict | list):
            yield from places(value, (*path, key))


@pytest.fixture
def no_sockets(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let connections be none, so that thousands of replies take seconds."""
    monkeypatch.setattr("atm.client.attempt.PAUSE_S", (0.0, 0.0))
    monkeypatch.setattr("atm.client.node_status.CONFIRMED_WITHIN_S", 0.0)
    monkeypatch.setattr(
        ServerConnection, "__init__", lambda self, pair, *_, **__: setattr(self, "place", pair)
    )
    for name in ("is_idle", "shut_down", "close"):
        monkeypatch.setattr(ServerConnection, name, lambda _: True)


@pytest.mark.usefixtures("no_sockets")
@pytest.mark.parametrize("op", COMMANDS)
def test_no_field_of_a_reply_ends_the_teller_with_a_traceback(
    run: Run, cluster: FakeCluster, bank: LedgerBank, monkeypatch: pytest.MonkeyPatch, op: str
) -> None:
    cluster.follow("5001")
    servers = FalseServers(cluster, op)

    def exchange_payload(self: ServerConnection, payload: bytes, _until: float) -> bytes:
        return servers.reply(self.place[1], payload)

    monkeypatch.setattr(connection.ServerConnection, "exchange_payload", exchange_payload)
    for request in BEFORE:
        bank.decide(request)
    words = [word for command in COMMANDS[op] for word in ("-c", command)]
    assert run("--operator", *words).code == 0
    honest = servers.honest
    assert honest
    changes = [partial(changed, path, value) for path in places(honest) for value in (*NASTY, MISSING)]
    changes += [partial(other, reply) for reply in OTHER_REPLIES]
    for change in changes:
        for as_json in ([], ["--json"]):
            servers.change = change
            ran = run("--operator", *as_json, *words)
            said = "".join((*ran.out, *ran.err))
            assert ran.code in range(6), change
            assert said, change
            assert said.isprintable(), (change, said)
            assert "Traceback" not in said, (change, said)


def test_the_details_of_a_lookup_that_are_no_json_are_taken_for_no_reply(
    run: Run, cluster: FakeCluster, bank: LedgerBank
) -> None:
    """As trial M7 sent it, over a real connection; an honest server is asked next."""
    cluster.follow("5001")
    for request in BEFORE:
        bank.decide(request)
    for node in cluster.nodes.values():
        node.script.append(
            node.map(
                outcome="ok",
                balance=1,
                available=1,
                asked={"op": "transfer", "account": "main", "details": "{"},
            )
        )
    ran = run("5000", "--operator", "-c", "receipt given-id", timeout_s=5)
    assert ran.code in (0, 3)
    assert "Traceback" not in "".join(ran.err)
