"""Amounts as other programs write them, with sign, separators and currency: exact minor units, or refused."""

from __future__ import annotations

import re
from typing import Literal

from atm.currencies import FIRST_MINOR_UNITS
from atm.money import DIGITS_MAX
from atm.office.foreign.entries import NotCarried

_WORDS = {0: "no", 2: "two"}

Point = Literal[".", ","]

_SPACES = "' \u00a0\u2009\u202f"  # what else stands between thousands
_SIGN = "[-+\u2212]"
_SYMBOL = r"""[^-+\u22120-9.,;:@={}()\[\]*'"\s]+|"[^"]+\""""
_AMOUNT = re.compile(
    rf"(?P<sign>{_SIGN})?\s*(?P<left>{_SYMBOL})?\s*(?P<inner>{_SIGN})?\s*"
    rf"(?P<number>[0-9](?:[0-9.,{_SPACES}]*[0-9])?)\s*(?P<behind>-)?\s*(?P<right>{_SYMBOL})?"
)
_NUMBERS = {
    point: re.compile(
        rf"(?P<whole>[0-9]+|[0-9]{{1,3}}(?P<comma>[{other}{_SPACES}])[0-9]{{3}}(?:(?P=comma)[0-9]{{3}})*)"
        rf"(?:{re.escape(point)}(?P<decimals>[0-9]+))?"
    )
    for point, other in ((".", ","), (",", "."))
}


def exact_amount(text: str, point: Point, decimals_max: int = FIRST_MINOR_UNITS) -> tuple[int, str]:
    """Return minor units and the currency beside them, empty if there is none; raise `NotCarried`.

    At most so many decimals, also if the others are zeros: `1.000` may be a thousand in a file whose decimal
    point was not told. A sign stands before all, before the number, or (as `-`) behind the number.
    """
    found = _AMOUNT.fullmatch(text.strip())
    number = found and _NUMBERS[point].fullmatch(found["number"])
    if found is None or number is None:
        raise NotCarried(f"{text.strip()!r} is no amount with {point!r} as its decimal point")
    signs = [sign for sign in (found["sign"], found["inner"], found["behind"]) if sign]
    if len(signs) > 1 or (found["left"] and found["right"]):
        raise NotCarried(f"{text.strip()!r} has two signs, or two currencies")
    decimals = number["decimals"] or ""
    if len(decimals) > decimals_max:
        many = f"more than {_WORDS.get(decimals_max, decimals_max)} decimals"
        raise NotCarried(f"{text.strip()!r} has {many}, with {point!r} as its decimal point")
    whole, whole_digits_max = re.sub("[^0-9]", "", number["whole"]), DIGITS_MAX - decimals_max
    if len(whole.lstrip("0")) > whole_digits_max:
        raise NotCarried(f"{text.strip()!r} has more than {whole_digits_max} digits before the decimal point")
    minor = int(whole + decimals.ljust(decimals_max, "0"))
    currency = (found["left"] or found["right"] or "").strip('"')
    return (-minor if signs and signs[0] != "+" else minor), currency
