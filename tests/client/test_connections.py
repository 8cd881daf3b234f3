"""The client's connections: malformed answers, many threads, and closing during a request."""

from __future__ import annotations

import threading
import time
from typing import Any

import pytest

from atm.client import (
    Client,
    ClientClosed,
    Interrupted,
    OutcomeUnknown,
)
from atm.client.connection import Pool, ServerConnection
from atm.config import Address, NodeConfig
from atm.wire.client_messages import ClientReply, decode_client_reply
from atm.wire.codec import Malformed, encode
from tests.support.both_clients import Connect
from tests.support.fake_cluster import FakeCluster
from tests.support.running import wait_until

SHORT_S = 0.3


def server(cluster: FakeCluster) -> NodeConfig:
    address = Address("127.0.0.1", cluster["5000"].port)
    return NodeConfig("5000", address, address)


# -- servers that talk nonsense -------------------------------------------------------------------


def nonsense(cluster: FakeCluster) -> dict[str, Any]:
    node = cluster["5000"]
    return {
        "random bytes": node.raw(b"\x00\x00\x00\x04\xff\xfe\xfd\xfc"),
        "HTTP": node.raw(b"HTTP/1.1 400 Bad Request\r\n\r\n"),
        "a frame of 4 GiB": node.raw(b"\xff\xff\xff\xff" + b"x" * 1000),
        "an empty frame": node.raw(b"\x00\x00\x00\x00"),
        "another id": node.map(id="other", outcome="ok", balance=1),
        "an outcome that there is not": node.map(outcome="perhaps"),
        "ok without a balance": node.map(outcome="ok"),
        "two answers at once": lambda request: 2 * node.answer(request),
        "a balance in words": node.map(outcome="ok", balance="five"),
        "a status": node.map(
            outcome="ok", node="5000", role="leader", term=1, leader=None,
            commit_index=1, applied_index=1, last_index=1, matched={},
        ),
    }  # fmt: skip


NONSENSE = [
    "random bytes",
    "HTTP",
    "a frame of 4 GiB",
    "an empty frame",
    "another id",
    "two answers at once",
    "an outcome that there is not",
    "ok without a balance",
    "a balance in words",
    "a status",
]


@pytest.mark.parametrize("kind", NONSENSE)
def test_a_malformed_answer_counts_as_a_broken_connection(
    cluster: FakeCluster, kind: str, connect: Connect
) -> None:
    unknown: list[str] = []
    cluster["5000"].always = nonsense(cluster)[kind]
    with connect(cluster.config, "5000", on_unknown=unknown.append) as client:
        assert client.credit("main", 3, request_id="n").balance == 3
    assert unknown == ["n"]
    assert len(cluster["5000"].requests) == 1


def test_an_error_without_an_id_is_about_the_connection(cluster: FakeCluster, connect: Connect) -> None:
    unknown: list[str] = []
    cluster["5000"].always = cluster["5000"].map(id="", outcome="busy")
    with connect(cluster.config, "5000", on_unknown=unknown.append) as client:
        assert client.credit("main", 3).outcome == "ok"
    assert unknown == []


def test_an_undecodable_answer_is_malformed() -> None:
    answers: list[object] = [[], 5, {}, {"id": "x"}, {"outcome": "ok"}, {"id": 1, "outcome": "busy"}]
    for answer in answers:
        with pytest.raises(Malformed):
            decode_client_reply(encode(answer))


# -- threads and ends -----------------------------------------------------------------------------


def test_a_slow_answer_does_not_hold_up_another_thread(cluster: FakeCluster, connect: Connect) -> None:
    cluster["5000"].script.append(cluster["5000"].silence)
    with connect(cluster.config, "5000") as client:
        slow = threading.Thread(target=client.query, args=("main",))
        slow.start()
        wait_until(lambda: len(cluster["5000"].requests) == 1)
        started = time.monotonic()
        assert client.credit("main", 1).outcome == "ok"
        assert time.monotonic() - started < 0.5
        cluster["5000"].released.set()
        slow.join()


def test_many_threads_get_each_their_own_receipt(cluster: FakeCluster, connect: Connect) -> None:
    wrong: list[str] = []

    def work(name: str) -> None:
        for i in range(50):
            request_id = f"{name}-{i}"
            if client.credit("main", 1, request_id=request_id).request_id != request_id:
                wrong.append(request_id)

    with connect(cluster.config) as client:
        threads = [threading.Thread(target=work, args=(f"t{i}",)) for i in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert client.query("main").balance == 8 * 50
    assert wrong == []


def test_a_closed_client_says_so_and_may_be_closed_again(cluster: FakeCluster) -> None:
    client = Client(cluster.config)
    client.credit("main", 1)
    client.close()
    client.close()
    with pytest.raises(ClientClosed, match="make a new one"):
        client.query("main")
    with pytest.raises(ClientClosed):
        client.status()
    assert cluster.requests() == 1


def test_a_connection_that_is_made_while_the_client_closes_is_closed(
    cluster: FakeCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    pool, made = Pool(), list[ServerConnection]()

    def late(pair: tuple[str, int], until: float) -> ServerConnection:
        made.append(ServerConnection(pair, until))
        pool.close()
        return made[0]

    monkeypatch.setattr("atm.client.connection.ServerConnection", late)
    with pytest.raises(ClientClosed):
        pool.acquire(server(cluster), time.monotonic() + 5)
    assert not made[0].is_idle()
    assert made[0].socket.fileno() == -1


def test_closing_ends_a_request_that_is_under_way(cluster: FakeCluster) -> None:
    ends: list[BaseException] = []

    def work() -> None:
        try:
            client.credit("main", 1)
        except OutcomeUnknown as end:
            ends.append(end)

    cluster["5000"].script.append(cluster["5000"].silence)
    client = Client(cluster.config, "5000", timeout=30)
    thread = threading.Thread(target=work)
    thread.start()
    wait_until(lambda: len(cluster["5000"].requests) == 1)
    client.close()
    thread.join(0.5)
    assert not thread.is_alive()
    assert len(ends) == 1


def test_an_interrupt_says_whether_the_request_may_be_done(
    cluster: FakeCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    with Client(cluster.config) as client:
        with monkeypatch.context() as patch:
            patch.setattr(ServerConnection, "receive", interrupt)
            with pytest.raises(Interrupted) as caught:
                client.credit("main", 1, request_id="i")
            assert caught.value.may_be_done
            with pytest.raises(Interrupted) as caught:
                client.query("main")
            assert not caught.value.may_be_done
        monkeypatch.setattr(ServerConnection, "__init__", interrupt)
        with pytest.raises(Interrupted) as caught:
            client.credit("main", 1, request_id="i")
        assert not caught.value.may_be_done


def test_an_interrupt_between_two_tries_says_that_a_refused_request_is_not_done(
    cluster: FakeCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    for node in cluster.nodes.values():
        node.always = node.fault("unavailable")
    monkeypatch.setattr("atm.client.attempt.random.uniform", interrupt)  # in the pause
    with Client(cluster.config) as client, pytest.raises(Interrupted) as caught:
        client.credit("main", 1)
    assert not caught.value.may_be_done


def test_a_connection_is_not_used_again_after_a_refusal_of_all_of_it(
    cluster: FakeCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    used: list[ServerConnection] = []
    original = ServerConnection.exchange

    def exchange(connection: ServerConnection, payload: bytes, request_id: str, until: float) -> ClientReply:
        used.append(connection)
        return original(connection, payload, request_id, until)

    monkeypatch.setattr(ServerConnection, "exchange", exchange)
    for node in cluster.nodes.values():
        node.script.append(node.map(id="", outcome="busy"))
    with Client(cluster.config) as client:
        assert client.credit("main", 3).outcome == "ok"
    assert len(used) == len(set(used)) == 4


def test_idle_connections_are_bounded_and_the_others_are_closed(
    cluster: FakeCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("atm.client.connection.IDLE_CONNECTIONS_MAX", 1)
    pool, node = Pool(), server(cluster)
    connections = [pool.acquire(node, time.monotonic() + 5) for _ in range(2)]
    for connection in connections:
        pool.release(connection)
    assert [connection.socket.fileno() == -1 for connection in connections] == [False, True]
    assert pool._in_use == set()
    pool.close()
    assert connections[0].socket.fileno() == -1


def test_a_connection_that_is_released_after_the_close_is_closed(cluster: FakeCluster) -> None:
    pool = Pool()
    connection = pool.acquire(server(cluster), time.monotonic() + 5)
    pool.close()
    pool.release(connection)
    assert connection.socket.fileno() == -1
