"""Files of events: a header and then an event on each line, as JSON; and several of them side by side."""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator, Sequence

import msgspec
from msgspec import DecodeError, Struct

from atm.events.event import FORMAT, Event, Header

_encode = msgspec.json.Encoder().encode
_header = msgspec.json.Decoder(Header)
_event = msgspec.json.Decoder(Event)


class NotEvents(Exception):
    """This is no file of events, or not one that this release reads; `str()` is a line for people."""


class Recording(Struct, frozen=True):
    """The events of one node, in order."""

    header: Header
    events: list[Event]


def lines_of(header: Header, events: Iterable[Event]) -> Iterator[bytes]:
    """Yield the lines of a file, each with its end."""
    yield _encode(header) + b"\n"
    for event in events:
        yield _encode(event) + b"\n"


def read_lines(lines: Iterable[bytes | str]) -> list[Recording]:
    """Return what a file holds: a recording for each header in it. Raise `NotEvents`, with the line's number.

    A last line that is cut off is left out, as when the disk was full. Fields of a newer release are ignored,
    its kinds are kept; another format is refused.
    """
    found: list[Recording] = []
    cut: str | None = None
    for number, line in enumerate(lines, 1):
        if cut is not None:
            raise NotEvents(cut)
        if not line.strip():
            continue
        try:
            if b'"format":' in (line.encode() if isinstance(line, str) else line)[:12]:
                found.append(Recording(_checked(_header.decode(line)), []))
            elif not found:
                raise NotEvents("line 1 is not the header of a file of events")
            else:
                found[-1].events.append(_event.decode(line))
        except (DecodeError, UnicodeDecodeError, RecursionError) as error:
            if number == 1:
                raise NotEvents(f"line 1 is not the header of a file of events: {error}") from error
            cut = f"line {number} is no event: {error}"  # unless it is the last one
    if not found:
        raise NotEvents("it is empty")
    return found


def _checked(header: Header) -> Header:
    if header.format != FORMAT:
        raise NotEvents(f"it has format {header.format}, which this release does not read: use a newer one")
    return header


def merged(recordings: Sequence[Recording]) -> list[tuple[int, Event]]:
    """Return all events in the order of time, each with its wall time in microseconds since 1970.

    Events of one node stay in their order. Clocks of several machines may differ by what they are apart.
    """
    return list(heapq.merge(*map(_timed, recordings), key=lambda timed: timed[0]))


def _timed(recording: Recording) -> Iterator[tuple[int, Event]]:
    for event in recording.events:
        yield recording.header.wall_time_us(event), event
