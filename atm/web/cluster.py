"""/api/v1/cluster: what happens in the servers, as one stream for all who watch; and a recorder's files.

While anybody watches, one task asks each server some times a second what is new in it (docs/events.md), and
once a second for its status. It lays the events on one axis of time, by the two clocks in each answer, and
keeps the latest pieces in a ring. A stream is a place in the ring: who falls behind it is told so.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import time
from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Send

from atm.client import ClientError, EventCursor, NodeEvents, NotAllowed, Unavailable
from atm.client.node_status import status_fields
from atm.events.event import Event, Header
from atm.events.recording import NotEvents, Recording, merged, read_lines
from atm.events.sentences import sentence
from atm.web.answers import answer, encoded, problem
from atm.web.bank import Bank
from atm.web.bodies import NotRead, whole_body
from atm.web.streaming import HEART_BEAT_S, MEDIA_TYPE, RETRY_MS, EventStream

LOOK_EVERY_S = 0.2
STATUS_EVERY_S = 1.0
LATE_S = 0.5  # who has not answered by then is not waited for
FIRST_LATE_S = 2.0  # at first, when it tells all that it knows; then it is said that it has not
EVENTS_MAX = 300  # of one server in one piece; what is frequent is left out first, and counted
RING_PIECES = 150
RING_BYTES = 16 << 20
STREAMS_MAX = 200
FILE_BYTES_MAX = 16 << 20
FILE_WITHIN_S = 30.0
# What there is least to see in goes first; what is in neither is rare, and kept.
LEFT_OUT_FIRST = frozenset({"sent", "received", "read"})
LEFT_OUT_NEXT = frozenset({"request", "answer", "append", "commit", "apply"})


def told(wall_us: int, event: Event) -> dict[str, Any]:
    """Return an event as the page has it: its fields, when it was, and its sentence."""
    fields: dict[str, Any] = msgspec.to_builtins(event)
    return fields | {"wall_us": wall_us, "text": sentence(event)}


def thinned(events: Iterable[Event], limit: int = EVENTS_MAX) -> tuple[list[Event], int]:
    """Return at most about `limit` of the events, the rare ones all, and how many were left out."""
    kept = list(events)
    before = len(kept)
    for kinds in (LEFT_OUT_FIRST, LEFT_OUT_NEXT):
        over = len(kept) - limit
        if over <= 0:
            break
        frequent = [place for place, event in enumerate(kept) if event.kind in kinds]
        gone = set(frequent[:over])  # the oldest
        kept = [event for place, event in enumerate(kept) if place not in gone]
    return kept, before - len(kept)


@dataclass
class _Watched:
    """One server, as far as it was read."""

    cursor: EventCursor | None = None
    clocks: Header | None = None  # the first of its numbering, so that the axis does not move
    asking: asyncio.Task[NodeEvents] | None = None
    asked_s: float = 0.0
    known_until_us: int = 0  # up to then it has told
    silent: str | None = None  # why it tells nothing


class ClusterFeed:
    """The stream of pieces, while anybody watches. For one event loop."""

    def __init__(self, bank: Bank) -> None:
        self._bank = bank
        self._name = secrets.token_hex(4)  # of the numbering of pieces
        self._ring: deque[tuple[int, bytes]] = deque()
        self._ring_bytes = 0
        self._last = 0
        self._streams = 0
        self._servers: dict[str, _Watched] = {}
        self._tasks: list[asyncio.Task[None]] = []
        self._changed = asyncio.Event()  # set and replaced whenever there is something new
        self._beginning = asyncio.Lock()
        self._held: list[tuple[int, Event]] = []  # newer than what some server has told yet
        self._refused = False
        self.closed = False

    @property
    def is_full(self) -> bool:
        """Whether one more stream would be too many."""
        return self._streams >= STREAMS_MAX

    @property
    def is_looking(self) -> bool:
        """Whether servers are asked, as they are while anybody watches."""
        return bool(self._tasks)

    def enter(self) -> None:
        """Count a stream; each `enter` has its `leave`."""
        self._streams += 1

    def leave(self) -> None:
        """Ask the servers nothing more when nobody watches any more."""
        self._streams -= 1
        if not self._streams:
            self._stop()

    def close(self) -> None:
        """End all streams."""
        self.closed = True
        self._stop()
        self._wake()

    def _stop(self) -> None:
        for task in [*self._tasks, *(each.asking for each in self._servers.values() if each.asking)]:
            task.cancel()
        self._tasks.clear()
        self._servers.clear()
        self._ring.clear()
        self._ring_bytes = 0

    def _wake(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()

    async def begin(self) -> None:
        """Begin to look, unless that has begun; raise `NotAllowed` if no server tells this identity."""
        async with self._beginning:
            if self._tasks:
                return
            self._servers = {}
            self._held = []
            self._refused = False
            first = await self._look()
            self._tasks = [
                asyncio.create_task(self._keep_looking(first)),
                asyncio.create_task(self._keep_asking_status()),
            ]

    async def _keep_looking(self, piece: dict[str, Any]) -> None:
        try:
            while True:
                self._append("happened", piece)
                await asyncio.sleep(LOOK_EVERY_S)
                piece = await self._look()
        except NotAllowed:
            self._refused = True
            self._wake()

    async def _keep_asking_status(self) -> None:
        while True:
            with contextlib.suppress(ClientError):
                self._append("status", status_fields(await self._bank.status()))
            await asyncio.sleep(STATUS_EVERY_S)

    async def _look(self) -> dict[str, Any]:
        """Ask all servers what is new, and return the next piece; raise `NotAllowed`."""
        now = time.monotonic()
        self._follow_members()
        for name, server in self._servers.items():
            if server.asking is None:
                server.asking = asyncio.create_task(self._bank.node_events(name, server.cursor))
                server.asked_s = now
        asked = {server.asking for server in self._servers.values() if server.asking}
        if asked:
            await asyncio.wait(asked, timeout=LATE_S)
        return self._piece()

    def _follow_members(self) -> None:
        """Look at the servers that the newest status names, and at no others."""
        for name in [name for name in self._servers if name not in self._bank.nodes]:
            gone = self._servers.pop(name)
            if gone.asking is not None:
                gone.asking.cancel()
        for name in self._bank.nodes:
            self._servers.setdefault(name, _Watched())

    def _piece(self) -> dict[str, Any]:
        recordings: list[Recording] = []
        missed: dict[str, int] = {}
        left_out = 0
        for name, server in self._servers.items():
            task = server.asking
            if task is None or not task.done():
                if server.clocks is None and time.monotonic() - server.asked_s > FIRST_LATE_S:
                    server.silent = "has not told its events yet"
                continue
            server.asking = None
            try:
                found = task.result()
            except NotAllowed:
                raise
            except Unavailable:
                server.silent = "does not answer"
                continue
            except ClientError as error:
                server.silent = f"tells nothing: {error}"
                continue
            server.silent = None
            events, over = thinned(found.events)
            if server.cursor is not None:  # before the page began to look, none was to be expected
                left_out += over
                if found.header.missed:
                    missed[name] = found.header.missed
            if server.clocks is None or server.clocks.recorder != found.header.recorder:
                server.clocks = found.header
            server.cursor = found.cursor
            recordings.append(Recording(server.clocks, events))
            server.known_until_us = server.clocks.wall_time_us_at(found.header.monotonic_us)
        return {
            "events": [told(*timed) for timed in self._in_order(recordings)],
            "silent": {name: server.silent for name, server in self._servers.items() if server.silent},
            "missed": missed,
            "left_out": left_out,
            "wall_us": time.time_ns() // 1000,
        }

    def _in_order(self, recordings: list[Recording]) -> list[tuple[int, Event]]:
        """Return what happened up to when all servers have told, and keep back what is newer."""
        everything = sorted([*self._held, *merged(recordings)], key=lambda timed: timed[0])
        waited_for = filter(self._is_waited_for, self._servers.values())
        until_us = min((server.known_until_us for server in waited_for), default=None)
        self._held = [] if until_us is None else [timed for timed in everything if timed[0] > until_us]
        return everything[: len(everything) - len(self._held)]

    def _is_waited_for(self, server: _Watched) -> bool:
        if server.silent is not None:
            return False
        late_s = LATE_S if server.clocks else FIRST_LATE_S
        return server.asking is None or time.monotonic() - server.asked_s < late_s

    def _append(self, kind: str, piece: Mapping[str, object]) -> None:
        self._last += 1
        lines = (f"id: {self.cursor(self._last)}\nevent: {kind}\ndata: ".encode(), encoded(piece), b"\n\n")
        data = b"".join(lines)
        self._ring.append((self._last, data))
        self._ring_bytes += len(data)
        while len(self._ring) > RING_PIECES or (self._ring_bytes > RING_BYTES and len(self._ring) > 1):
            self._ring_bytes -= len(self._ring.popleft()[1])
        self._wake()

    # -- what a stream asks --------------------------------------------------------------------------------

    def cursor(self, number: int) -> str:
        """Return the id of a piece."""
        return f"{self._name}-{number}"

    def place_of(self, cursor: str) -> int:
        """Return the number in a cursor of this feed, else 0: the ring's beginning."""
        name, _, number = cursor.partition("-")
        return int(number) if name == self._name and number.isdecimal() and len(number) < 16 else 0

    def behind(self, number: int) -> tuple[list[bytes], int, bool]:
        """Return the pieces behind one, up to where they go, and whether some before them are not kept."""
        newer = [(at, data) for at, data in self._ring if at > number]
        if not newer:
            return [], number, False
        return [data for _, data in newer], newer[-1][0], 0 < number < newer[0][0] - 1

    async def news(self, number: int) -> None:
        """Wait until there is a piece behind this one, or the feed has ended."""
        while self._last <= number and not self.has_ended:
            await self._changed.wait()

    @property
    def has_ended(self) -> bool:
        """Whether nothing comes any more: it was closed, or the right to see it was taken away."""
        return self.closed or self._refused or not self._tasks


async def get_cluster_events(request: Request) -> Response:
    """Stream what happens in the servers: some seconds back, or behind the piece of Last-Event-ID."""
    feed: ClusterFeed = request.app.state.cluster
    if request.method == "HEAD":
        return Response(media_type=MEDIA_TYPE)
    if feed.is_full or feed.closed:
        return problem("busy", "There are too many streams")
    feed.enter()  # before the first await, or more could come in
    stream = _Stream(feed, feed.place_of(request.headers.get("last-event-id", "")))
    try:
        await feed.begin()
    except NotAllowed:
        why = "The role of this web server does not allow to see what happens in the servers"
        return stream.instead(problem("not_allowed", f"{why}: it needs auditor, operator or admin"))
    except BaseException:
        feed.leave()
        raise
    return stream


class _Stream(EventStream):
    def __init__(self, feed: ClusterFeed, number: int) -> None:
        super().__init__(feed.leave)
        self._feed = feed
        self._number = number

    async def pieces(self, send: Send) -> None:
        """Send what comes, until the feed ends."""
        await self.piece(send, f"retry: {RETRY_MS}\n\n".encode())
        if not self._number:
            await self.piece(send, b"event: begin\ndata: {}\n\n")
        while not self._feed.has_ended:
            pieces, self._number, gap = self._feed.behind(self._number)
            if gap:
                await self.piece(send, b"event: gap\ndata: {}\n\n")
            for piece in pieces:
                await self.piece(send, piece)
            if not pieces:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(HEART_BEAT_S):
                        await self._feed.news(self._number)
                        continue
                await self.piece(send, b": here\n\n")


# -- files ---------------------------------------------------------------------------------------------------


async def post_recording(request: Request) -> Response:
    """Return the events of a recorder's file, in the body, merged in time and each with its sentence."""
    try:
        content = await whole_body(request, FILE_BYTES_MAX, FILE_WITHIN_S)
        return answer(await asyncio.to_thread(_recording_told, content))
    except NotRead as error:
        return error.response
    except NotEvents as error:
        return problem("bad_request", f"This is no file of events of a flight recorder: {error}")


def _recording_told(content: bytes) -> dict[str, Any]:
    recordings = read_lines(content.splitlines())
    return {
        "events": [told(wall_us, event) for wall_us, event in merged(recordings)],
        "nodes": [
            {"node": each.header.node, "missed": each.header.missed, "reason": each.header.reason}
            for each in recordings
        ],
    }
