"""How much a server holds of requests that are under way, counted in slots of a KiB."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from typing import Protocol

from atm.wire.client_messages import ClientRequest

SLOT_BYTES = 1024  # hold any receipt
SLOTS_MAX = 128 * 1024  # of all connections: 128 MiB
RECOUNT_S = 0.01


class Holder(Protocol):
    """A connection, as far as its slots matter."""

    @property
    def slots_under_way(self) -> int:
        """How many slots its requests have taken and not given back."""


def slots(request: ClientRequest, request_bytes: int = 0) -> int:
    """Return how many slots a request takes: as many as its reply may fill, or as it fills itself."""
    return -(-max(request.answer_bytes_max, request_bytes) // SLOT_BYTES)  # rounded up


class SlotCount:
    """How many slots all connections have taken. For the reader's thread.

    What is given back is not counted one by one but from time to time, when it might have become too much.
    """

    def __init__(
        self, holders: Callable[[], Iterable[Holder]], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._holders = holders
        self._clock = clock
        self._at_most = 0
        self._counted_s = float("-inf")

    def take(self, number: int) -> bool:
        """Count so many more; return whether there are as many."""
        if self._at_most + number > SLOTS_MAX:
            now_s = self._clock()
            if now_s - self._counted_s < RECOUNT_S:
                return False
            self._counted_s = now_s
            self._at_most = sum(holder.slots_under_way for holder in self._holders())
            if self._at_most + number > SLOTS_MAX:
                return False
        self._at_most += number
        return True
