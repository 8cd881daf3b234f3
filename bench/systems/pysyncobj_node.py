"""A node of the `pysyncobj` system, with the load program in it; its arguments are JOURNAL SELF OTHER...

Takes orders as lines of JSON, and answers in lines.
"""

from __future__ import annotations

import sys
import threading
import time
from functools import partial
from typing import Any, Literal

import msgspec

from bench.systems.outage import PROBE_S

CALL_S = 30.0  # a blocking call gives up after so long


class Order(msgspec.Struct):
    """What to do."""

    what: Literal["status", "credit", "probe"]
    connections: int = 1
    depth: int = 1
    warm_up_s: float = 0.0
    seconds: float = 0.0


class Told(msgspec.Struct):
    """The answer to `status`."""

    ready: bool
    leader: str


class Ended(msgspec.Struct):
    """The answer to `credit`: how long each acknowledged call took, or why there was another answer."""

    latencies_s: list[float]
    error: str = ""


class Loop:
    """A closed loop of calls, in threads or by callbacks."""

    def __init__(self, counter: Any, order: Order) -> None:
        self._counter = counter
        self._start_s = time.monotonic() + order.warm_up_s
        self._end_s = self._start_s + order.seconds
        self.ended = Ended([])

    def block(self) -> None:
        """Call and wait, again and again; one thread's work."""
        latencies_s = []
        try:
            while (asked_s := time.monotonic()) < self._end_s:
                self._counter.add(1, sync=True, timeout=CALL_S)
                now_s = time.monotonic()
                if self._start_s <= now_s < self._end_s:
                    latencies_s.append(now_s - asked_s)
        except Exception as error:
            self.ended.error = f"{type(error).__name__}: {error}"
        self.ended.latencies_s += latencies_s

    def window(self, size: int) -> None:
        """Keep so many calls under way until the end."""
        free = threading.Semaphore(size)

        def called_back(asked_s: float, _result: object, fail_reason: int) -> None:
            now_s = time.monotonic()
            if fail_reason:
                self.ended.error = f"FAIL_REASON {fail_reason}"
            if self._start_s <= now_s < self._end_s:
                self.ended.latencies_s.append(now_s - asked_s)
            free.release()

        while (now_s := time.monotonic()) < self._end_s:
            if free.acquire(timeout=self._end_s - now_s):
                self._counter.add(1, callback=partial(called_back, time.monotonic()))
        for _ in range(size):  # all are back
            free.acquire(timeout=CALL_S)


def credit(counter: Any, order: Order) -> Ended:
    """Carry out such an order."""
    loop = Loop(counter, order)
    if order.depth > 1:
        loop.window(order.connections * order.depth)
        return loop.ended
    threads = [threading.Thread(target=loop.block) for _ in range(order.connections)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return loop.ended


def probe(counter: Any) -> None:
    """Ask for a write again and again, without waiting; print when each was asked for and acknowledged."""

    def called_back(asked_s: float, _result: object, fail_reason: int) -> None:
        if not fail_reason:
            _print((asked_s, time.monotonic()))

    while True:
        counter.add(1, callback=partial(called_back, time.monotonic()))
        time.sleep(PROBE_S)


def main() -> None:
    """Serve until the standard input ends."""
    from pysyncobj import SyncObj, SyncObjConf  # noqa: PLC0415  (needs the extra 'bench'; its orders do not)
    from pysyncobj.batteries import ReplCounter  # noqa: PLC0415

    journal, here, *others = sys.argv[1:]
    counter = ReplCounter()
    node = SyncObj(here, others, SyncObjConf(journalFile=journal), consumers=[counter])
    for line in sys.stdin.buffer:
        order = msgspec.json.decode(line, type=Order)
        match order.what:
            case "status":
                leader = node.getStatus()["leader"]
                _print(Told(ready=node.isReady(), leader=leader.id if leader else ""))
            case "credit":
                _print(credit(counter, order))
            case "probe":
                threading.Thread(target=probe, args=(counter,), daemon=True).start()
    node.destroy()


def _print(answer: object) -> None:
    sys.stdout.buffer.write(msgspec.json.encode(answer) + b"\n")
    sys.stdout.buffer.flush()


if __name__ == "__main__":
    main()
