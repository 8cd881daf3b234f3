"""The queue for hashing PINs: bounded, and fair between those on whose behalf threads wait in it."""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from threading import Lock

AT_ONCE_MAX = 2  # hashes; bounds the memory, and leaves processor time to the run loop
REQUESTS_MAX = 64  # that hold a place; each has at most four PINs
ACCOUNT_REQUESTS_MAX = 4  # of these, for one account: a flood against one account leaves room for all others
RECENT_S = 5.0  # turns count for so long


class PinQueueFull(Exception):
    """There is no place for another request at the moment, or another one needed it more."""


class HashRequest:
    """A request that holds a place: for whom, and about which accounts."""

    def __init__(self, owner: str, accounts: Collection[str]) -> None:
        self.owner = owner
        self.accounts = frozenset(accounts)


class _Wait:
    """A thread's waiting for a turn."""

    def __init__(self) -> None:
        self.in_vain = False  # its request had to give way
        self.end = Lock()
        self.end.acquire()


class PinQueue:
    """Each thread that has PINs to hash takes a place, then a turn for each PIN; any thread may use it.

    A turn goes to the owner that had fewest lately, so an owner that floods waits behind its own requests and
    nobody else does. Among equals turns are given in the order in which they were asked for; as a connection
    has one thread, between two turns of one every other one of that owner has its own.

    With all places taken, whoever would be served last gives way to a newcomer who would be served before.
    """

    def __init__(
        self,
        *,
        at_once_max: int = AT_ONCE_MAX,
        requests_max: int = REQUESTS_MAX,
        account_requests_max: int = ACCOUNT_REQUESTS_MAX,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._requests_max = requests_max
        self._account_requests_max = account_requests_max
        self._clock = clock
        self._lock = Lock()  # guards all below; never held while hashing
        self._places: set[HashRequest] = set()
        self._turns_free = at_once_max
        self._waiting: dict[HashRequest, _Wait] = {}  # in order of arrival
        self._recent: deque[tuple[float, str]] = deque()  # turns: when, of which owner
        self._turns_of_owner: Counter[str] = Counter()  # of the recent ones

    @property
    def requests(self) -> int:
        """How many requests hold a place."""
        return len(self._places)

    @contextmanager
    def place(self, owner: str, accounts: Collection[str]) -> Iterator[HashRequest]:
        """Hold a place for a request of this owner about these accounts; raise `PinQueueFull`."""
        request = HashRequest(owner, accounts)
        with self._lock:
            if any(self._requests_about(name) >= self._account_requests_max for name in accounts):
                raise PinQueueFull
            if len(self._places) >= self._requests_max:
                self._displace_one_for(request)
            self._places.add(request)
        try:
            yield request
        finally:
            with self._lock:
                self._places.discard(request)

    @contextmanager
    def turn(self, request: HashRequest) -> Iterator[None]:
        """Wait for a turn to hash a PIN, and keep it for the block; raise `PinQueueFull`."""
        with self._lock:
            wait = None
            if self._turns_free:
                self._turns_free -= 1
                self._note_turn(request.owner)
            else:
                wait = self._waiting[request] = _Wait()
        if wait is not None:
            wait.end.acquire()
            if wait.in_vain:
                raise PinQueueFull
        try:
            yield
        finally:
            self._pass_on()

    def _pass_on(self) -> None:
        """Give the turn to one that waits; a thread that comes just now does not overtake it."""
        with self._lock:
            self._forget_old_turns()
            if self._waiting:
                request = min(self._waiting, key=self._rank)
                wait = self._waiting.pop(request)
                self._note_turn(request.owner)
                wait.end.release()
            else:
                self._turns_free += 1

    # -- the lock is held ------------------------------------------------------------------------------

    def _rank(self, request: HashRequest) -> int:
        """Return what is lowest for the one that is next; among equals the one that came first is."""
        return self._turns_of_owner[request.owner]

    def _requests_about(self, account: str) -> int:
        return sum(account in request.accounts for request in self._places)

    def _displace_one_for(self, newcomer: HashRequest) -> None:
        """Have the one that would be served last give way; raise `PinQueueFull` if that is the newcomer."""
        self._forget_old_turns()
        last = max(reversed(self._waiting), key=self._rank, default=newcomer)
        if self._rank(last) <= self._rank(newcomer):
            raise PinQueueFull
        self._places.discard(last)
        wait = self._waiting.pop(last)
        wait.in_vain = True
        wait.end.release()

    def _note_turn(self, owner: str) -> None:
        self._recent.append((self._clock(), owner))
        self._turns_of_owner[owner] += 1

    def _forget_old_turns(self) -> None:
        until_s = self._clock() - RECENT_S
        while self._recent and self._recent[0][0] <= until_s:
            _, owner = self._recent.popleft()
            self._turns_of_owner[owner] -= 1
            if not self._turns_of_owner[owner]:
                del self._turns_of_owner[owner]
