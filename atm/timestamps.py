"""Dates and times of people, to and from the bank's microseconds since 1970.

All are UTC, as is the day of a daily limit: a bank's machines may be in several time zones.
"""

from __future__ import annotations

import re
import time
from datetime import UTC, datetime, timedelta

RULE = "A time is a date, or a date and a time in UTC, such as 2026-11-22 or 2026-11-22 10:00"

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_FORM = re.compile(r"([0-9]{4}-[0-9]{2}-[0-9]{2})(?:[ T]([0-9]{2}:[0-9]{2})(:[0-9]{2})?Z?)?")


class TimestampError(Exception):
    """The text is no time; `str()` of it is a line for people."""


def parse_timestamp(text: str) -> int:
    """Return the last microsecond of the day, minute or second that `text` names; raise `TimestampError`.

    So the balance at a day is that day's last, and the balance at a posting's time includes the posting.
    """
    match = _FORM.fullmatch(text)
    if match is None:
        raise TimestampError(RULE)
    date, minute, second = match.groups()
    whole = timedelta(days=1) if minute is None else timedelta(seconds=60 if second is None else 1)
    try:
        first = datetime.fromisoformat(f"{date}T{minute or '00:00'}{second or ':00'}+00:00")
        time_us = (first - _EPOCH + whole - _MICROSECOND) // _MICROSECOND
    except (ValueError, OverflowError):
        raise TimestampError(RULE) from None
    if time_us < 0:
        raise TimestampError("The bank's time begins with the year 1970")
    return time_us


def format_local(time_us: int) -> str:
    """Return the time as the clocks here show it, such as `2026-11-22 11:00:05 CET`."""
    try:
        return (_EPOCH + timedelta(microseconds=time_us)).astimezone().strftime("%Y-%m-%d %H:%M:%S %Z")
    except (OverflowError, ValueError):
        return f"{time_us} us"


def is_utc_here() -> bool:
    """Return whether the clocks here show UTC, this summer and this winter."""
    return time.timezone == 0 and not time.daylight


def format_timestamp(time_us: int) -> str:
    """Return the time to the second, such as `2026-11-22 10:00:05`; fractions are cut off.

    A time that no calendar has, as a false server may name one, is shown as its microseconds.
    """
    try:
        return (_EPOCH + timedelta(microseconds=time_us)).strftime("%Y-%m-%d %H:%M:%S")
    except OverflowError:
        return f"{time_us} us"
