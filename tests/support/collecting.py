"""A logger whose lines a test can read."""

from __future__ import annotations

import logging

from atm.server.logger.logger import Collected, EventRecord, Logger


def collecting(lines: list[str], *, level: int = logging.WARNING) -> Logger:
    """Return a logger that appends the message of each event of this level or a higher one."""
    return Logger(Collected(lambda record: lines.append(record.msg), level))


def collecting_events(events: list[EventRecord], event: str) -> Logger:
    """Return a logger that appends each event of this name."""
    return Logger(Collected(lambda record: events.append(record) if record.event == event else None))
