"""The two forms of a line: text for people, JSON for programs. No message ends its line or begins another."""

from __future__ import annotations

import json
import logging
import math
from datetime import UTC, datetime

from atm.server.logger.logger import EventRecord, Field

LINE_BYTES_MAX = 4096  # with its newline: a pipe takes so much in one piece, whoever else writes to it
CLIPPED_CHARS = (2000, 600, 150, 30)  # of a message or field whose line would be longer, one after the other
CLIPPED = "…"


class LineFormatter(logging.Formatter):
    """Formats an event as one line, without its newline, of less than `LINE_BYTES_MAX`."""

    def __init__(self, node: str) -> None:
        super().__init__()
        self._node = node

    def format(self, record: logging.LogRecord) -> str:
        assert isinstance(record, EventRecord)
        for chars_max in CLIPPED_CHARS:
            line = self._line(record, chars_max)
            if len(line.encode()) < LINE_BYTES_MAX:
                return line
        return self._line(EventRecord(record.levelno, record.event, CLIPPED, {}, "", 0), 1)

    def _line(self, record: EventRecord, chars_max: int) -> str:
        raise NotImplementedError


class TextFormatter(LineFormatter):
    """`2026-11-30T06:10:12.345Z INFO n2 the message`; fields are for programs, the message says all."""

    def _line(self, record: EventRecord, chars_max: int) -> str:
        message = _clipped(escaped(record.msg), chars_max)
        return f"{_time(record)} {record.levelname} {self._node} {message}"


class JsonFormatter(LineFormatter):
    """An object with time, level, node, event, message, and the fields of the event; ASCII only."""

    def _line(self, record: EventRecord, chars_max: int) -> str:
        line: dict[str, Field] = {
            "time": _time(record),
            "level": record.levelname.lower(),
            "node": self._node,
            "event": record.event,
            "message": _clipped(record.msg, chars_max),
        }
        for name, value in record.fields.items():
            line[name] = _told(value, chars_max)
        return json.dumps(line, separators=(",", ":"), allow_nan=False)


FORMATTERS: dict[str, type[LineFormatter]] = {"text": TextFormatter, "json": JsonFormatter}


def escaped(text: str) -> str:
    """Return the text with whatever could move a cursor or break a line as an escape, such as `\\n`."""
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else ascii(char)[1:-1] for char in text)


def _time(record: EventRecord) -> str:
    at = datetime.fromtimestamp(record.created, UTC)
    return f"{at:%Y-%m-%dT%H:%M:%S}.{at.microsecond // 1000:03d}Z"


def _clipped(text: str, chars_max: int) -> str:
    """Return text that UTF-8 can hold, and no longer than that."""
    text = text if len(text) <= chars_max else text[: chars_max - 1] + CLIPPED
    return text.encode("utf-8", "backslashreplace").decode()


def _told(value: Field, chars_max: int) -> Field:
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return _clipped(value, chars_max) if isinstance(value, str) else value
