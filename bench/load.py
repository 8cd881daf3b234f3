"""The load program, the same for every system: connections that each keep so many requests under way.

Counts only requests that were acknowledged, and fails on any other answer. It runs on the same cores as the
servers, so its own processor time is reported beside each rate.
"""

from __future__ import annotations

import gc
import heapq
import math
import multiprocessing
import selectors
import signal
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from itertools import islice
from multiprocessing.connection import Connection as Pipe
from typing import Protocol

from bench.work import ACCOUNTS, Kind, Request, Work, account

POLL_S = 0.1
OPENING_DEPTH = 500  # requests under way while the accounts are opened


class Connection(Protocol):
    """One connection to a system under test; its requests are numbered from 0 in the order of sending."""

    refused: list[str]  # what was answered by a refusal, in words
    retried: int  # requests that it sent again as the system asked it to

    def fileno(self) -> int:
        """Return what to wait on until `receive` has something."""

    def send(self, requests: Iterable[Request]) -> None:
        """Send requests in one piece."""

    def receive(self) -> Sequence[int]:
        """Return the numbers of the requests that were acknowledged now; raise OSError if it was closed."""

    def close(self) -> None:
        """Give the socket back."""


Meter = Callable[[], float]  # the processor time in seconds that all servers have used


def unmetered() -> float:
    """Return that it cannot be told."""
    return math.nan


class NotAcknowledged(Exception):
    """A request was answered by a refusal, or the connection broke; the text says which."""


@dataclass
class Result:
    """What one process, or all together, saw within the measured time."""

    acknowledged: int = 0
    seconds: float = 0.0
    cpu_s: float = 0.0  # nan where the load program is part of what is measured
    latencies_s: list[float] = field(default_factory=list)
    servers_s: float = math.nan  # processor time of all servers meanwhile, nan if it cannot be told
    retried: int = 0
    legs: int = 1  # operations in each request

    def percentile_ms(self, share: float) -> float:
        """Return the latency that this share of the requests kept within."""
        ordered = sorted(self.latencies_s)
        return 1000 * ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else 0.0

    @property
    def per_second(self) -> float:
        """Return the rate of acknowledged operations."""
        return self.operations / self.seconds if self.seconds else 0.0

    @property
    def operations(self) -> int:
        """Return how many operations the acknowledged requests were."""
        return self.acknowledged * self.legs

    @property
    def servers_us(self) -> float:
        """Return the processor time of all servers an operation, in µs; nan if it cannot be told."""
        return 1e6 * self.servers_s / self.operations if self.operations else math.nan

    @property
    def retries(self) -> float:
        """Return how often an operation was sent again, on average."""
        return self.retried / self.operations if self.operations else 0.0


class _Loop:
    """A connection in its closed loop."""

    def __init__(self, connection: Connection, requests: Iterator[Request]) -> None:
        self.connection = connection
        self._requests = requests
        self._since_s: dict[int, float] = {}
        self._sent = 0

    def send(self, count: int, now_s: float) -> None:
        """Send so many; their latencies count from `now_s`."""
        self.connection.send(islice(self._requests, count))
        for number in range(self._sent, self._sent + count):
            self._since_s[number] = now_s
        self._sent += count

    def receive(self) -> tuple[float, list[float]]:
        """Return the time, and the latencies of what was acknowledged; raise `NotAcknowledged`."""
        numbers = self.connection.receive()
        if self.connection.refused:
            raise NotAcknowledged(self.connection.refused[0])
        now_s = time.monotonic()
        return now_s, [now_s - self._since_s.pop(number) for number in numbers]


class _Pace:
    """When each connection may send again: once an interval, or at once if that is 0.

    Who was kept waiting longer than that sends at once, and counts the latency from when it wanted to send:
    what a stall keeps from being asked was late, too.
    """

    def __init__(self, interval_s: float, connections: int) -> None:
        self._interval_s = interval_s
        self._apart_s = interval_s / max(1, connections)
        self._next_s: dict[_Loop, float] = {}
        self._idle: list[tuple[float, int, _Loop, int]] = []  # a heap: when, a number, who, how many

    def begin(self, loop: _Loop, depth: int, now_s: float) -> None:
        self._next_s[loop] = now_s + len(self._next_s) * self._apart_s
        self.go_on(loop, depth, now_s)

    def go_on(self, loop: _Loop, count: int, now_s: float) -> None:
        """The connection has so many requests to send."""
        if not self._interval_s:
            loop.send(count, now_s)
            return
        wanted_s = self._next_s[loop]
        if wanted_s > now_s:
            heapq.heappush(self._idle, (wanted_s, id(loop), loop, count))
        else:
            self._next_s[loop] = wanted_s + self._interval_s
            loop.send(count, wanted_s)

    def send_due(self, now_s: float) -> float:
        """Let those send whose time has come; return in how many seconds to look again."""
        while self._idle and self._idle[0][0] <= now_s:
            wanted_s, _, loop, count = heapq.heappop(self._idle)
            self._next_s[loop] = wanted_s + self._interval_s
            loop.send(count, now_s)  # it is this program that was late
        return min(POLL_S, self._idle[0][0] - now_s) if self._idle else POLL_S


def drive(
    connect: Callable[[], Connection],
    work: Work,
    numbers: Iterable[int],
    warm_up_s: float,
    seconds: float,
    per_second: float = math.inf,
    meter: Meter = unmetered,
) -> Result:
    """Do the work of the connections with these numbers; return what was acknowledged after the warm-up.

    All connections of the work together send at most so many times per second. Raise `NotAcknowledged`, or
    OSError.
    """
    with ExitStack() as open_ones:
        selector = open_ones.enter_context(selectors.DefaultSelector())
        for number in numbers:
            connection = open_ones.enter_context(closing(connect()))
            selector.register(connection, selectors.EVENT_READ, _Loop(connection, work.requests(number)))
        pace = _Pace(work.connections / per_second, work.connections)
        return _drive(selector, work.depth, warm_up_s, seconds, pace, meter)


def _drive(
    selector: selectors.BaseSelector,
    depth: int,
    warm_up_s: float,
    seconds: float,
    pace: _Pace,
    meter: Meter,
) -> Result:
    result = Result(seconds=seconds)
    loops: list[_Loop] = [key.data for key in selector.get_map().values()]
    before_s, retried_before = math.nan, 0
    start_s = time.monotonic() + warm_up_s
    end_s = start_s + seconds
    cpu_before_s = time.process_time()
    for loop in loops:
        pace.begin(loop, depth, time.monotonic())
    metered = False
    while (now_s := time.monotonic()) < end_s:
        if not metered and now_s >= start_s:
            metered, before_s = True, meter()
            retried_before = sum(loop.connection.retried for loop in loops)
        for key, _ in selector.select(pace.send_due(now_s)):
            now_s, latencies_s = key.data.receive()
            if latencies_s:
                pace.go_on(key.data, len(latencies_s), now_s)
            if start_s <= now_s < end_s:
                result.acknowledged += len(latencies_s)
                result.latencies_s += latencies_s
    if metered:
        result.servers_s = meter() - before_s
        result.retried = sum(loop.connection.retried for loop in loops) - retried_before
    result.cpu_s = (time.process_time() - cpu_before_s) * seconds / (seconds + warm_up_s)
    return result


def run(
    connect: Callable[[], Connection],
    work: Work,
    *,
    seconds: float,
    warm_up_s: float,
    processes: int = 1,
    per_second: float = math.inf,
    meter: Meter = unmetered,
) -> Result:
    """Share the connections among processes of their own and return their sum; raise `NotAcknowledged`.

    The first of them reads the meter, once after the warm-up and once at the end.
    """
    total = Result(seconds=seconds)
    started = []
    for first in range(min(processes, work.connections)):
        numbers = range(first, work.connections, processes)
        here, there = multiprocessing.Pipe(duplex=False)
        of_first = unmetered if first else meter
        arguments = (there, connect, work, numbers, warm_up_s, seconds, per_second, of_first)
        process = multiprocessing.Process(target=_report_to, args=arguments, daemon=True)
        process.start()
        there.close()
        started.append((process, here))
    for number, (process, here) in enumerate(started):
        try:
            result = here.recv()
        except EOFError:
            result = "the load program died"
        process.join()
        if isinstance(result, str):
            raise NotAcknowledged(result)
        total.acknowledged += result.acknowledged
        total.cpu_s += result.cpu_s
        total.latencies_s += result.latencies_s
        total.retried += result.retried
        if number == 0:
            total.servers_s = result.servers_s
    return total


def open_accounts(connect: Callable[[], Connection], *, fund: bool = False) -> None:
    """Open the many accounts, and give each what its transfers need; raise `NotAcknowledged`, or OSError."""
    kinds = (Kind.OPEN, Kind.FUND) if fund else (Kind.OPEN,)
    requests = ((kind, account(number)) for kind in kinds for number in range(ACCOUNTS))
    with closing(connect()) as connection:
        while chunk := list(islice(requests, OPENING_DEPTH)):
            connection.send(chunk)
            under_way = len(chunk)
            while under_way:
                under_way -= len(connection.receive())
                if connection.refused:
                    raise NotAcknowledged(connection.refused[0])


def _report_to(parent: Pipe, *arguments: object) -> None:
    gc.freeze()  # what the parent has gathered is not ours to look through
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent, which ends us with itself
    try:
        parent.send(drive(*arguments))  # type: ignore[arg-type]
    except (NotAcknowledged, OSError) as error:
        parent.send(str(error))
