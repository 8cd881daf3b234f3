"""The stream of what happens in the servers: one look for all, in order of time, bounded, resumable."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
import pytest

from atm.client import EventCursor, NodeEvents, NotAllowed, Unavailable
from atm.client.node_status import ClusterStatus
from atm.events.event import Event, Header
from atm.web import cluster as cluster_module
from atm.web.cluster import ClusterFeed, thinned
from tests.web.asked import ask

Story = Callable[["FakeBank", ClusterFeed], Awaitable[None]]
BOOT_US = {"n1": 0, "n2": 5_000_000, "n3": 7_000_000}  # the nodes' monotonic clocks begin at other times


class FakeBank:
    """Three nodes whose events are given by wall time; counts who was asked."""

    def __init__(self) -> None:
        self.nodes = tuple(BOOT_US)
        self.events: dict[str, list[Event]] = {name: [] for name in BOOT_US}
        self.fault: dict[str, Exception] = {}
        self.now_us = 10_000_000
        self.known_until_us: dict[str, int] = {}
        self.asked = 0

    def note(self, node: str, wall_us: int, kind: str = "peer", **fields: Any) -> None:
        number = len(self.events[node]) + 1
        self.events[node].append(
            Event(number=number, at_us=wall_us - BOOT_US[node], node=node, kind=kind, **fields)
        )

    async def node_events(self, node: str, after: EventCursor | None = None) -> NodeEvents:
        self.asked += 1
        if node in self.fault:
            raise self.fault[node]
        behind = after.after if after else 0
        until = self.known_until_us.get(node, self.now_us)
        header = Header(node=node, wall_us=until, monotonic_us=until - BOOT_US[node], recorder=1)
        events = tuple(event for event in self.events[node] if event.number > behind)
        return NodeEvents(header, events, EventCursor(1, len(self.events[node])))

    async def status(self) -> ClusterStatus:
        return ClusterStatus(True, "n1", 1, "c", (), (), ())


def pieces_of(feed: ClusterFeed, number: int = 0) -> list[dict[str, Any]]:
    """Return what happened, by piece, as a browser gets it."""
    found = []
    for data in feed.behind(number)[0]:
        _, kind, value, *_ = data.decode().split("\n")
        if kind == "event: happened":
            found.append(json.loads(value.removeprefix("data: ")))
    return found


async def wait_for(feed: ClusterFeed, wanted: Callable[[list[dict[str, Any]]], bool]) -> list[dict[str, Any]]:
    async with asyncio.timeout(10):
        while not wanted(pieces_of(feed)):
            _, number, _ = feed.behind(0)
            await feed.news(number)
    return pieces_of(feed)


def watching(
    monkeypatch: pytest.MonkeyPatch, story: Callable[[FakeBank, ClusterFeed], Awaitable[None]]
) -> None:
    """Run a story with a feed that somebody watches."""
    monkeypatch.setattr(cluster_module, "LOOK_EVERY_S", 0.001)

    async def run() -> None:
        bank: Any = FakeBank()
        feed = ClusterFeed(bank)
        feed.enter()
        try:
            await story(bank, feed)
        finally:
            feed.close()

    asyncio.run(run())


def test_the_events_of_all_servers_are_in_order_of_time_each_with_its_sentence(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def story(bank: FakeBank, feed: ClusterFeed) -> None:
        bank.note("n2", 9_000_000, what="connected", peer="n1")
        bank.note("n1", 9_000_001, "leader", leader="n3", term=4)
        bank.note("n3", 8_999_999, "vote", candidate="n1", campaign_term=4, granted=False, why="log-behind")
        await feed.begin()
        (piece,) = (await wait_for(feed, bool))[:1]
        assert [(each["node"], each["wall_us"]) for each in piece["events"]] == [
            ("n3", 8_999_999),
            ("n2", 9_000_000),
            ("n1", 9_000_001),
        ]
        assert piece["events"][2]["text"] == "n1 follows n3, the leader of term 4"
        assert piece["events"][0]["text"].startswith("n3 refuses n1 its vote in term 4: the candidate's log")

    watching(monkeypatch, story)


def test_what_is_newer_than_some_server_has_told_comes_when_that_one_has(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def story(bank: FakeBank, feed: ClusterFeed) -> None:
        bank.known_until_us = {"n1": 9_500_000}  # it answered a moment before the others
        bank.note("n2", 9_600_000, what="connected", peer="n1")
        await feed.begin()
        await wait_for(feed, lambda pieces: len(pieces) > 2)
        assert not any(piece["events"] for piece in pieces_of(feed))
        bank.note("n1", 9_550_000, what="connected", peer="n2")
        bank.known_until_us = {}
        found = await wait_for(feed, lambda pieces: any(piece["events"] for piece in pieces))
        (piece,) = (piece for piece in found if piece["events"])
        assert [each["node"] for each in piece["events"]] == ["n1", "n2"]

    watching(monkeypatch, story)


def test_a_member_that_is_added_is_watched_from_then_on_and_one_that_is_removed_no_more(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def story(bank: FakeBank, feed: ClusterFeed) -> None:
        bank.nodes = ("n1", "n2")
        bank.note("n3", 9_000_000, what="connected", peer="n1")
        bank.fault = {"n2": Unavailable("")}
        await feed.begin()
        found = await wait_for(feed, lambda pieces: len(pieces) > 2)
        assert not any(piece["events"] for piece in found)
        bank.nodes = ("n1", "n2", "n3")
        await wait_for(feed, lambda pieces: any(piece["events"] for piece in pieces))
        assert pieces_of(feed)[-1]["silent"] == {"n2": "does not answer"}
        bank.nodes = ("n1", "n3")
        await wait_for(feed, lambda pieces: not pieces[-1]["silent"])

    watching(monkeypatch, story)


def test_a_server_that_is_down_is_named_and_the_others_go_on(monkeypatch: pytest.MonkeyPatch) -> None:
    async def story(bank: FakeBank, feed: ClusterFeed) -> None:
        bank.fault["n2"] = Unavailable("n2 does not answer")
        bank.note("n1", 9_000_000, what="lost", peer="n2")
        await feed.begin()
        found = await wait_for(feed, bool)
        assert found[0]["silent"] == {"n2": "does not answer"}
        assert [each["text"] for each in found[0]["events"]] == ["n1 has lost its connection with n2"]
        del bank.fault["n2"]
        await wait_for(feed, lambda pieces: pieces[-1]["silent"] == {})

    watching(monkeypatch, story)


def test_many_watchers_are_one_look_and_without_one_nobody_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    async def story(bank: FakeBank, feed: ClusterFeed) -> None:
        await feed.begin()
        await feed.begin()
        for _ in range(20):
            feed.enter()
            await feed.begin()
        first = bank.asked
        assert first == len(bank.nodes), "one look for all"
        for _ in range(21):
            feed.leave()
        assert not feed.is_looking
        assert feed.has_ended

    watching(monkeypatch, story)


def test_who_falls_behind_the_ring_is_told_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster_module, "RING_PIECES", 3)

    async def story(_bank: FakeBank, feed: ClusterFeed) -> None:
        await feed.begin()
        async with asyncio.timeout(10):
            await feed.news(8)
        newer, last, gap = feed.behind(2)
        assert (len(newer), gap) == (3, True)
        assert feed.behind(last - 1)[2] is False
        assert feed.place_of(feed.cursor(last)) == last
        assert feed.place_of("another-7") == 0

    watching(monkeypatch, story)


def test_a_role_that_may_not_see_events_is_told_so(monkeypatch: pytest.MonkeyPatch) -> None:
    async def story(bank: FakeBank, feed: ClusterFeed) -> None:
        bank.fault["n1"] = NotAllowed("no")
        with pytest.raises(NotAllowed):
            await feed.begin()
        assert not feed.is_looking
        bank.fault.clear()
        await feed.begin()
        bank.fault["n1"] = NotAllowed("no more")
        async with asyncio.timeout(10):
            await feed.news(10**9)
        assert feed.has_ended

    watching(monkeypatch, story)


def test_of_too_many_events_the_frequent_go_and_the_rare_stay() -> None:
    kinds = ["vote"] * 5 + ["sent"] * 20 + ["commit"] * 10
    events = [Event(number=at, at_us=at, node="n1", kind=kind) for at, kind in enumerate(kinds)]
    kept, left_out = thinned(events, 15)
    assert ([each.kind for each in kept], left_out) == (["vote"] * 5 + ["commit"] * 10, 20)
    kept, left_out = thinned(events, 8)
    assert ([each.kind for each in kept], left_out) == (["vote"] * 5 + ["commit"] * 3, 27)
    assert [each.number for each in kept][-1] == 34, "the oldest are left out"
    assert thinned(events, 100) == (events, 0)


def test_a_recorders_file_comes_back_with_sentences(url: str) -> None:
    header = Header(node="n1", wall_us=1_000_000, monotonic_us=0)
    event = Event(number=1, at_us=5, node="n1", kind="leader", leader="n2", term=3)
    lines = b"\n".join([msgspec.json.encode(header), msgspec.json.encode(event), b'{"number": 2, "at'])
    answer = ask(url, "POST", "/api/v1/cluster/recording", lines, content_type="application/x-ndjson")
    assert answer.status == 200
    (found,) = answer.json["events"]
    assert (found["wall_us"], found["text"]) == (1_000_005, "n1 follows n2, the leader of term 3")
    wrong = ask(url, "POST", "/api/v1/cluster/recording", b"hello\n", content_type="application/x-ndjson")
    assert (wrong.status, wrong.json["code"]) == (400, "bad_request")
    assert "line 1 is not the header of a file of events" in wrong.json["detail"]
