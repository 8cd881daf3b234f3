"""Who may be connected to a listener, and who gives way to a newcomer once all places are taken."""

from __future__ import annotations

import ipaddress
import time
from collections import Counter, deque
from collections.abc import Callable
from threading import Condition, Lock

from atm.config import is_loopback

# Connections that have given way and whose threads have not ended yet. They hold a descriptor each.
ENDING_MAX = 64
ENDING_S = 1.0  # a newcomer waits so long for some of them to end
NEW_S_MIN = 0.05  # every connection has so long to show what it is for, however many newcomers there are
LOSS_S = 0.004  # between two that give way: who connects again and again must not keep the processor busy
IDLE_S_MIN = 1.0  # a connection that was used gives way only after so long without a request
SEARCH_S = 0.1  # how often, at most, idle connections are looked for

Activity = Callable[[], int | None]


class Place:
    """What one connection occupies, in `pool`. `owner` is whom it counts for: an address, or an identity."""

    def __init__(self, pool: Places, owner: str, since_s: float) -> None:
        self.pool = pool
        self.owner = owner
        self.since_s = since_s  # since when it is new or, once it is kept, idle
        self.lost = False  # given to a newcomer
        self.mark: int | None = None  # its activity when that was looked at last
        self._lock = Lock()  # guards _end; held while it is called
        self._end: Callable[[], None] | None = None
        self._activity: Activity = lambda: None

    def __str__(self) -> str:
        return self.owner

    def bind(self, end: Callable[[], None], activity: Activity | None = None) -> bool:
        """Note that `end`, which does not wait, ends its connection; return False if it has no place.

        `activity` counts the connection's requests; None while one is under way. Without it a connection that
        is kept is never taken for idle.
        """
        if activity is not None:
            self._activity = activity
        with self._lock:
            self._end = end
        return not self.lost

    def unbind(self) -> None:
        """Have nothing ended any more: the socket is about to be closed."""
        with self._lock:
            self._end = None

    def keep(self) -> None:
        """Keep the place: the connection is not new any more. No effect on a place that is lost."""
        self.pool.keep(self)

    def leave(self) -> None:
        """Give the place back, for a connection that has ended or that needs none; may be repeated."""
        self.pool.leave(self)

    def regain(self) -> bool:
        """Have the place again: its connection has come to life. Return False if there are too many."""
        return self.pool.regain(self)

    def end(self) -> None:
        """Tell its connection that the place is lost; if that is not bound yet, it will see it."""
        with self._lock:
            if self._end is not None:
                self._end()

    @property
    def activity(self) -> int | None:
        """How many requests its connection has sent; None while one is under way."""
        return self._activity()


class Places:
    """So many places at one listener. Any thread may use them.

    A connection is new until it has shown what it is for, which ends by `keep` or `leave`. If all places are
    taken, a newcomer gets that of a new one, else that of one that is kept and idle: the oldest of the owner
    that has most of them. So who connects and says nothing displaces himself first, and keeps nobody out.
    """

    def __init__(
        self,
        count_max: int,
        *,
        of_one_max: int | None = None,
        new_s_max: float | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`of_one_max` bounds those of an owner, not the own machine's; a new one ends after `new_s_max`."""
        self._count_max = count_max
        self._of_one_max = of_one_max
        self._new_s_max = new_s_max
        self._clock = clock
        self._lock = Lock()  # guards what follows
        self._has_left = Condition(self._lock)
        self._new: dict[str, dict[Place, None]] = {}  # by owner, the oldest first
        self._kept: dict[Place, None] = {}
        self._counts: Counter[str] = Counter()  # by owner
        self._ending: set[Place] = set()  # lost, and their connections have not ended
        self._idle: deque[Place] = deque()  # kept ones that were idle, in the order of giving way
        self._searched_s = self._lost_s = float("-inf")

    def take(self, owner: str) -> Place | None:
        """Return a place for a new connection of this owner, None if there is none.

        Another connection may lose its place by that. Waits for a bounded time; for the accepting thread.
        """
        with self._lock:
            if not self._has_left.wait_for(lambda: len(self._ending) < ENDING_MAX, ENDING_S):
                return None
            oldest = self._oldest_new()
            if oldest is not None and self._is_full:
                left_s = max(oldest.since_s + NEW_S_MIN, self._lost_s + LOSS_S) - self._clock()
                self._has_left.wait_for(lambda: not self._is_full, left_s)
            loser = self._loser_to(owner)
            if loser is None and (self._is_full or self._has_all(owner)):
                return None
            place = Place(self, owner, self._clock())
            self._add_new(place)
        if loser is not None:
            loser.end()
        return place

    def give_to(self, place: Place, owner: str) -> bool:
        """Count a new connection's place for another owner; return False if that one has all it may have."""
        with self._lock:
            if not self._remove(place):
                return False
            loser = self._loser_to(owner)
            has_room = loser is not None or not self._has_all(owner)
            place.owner = owner if has_room else place.owner
            self._add_new(place)
        if loser is not None:
            loser.end()
        return has_room

    def keep(self, place: Place) -> None:
        with self._lock:
            if place not in self._kept and self._remove(place):
                self._add_kept(place)

    def leave(self, place: Place) -> None:
        with self._lock:
            self._remove(place)
            self._ending.discard(place)
            self._has_left.notify()

    def regain(self, place: Place) -> bool:
        with self._lock:
            if place not in self._ending or self._counts.total() >= self._count_max + ENDING_MAX:
                return False
            place.lost = False
            self._ending.discard(place)
            self._add_kept(place)
            return True

    def make_room(self) -> bool:
        """Take the place of a new connection and wait for its end; return False if there is none."""
        with self._lock:
            loser = self._oldest_new()
            if loser is None:
                return False
            self._lose(loser)
        loser.end()
        with self._lock:
            self._has_left.wait_for(lambda: loser not in self._ending, ENDING_S)
        return True

    def look(self) -> None:
        """Note which connections are idle, and end those that have been new for too long. Now and then."""
        with self._lock:
            now_s = self._clock()
            for place in self._kept:
                _is_idle(place, now_s)
            losers: list[Place] = []
            if self._new_s_max is not None:
                for own in list(self._new.values()):
                    losers += [place for place in own if now_s - place.since_s > self._new_s_max]
            for loser in losers:
                self._lose(loser)
        for loser in losers:
            loser.end()

    # -- the lock is held -------------------------------------------------------------------------------

    @property
    def _is_full(self) -> bool:
        return self._counts.total() >= self._count_max

    def _has_all(self, owner: str) -> bool:
        """Whether this owner has as many places as one may have."""
        return (
            self._of_one_max is not None
            and self._counts[owner] >= self._of_one_max
            and not is_loopback(owner)
        )

    def _loser_to(self, owner: str) -> Place | None:
        """Take and return the place that a newcomer of this owner gets, None if it gets nobody's."""
        loser: Place | None = None
        if self._has_all(owner):
            loser = next(iter(self._new.get(owner, ())), None) or self._first_idle(owner)
        elif self._is_full:
            loser = self._oldest_new() or self._first_idle()
        if loser is not None:
            self._lose(loser)
        return loser

    def _oldest_new(self) -> Place | None:
        if not self._new:
            return None
        own = max(self._new.values(), key=lambda own: (len(own), -next(iter(own)).since_s))
        return next(iter(own))

    def _first_idle(self, owner: str | None = None) -> Place | None:
        """Return an idle connection of this owner, or of any."""
        now_s = self._clock()
        if owner is not None:
            return next(
                (place for place in self._kept if place.owner == owner and _is_idle(place, now_s)), None
            )
        if not self._idle and now_s - self._searched_s >= SEARCH_S:
            self._searched_s = now_s
            found = [place for place in self._kept if _is_idle(place, now_s)]
            self._idle.extend(sorted(found, key=lambda place: (-self._counts[place.owner], place.since_s)))
        while self._idle:
            place = self._idle.popleft()
            if place in self._kept and _is_idle(place, now_s):
                return place
        return None

    def _lose(self, place: Place) -> None:
        place.lost = True
        self._lost_s = self._clock()
        self._remove(place)
        self._ending.add(place)

    def _add_new(self, place: Place) -> None:
        self._new.setdefault(place.owner, {})[place] = None
        self._counts[place.owner] += 1

    def _add_kept(self, place: Place) -> None:
        place.since_s, place.mark = self._clock(), None
        self._kept[place] = None
        self._counts[place.owner] += 1

    def _remove(self, place: Place) -> bool:
        """Take the place out of all that is counted; return whether it was counted."""
        own = self._new.get(place.owner, {})
        if place in own:
            del own[place]
            if not own:
                del self._new[place.owner]
        elif place in self._kept:
            del self._kept[place]
        else:
            return False
        self._counts[place.owner] -= 1
        if not self._counts[place.owner]:
            del self._counts[place.owner]
        return True


def _is_idle(place: Place, now_s: float) -> bool:
    """Look at a place that is kept; return whether it has been idle for long enough to give way."""
    mark = place.activity
    if mark is None or mark != place.mark:
        place.mark, place.since_s = mark, now_s
        return False
    return now_s - place.since_s >= IDLE_S_MIN


def owner_of(host: str) -> str:
    """Return whom a connection from this address counts for: IPv6 hands out whole networks (/64)."""
    if ":" not in host:
        return host
    address = ipaddress.IPv6Address(host.partition("%")[0])
    if address.ipv4_mapped is not None:
        return str(address.ipv4_mapped)
    if address.is_loopback:
        return str(address)
    return str(ipaddress.IPv6Network((address, 64), strict=False).network_address)
