"""Plain counters, kept where things happen and read by another thread: an increment costs 0.1 to 0.3 µs.

Each has one writer at a time, so none needs a lock, but `RefusedRequests`. A reader may see a number that is
one increment old, never a wrong one.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from threading import Lock

OK = "ok"
UNKNOWN_OP = "unknown"  # of what is no request: a client's text never becomes a label

REQUEST_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
SYNC_SECONDS = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0)

Requests = Mapping[tuple[str, str], int]  # how many, by op and outcome


class Histogram:
    """How many observations were at most as large as each of fixed bounds."""

    def __init__(self, bounds: Sequence[float]) -> None:
        assert list(bounds) == sorted(set(bounds)), "the bounds rise"
        self.bounds = tuple(bounds)
        self._counts = [0] * (len(bounds) + 1)  # of each bucket alone; the last one has no bound
        self.sum = 0.0

    def observe(self, value: float) -> None:
        self._counts[bisect_left(self.bounds, value)] += 1
        self.sum += value

    def observe_all(self, values: Sequence[float]) -> None:
        """Observe many at once, which takes half as long for each."""
        bounds, counts = self.bounds, self._counts
        for value in values:
            counts[bisect_left(bounds, value)] += 1
        self.sum += sum(values)

    @classmethod
    def of_all(cls, several: Sequence[Histogram]) -> Histogram:
        """Return what all of them have observed; their bounds are the same."""
        found = cls(several[0].bounds)
        for each in several:
            assert each.bounds == found.bounds, "histograms of other things"
            found._counts = [one + another for one, another in zip(found._counts, each._counts, strict=True)]
            found.sum += each.sum
        return found

    def cumulated(self) -> list[int]:
        """Return for each bound how many observations were at most that; the last number is of all."""
        running, total = [], 0
        for count in list(self._counts):
            total += count
            running.append(total)
        return running


class DecidedRequests:
    """Requests by their type and outcome. Only within an iteration."""

    def __init__(self) -> None:
        self._done: Counter[type] = (
            Counter()
        )  # apart from the rest: most are done, and this is the quicker way
        self._others: dict[tuple[type, str], int] = {}

    def done(self, kinds: Iterable[type]) -> None:
        """Count requests of these types, each with the outcome `ok`."""
        self._done.update(kinds)

    def count(self, kind: type, outcome: str) -> None:
        """Count a request of this type; `outcome` is one of those of docs/protocol.md."""
        key = kind, str(outcome)
        self._others[key] = self._others.get(key, 0) + 1

    def by_op(self) -> Requests:
        """Return the counts; any thread."""
        counts = {(_op(kind), outcome): count for (kind, outcome), count in self._others.copy().items()}
        for kind, count in dict(self._done).items():
            key = _op(kind), OK
            counts[key] = counts.get(key, 0) + count
        return counts


class RefusedRequests:
    """Requests that were answered outside of the iterations, most of them refused. Any thread."""

    def __init__(self) -> None:
        self._lock = Lock()  # guards _counts
        self._counts: dict[tuple[str, str], int] = {}

    def count(self, kind: type | None, outcome: str) -> None:
        """Count a request of this type; None: it was no request."""
        key = UNKNOWN_OP if kind is None else _op(kind), str(outcome)
        with self._lock:
            self._counts[key] = self._counts.get(key, 0) + 1

    def by_op(self) -> Requests:
        """Return the counts."""
        with self._lock:
            return dict(self._counts)


class Counters:
    """What one server counts from its start on."""

    def __init__(self) -> None:
        self.decided = DecidedRequests()
        self.refused = RefusedRequests()
        self.request_seconds = Histogram(REQUEST_SECONDS)  # only within an iteration
        self.forwarded = 0  # requests passed on to the leader; only within an iteration

    def requests(self) -> Requests:
        """Return all requests by op and outcome; any thread."""
        counts = dict(self.decided.by_op())
        for key, count in self.refused.by_op().items():
            counts[key] = counts.get(key, 0) + count
        return counts


def _op(kind: type) -> str:
    return str(kind.__struct_config__.tag)  # type: ignore[attr-defined]
