"""The stream of postings: gap-free, resumable, and one feed for all who watch."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
from collections.abc import AsyncIterator, Callable
from types import SimpleNamespace
from typing import Any
from urllib.parse import urlsplit

import msgspec
import pytest

from atm.client import Client
from atm.client.errors import NotAllowed
from atm.client.feed import Posted
from atm.client.receipt import JournalPage
from atm.ledger.commands import LEGS_MAX, JournalPosting, Outcome, Watch
from atm.web import events as events_module
from atm.web.events import Events, Place
from tests.web.asked import ask
from tests.web.streams import stream

NewAccount = Callable[..., str]


def test_a_stream_begins_now_and_goes_on_behind_its_last_event(
    url: str, client: Client, new_account: NewAccount
) -> None:
    account = new_account(1)
    with stream(url, f"?account={account}") as live:
        begun = live.mark()
        client.credit(account, 2).check()
        client.credit("main", 3).check()
        client.credit(account, 4).check()
        first = live.next()
        assert (first["amount"], first["credit_account"]) == (2, account)
        cursor = live.cursor
        assert live.next()["amount"] == 4
    with stream(url, f"?account={account}", **{"Last-Event-ID": cursor}) as again:
        assert again.next()["amount"] == 4, "none is missing and none comes twice"
        client.credit(account, 5).check()
        assert again.next()["amount"] == 5
    with stream(url, f"?after={begun}") as whole:
        assert [whole.next()["amount"] for _ in range(4)] == [2, 3, 4, 5]
    with stream(url, "?from_index=0") as everything:
        events = [everything.next() for _ in range(4)]
    assert [each["posting"] for each in events] == sorted(each["posting"] for each in events)


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ("?account=%3Cimg%3E", 400),
        ("?after=x", 400),
        ("?after=a-1..2", 400),
        ("?from_index=-1", 400),
        ("?after=abc-1", 409),
        ("?after=a-" + "9" * 30, 400),
    ],
)
def test_a_wrong_cursor_is_said(url: str, query: str, status: int) -> None:
    assert ask(url, path=f"/api/v1/events{query}").status == status


def test_a_cursor_of_several_lanes_is_none_of_a_bank_with_one(url: str, client: Client) -> None:
    cluster = next(iter(client.watch())).cluster
    assert ask(url, path=f"/api/v1/events?after={cluster}-1.2").status == 400


def test_the_bytes_of_a_stream(url: str, client: Client, new_account: NewAccount) -> None:
    account = new_account()
    with stream(url, f"?account={account}") as live:
        begun = live.mark()
        client.credit(account, 7).check()
        live.next()
        cursor = live.cursor
    posted = next(client.watch(accounts=[account]))
    data = json.dumps({**msgspec.to_builtins(posted), "log_index": posted.log_index}, separators=(",", ":"))
    with stream(url, f"?after={begun}&account={account}") as again:
        lines = [again.line() for _ in range(7)]
    assert cursor == f"{posted.cluster}-{posted.posting}"
    assert lines == [
        "retry: 1000", f"id: {begun}", "", f"id: {cursor}", "event: posting", f"data: {data}", ""
    ]  # fmt: skip


def test_one_who_does_not_read_disturbs_nobody(url: str, client: Client, new_account: NewAccount) -> None:
    account = new_account()
    with contextlib.ExitStack() as stack:
        for _ in range(20):
            deaf = stack.enter_context(socket.create_connection(("localhost", urlsplit(url).port or 0)))
            deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            deaf.sendall(b"GET /api/v1/events?from_index=0 HTTP/1.1\r\nhost: localhost\r\n\r\n")
        live = stack.enter_context(stream(url, f"?account={account}"))
        live.mark()
        for amount in range(1, 20):
            client.credit(account, amount).check()
            assert live.next()["amount"] == amount


# -- with a journal in memory: rings that are too short, other banks, the end -------------------------------


class FakeBank:
    """A journal, and how often it was asked for a page."""

    def __init__(self) -> None:
        self.postings: list[JournalPosting] = []
        self.cluster = "c1"
        self.pages = self.feeds = 0
        self.allowed = True
        self.behind = 0  # by so many postings a server's ledger lags, as it says
        self.more = asyncio.Event()
        self.feed = SimpleNamespace(cluster_status=self._status, ask=self._ask, watch=self._watch)

    def post(self, amount: int) -> None:
        self.postings.append(
            JournalPosting(
                posting=(len(self.postings) + 1) * LEGS_MAX,
                time_us=1,
                op="credit",
                request_id=f"A{amount}",
                debit_account="cash",
                credit_account="ann",
                amount=amount,
                debit_balance=0,
                credit_balance=0,
                hash="",
            )
        )
        self.more.set()

    async def _status(self) -> Any:
        return SimpleNamespace(nodes=[SimpleNamespace(applied_index=len(self.postings) - self.behind)])

    async def _ask(self, asked: Watch) -> Any:
        self.pages += 1
        if not self.allowed:
            return SimpleNamespace(outcome=Outcome.NOT_ALLOWED)
        found = tuple(each for each in self.postings if each.posting > asked.after)[: asked.limit]
        return JournalPage(id="", outcome=Outcome.OK, postings=found, hash="", cluster=self.cluster)

    async def _watch(self, from_index: int, *, after: Posted | None) -> AsyncIterator[Posted]:
        self.feeds += 1
        at = from_index * LEGS_MAX - 1
        while True:
            for each in [each for each in self.postings if each.posting > at]:
                at = each.posting
                yield Posted(**{name: getattr(each, name) for name in each.__struct_fields__}, cluster="c1")
            self.more.clear()
            await self.more.wait()


def place(cluster: str, posting: int) -> Place:
    return Place(cluster, [posting], [0])


async def all_behind(events: Events, at: Place, count: int) -> list[int]:
    """Return the numbers of so many postings, as a stream would send them."""
    found: list[int] = []
    async with asyncio.timeout(10):
        while len(found) < count:
            batch = await events.batch(at)
            if not batch:
                await events.news(at)
            for event in batch:
                at.pass_by(event)
                found.append(event.posting)
    return found


def test_many_streams_are_one_feed_and_who_falls_behind_the_ring_misses_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(events_module, "RING_POSTINGS", 10)

    async def story() -> None:
        bank: Any = FakeBank()
        events = Events(bank)
        positions = []
        for _ in range(50):
            events.enter()
            cluster, lanes = await events.begin()
            assert lanes == 1
            positions.append(Place(cluster, await events.end([0]), [0]))
        for amount in range(1, 41):
            bank.post(amount)
        everything = [number * LEGS_MAX for number in range(1, 41)]
        for position in positions:
            assert await all_behind(events, position, 40) == everything
        assert bank.feeds == 1
        bank.post(41)
        assert await all_behind(events, place("c1", everything[-1]), 1) == [41 * LEGS_MAX]
        pages = bank.pages
        assert await all_behind(events, place("c1", everything[-1]), 1) == [41 * LEGS_MAX]
        assert bank.pages == pages, "the ring has it"
        for _ in range(50):
            events.leave()
        with pytest.raises(events_module.OtherBank):  # nobody follows the journal any more
            await events.batch(place("c1", 0))

    asyncio.run(story())


def test_from_now_on_is_behind_all_that_was_acknowledged_whatever_lags() -> None:
    async def story() -> None:
        bank: Any = FakeBank()
        events = Events(bank)
        events.enter()
        for amount in range(1, 301):
            bank.post(amount)
        bank.behind = 250  # a busy leader writes its ledger a moment after it has acknowledged
        await events.begin()
        assert await events.end([0]) == [300 * LEGS_MAX]
        bank.postings += [
            msgspec.structs.replace(bank.postings[-1], posting=301 * LEGS_MAX)
        ]  # the feed sleeps
        assert await events.end([0]) == [301 * LEGS_MAX]
        events.leave()

    asyncio.run(story())


def test_another_journal_is_no_continuation() -> None:
    async def story() -> None:
        bank: Any = FakeBank()
        events = Events(bank)
        events.enter()
        cluster, _ = await events.begin()
        bank.cluster = "c2"
        with pytest.raises(events_module.OtherBank):
            await events.batch(place("c2", 0))
        with pytest.raises(events_module.OtherBank):
            await events.batch(place(cluster, 0))
        events.close()

    asyncio.run(story())


def test_a_role_that_may_not_watch_is_told_so() -> None:
    async def story() -> None:
        bank: Any = FakeBank()
        bank.allowed = False
        events = Events(bank)
        events.enter()
        with pytest.raises(NotAllowed):
            await events.begin()

    asyncio.run(story())
