"""Amounts of people, in decimals, to and from the bank's integer minor units."""

from __future__ import annotations

import re

WHOLE_DIGITS_MAX = 12  # with the two decimals: 99,999,999,999,999 minor units at most
MINOR_PER_MAJOR = 100

_THOUSANDS = r"[1-9][0-9]{0,2}(?:,[0-9]{3})+"  # 0,500 is rather a half
# [0-9], for \d takes the digits of every script.
_AMOUNT = re.compile(rf"([0-9]+|{_THOUSANDS})(?:\.([0-9]{{1,2}}))?")
_WITH_COMMAS = re.compile(r"[0-9.]*,[0-9.,]*")


COMMA_RULE = (
    "An amount has a point before its decimals, and commas only between thousands, such as 12.50 or 1,234.50"
)


class AmountError(Exception):
    """The text is no amount of money; `str()` of it is a line for people."""


def parse_amount(text: str) -> int:
    """Return the minor units of `text`: `"5000"` is 5000_00, `"12.5"` and `"12.50"` are 12_50.

    Only digits, with one or two decimals at most, and commas between all thousands or none: as no amount has
    three decimals, `"1,234"` can mean nothing else. No sign, no exponent, no spaces.
    Raise `AmountError` for all else, for zero, and for more than twelve digits before the point.
    """
    match = _AMOUNT.fullmatch(text)
    if match is None and _WITH_COMMAS.fullmatch(text):
        raise AmountError(COMMA_RULE)
    if match is None:
        raise AmountError("An amount is a positive number with at most two decimals, such as 12.50")
    whole, decimals = match.group(1).replace(",", ""), match.group(2) or ""
    if len(whole) > WHOLE_DIGITS_MAX:
        raise AmountError(f"An amount has at most {WHOLE_DIGITS_MAX} digits before the decimal point")
    amount_minor = int(whole) * MINOR_PER_MAJOR + int(decimals.ljust(2, "0"))
    if amount_minor == 0:
        raise AmountError("An amount must be more than zero")
    return amount_minor


def format_amount(amount_minor: int, *, separated: bool = False, in_column: bool = False) -> str:
    """Return the amount as people write it: whole amounts without decimals, others with two.

    `separated`, it has commas between thousands. In a column it has them, too, and all have two decimals, so
    that their points are aligned.
    """
    sign = "-" if amount_minor < 0 else ""
    whole, decimals = divmod(abs(amount_minor), MINOR_PER_MAJOR)
    digits = f"{whole:,}" if separated or in_column else str(whole)
    return f"{sign}{digits}.{decimals:02d}" if decimals or in_column else f"{sign}{digits}"
