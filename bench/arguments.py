"""Argument types of the benchmark commands."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Collection

LARGE = 1e8


def listed(known: Collection[str], what: str) -> Callable[[str], list[str]]:
    """Return a parser of names separated by commas; it refuses unknown ones."""

    def names(text: str) -> list[str]:
        asked = [name.strip() for name in text.split(",") if name.strip()]
        for name in asked:
            if name not in known:
                raise argparse.ArgumentTypeError(f"there is no {what} {name!r}, only {', '.join(known)}")
        return asked

    return names


def positive(number: type[int] | type[float]) -> Callable[[str], float]:
    """Return a parser of numbers above 0."""

    def value(text: str) -> float:
        try:
            given = number(text)
        except ValueError:
            given = number(0)
        if not 0 < given < LARGE:
            raise argparse.ArgumentTypeError(f"{text!r} is not a number above 0")
        return given

    return value
