"""Customers whose every operation is written down with its times, for the judge."""

from __future__ import annotations

import math
import random
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from atm.client import Client, OutcomeUnknown, Receipt, Unavailable, new_request_id
from atm.config import load
from tests.chaos.linearizability import Operation
from tests.cluster.customers import Customers
from tests.cluster.ledgers import Rows

ACCOUNTS = ("main", "alice", "bob", "carol", "dave")
HOT_SHARE = 0.5  # of all operations go to main, so that many meet there
AMOUNT_MINOR_MAX = {"credit": 100_000, "debit": 130_000, "query": 0}  # balances stay low: some are declined
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
        account = ACCOUNTS[0] if chance.random() < HOT_SHARE else chance.choice(ACCOUNTS[1:])
        kind = "query" if number < self.onlookers else chance.choice(("credit", "debit", "query"))
        amount = chance.randint(min(1, AMOUNT_MINOR_MAX[kind]), AMOUNT_MINOR_MAX[kind])
        name = new_request_id()
        call_s = time.monotonic()
        try:
            receipt = self._ask(client, kind, account, amount, name)
        except OutcomeUnknown:
            self.unknown.add(name)
            self.history.append(Operation(name, account, kind, amount, call_s))
            return
        except Unavailable:
            self.refused.add(name)
            return
        returned_s = time.monotonic()
        assert receipt.request_id == name
        assert receipt.outcome in ("ok", "insufficient_funds")
        if kind != "query":
            self.receipts[name] = receipt
            self.newest_stamp_us = max(self.newest_stamp_us, receipt.time_us)
        self.history.append(
            Operation(name, account, kind, amount, call_s, returned_s, receipt.outcome, receipt.balance)
        )
        self.latest_s[number] = call_s

    def _ask(self, client: Client, kind: str, account: str, amount: int, name: str) -> Receipt:
        match kind:
            case "credit":
                return client.credit(account, amount, request_id=name)
            case "debit":
                return client.debit(account, amount, request_id=name)
        return client.query(account, request_id=name)


def resolved(history: list[Operation], ledger: Mapping[str, Rows]) -> list[Operation]:
    """Return the history with what the ledger knows of unknown outcomes, which makes it harder to explain.

    What is in the ledger was done, with that result, at some time after it was asked for; what is not
    there at the end was never done, and nobody may have seen it.
    """
    kept = {row.request_id: (row.outcome, row.balance) for row in ledger["receipt"]}
    known: list[Operation] = []
    for operation in history:
        if operation.returned < math.inf:
            known.append(operation)
        elif operation.name in kept:
            outcome, balance = kept[operation.name]
            known.append(replace(operation, outcome=outcome, balance=balance))
    return known
