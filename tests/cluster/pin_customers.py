"""Customers with PINs, who pay while the pepper that seals these is changed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from threading import Event, Thread
from typing import Self

from atm.client import Client
from atm.client.receipt import new_request_id
from atm.config import Cluster
from atm.ledger.commands import Pepper, PepperView


def pepper(client: Client) -> PepperView:
    """Return which pepper is current, and how much is sealed for older ones."""
    found = client.ask(Pepper(id=new_request_id())).pepper
    assert found is not None
    return found


class PinCustomers:
    """Pay with their PINs, one after the other; `outcomes` counts what they were told.

    Every `new_pin_every`th also sets its PIN anew, none of them with 0.
    """

    def __init__(
        self, cluster: Cluster, accounts: Sequence[str], pin: str, *, timeout_s: float, new_pin_every: int = 0
    ) -> None:
        self._cluster, self._accounts, self._pin = cluster, accounts, pin
        self._timeout_s, self._new_pin_every = timeout_s, new_pin_every
        self.outcomes: Counter[str] = Counter()
        self._stop = Event()
        self._thread = Thread(target=self._run)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        with Client(self._cluster, timeout=self._timeout_s) as client:
            while not self._stop.is_set():
                for number, name in enumerate(self._accounts):
                    if self._stop.is_set():
                        return
                    self.outcomes[str(client.debit(name, 1, pin=self._pin).outcome)] += 1
                    if self._new_pin_every and number % self._new_pin_every == 0:
                        changed = client.set_pin(name, self._pin, old_pin=self._pin)
                        self.outcomes[str(changed.outcome)] += 1
