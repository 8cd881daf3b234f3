"""The one way in which a server's parts tell its operator something: an event, in a line."""

from __future__ import annotations

import logging
from collections.abc import Callable

Field = str | int | float | bool | None

RESERVED = frozenset({"time", "level", "node", "event", "message"})  # what a line has besides its fields


class EventRecord(logging.LogRecord):
    """One event. `about` and `lines_max` are those of the `Logger` that wrote it."""

    def __init__(
        self, level: int, event: str, message: str, fields: dict[str, Field], about: str, lines_max: int
    ) -> None:
        super().__init__("atm", level, "", 0, message, None, None)
        self.event = event
        self.fields = fields
        self.about = about
        self.lines_max = lines_max


class Logger:
    """Writes events to a handler; any thread may use it, and it never waits for whoever reads them.

    Each method takes the name of the event, which is documented in docs/operations.md, a message for people,
    and what programs may want to know of it, under names that are not `RESERVED`. The level says what an
    operator has to do: error, at once; warning, soon, unless the next lines tell that it is over; info,
    nothing; debug is what is looked at while a fault is searched.
    """

    def __init__(self, handler: logging.Handler, *, about: str = "", lines_max: int = 0) -> None:
        self._handler = handler
        self._about, self._lines_max = about, lines_max

    def about(self, whom: str, lines_max: int) -> Logger:
        """Return a logger of lines that others cause: each line once a minute, and so many different ones.

        What is left out of them hides no line about anybody else. There must be a bound to the number of
        different `whom`.
        """
        return Logger(self._handler, about=whom, lines_max=lines_max)

    def debug(self, event: str, message: str, /, **fields: Field) -> None:
        self._write(logging.DEBUG, event, message, fields)

    def info(self, event: str, message: str, /, **fields: Field) -> None:
        self._write(logging.INFO, event, message, fields)

    def warning(self, event: str, message: str, /, **fields: Field) -> None:
        self._write(logging.WARNING, event, message, fields)

    def error(self, event: str, message: str, /, **fields: Field) -> None:
        self._write(logging.ERROR, event, message, fields)

    def _write(self, level: int, event: str, message: str, fields: dict[str, Field]) -> None:
        if level >= self._handler.level:
            assert not RESERVED & fields.keys(), event
            self._handler.handle(EventRecord(level, event, message, fields, self._about, self._lines_max))


class Collected(logging.Handler):
    """A handler that calls `take` with each event, at once: for tests, and programs that are no server."""

    def __init__(self, take: Callable[[EventRecord], None], level: int = logging.DEBUG) -> None:
        super().__init__(level)
        self._take = take

    def emit(self, record: logging.LogRecord) -> None:
        assert isinstance(record, EventRecord)
        self._take(record)
