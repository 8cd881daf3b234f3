"""Amounts of people, in decimals, to and from the bank's integer minor units."""

from __future__ import annotations

import re
from functools import lru_cache

from atm.currencies import MINOR_UNITS, minor_units

MINOR_PER_MAJOR = 100  # in the bank's first currency
DIGITS_MAX = 14  # with the decimals: 99,999,999,999,999 minor units at most

_THOUSANDS = r"[1-9][0-9]{0,2}(?:,[0-9]{3})+"  # 0,500 is rather a half
_WITH_COMMAS = re.compile(r"[0-9.]*,[0-9.,]*")
_NUMBERS = {1: "one decimal", 2: "two decimals", 3: "three decimals", 4: "four decimals"}


COMMA_RULE = (
    "An amount has a point before its decimals, and commas only between thousands, such as 12.50 or 1,234.50"
)


class AmountError(Exception):
    """The text is no amount of money; `str()` of it is a line for people."""


def parse_amount(text: str, currency: str | None = None) -> int:
    """Return the minor units of `text`: `"5000"` is 5000_00, `"12.5"` and `"12.50"` are 12_50.

    Only digits, with as many decimals at most as the currency has (None: two, the bank's first one), and
    commas between all thousands or none: `"1,234"` is no decimal. No sign, no exponent, no spaces.
    Raise `AmountError` for all else, for zero, and for more digits before the point than the bank takes.
    """
    if currency is not None and currency not in MINOR_UNITS:
        raise AmountError(f"Amounts in {currency} are not known to this release: update it")
    decimals_max = minor_units(currency)
    match = _pattern(decimals_max).fullmatch(text)
    if match is None and _WITH_COMMAS.fullmatch(text):
        raise AmountError(COMMA_RULE)
    if match is None:
        raise AmountError(_rule(currency, decimals_max))
    whole, decimals = match.group(1).replace(",", ""), match.group(2) or ""
    if len(whole) > DIGITS_MAX - decimals_max:
        raise AmountError(
            f"An amount has at most {DIGITS_MAX - decimals_max} digits before the decimal point"
        )
    amount_minor = int(whole + decimals.ljust(decimals_max, "0"))
    if amount_minor == 0:
        raise AmountError("An amount must be more than zero")
    return amount_minor


def format_amount(
    amount_minor: int, currency: str | None = None, *, separated: bool = False, in_column: bool = False
) -> str:
    """Return the amount as people write it, with the currency behind it unless that is the bank's first.

    Whole amounts of the first currency have no decimals; all others have as many as their currency.
    `separated`, it has commas between thousands. In a column it has them, too, and all have their decimals,
    so that their points are aligned.
    """
    if currency is not None and currency not in MINOR_UNITS:  # of a newer release
        return f"{amount_minor} minor units of {currency}"
    decimals_max = minor_units(currency)
    sign = "-" if amount_minor < 0 else ""
    whole, decimals = divmod(abs(amount_minor), 10**decimals_max)
    digits = f"{whole:,}" if separated or in_column else str(whole)
    if decimals_max and (decimals or in_column or currency is not None):
        digits = f"{digits}.{decimals:0{decimals_max}d}"
    return f"{sign}{digits}" if currency is None else f"{sign}{digits} {currency}"


@lru_cache
def _pattern(decimals_max: int) -> re.Pattern[str]:
    # [0-9], for \d takes the digits of every script.
    decimals = rf"(?:\.([0-9]{{1,{decimals_max}}}))?" if decimals_max else r"()"
    return re.compile(rf"([0-9]+|{_THOUSANDS}){decimals}")


def _rule(currency: str | None, decimals_max: int) -> str:
    what = "An amount" if currency is None else f"An amount in {currency}"
    if not decimals_max:
        return f"{what} is a positive number without decimals, such as 12"
    example = "12.5".ljust(3 + decimals_max, "0")
    return f"{what} is a positive number with at most {_NUMBERS[decimals_max]}, such as {example}"
