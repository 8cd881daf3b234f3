"""The arguments of commands; each is refused by an `InvalidCommand` that says what would be right."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from atm.client.errors import InvalidAccount
from atm.client.request_rules import TEXT_RULE, check_account
from atm.ledger.commands import CODE_MAX, HOLD_MS_MAX, PAGE_LINES_MAX, RequestId, Text
from atm.money import AmountError, parse_amount
from atm.timestamps import TimestampError, parse_timestamp

INVALID = "Invalid command"
MINUTE_MS = 60_000
POSTING_MAX = 2**63 - 1
REFERENCE_RULE = "A reference is what the teller printed as one, without spaces, such as 1M81TYHJ6Q912PEARJX5"

_NUMBER = re.compile(r"[0-9]{1,19}")


class InvalidCommand(Exception):
    """The line is no command; `str()` of it is a line for people."""


def form_hint(form: str) -> str:
    """Return the line for a command in a wrong form: it names the right one."""
    return f"{INVALID}: its form is {form}"


def read_amount(text: str) -> int:
    """Return an amount in minor units."""
    try:
        return parse_amount(text)
    except AmountError as error:
        raise InvalidCommand(str(error)) from None


def is_amount(text: str) -> bool:
    """Return whether an argument is an amount, rather than a reference."""
    try:
        parse_amount(text)
    except AmountError:
        return False
    return True


def read_account(name: str) -> str:
    """Return what can be an account's name."""
    try:
        check_account(name)
    except InvalidAccount as error:
        raise InvalidCommand(str(error)) from None
    return name


def read_reference(text: str) -> str:
    """Return what can be a reference."""
    try:
        return msgspec.convert(text, RequestId)
    except msgspec.ValidationError:
        raise InvalidCommand(REFERENCE_RULE) from None


def read_text(text: str) -> str:
    """Return what can be said of a posting."""
    try:
        return msgspec.convert(text, Text)
    except msgspec.ValidationError:
        raise InvalidCommand(TEXT_RULE) from None


def read_number(text: str, maximum: int, what: str) -> int:
    """Return a whole number from 1 to `maximum`; `what` begins the line that refuses another."""
    if _NUMBER.fullmatch(text) and 0 < int(text) <= maximum:
        return int(text)
    raise InvalidCommand(f"{what} must be from 1 to {maximum}")


def read_timestamp(date: str, time: str | None) -> int:
    """Return a date, or a date and a time, in microseconds since 1970."""
    try:
        return parse_timestamp(date if time is None else f"{date} {time}")
    except TimestampError as error:
        raise InvalidCommand(str(error)) from None


def _day(text: str) -> str:
    if len(text) != len("2026-11-22"):
        raise InvalidCommand("A day is a date (UTC), such as 2026-11-22")
    return text


# By the argument's name in a form. A date is read together with its time, a command by the row of `help`.
READERS: Mapping[str, Callable[[str], Any]] = {
    "account": read_account,
    "amount": read_amount,
    "reference": read_reference,
    "more": str,  # the word itself
    "minutes": lambda text: read_number(text, HOLD_MS_MAX // MINUTE_MS, "The number of minutes"),
    "n": lambda text: read_number(text, PAGE_LINES_MAX, "The number of lines"),
    "posting": lambda text: read_number(text, POSTING_MAX, "The number of a posting"),
    "entry": lambda text: read_number(text, POSTING_MAX, "The number of a log entry"),
    "date": str,
    "first-day": lambda text: read_timestamp(_day(text), None),
    "last-day": lambda text: read_timestamp(_day(text), None),
    "time": str,
    "code": lambda text: read_number(text, CODE_MAX, "A code"),
    "text": read_text,
    "command": str,
}
