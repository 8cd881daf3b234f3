"""What an `AsyncClient` has besides what it shares with `Client`: tasks, and their cancellation."""

from __future__ import annotations

import asyncio
import socket

import pytest

from atm.client import AsyncClient, ClientClosed, Credit, OutcomeUnknown
from atm.client.async_sender import UNDER_WAY_MAX
from atm.client.connection import Pool, ServerConnection
from atm.config import NodeConfig
from tests.support.both_clients import in_loop, until
from tests.support.fake_cluster import FakeCluster
from tests.support.fake_node import FakeNode, Map, Step


@in_loop
async def test_tasks_ask_at_the_same_time(cluster: FakeCluster) -> None:
    async with AsyncClient(cluster.config) as client:
        receipts = await asyncio.gather(*(client.credit("main", 1) for _ in range(200)))
        assert {receipt.check().outcome for receipt in receipts} == {"ok"}
        assert (await client.query("main")).check().balance == 200


@in_loop
async def test_a_request_does_not_hold_up_other_tasks(cluster: FakeCluster) -> None:
    cluster["5000"].always = cluster["5000"].silence
    async with AsyncClient(cluster.config, "5000", timeout=30) as client:
        asking = asyncio.create_task(client.credit("main", 1))
        await until(lambda: cluster["5000"].requests)
        assert not asking.done()
        asking.cancel()


@in_loop
async def test_no_more_requests_are_under_way_than_a_bank_takes_of_one_client(
    cluster: FakeCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    in_use: list[int] = []
    original = Pool.take

    def take(pool: Pool, connection: ServerConnection) -> ServerConnection:
        taken = original(pool, connection)
        in_use.append(len(pool._in_use))
        return taken

    monkeypatch.setattr(Pool, "take", take)
    async with AsyncClient(cluster.config, timeout=60) as client:
        await asyncio.gather(*(client.credit("main", 1) for _ in range(3 * UNDER_WAY_MAX)))
    assert max(in_use) <= UNDER_WAY_MAX


def done_and_silent(node: FakeNode) -> Step:
    """Carry a request out, and never say so."""

    def step(request: Map) -> None:
        node.apply_and_close(request)
        node.silence(request)

    return step


# -- cancellation ---------------------------------------------------------------------------------


@in_loop
async def test_a_task_that_is_cancelled_while_it_waits_leaves_the_outcome_unknown(
    cluster: FakeCluster,
) -> None:
    told: list[str] = []
    node = cluster["5000"]
    node.script.append(done_and_silent(node))
    async with AsyncClient(cluster.config, "5000", on_unknown=told.append) as client:
        asking = asyncio.create_task(client.credit("main", 5, request_id="c"))
        await until(lambda: node.requests)
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
        assert told == ["c"]
        assert (await client.credit("main", 5, request_id="c")).check().balance == 5
        assert (await client.query("main")).check().balance == 5
    assert told == ["c"]


@in_loop
async def test_what_is_cancelled_before_it_was_sent_is_not_called_unknown(cluster: FakeCluster) -> None:
    told: list[str] = []
    for node in cluster.nodes.values():
        node.always = node.fault("unavailable")
    async with AsyncClient(cluster.config, on_unknown=told.append, timeout=30) as client:
        for make in (lambda: client.credit("main", 5), lambda: client.query("main")):
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(make(), 0.1)
        cancelled_at_once = asyncio.create_task(client.credit("main", 5))
        cancelled_at_once.cancel()
        with pytest.raises(asyncio.CancelledError):
            await cancelled_at_once
    assert set(told) <= {request["id"] for node in cluster.nodes.values() for request in node.requests}


@in_loop
async def test_a_cancelled_query_is_never_unknown(cluster: FakeCluster) -> None:
    told: list[str] = []
    cluster["5000"].always = cluster["5000"].silence
    async with AsyncClient(cluster.config, "5000", on_unknown=told.append) as client:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(client.query("main"), 0.1)
    assert told == []


@in_loop
async def test_of_a_cancelled_submit_each_that_was_sent_is_unknown(cluster: FakeCluster) -> None:
    told: list[str] = []
    node = cluster["5000"]
    node.script.append(node.answer)
    node.always = node.silence
    async with AsyncClient(cluster.config, "5000", on_unknown=told.append) as client:
        commands = [Credit(id=f"s{i}", account="main", amount=1) for i in range(5)]
        asking = asyncio.create_task(client.submit(commands))
        await until(lambda: node.requests)
        await until(lambda: len(node.requests) > 1)
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
        node.always = None
        node.released.set()
        assert set(told) >= {"s1", "s2", "s3", "s4"}
        receipts = await client.submit(commands)
        assert [receipt.outcome for receipt in receipts] == ["ok"] * 5
        assert (await client.query("main")).check().balance == 5


@in_loop
async def test_a_connection_that_is_made_after_its_task_was_cancelled_is_closed(
    cluster: FakeCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[ServerConnection] = []
    loop, dialling, go_on = asyncio.get_running_loop(), asyncio.Event(), asyncio.Event()
    original = Pool.connect

    def connect(pool: Pool, node: NodeConfig, until: float) -> ServerConnection:
        loop.call_soon_threadsafe(dialling.set)
        asyncio.run_coroutine_threadsafe(go_on.wait(), loop).result()
        made.append(original(pool, node, until + 30))
        return made[0]

    monkeypatch.setattr(Pool, "connect", connect)
    async with AsyncClient(cluster.config) as client:
        asking = asyncio.create_task(client.query("main"))
        await dialling.wait()
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
        go_on.set()
        await until(lambda: made and made[0].socket.fileno() == -1)
    assert cluster.requests() == 0


# -- the end --------------------------------------------------------------------------------------


@in_loop
async def test_closing_ends_a_request_of_another_task(cluster: FakeCluster) -> None:
    cluster["5000"].script.append(cluster["5000"].silence)
    client = AsyncClient(cluster.config, "5000", timeout=30)
    asking = asyncio.create_task(client.credit("main", 1))
    await until(lambda: cluster["5000"].requests)
    await client.close()
    async with asyncio.timeout(5):
        with pytest.raises(OutcomeUnknown):
            await asking
    with pytest.raises(ClientClosed):
        await client.query("main")
    with pytest.raises(ClientClosed):
        await client.status()
    await client.close()


@in_loop
async def test_a_send_that_may_have_been_whole_when_its_time_was_up_is_not_called_not_sent(
    cluster: FakeCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A time-out can come between the last byte and the moment when its task hears of it."""
    told: list[str] = []
    loop = asyncio.get_running_loop()
    original = loop.sock_sendall

    async def sent_and_late(sock: socket.socket, data: bytes) -> None:
        await original(sock, data)
        raise TimeoutError("timed out")

    async with AsyncClient(cluster.config, "5000", on_unknown=told.append, timeout=0.3) as client:
        monkeypatch.setattr(loop, "sock_sendall", sent_and_late)
        with pytest.raises(OutcomeUnknown):
            await client.credit("main", 1, request_id="late")
    assert told == ["late"]
