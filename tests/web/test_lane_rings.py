"""The feed of several lanes over journals in memory: rings that are too short, lanes that do not answer."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any

import pytest

from atm.client.errors import Unavailable
from atm.client.feed import Feed, Posted
from atm.client.receipt import JournalPage
from atm.ledger.commands import LEGS_MAX, JournalPosting, Outcome, Watch
from atm.ledger.journal_hash import row_hash
from atm.ledger.lane_numbers import first_posting, lane_of_posting
from atm.ledger.posting import NO_HASH
from atm.web import events as events_module
from atm.web.events import Events, Place

LANES = 4


class FakeLanes:
    """The journals of some lanes, and how often they were asked for a page."""

    def __init__(self, lanes: int) -> None:
        self.journals: list[list[JournalPosting]] = [[] for _ in range(lanes)]
        self.silent: set[int] = set()  # these lanes do not answer
        self.asleep = False  # whether the feed is told nothing
        self.pages = 0
        self.behind = 0  # by so many entries servers' ledgers lag, as they say
        self.feed = SimpleNamespace(cluster_status=self._status, ask=self._ask, watch=self._watch)

    def post(self, lane: int, count: int = 1) -> None:
        journal = self.journals[lane]
        for number in range(len(journal) + 1, len(journal) + 1 + count):
            before = bytes.fromhex(journal[-1].hash) if journal else NO_HASH
            columns = (number * LEGS_MAX, 1, "cash", f"ann{lane}", number, 0, 0, f"A{number}")
            posting = JournalPosting(
                posting=first_posting(lane) + number * LEGS_MAX,
                time_us=1,
                op="credit",
                request_id=f"A{number}",
                debit_account="cash",
                credit_account=f"ann{lane}",
                amount=number,
                debit_balance=0,
                credit_balance=0,
                hash=row_hash(before, *columns, None).hex(),
            )
            journal.append(posting)

    @property
    def numbers(self) -> list[int]:
        """The numbers of all postings."""
        return sorted(each.posting for journal in self.journals for each in journal)

    async def _status(self) -> Any:
        return SimpleNamespace(nodes=[SimpleNamespace(applied_index=len(self.numbers) - self.behind)])

    async def _ask(self, asked: Watch) -> JournalPage:
        self.pages += 1
        lane = lane_of_posting(asked.after)
        if lane in self.silent:
            raise Unavailable
        journal = self.journals[lane]
        known = [each.hash for each in journal if each.posting <= asked.after]
        return JournalPage(
            id="",
            outcome=Outcome.OK,
            postings=tuple(each for each in journal if each.posting > asked.after)[: asked.limit],
            hash=known[-1] if known else NO_HASH.hex(),
            cluster="c1",
            lanes=len(self.journals),
        )

    async def _watch(self, from_index: int, *, after: Posted | None) -> AsyncIterator[Posted]:
        feed = Feed(from_index, None, after)
        while True:
            while self.asleep:
                await asyncio.sleep(0.01)
            for posted in feed.take(await self._ask(feed.request())):
                yield posted
            await asyncio.sleep(0.001)


async def all_behind(events: Events, place: Place, count: int) -> list[int]:
    """Return the numbers of so many postings in order, as a stream would send them."""
    found: list[int] = []
    async with asyncio.timeout(10):
        while len(found) < count:
            batch = await events.batch(place)
            if not batch:
                await events.news(place)
            for event in batch:
                place.pass_by(event)
                found.append(event.posting)
    return sorted(found)


@pytest.mark.parametrize("ring", [8, 5_000])
@pytest.mark.parametrize("behind", [0, 250])
def test_whoever_falls_behind_the_rings_misses_nothing(
    monkeypatch: pytest.MonkeyPatch, ring: int, behind: int
) -> None:
    monkeypatch.setattr(events_module, "RING_POSTINGS", ring)

    async def story() -> None:
        bank: Any = FakeLanes(LANES)
        for lane, count in ((0, 700), (1, 3), (3, 250)):  # there is none in lane 2 yet
            bank.post(lane, count)
        bank.behind = behind
        old = bank.numbers
        events = Events(bank)
        events.enter()
        assert await events.begin() == ("c1", LANES)
        lanes = range(LANES)
        now = Place("c1", await events.end(lanes), lanes)
        assert now.cursor() == b"c1-44800.192.0.16000"
        for lane in (2, 0, 1, 3, 2):
            bank.post(lane, 30)
        new = [each for each in bank.numbers if each not in old]
        assert await all_behind(events, now, 150) == new
        first = Place("c1", [first_posting(lane) for lane in lanes], lanes)
        assert await all_behind(events, first, len(bank.numbers)) == bank.numbers
        bank.post(1)
        assert await all_behind(events, now, 1) == [bank.journals[1][-1].posting]
        of_one = Place("c1", await events.end([3]), [3])
        bank.post(0)
        bank.post(3)
        assert await all_behind(events, of_one, 1) == [bank.journals[3][-1].posting]
        events.close()

    asyncio.run(story())


def test_the_ends_of_long_journals_are_found_without_reading_them() -> None:
    async def story() -> None:
        bank: Any = FakeLanes(LANES)
        for lane, count in ((0, 3_000), (1, 40), (3, 1_000)):
            bank.post(lane, count)
        bank.asleep = True
        events = Events(bank)
        events.enter()
        await events.begin()
        assert bank.pages <= 1 + LANES * 7, "by halves, and a hundred postings a page"
        bank.pages = 0
        ends = [journal[-1].posting if journal else first_posting(2) for journal in bank.journals]
        assert await events.end(range(LANES)) == ends
        assert bank.pages == LANES
        events.close()

    asyncio.run(story())


def test_from_now_on_is_behind_all_that_was_acknowledged_whatever_lags() -> None:
    async def story() -> None:
        bank: Any = FakeLanes(2)
        bank.post(0, 5)
        events = Events(bank)
        events.enter()
        await events.begin()
        bank.asleep = True
        bank.post(0)
        bank.post(1)
        assert await events.end([0, 1]) == [6 * LEGS_MAX, first_posting(1) + LEGS_MAX]
        events.close()

    asyncio.run(story())


def test_a_lane_that_does_not_answer_holds_up_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events_module, "RING_POSTINGS", 8)
    monkeypatch.setattr(events_module, "AGAIN_S", 0.01)

    async def story() -> None:
        bank: Any = FakeLanes(LANES)
        events = Events(bank)
        events.enter()
        await events.begin()
        for lane in range(LANES):
            bank.post(lane, 50)
        place = Place("c1", [first_posting(lane) for lane in range(LANES)], range(LANES))
        async with asyncio.timeout(10):
            while any(ring.before <= first_posting(lane) for lane, ring in enumerate(events._rings)):
                await asyncio.sleep(0.01)
        bank.silent = {1}
        of_others = [each for each in bank.numbers if lane_of_posting(each) != 1]
        assert await all_behind(events, place, 150) == of_others
        with pytest.raises(Unavailable):
            await events.batch(place)
        assert await events.end([2]), "nor a stream of accounts of other lanes"
        bank.silent = set()
        assert await all_behind(events, place, 50) == [each.posting for each in bank.journals[1]]
        bank.post(1)
        assert await all_behind(events, place, 1) == [bank.journals[1][-1].posting], "the feed goes on"
        events.close()

    asyncio.run(story())


def test_a_lane_with_much_to_tell_leaves_room_for_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events_module, "BATCH_POSTINGS", 10)

    async def story() -> None:
        bank: Any = FakeLanes(2)
        bank.post(0, 500)
        bank.post(1)
        events = Events(bank)
        events.enter()
        await events.begin()
        place = Place("c1", [0, first_posting(1)], [0, 1])
        lanes = set()
        for _ in range(2):
            for event in await events.batch(place):
                place.pass_by(event)
                lanes.add(event.lane)
        assert lanes == {0, 1}
        events.close()

    asyncio.run(story())
