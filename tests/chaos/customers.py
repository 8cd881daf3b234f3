"""Customers whose every operation is written down with its times, for the judge."""

from __future__ import annotations

import math
import random
import time
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from atm.client import Client, OutcomeUnknown, Receipt, Unavailable, new_request_id
from atm.config import load
from atm.ledger.commands import HOLD_MS_MAX, Outcome
from tests.chaos.one_bank import Operation
from tests.support.customers import Customers
from tests.support.ledgers import Rows

ACCOUNTS = ("main", "alice", "bob", "carol", "dave")
HOT_SHARE = 0.5  # of all operations go to main, so that many meet there
WEIGHTS = {"credit": 10, "debit": 7, "transfer": 6, "hold": 5, "end a hold": 5, "reverse": 3, "query": 10}
CREDIT_MINOR_MAX, OTHER_MINOR_MAX = 100_000, 130_000  # balances stay low: some are declined
RECENT = 50  # requests that any customer may reverse; some are reversed twice
PATIENT_S, IMPATIENT_S = 10.0, 1.5  # the impatient give up while a majority is away
RATE_MAX = 60.0  # operations a second each: the load is there to be watched, not to be the fault


@dataclass
class WatchedCustomers(Customers):
    """Every second one is impatient; they are spread over the nodes.

    The first, one at each node, only look: at a leader that was deposed and does not know it, whoever moves
    money waits, and only they would go on and see what is no longer true.
    """

    count: int = 12
    onlookers: int = 5
    accounts: tuple[str, ...] = ACCOUNTS
    history: list[Operation] = field(default_factory=list)  # all that may have been done
    latest_s: dict[int, float] = field(
        default_factory=dict
    )  # of each customer, the last call that was acknowledged
    newest_stamp_us: int = 0  # the bank's time in the newest receipts
    outcomes: frozenset[str] = frozenset(Outcome)  # what may be is for the judge to say
    _holds: deque[Operation] = field(default_factory=deque)  # that no customer has ended
    _recent: deque[Operation] = field(default_factory=lambda: deque(maxlen=RECENT))

    def wait_for_each(self, since_s: float, deadline_s: float) -> bool:
        """Return whether each client had something acknowledged that it asked for after `since_s`."""
        deadline = time.monotonic() + deadline_s
        while len(self.latest_s) < self.count or min(list(self.latest_s.values())) < since_s:
            if time.monotonic() > deadline or self.errors:
                return False
            time.sleep(0.02)
        return True

    def live_for(self, seconds: float) -> None:
        """Let the customers go on for a while; return at once if one of them met an error."""
        deadline = time.monotonic() + seconds
        while not self.errors and time.monotonic() < deadline:
            time.sleep(0.02)

    def _client(self, number: int) -> Client:
        nodes = list(load(self.config).nodes)
        timeout_s = IMPATIENT_S if number % 2 else PATIENT_S
        return Client(self.config, node=nodes[number % len(nodes)], timeout=timeout_s)

    def _do_one(self, client: Client, chance: random.Random, number: int) -> None:
        self._stop.wait(chance.expovariate(RATE_MAX))
        drawn = self._operation("query" if number < self.onlookers else None, chance)
        asked = replace(drawn, call=time.monotonic())
        try:
            receipt = self._ask(client, asked)
        except OutcomeUnknown:
            self.unknown.add(asked.name)
            self.history.append(asked)
            return
        except Unavailable:
            self.refused.add(asked.name)
            return
        done = replace(
            asked,
            returned=time.monotonic(),
            outcome=receipt.outcome,
            balance=receipt.balance,
            available=receipt.available,
            log_index=receipt.log_index,
        )
        assert receipt.request_id == done.name
        assert receipt.outcome in self.outcomes
        self._remember(done)
        if done.kind != "query":
            self.receipts[done.name] = receipt
            self.newest_stamp_us = max(self.newest_stamp_us, receipt.time_us)
        self.history.append(done)
        self.latest_s[number] = asked.call

    def _operation(self, kind: str | None, chance: random.Random) -> Operation:
        """Return a request; no hold is ended by two customers, and nothing in doubt is reversed."""
        if kind is None:
            [kind] = chance.choices(list(WEIGHTS), list(WEIGHTS.values()))
        name = new_request_id()
        if kind == "end a hold":
            try:
                hold = self._holds.popleft()
            except IndexError:
                return self._operation("credit", chance)
            amount = chance.choice((hold.amount, chance.randint(1, hold.amount)))
            end = chance.choice(("post", "post", "void"))
            return Operation(name, hold.account, end, amount if end == "post" else 0, 0.0, about=hold.name)
        if kind == "reverse" and self._recent:
            original = chance.choice(list(self._recent))
            return Operation(name, original.account, kind, original.amount, 0.0, about=original.name)
        account = ACCOUNTS[0] if chance.random() < HOT_SHARE else chance.choice(ACCOUNTS[1:])
        if kind == "query":
            return Operation(name, account, kind, 0, 0.0)
        if kind in ("credit", "reverse"):
            return Operation(name, account, "credit", chance.randint(1, CREDIT_MINOR_MAX), 0.0)
        target = (
            chance.choice([other for other in ACCOUNTS if other != account]) if kind == "transfer" else ""
        )
        return Operation(name, account, kind, chance.randint(1, OTHER_MINOR_MAX), 0.0, target=target)

    def _remember(self, done: Operation) -> None:
        if done.outcome == "ok":
            if done.kind == "hold":
                self._holds.append(done)
            elif done.kind in ("credit", "debit", "transfer"):
                self._recent.append(done)

    def _ask(self, client: Client, asked: Operation) -> Receipt:
        name, account, amount = asked.name, asked.account, asked.amount
        match asked.kind:
            case "credit":
                return client.credit(account, amount, request_id=name)
            case "debit":
                return client.debit(account, amount, request_id=name)
            case "transfer":
                return client.transfer(account, asked.target, amount, request_id=name)
            case "hold":
                # None expires, even by a clock that is wrong.
                return client.hold(account, amount, HOLD_MS_MAX, request_id=name)
            case "post":
                return client.post(asked.about, amount, request_id=name)
            case "void":
                return client.void(asked.about, request_id=name)
            case "reverse":
                return client.reverse(asked.about, request_id=name)
        return client.query(account, request_id=name)


def resolved(history: list[Operation], ledger: Mapping[str, Rows]) -> list[Operation]:
    """Return the history with what the ledger knows of unknown outcomes, which makes it harder to explain.

    What is in the ledger was done, with that result, at some time after it was asked for; what is not
    there at the end was never done, and no customer may have seen it.
    """
    kept = {row.request_id: row for row in ledger["receipt"]}
    known: list[Operation] = []
    for operation in history:
        if operation.returned < math.inf:
            known.append(operation)
        elif operation.name in kept:
            row = kept[operation.name]
            amounts = {"balance": row.balance, "available": row.available}
            known.append(replace(operation, outcome=row.outcome, log_index=row.log_index, **amounts))
    return known
