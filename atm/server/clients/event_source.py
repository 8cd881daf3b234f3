"""Gives a node's events to who asks for them, a page at a time; in the thread of the connection."""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

from msgspec import Raw
from msgspec.structs import replace

from atm.events.decoding import page_of
from atm.events.event import Event, Header
from atm.events.recorder import FlightRecorder
from atm.wire.client_messages import EVENTS_BYTES_MAX, Events, EventsReply
from atm.wire.codec import encode


class EventSource:
    """Any thread may call `reply`. `header` returns the header as of now."""

    def __init__(self, recorder: FlightRecorder, header: Callable[[], Header]) -> None:
        self._recorder = recorder
        self._header = header

    def reply(self, request: Events) -> bytes:
        """Return the encoded reply, of bounded length; all events of a number, or none of them."""
        header = self._header()
        after = request.after if request.recorder in (0, header.recorder) else 0
        page = page_of(self._recorder, after, request.limit)
        fitting, size_bytes, next_number = 0, 0, page.next
        raws: list[Raw] = []
        for event in page.events:
            raw = encode(event)
            size_bytes += len(raw)
            if size_bytes > EVENTS_BYTES_MAX:
                next_number = page.events[fitting - 1].number if fitting else event.number
                break
            raws.append(Raw(raw))
            if len(raws) == len(page.events) or page.events[len(raws)].number != event.number:
                fitting = len(raws)
        reply = EventsReply(
            id=request.id,
            outcome="ok",
            header=replace(header, missed=page.missed),
            next=next_number,
            events=cast("tuple[Event, ...]", tuple(raws[:fitting])),
        )
        return encode(reply)
