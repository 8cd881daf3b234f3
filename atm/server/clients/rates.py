"""How often each client may ask: a bucket of tokens for each identity or, without TLS, each address."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from threading import Lock

TELL_AGAIN_S = 60.0  # of a client that is refused
BURST_S = 2.0  # requests of so long may come at once
KEPT_MAX = 10_000  # clients whose rates are kept; the ones that were heard of longest ago are forgotten


class Rate:
    """The requests of one client, over all its connections to this server. For the reader's thread."""

    def __init__(
        self, owner: str, per_s: int, clock: Callable[[], float], tell: Callable[[str, str], None]
    ) -> None:
        self._owner = owner
        self._tell = tell
        self._tell_at_s = -math.inf
        self.refusal = (
            f"{owner} asks more often than one client may, {per_s} times a second: slow down and ask again"
        )
        self._per_s = per_s
        self._clock = clock
        self._tokens = self._tokens_max = per_s * BURST_S
        self._filled_s = clock()

    def allows(self) -> bool:
        """Count a request; return whether it may be made."""
        now_s = self._clock()
        self._tokens = min(self._tokens_max, self._tokens + (now_s - self._filled_s) * self._per_s)
        self._filled_s = now_s
        if self._tokens < 1:
            if now_s >= self._tell_at_s:
                self._tell_at_s = now_s + TELL_AGAIN_S
                self._tell(self._owner, self.refusal)
            return False
        self._tokens -= 1
        return True


class Rates:
    """The rates of all clients. Only `of` may be called by any thread."""

    def __init__(
        self,
        per_s: int,
        clock: Callable[[], float] = time.monotonic,
        tell: Callable[[str, str], None] = lambda owner, refusal: None,
    ) -> None:
        """`tell` is called with a client and why it is refused, by the reader's thread."""
        self._per_s = per_s
        self._tell = tell
        self._clock = clock
        self._lock = Lock()  # guards _rates
        self._rates: dict[str, Rate] = {}  # the one that connected longest ago first

    def of(self, owner: str) -> Rate:
        """Return the rate of this identity or address, the same one for all its connections."""
        with self._lock:
            rate = self._rates.pop(owner, None) or Rate(owner, self._per_s, self._clock, self._tell)
            self._rates[owner] = rate
            if len(self._rates) > KEPT_MAX:
                del self._rates[next(iter(self._rates))]
            return rate
