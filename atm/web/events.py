"""/api/v1/events: the postings as server-sent events, from one feed for all who watch.

One task follows the bank's journals, of which each lane has one, and keeps the latest postings in rings. A
stream is a position in each journal, and nothing else: no queue of its own grows while its browser does not
read. Who falls behind a ring is served page by page from the bank, a few streams at a time; who takes nothing
for a while is dropped, and resumes by the id of its last event.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import msgspec
from msgspec.structs import asdict
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Send

from atm.client import (
    ClientError,
    FeedBroken,
    InvalidRequest,
    NotAllowed,
    Refused,
    Unavailable,
    new_request_id,
)
from atm.client.feed import Posted
from atm.client.receipt import JournalPage
from atm.client.request_rules import check_account
from atm.lanes.share import lane_of
from atm.ledger.commands import LEGS_MAX, PAGE_LINES_MAX, JournalPosting, Outcome, Watch
from atm.ledger.lane_numbers import POSTING_BITS, first_posting, lane_of_posting
from atm.ledger.own_accounts import is_banks_own
from atm.web.answers import encoded, problem
from atm.web.bank import Bank
from atm.web.streaming import HEART_BEAT_S, MEDIA_TYPE, RETRY_MS, EventStream

RING_POSTINGS = 5_000  # of all lanes
STREAMS_MAX = 1_000
CATCHING_UP_MAX = 4  # streams that ask the bank at one time for what the ring has no more
PACE_S = 0.25  # between what one stream is sent
BATCH_POSTINGS = 500  # at most in one piece
AGAIN_S = 0.5  # until the bank is asked again after it did not answer
POSTING_MAX = 2**63 - 1
NO_CURSOR = "A cursor is the id of an event, as it came"


class OtherBank(Exception):
    """A cursor is that of another cluster's journal."""


@dataclass(frozen=True)
class Event:
    """A posting as it is sent behind its id, where it is, and whose."""

    lane: int
    posting: int
    number: bytes  # of the posting in its lane, as an id has it
    accounts: frozenset[str]
    data: bytes


def event_of(posting: JournalPosting, cluster: str, lane: int) -> Event:
    """Return a posting as an event, which is made once for all streams."""
    told = msgspec.to_builtins(posting) | {"cluster": cluster, "log_index": posting.log_index}
    told.pop("positions", None)  # of the feed, not of the stream
    accounts = frozenset({posting.debit_account, posting.credit_account})
    data = b"event: posting\ndata: " + encoded(told) + b"\n\n"
    return Event(lane, posting.posting, _number(posting.posting, lane), accounts, data)


def _number(posting: int, lane: int) -> bytes:
    return b"%d" % (posting - first_posting(lane))


class Place:
    """How far a stream is in the journal of each lane, and which lanes it follows."""

    def __init__(self, cluster: str, postings: Sequence[int], lanes: Iterable[int]) -> None:
        self.cluster = cluster
        self.postings = list(postings)  # by lane: behind these
        self.lanes = deque(lanes)  # the first is served first
        self._numbers = [_number(posting, lane) for lane, posting in enumerate(postings)]

    def cursor(self) -> bytes:
        """Return the id of the event that the stream is behind: the number of a posting in each lane."""
        return b"%b-%b" % (self.cluster.encode(), b".".join(self._numbers))

    def pass_by(self, event: Event) -> None:
        """Go on behind an event."""
        self.postings[event.lane] = event.posting
        self._numbers[event.lane] = event.number


class _Ring:
    """The latest postings of one lane."""

    def __init__(self, posting: int, size: int) -> None:
        self._events: deque[Event] = deque(maxlen=size)
        self.before = posting  # the ring has all postings behind this one
        self.last = posting  # up to this one

    def append(self, event: Event) -> None:
        if len(self._events) == self._events.maxlen:
            self.before = self._events[0].posting
        self._events.append(event)
        self.last = event.posting

    def behind(self, posting: int) -> list[Event]:
        """Return the events behind a posting, at most those of one piece."""
        newer: list[Event] = []
        for event in reversed(self._events):
            if event.posting <= posting:
                break
            newer.append(event)
        newer.reverse()
        return newer[:BATCH_POSTINGS]


class Events:
    """The feed, while anybody watches it. For one event loop."""

    def __init__(self, bank: Bank) -> None:
        self._bank = bank
        self._rings: list[_Ring] = []  # by lane
        self._cluster: str | None = None  # whose journals they are; None while nobody watches
        self._streams = 0
        self._follower: asyncio.Task[None] | None = None
        self._beginning = asyncio.Lock()  # guards the start of the follower, also over the bank's answer
        self._catching_up = asyncio.Semaphore(CATCHING_UP_MAX)
        self._changed = asyncio.Event()  # set and replaced whenever there is something new
        self.closed = False

    @property
    def streams(self) -> int:
        """How many are open."""
        return self._streams

    @property
    def is_full(self) -> bool:
        """Whether one more stream would be too many."""
        return self._streams >= STREAMS_MAX

    def close(self) -> None:
        """End all streams, and the feed."""
        self.closed = True
        self._stop()

    def enter(self) -> None:
        """Count a stream; each `enter` has its `leave`."""
        self._streams += 1

    def leave(self) -> None:
        """Stop to follow the journals when nobody watches any more."""
        self._streams -= 1
        if not self._streams:
            self._stop()

    def _stop(self) -> None:
        if self._follower is not None:
            self._follower.cancel()
        self._follower = None
        self._forget()

    def _forget(self) -> None:
        self._cluster = None
        self._rings = []
        self._wake()

    def _wake(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()

    async def begin(self) -> tuple[str, int]:
        """Follow the journals; return whose they are, and how many lanes there are. Raise a `ClientError`."""
        async with self._beginning:
            if self._cluster is None:
                latest = await self._begin_near_the_end()
                self._follower = asyncio.create_task(self._follow(latest))
            assert self._cluster is not None
            return self._cluster, len(self._rings)

    async def _begin_near_the_end(self) -> Posted | None:
        """Begin the rings where servers say that their ledgers are; that may lag behind what they answered.

        Return the posting behind which to follow several lanes, None: there is none yet, or only one lane.
        """
        status = await self._bank.feed.cluster_status()
        applied = max((node.applied_index or 0 for node in status.nodes), default=0)
        near = (applied + 1) * LEGS_MAX - 1
        page = await self._page(near, limit=1)
        postings, latest = [near], None
        if page.lanes is not None:
            found = await asyncio.gather(*(self._late_in(lane, applied) for lane in range(page.lanes)))
            postings = [each.posting if each else first_posting(lane) for lane, each in enumerate(found)]
            for each in filter(None, found):
                latest = Posted(**asdict(each), cluster=page.cluster, positions=tuple(postings))
        self._rings = [_Ring(posting, max(1, RING_POSTINGS // len(postings))) for posting in postings]
        self._cluster = page.cluster
        return latest

    async def _late_in(self, lane: int, applied: int) -> JournalPosting | None:
        """Return a late posting of one of several lanes, which all together have applied so many entries.

        No server tells how far a single lane is, so that is found by halves.
        """
        found: JournalPosting | None = None
        low, high = 0, applied + 2  # of the lane's entries: the last one with postings is within them
        middle = low
        while low < high:
            async with self._catching_up:
                page = await self._page(first_posting(lane) + max(0, middle * LEGS_MAX - 1))
            if page.postings:
                found = page.postings[-1]
                low = (found.posting - first_posting(lane)) // LEGS_MAX + 1
            else:
                high = middle
            if page.postings and _is_last(page):
                break
            middle = (low + high) // 2
        return found

    async def end(self, lanes: Iterable[int]) -> list[int]:
        """Return the last posting of each lane: in these ones, all that were acknowledged are up to it.

        A majority is asked, as both the rings and what servers tell of themselves may lag. Raise a
        `ClientError`.
        """
        postings = [ring.last for ring in self._rings]
        for lane in lanes:
            postings[lane] = await self._end_of(postings[lane])
        return postings

    async def _end_of(self, last: int) -> int:
        while True:
            async with self._catching_up:
                page = await self._page(last)
            if not page.postings:
                return last
            last = page.postings[-1].posting
            if _is_last(page):
                return last

    async def _page(self, after: int, limit: int = PAGE_LINES_MAX) -> JournalPage:
        asked = await self._bank.feed.ask(Watch(id=new_request_id(), after=after, limit=limit))
        if asked.outcome is Outcome.NOT_ALLOWED:
            raise NotAllowed("The role of this web server does not allow to watch all postings")
        page = asked.check()
        assert isinstance(page, JournalPage)
        return page

    async def _follow(self, latest: Posted | None) -> None:
        """Keep the rings up to date; the streams end when the journals are others all at once."""
        begins_at = self._rings[0].last // LEGS_MAX + 1 if len(self._rings) == 1 else 0
        try:
            while True:
                try:
                    async for posted in self._bank.feed.watch(begins_at, after=latest):
                        latest = posted
                        self._append(posted)
                except Unavailable:
                    await asyncio.sleep(AGAIN_S)
        except (FeedBroken, Refused, ClientError):
            self._forget()

    def _append(self, posted: Posted) -> None:
        lane = lane_of_posting(posted.posting) if len(self._rings) > 1 else 0
        self._rings[lane].append(event_of(posted, posted.cluster, lane))
        self._wake()

    # -- what a stream asks --------------------------------------------------------------------------------

    async def batch(self, place: Place) -> list[Event]:
        """Return some of the postings behind a place, none if there are no more yet.

        Raise `OtherBank` if the journals are not those of its cluster any more, or a `ClientError`.
        """
        if self._cluster != place.cluster:
            raise OtherBank
        place.lanes.rotate(-1)  # so that no lane waits for ever for one that has much to tell
        rings, found, failure = self._rings, list[Event](), None
        for lane in tuple(place.lanes):
            try:
                found += await self._behind(rings[lane], place, lane)
            except ClientError as error:  # the other lanes may answer
                failure = error
            if len(found) >= BATCH_POSTINGS:
                break
        if failure is not None and not found:
            raise failure
        return found[:BATCH_POSTINGS]

    async def _behind(self, ring: _Ring, place: Place, lane: int) -> list[Event]:
        posting = place.postings[lane]
        if posting >= ring.before:
            return ring.behind(posting)
        async with self._catching_up:
            page = await self._page(posting)
        if page.cluster != place.cluster:
            raise OtherBank
        return [event_of(each, page.cluster, lane) for each in page.postings] or ring.behind(posting)

    async def news(self, place: Place) -> None:
        """Wait until there is a posting behind this place, or the feed has ended."""
        while self._cluster == place.cluster and not any(
            self._rings[lane].last > place.postings[lane] for lane in place.lanes
        ):
            await self._changed.wait()


def _is_last(page: JournalPage) -> bool:
    return page.next is None and len(page.postings) < PAGE_LINES_MAX


async def get_events(request: Request) -> Response:
    """Stream postings: from now on, or behind the event of Last-Event-ID, or from a log index on."""
    events: Events = request.app.state.events
    if request.method == "HEAD":
        return Response(media_type=MEDIA_TYPE)
    accounts = request.query_params.getlist("account")
    try:
        for account in accounts:
            check_account(account)
        wanted = _wanted(request)
    except InvalidRequest as error:
        return problem("bad_request", str(error))
    if events.is_full or events.closed:
        return problem("busy", "There are too many streams")
    events.enter()  # before the first await, or more could come in
    stream = _Stream(events, frozenset(accounts) or None)
    try:
        cluster, lanes = await events.begin()
        if wanted.cluster not in (None, cluster):
            return stream.instead(problem("other_bank", f"This is cluster {cluster}: begin anew"))
        followed = _lanes_of(accounts, lanes)
        postings = wanted.postings(lanes)
        stream.begin(Place(cluster, await events.end(followed) if postings is None else postings, followed))
    except NotAllowed as error:
        return stream.instead(problem("not_allowed", str(error)))
    except InvalidRequest as error:
        return stream.instead(problem("bad_request", str(error)))
    except ClientError as error:
        return stream.instead(problem("unavailable", str(error)))
    except BaseException:
        events.leave()
        raise
    return stream


def _lanes_of(accounts: Iterable[str], lanes: int) -> list[int]:
    """Return the lanes of these accounts, all if none is named: the bank's own are in all."""
    named = list(accounts)
    if not named or any(map(is_banks_own, named)):
        return list(range(lanes))
    return sorted({lane_of(name, lanes) for name in named})


@dataclass(frozen=True)
class _Wanted:
    cluster: str | None = None
    numbers: tuple[int, ...] | None = None  # of a cursor, one for each lane
    behind: int | None = None  # this posting, and all that other lanes have

    def postings(self, lanes: int) -> list[int] | None:
        """Return how far a stream is in each lane at first, None: from now on; raise `InvalidRequest`."""
        if self.numbers is not None:
            if len(self.numbers) != lanes or (lanes > 1 and max(self.numbers) >> POSTING_BITS):
                raise InvalidRequest(NO_CURSOR)
            return [first_posting(lane) + number for lane, number in enumerate(self.numbers)]
        if self.behind is None:
            return None
        if lanes == 1:
            return [self.behind]
        postings = [first_posting(lane) for lane in range(lanes)]
        lane = lane_of_posting(self.behind + 1)
        if lane >= lanes:
            raise InvalidRequest(f"No log entry of this bank has that number: it has {lanes} lanes")
        postings[lane] = max(postings[lane], self.behind)
        return postings


def _wanted(request: Request) -> _Wanted:
    """Return where the stream begins; raise `InvalidRequest`."""
    at = request.headers.get("last-event-id") or request.query_params.get("after")
    if at:
        cluster, dash, place = at.rpartition("-")
        numbers = place.split(".")
        if not (dash and cluster.isalnum() and all(map(_is_posting, numbers))):
            raise InvalidRequest(NO_CURSOR)
        return _Wanted(cluster, tuple(map(int, numbers)))
    index = request.query_params.get("from_index")
    if index is None:
        return _Wanted()
    if not _is_posting(index) or int(index) > POSTING_MAX // LEGS_MAX:
        raise InvalidRequest("from_index is a log index of 0 or more")
    return _Wanted(behind=max(0, int(index) * LEGS_MAX - 1))


def _is_posting(text: str) -> bool:
    return text.isascii() and text.isdecimal() and len(text) <= 19 and int(text) <= POSTING_MAX


class _Stream(EventStream):
    """The postings of some accounts, or of all, behind a place."""

    def __init__(self, events: Events, accounts: frozenset[str] | None) -> None:
        super().__init__(events.leave)
        self._events = events
        self._accounts = accounts
        self._place = Place("", (), ())

    def begin(self, place: Place) -> None:
        """Say where it begins."""
        self._place = place

    async def pieces(self, send: Send) -> None:
        """Send what comes, until the feed ends."""
        await self.piece(send, f"retry: {RETRY_MS}\n".encode() + self._id() + b"\n")
        while not self._events.closed:
            try:
                batch = await self._events.batch(self._place)
            except OtherBank:
                await self.piece(send, b"event: reset\ndata: {}\n\n")
                break
            except ClientError:
                await asyncio.sleep(AGAIN_S)
                continue
            await self._tell(send, batch)

    async def _tell(self, send: Send, batch: list[Event]) -> None:
        if batch:
            wanted = b"".join(self._passing(batch))
            if wanted:
                await self.piece(send, wanted)
            await asyncio.sleep(PACE_S)
            return
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(HEART_BEAT_S):
                await self._events.news(self._place)
                return
        await self.piece(send, b": here\n" + self._id() + b"\n")

    def _passing(self, batch: Iterable[Event]) -> Iterable[bytes]:
        """Yield what to send of these events, each with the place behind it as its id."""
        for event in batch:
            self._place.pass_by(event)
            if self._accounts is None or event.accounts & self._accounts:
                yield self._id() + event.data

    def _id(self) -> bytes:
        """Return the line that moves the browser's cursor; without data it is no event."""
        return b"id: %b\n" % self._place.cursor()
