"""Seeds as they are given on a command line."""

from __future__ import annotations


def seed_range(text: str) -> range:
    """Return the seeds of `7` or of `0-999`, both ends included."""
    first, _, last = text.partition("-")
    return range(int(first), int(last or first) + 1)
