"""The arguments of commands; each is refused by an `InvalidCommand` that says what would be right."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any

import msgspec

from atm.client.errors import InvalidAccount
from atm.client.request_rules import TEXT_RULE, check_account
from atm.currencies import MINOR_UNITS
from atm.ledger.commands import CODE_MAX, HOLD_MS_MAX, PAGE_LINES_MAX, RequestId, Text
from atm.money import AmountError, parse_amount
from atm.timestamps import TimestampError, parse_timestamp

INVALID = "Invalid command"
MINUTE_MS = 60_000
POSTING_MAX = 2**63 - 1
REFERENCE_RULE = "A reference is what the teller printed as one, without spaces, such as 1M81TYHJ6Q912PEARJX5"

MOST_DECIMALS = max(MINOR_UNITS, key=lambda code: (MINOR_UNITS[code], code))

_DIGITS = re.compile(r"[0-9][0-9.,]*")
_NUMBER = re.compile(r"[0-9]{1,19}")


class InvalidCommand(Exception):
    """The line is no command; `str()` of it is a line for people."""


def form_hint(form: str) -> str:
    """Return the line for a command in a wrong form: it names the right one."""
    return f"{INVALID}: its form is {form}"


def read_amount(text: str, currency: str | None) -> int:
    """Return an amount in minor units of a currency, None: of the bank's first one."""
    try:
        return parse_amount(text, currency)
    except AmountError as error:
        raise InvalidCommand(str(error)) from None


def is_amount(text: str) -> bool:
    """Return whether an argument is an amount, in some currency, rather than a reference."""
    for currency in (None, MOST_DECIMALS):
        with suppress(AmountError):
            return parse_amount(text, currency) > 0
    return False


def join_currencies(words: Sequence[str]) -> list[str]:
    """Return the words with the code of a currency joined to the number before it, such as `12.50 EUR`."""
    joined: list[str] = []
    for word in words:
        if joined and word.upper() in MINOR_UNITS and _DIGITS.fullmatch(joined[-1]):
            joined[-1] += f" {word.upper()}"
        else:
            joined.append(word)
    return joined


def read_currency(text: str) -> str:
    """Return the code of a currency."""
    if text.upper() not in MINOR_UNITS:
        raise InvalidCommand("A currency is a code of ISO 4217 with minor units, such as EUR, JPY or BHD")
    return text.upper()


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
    "currency": read_currency,
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
