"""Customers of a real cluster: they credit and debit at once and remember what they were told."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from atm.client import Client, OutcomeUnknown, Receipt, Unavailable, new_request_id

Asking = Callable[[str], Receipt]  # under a request id


@dataclass
class Customers:
    """Threads that use the public client library until `stop`; what they saw is told by kind."""

    config: Path
    count: int = 6
    accounts: tuple[str, ...] = ("main", "alice", "bob")
    seed: int = 0
    outcomes: frozenset[str] = frozenset({"ok", "insufficient_funds"})  # that may be
    receipts: dict[str, Receipt] = field(default_factory=dict)  # acknowledged, by request id
    unknown: set[str] = field(default_factory=set)
    refused: set[str] = field(default_factory=set)  # certainly not done
    errors: list[BaseException] = field(default_factory=list)
    _stop: threading.Event = field(default_factory=threading.Event)
    _threads: list[threading.Thread] = field(default_factory=list)

    def __enter__(self) -> Self:
        with Client(self.config) as client:
            for account in self.accounts[1:]:
                assert client.open(account).outcome == "ok"
        self._threads = [threading.Thread(target=self._live, args=(n,)) for n in range(self.count)]
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def wait_for_more(self, count: int = 50, deadline_s: float = 20.0) -> None:
        """Return once `count` more requests were acknowledged; they were not all asked for before."""
        goal = len(self.receipts) + count
        deadline = time.monotonic() + deadline_s
        while len(self.receipts) < goal:
            assert time.monotonic() < deadline, (
                f"{goal - len(self.receipts)} of {count} were not acknowledged"
            )
            assert not self.errors, self.errors
            time.sleep(0.01)

    def _live(self, number: int) -> None:
        chance = random.Random(self.seed + number)
        try:
            with self._client(number) as client:
                while not self._stop.is_set():
                    self._do_one(client, chance, number)
        except BaseException as error:
            self.errors.append(error)

    def _client(self, _number: int) -> Client:
        return Client(self.config, timeout=10.0)

    def _do_one(self, client: Client, chance: random.Random, _number: int) -> None:
        request_id = new_request_id()
        ask = self._draw(client, chance)
        try:
            receipt = ask(request_id)
        except OutcomeUnknown:
            self.unknown.add(request_id)
        except Unavailable:
            self.refused.add(request_id)
        else:
            assert receipt.request_id == request_id
            assert receipt.outcome in self.outcomes
            self.receipts[request_id] = receipt

    def _draw(self, client: Client, chance: random.Random) -> Asking:
        account, amount = chance.choice(self.accounts), chance.randint(1, 500)
        move = client.credit if chance.random() < 0.6 else client.debit
        return lambda request_id: move(account, amount, request_id=request_id)
