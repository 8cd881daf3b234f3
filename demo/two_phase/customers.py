"""Customers, one for each account, who pay in one cent at a time and note when they were served."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from typing import Self

PACE_S = 0.01  # between two deposits of one customer: the load is there to be watched


class Failed(Exception):
    """The demo cannot go on; `str()` of it is a line for people."""


class Customers:
    """A thread an account; `pay_in` returns whether the deposit was acknowledged or refused."""

    def __init__(self, pay_in: Mapping[str, Callable[[], bool]]) -> None:
        self.refused = dict.fromkeys(pay_in, 0)
        self.served: dict[str, list[tuple[float, float]]] = {
            account: [] for account in pay_in
        }  # (asked, answered)
        self._error: Exception | None = None
        self._stopping = threading.Event()
        self._threads = [
            threading.Thread(target=self._live, args=item, name=f"customer {item[0]}")
            for item in pay_in.items()
        ]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        for thread in self._threads:
            thread.join()

    def wait_until_all_served(self, since_s: float, count: int = 1, deadline_s: float = 20.0) -> None:
        """Return once each had `count` deposits acknowledged that were asked for after `since_s`."""
        deadline = time.monotonic() + deadline_s
        while any(len(self._asked_after(account, since_s)) < count for account in self.served):
            if self._error is not None:
                raise Failed(f"the customer of an account stops: {self._error}")
            if time.monotonic() > deadline:
                raise Failed(
                    f"not every customer was served within {deadline_s:g} s: is the machine very busy?"
                )
            time.sleep(PACE_S)

    def unavailable_s(self, account: str, death_s: float) -> float:
        """Return the time without service around `death_s`.

        From the last acknowledgement before it to the first of a deposit that was asked for after it.
        """
        last = max(answered for _, answered in self.served[account] if answered < death_s)
        first = min(answered for _, answered in self._asked_after(account, death_s))
        return first - last

    def _asked_after(self, account: str, since_s: float) -> list[tuple[float, float]]:
        return [times for times in list(self.served[account]) if times[0] >= since_s]

    def _live(self, account: str, pay_in: Callable[[], bool]) -> None:
        while not self._stopping.wait(PACE_S):
            asked = time.monotonic()
            try:
                served = pay_in()
            except Exception as error:
                self._error = error  # raised by the thread that waits
                return
            if served:
                self.served[account].append((asked, time.monotonic()))
            else:
                self.refused[account] += 1
