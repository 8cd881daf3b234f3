"""What both halves of the demo print and hand back."""

from __future__ import annotations

import time
from dataclasses import dataclass


@dataclass(frozen=True)
class Row:
    """One account's line of the closing table."""

    system: str
    died: str
    account: str
    unavailable_s: float
    by_hand: str


class Story:
    """Lines with the seconds since it began."""

    def __init__(self, title: str) -> None:
        self._began_s = time.monotonic()
        print(f"\n{title}\n{'-' * len(title)}", flush=True)

    def tell(self, line: str) -> None:
        """Print what happened now."""
        print(f"{time.monotonic() - self._began_s:5.1f} s  {line}", flush=True)

    def explain(self, *lines: str) -> None:
        """Print what it means."""
        for line in lines:
            print(f"         {line}", flush=True)
