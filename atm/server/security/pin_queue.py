"""The queue for hashing PINs: bounded, and fair between the threads that wait in it."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from threading import Lock

AT_ONCE_MAX = 2  # hashes; bounds the memory, and leaves processor time to the run loop
REQUESTS_MAX = 64  # that hold a place; each has at most four PINs
ACCOUNT_REQUESTS_MAX = 4  # of these, for one account: a flood against one account leaves room for all others


class PinQueueFull(Exception):
    """There is no place for another request at the moment."""


class PinQueue:
    """Each thread that has PINs to hash takes a place, then a turn for each PIN; any thread may use it.

    Turns are given in the order in which they were asked for, and a connection has one thread. So between two
    turns of one connection every other one that waits has had its own.
    """

    def __init__(
        self,
        *,
        at_once_max: int = AT_ONCE_MAX,
        requests_max: int = REQUESTS_MAX,
        account_requests_max: int = ACCOUNT_REQUESTS_MAX,
    ) -> None:
        self._requests_max = requests_max
        self._account_requests_max = account_requests_max
        self._lock = Lock()  # guards all below; never held while hashing
        self._requests = 0
        self._of_account: Counter[str] = Counter()
        self._turns_free = at_once_max
        self._waiting: deque[Lock] = deque()  # each is released to give its turn

    @property
    def requests(self) -> int:
        """How many requests hold a place."""
        return self._requests

    @contextmanager
    def place(self, accounts: Collection[str]) -> Iterator[None]:
        """Hold a place for a request about these accounts, each named once; raise `PinQueueFull`."""
        with self._lock:
            full = any(self._of_account[name] >= self._account_requests_max for name in accounts)
            if full or self._requests >= self._requests_max:
                raise PinQueueFull
            self._requests += 1
            self._of_account.update(accounts)
        try:
            yield
        finally:
            with self._lock:
                self._requests -= 1
                self._of_account -= Counter(accounts)  # drops those that are 0

    @contextmanager
    def turn(self) -> Iterator[None]:
        """Wait for a turn, and keep it for the block."""
        with self._lock:
            gate = None
            if self._turns_free:
                self._turns_free -= 1
            else:
                gate = Lock()
                gate.acquire()
                self._waiting.append(gate)
        if gate is not None:
            gate.acquire()  # until `_pass_on` releases it
        try:
            yield
        finally:
            self._pass_on()

    def _pass_on(self) -> None:
        """Give the turn to who has waited longest; a thread that comes just now does not overtake it."""
        with self._lock:
            if self._waiting:
                self._waiting.popleft().release()
            else:
                self._turns_free += 1
