"""The arguments of commands; each is refused by an `InvalidCommand` that says what would be right."""

from __future__ import annotations

import re

import msgspec

from atm.client.errors import InvalidAccount
from atm.client.request_rules import check_account
from atm.ledger.commands import PAGE_LINES_MAX, RequestId
from atm.money import AmountError, parse_amount
from atm.teller.timestamps import TimestampError, parse_timestamp
from atm.teller.words import WORDS

INVALID = "Invalid command"
PAGE_LINES = 10
POSTING_MAX = 2**63 - 1
REFERENCE_RULE = "A reference is what the teller printed as one, without spaces, such as 1M81TYHJ6Q912PEARJX5"

_NUMBER = re.compile(r"[0-9]{1,19}")


class InvalidCommand(Exception):
    """The line is no command; `str()` of it is a line for people."""


def read_page(word: str, page: list[str]) -> tuple[int, int | None]:
    """Return how many lines a page has, and before which posting it begins."""
    match page:
        case []:
            limit, before = None, None
        case ["before", posting]:
            limit, before = None, posting
        case [count]:
            limit, before = count, None
        case [count, "before", posting]:
            limit, before = count, posting
        case _:
            raise InvalidCommand(f"{INVALID}: its form is {WORDS[word].form}")
    return (
        PAGE_LINES if limit is None else read_number(limit, PAGE_LINES_MAX, "A page has a number of lines"),
        None if before is None else read_number(before, POSTING_MAX, "A posting has a number"),
    )


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


def read_number(text: str, maximum: int, rule: str) -> int:
    """Return a whole number from 1 to `maximum`; `rule` begins the line that says so."""
    if _NUMBER.fullmatch(text) and 0 < int(text) <= maximum:
        return int(text)
    raise InvalidCommand(f"{rule}, from 1 to {maximum}")


def read_timestamp(words: list[str]) -> int:
    """Return a moment in microseconds since 1970."""
    try:
        return parse_timestamp(" ".join(words))
    except TimestampError as error:
        raise InvalidCommand(str(error)) from None
