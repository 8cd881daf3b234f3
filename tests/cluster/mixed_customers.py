"""Customers who use all that the bank offers, at once, on the same few accounts."""

from __future__ import annotations

import random
from collections import deque
from dataclasses import dataclass, field
from typing import Self

from atm.client import Client, Receipt
from atm.ledger.commands import Leg, Outcome
from tests.support.customers import Asking, Customers

PIN, WRONG = "4821", "1111"
WITH_PIN, FROZEN = "carol", "bob"  # who has a PIN, and who is frozen now and then
AMOUNT_MINOR_MAX = 500
HOLD_MS = (50, 1_000, 60_000)  # some are posted when they have expired
RECENT = 30  # how many requests may still be reversed, and holds posted or voided
REPEATED_SHARE = 0.1
LOOKING_SHARE = 0.1

WEIGHTS = {
    "credit": 30,
    "debit": 20,
    "transfer": 12,
    "batch": 6,
    "hold": 14,
    "post": 10,
    "void": 4,
    "reverse": 10,
    "write_off": 1,
    "login": 2,
    "unlock": 2,
    "freeze": 1,
    "unfreeze": 2,
    "set_limit": 1,
}


@dataclass
class MixedCustomers(Customers):
    """Some requests are repeated at once, some are reversed before they can have arrived."""

    accounts: tuple[str, ...] = ("main", "alice", FROZEN, WITH_PIN)
    outcomes: frozenset[str] = frozenset(Outcome) - {Outcome.ID_REUSED, Outcome.NO_SUCH_ACCOUNT}
    _moving: deque[str] = field(default_factory=lambda: deque(["none-yet"], RECENT))
    _holds: deque[str] = field(default_factory=lambda: deque(["none-yet"], RECENT))

    def __enter__(self) -> Self:
        super().__enter__()
        with Client(self.config, timeout=10.0) as client:
            assert client.set_pin(WITH_PIN, PIN).outcome == "ok"
        return self

    def _draw(self, client: Client, chance: random.Random) -> Asking:
        [kind] = chance.choices(list(WEIGHTS), list(WEIGHTS.values()))
        ask = self._asking(kind, client, chance)

        def noted(request_id: str) -> Receipt:
            if chance.random() < LOOKING_SHARE:
                self._look(client, chance)
            if kind in {"credit", "debit", "transfer", "batch", "post", "write_off"}:
                self._moving.append(request_id)
            receipt = ask(request_id)
            if kind == "hold" and receipt.outcome == "ok":
                self._holds.append(request_id)
            if chance.random() < REPEATED_SHARE:
                assert ask(request_id) == receipt, "the same request was answered in two ways"
            return receipt

        return noted

    def _look(self, client: Client, chance: random.Random) -> None:
        account = chance.choice(self.accounts)
        balance, lines = client.query(account).balance, client.statement(account).lines
        assert balance is not None
        assert lines is not None
        client.lookup(chance.choice(list(self._moving)))
        client.exceptions()

    def _asking(self, kind: str, client: Client, chance: random.Random) -> Asking:  # noqa: C901 - a case each
        account, other = chance.sample(self.accounts, 2)
        amount = chance.randint(1, AMOUNT_MINOR_MAX)
        pin = None if account != WITH_PIN else chance.choice((PIN, PIN, WRONG))
        hold, moved = chance.choice(list(self._holds)), chance.choice(list(self._moving))
        part = chance.choice((None, amount))
        legs = (
            Leg(account=account, target=other, amount=amount, pin=pin),
            Leg(account="main", target="alice", amount=amount),
        )
        match kind:
            case "credit":
                return lambda name: client.credit(account, amount, request_id=name)
            case "debit":
                return lambda name: client.debit(account, amount, pin=pin, request_id=name)
            case "transfer":
                return lambda name: client.transfer(account, other, amount, pin=pin, request_id=name)
            case "batch":
                return lambda name: client.batch(legs, request_id=name)
            case "hold":
                expires_ms = chance.choice(HOLD_MS)
                return lambda name: client.hold(account, amount, expires_ms, pin=pin, request_id=name)
            case "post":
                return lambda name: client.post(hold, part, request_id=name)
            case "void":
                return lambda name: client.void(hold, request_id=name)
            case "reverse":
                return lambda name: client.reverse(moved, part, request_id=name)
            case "write_off":
                return lambda name: client.write_off(account, amount, request_id=name)
            case "login":
                return lambda name: client.login(WITH_PIN, WRONG, request_id=name)
            case "unlock":
                return lambda name: client.unlock(WITH_PIN, request_id=name)
            case "freeze":
                return lambda name: client.freeze(FROZEN, request_id=name)
            case "unfreeze":
                return lambda name: client.unfreeze(FROZEN, request_id=name)
        return lambda name: client.set_limit("alice", part and 100 * amount, request_id=name)
