"""What customers of the simulated bank come for: every kind of request, drawn with the weights of the plan.

PINs come sealed, as the servers' connections make them, only by a cheap hash in place of the slow one.
"""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from random import Random
from typing import TypeVar, get_args

from msgspec.structs import replace

from atm.ledger.commands import (
    AMOUNT_MINOR_MAX,
    BANK_ACCOUNTS,
    Accounts,
    Approvals,
    Approve,
    Batch,
    Close,
    Command,
    Credit,
    Debit,
    Exceptions,
    Find,
    Freeze,
    GrantRole,
    Hold,
    Holds,
    InCurrency,
    Leg,
    LimitedOp,
    Login,
    Lookup,
    MoneyRequest,
    Open,
    Post,
    Query,
    RaiseHold,
    Read,
    ResetPin,
    Reverse,
    RevokeRole,
    SetApprovalLimit,
    SetCeiling,
    SetLimit,
    SetPin,
    Statement,
    Transfer,
    Unfreeze,
    Unlock,
    Void,
    WriteOff,
)
from tests.simulation.people import PEOPLE, ROLES
from tests.simulation.plan import Plan

T = TypeVar("T")

ACCOUNTS = ("main", "alice", "bob", "carol")
IN_CURRENCIES = {"emi": "JPY", "yuki": "JPY", "noor": "BHD", "omar": "BHD"}
KINDS_IN_CURRENCIES = (
    *("open", "credit", "credit", "debit", "transfer", "batch", "hold", "reverse"),
    *("write_off", "limit", "close"),
)
WITH_PIN = ACCOUNTS[1:3]  # accounts with a PIN, which is often mistyped
RICH_ACCOUNTS = ("main",) * 4 + ("alice",)  # up to the limit
STRANGE_SHARE = 0.02  # of requests name an account of the bank's own
PINS = ("1234", "1234", "1234", "4321", "0000")
NO_PIN_SHARE = 0.1
WRONG_PIN = "9999"
FORGOTTEN_SHARE = 0.1  # of what is about holds begins with a PIN that is set, and forgotten
TRIES_TO_LOCK = 4  # three wrong PINs, and one more
OWN_HOLD_SHARE = 0.9  # of raises name the account that the hold is on
HOLD_SHARE = 0.25  # of reversals are of holds
PART_SHARE = 0.5  # and so many of a small part
REMARK_SHARE = 0.1  # of what moves or holds money says what it is for
CODES = (None, 1, 2, 65_535)
TEXTS = (None, "Rent", "rent for November", "Größe 7", 'says "no"')
ALL_SHARE = 0.1  # of debits and transfers are of all there is
CEILING_SHARE = 0.3  # of limits are of a balance
TRANSFERS_SHARE = 0.5  # of daily limits count transfers
FIND_SHARE = 0.5
REMEMBERED = 24
BANKS_OWN = sorted(BANK_ACCOUNTS)
POSTINGS_PER_ENTRY = 64
LONG_MS = 7_200_000  # clocks jump by an hour
LIMITED_OPS: tuple[LimitedOp, ...] = get_args(LimitedOp)


@dataclass
class KnownRequests:
    """What all customers know of each other's requests; the answers may still be on their way."""

    money: deque[tuple[str, int]] = field(default_factory=lambda: deque(maxlen=REMEMBERED))  # id, amount
    holds: deque[tuple[str, int]] = field(default_factory=lambda: deque(maxlen=REMEMBERED))
    held_on: dict[str, str] = field(default_factory=dict)  # the accounts of holds
    waiting: deque[tuple[str, int]] = field(default_factory=lambda: deque(maxlen=REMEMBERED))
    answered: deque[tuple[int, int]] = field(default_factory=lambda: deque(maxlen=REMEMBERED))  # index, time

    def note(self, request: Command | Read) -> None:
        """Something is asked for."""
        match request:
            case Hold(id=request_id, account=account, amount=amount):
                self.holds.append((request_id, amount))
                self.held_on[request_id] = account
            case Credit() | Debit() | Transfer() | WriteOff():
                self.money.append((request.id, request.amount or 100))
            case Batch(id=request_id, legs=legs):
                self.money.append((request_id, sum(leg.amount for leg in legs)))
            case Post(id=request_id, amount=amount):
                self.money.append((request_id, amount or 100))
            case Reverse(id=request_id, original=original, amount=amount):
                self.money += (request_id, 100), (original, amount or 100)  # of which more may be reversed
            case Approve(id=request_id):
                self.money.append((request_id, 100))

    def forget_refused(self, request: Command, outcome: str, index: int, time_us: int) -> None:
        """Note a reply; most refused requests are not referred to again."""
        self.answered.append((index, time_us))
        if outcome != "ok" and index % 4:
            for known in (self.money, self.holds):
                for each in [each for each in known if each[0] == request.id]:
                    known.remove(each)
        if outcome == "needs_approval":
            self.waiting.append((request.id, 1))


class Workload:
    """Draws the requests of the customer `name`."""

    def __init__(self, name: str, chance: Random, plan: Plan, known: KnownRequests) -> None:
        self._name, self._chance, self._plan, self._known_requests = name, chance, plan, known
        self._own = chance.choice(ACCOUNTS[1:])
        self._first = ["credit", "open"]  # the last comes first
        self._forgotten: list[str] = []  # on these accounts are the next holds, with a wrong PIN
        self._limited: LimitedOp | None = None  # is asked for next, since its limit was changed
        self._number = 0

    def command(self) -> Command:
        """Return a new command; first of all, see to it that there are accounts with something in them."""
        if self._first:
            return self._drawn(self._first.pop(), self._next_id(), self._own)
        if self._forgotten:
            account = self._forgotten.pop()
            return self._new_hold(self._next_id(), account, _sealed(account, WRONG_PIN))
        if self._limited is not None:
            command, self._limited = self._limited_request(self._limited, self._next_id(), self._own), None
            self._known_requests.note(command)
            return command
        kinds = list(self._plan.workload)
        (kind,) = self._chance.choices(kinds, list(self._plan.workload.values()))
        command = self._drawn(kind, self._next_id(), self._account())
        if isinstance(command, MoneyRequest) and self._chance.random() < REMARK_SHARE:
            command = replace(command, code=self._chance.choice(CODES), text=self._chance.choice(TEXTS))
        self._known_requests.note(command)
        return command

    def read(self) -> Read:
        """Return a new request that only reads: most ask for a balance."""
        request_id, account, chance = self._next_id(), self._account(), self._chance
        if "currencies" in self._plan.workload and chance.random() < 0.3:
            account = chance.choice((*IN_CURRENCIES, "cash:JPY", "writeoff:BHD"))
        index, time_us = chance.choice(self._known_requests.answered or [(0, 0)])
        limit = chance.choice((1, 2, 5, 20))
        before = index * POSTINGS_PER_ENTRY + chance.randint(0, 2) if chance.random() < 0.5 else None
        match chance.randint(0, 9):
            case 0:
                return Query(id=request_id, account=account, at_us=max(0, time_us + chance.randint(-1, 1)))
            case 1:
                return Statement(id=request_id, account=account, limit=limit, before=before)
            case 2:
                return Lookup(id=request_id, request_id=self._known(self._known_requests.money)[0])
            case 4:
                after = account if chance.random() < 0.5 and ":" not in account else None
                return Accounts(id=request_id, limit=limit, after=after)
            case 3 if chance.random() < FIND_SHARE:
                code = chance.choice(CODES)
                text = chance.choice((*TEXTS[1:], *TEXTS) if code else ("r", *TEXTS[1:]))
                return Find(
                    id=request_id,
                    code=code,
                    text=text,
                    whole=chance.random() < 0.5,
                    limit=limit,
                    before=before,
                )
            case 3:
                return Exceptions(id=request_id, limit=limit, before=before)
            case 5 if chance.random() < 0.5 and ":" not in account:
                return Holds(id=request_id, account=account, limit=limit)
            case 5:
                return Approvals(id=request_id, limit=limit, before=index if before is not None else None)
        return Query(id=request_id, account=account)

    def again(self, past: Command) -> Command:  # noqa: C901 - a case for each kind
        """Repeat `past`: as it was, with another PIN, or with other contents."""
        fate = self._chance.random()
        if fate < 0.6:
            return past
        if isinstance(past, Debit | Transfer | Hold | RaiseHold) and fate < 0.8:
            return replace(past, pin=self._pin(past.account))
        match past:
            case Transfer() | Batch() | SetLimit() | SetCeiling():
                return Credit(id=past.id, account=self._account(), amount=self._amount())
            case Post(amount=None) if fate < 0.9:
                amounts = dict(self._known_requests.holds)
                return replace(past, amount=amounts.get(past.hold, self._amount()))
            case Post(final=True) if fate < 0.9:
                return replace(past, amount=None)
            case Post() | Void():
                return replace(past, hold=self._known(self._known_requests.holds)[0])
            case Reverse():
                return replace(past, amount=self._amount())
            case SetApprovalLimit():
                return replace(past, limited=self._chance.choice(LIMITED_OPS))
            case Approve():
                return replace(past, request=self._known(self._known_requests.waiting)[0])
            case GrantRole() | RevokeRole():
                return replace(past, name=self._chance.choice(tuple(PEOPLE)))
        return replace(past, account=self._account())

    # -- one kind after the other ---------------------------------------------------------------------

    def _drawn(self, kind: str, request_id: str, account: str) -> Command:  # noqa: C901 - a case for each
        match kind:
            case "credit":
                return Credit(id=request_id, account=account, amount=self._amount())
            case "debit":
                pin, amount = self._pin(account), self._amount_or_all()
                return Debit(id=request_id, account=account, amount=amount, pin=pin, all=amount is None)
            case "transfer":
                leg, amount = self._leg(), self._amount_or_all()
                return Transfer(
                    id=request_id,
                    account=leg.account,
                    target=leg.target,
                    amount=amount,
                    pin=leg.pin,
                    all=amount is None,
                )
            case "batch":
                legs = tuple(self._leg() for _ in range(self._chance.choice((1, 2, 2, 3))))
                return Batch(id=request_id, legs=legs)
            case "hold":
                return self._hold(request_id, account)
            case "reverse":
                return self._reverse(request_id)
            case "write_off":
                name = self._chance.choice((account, "cash"))
                return WriteOff(id=request_id, account=name, amount=self._amount())
            case "roles":
                return self._role(request_id)
            case "approvals":
                return self._approval(request_id, account)
            case "currencies":
                return self._in_currency(request_id)
        return self._about_an_account(kind, request_id, account)

    def _role(self, request_id: str) -> Command:
        """Grant or revoke: more of the first, or soon nobody may do anything."""
        chance = self._chance
        person, role = chance.choice(tuple(PEOPLE)), chance.choice((*ROLES, *ROLES, None))
        if role is not None and chance.random() < 0.8:
            return GrantRole(id=request_id, name=person, role=role)
        return RevokeRole(id=request_id, name=person, role=role)

    def _approval(self, request_id: str, account: str) -> Command:
        """Limit what one person may do, ask for it, or approve what was asked."""
        chance, fate = self._chance, self._chance.random()
        waiting = self._known_requests.waiting
        if fate < 0.2:
            amount = chance.choice((0, 0, 0, self._amount(), None))
            self._limited = limited = chance.choice(LIMITED_OPS)
            return SetApprovalLimit(id=request_id, limited=limited, amount=amount)
        if fate < 0.5 or not waiting:
            return self._limited_request(chance.choice(LIMITED_OPS), request_id, account)
        known = waiting if fate < 0.95 else self._known_requests.money
        return Approve(id=request_id, request=self._known(known)[0])

    def _limited_request(self, op: LimitedOp, request_id: str, account: str) -> Command:
        match op:
            case "write_off":
                return WriteOff(id=request_id, account=account, amount=self._amount())
            case "reverse":
                return self._reverse(request_id)
            case "unlock":
                return Unlock(id=request_id, account=account)
            case "reset_pin":
                return ResetPin(id=request_id, account=account)

    def _in_currency(self, request_id: str) -> Command:
        """Ask about an account in another currency; a tenth says another one, or none."""
        chance = self._chance
        kind, account = chance.choice(KINDS_IN_CURRENCIES), chance.choice(tuple(IN_CURRENCIES))
        currency: str | None = IN_CURRENCIES[account]
        alike = [name for name, other in IN_CURRENCIES.items() if other == currency and name != account]
        target = chance.choice((*alike * 6, *IN_CURRENCIES, "main"))
        if chance.random() < 0.1:
            currency = chance.choice(("JPY", "BHD", None))
        amount = self._amount()
        if kind == "transfer" and target != account:
            return Transfer(id=request_id, account=account, target=target, amount=amount, currency=currency)
        if kind == "batch" and target != account:
            back = Leg(account=target, target=account, amount=self._amount())
            legs = (Leg(account=account, target=target, amount=amount), back)
            return Batch(id=request_id, legs=legs[: chance.choice((1, 2))], currency=currency)
        if kind == "write_off" and chance.random() < 0.3:
            own = f"cash:{IN_CURRENCIES[account]}"
            return WriteOff(id=request_id, account=own, amount=amount, currency=currency)
        if kind in ("transfer", "batch"):
            kind = "credit"
        if kind == "close":
            return Close(id=request_id, account=account)
        command = self._drawn(kind, request_id, account)
        return replace(command, currency=currency) if isinstance(command, InCurrency) else command

    def _hold(self, request_id: str, account: str) -> Command:
        """Reserve, or end what was reserved: more ends than beginnings, since some come again."""
        chance, fate = self._chance, self._chance.random()
        if "pin" in self._plan.workload and chance.random() < FORGOTTEN_SHARE:
            account = self._own if self._own in WITH_PIN else chance.choice(WITH_PIN)
            self._forgotten = [account] * TRIES_TO_LOCK
            return SetPin(id=request_id, account=account, pin=_sealed(account, PINS[0]))
        if fate < 0.4 or not self._known_requests.holds:
            return self._new_hold(request_id, account, self._pin(account))
        hold, amount = self._known(self._known_requests.holds)
        if fate < 0.6:
            return Post(id=request_id, hold=hold, amount=self._part(amount))
        if fate < 0.7:
            part = 1 + self._chance.randrange(max(1, amount // self._chance.choice((1, 2, 4))))
            return Post(id=request_id, hold=hold, amount=part, final=False)
        if fate < 0.72:
            return Post(id=request_id, hold=hold, amount=0)
        if fate < 0.85:
            if self._chance.random() < OWN_HOLD_SHARE:
                account = self._known_requests.held_on.get(hold, account)
            amount, pin = self._amount(), self._pin(account)
            return RaiseHold(id=request_id, account=account, hold=hold, amount=amount, pin=pin)
        return Void(id=request_id, hold=hold)

    def _new_hold(self, request_id: str, account: str, pin: str | None) -> Hold:
        election_ms = self._plan.election_us // 1000
        expires_ms = self._chance.choice((1, election_ms // 4, election_ms, 4 * election_ms, LONG_MS))
        return Hold(id=request_id, account=account, amount=self._amount(), expires_ms=expires_ms, pin=pin)

    def _reverse(self, request_id: str) -> Reverse:
        """Reverse a known request, or one that arrives only later."""
        known = self._known_requests
        requests = known.holds if self._chance.random() < HOLD_SHARE else known.money
        original, amount = self._known(requests)
        if original == request_id or self._chance.random() < 0.2:
            original = f"{self._name}-{self._number + 1}"
        part = self._chance.randint(1, 1 + amount // 3) if self._chance.random() < PART_SHARE else None
        return Reverse(id=request_id, original=original, amount=part or self._part(amount))

    def _about_an_account(self, kind: str, request_id: str, account: str) -> Command:
        chance = self._chance
        match kind:
            case "open":
                return Open(id=request_id, account=account)
            case "freeze":
                return chance.choice((Freeze, Unfreeze, Unfreeze, Unfreeze))(id=request_id, account=account)
            case "close":
                return Close(id=request_id, account=chance.choice(ACCOUNTS[1:]))
            case "limit":
                amount = min(AMOUNT_MINOR_MAX, 4 * self._amount()) if chance.random() < 0.7 else None
                if chance.random() < CEILING_SHARE:
                    return SetCeiling(id=request_id, account=account, amount=amount)
                transfers = amount is not None and chance.random() < TRANSFERS_SHARE
                return SetLimit(id=request_id, account=account, amount=amount, transfers=transfers)
        assert kind == "pin", kind
        account = chance.choice(WITH_PIN)
        sealed = self._pin(account) or _sealed(account, PINS[0])
        match chance.randint(0, 10):
            case 0 | 1:
                return Unlock(id=request_id, account=account)
            case 2:
                return ResetPin(id=request_id, account=account)
            case 3 | 4 | 5 | 6:
                new = _sealed(account, chance.choice(PINS))
                return SetPin(id=request_id, account=account, pin=new, old_pin=self._pin(account))
        return Login(id=request_id, account=account, pin=sealed)

    # -- their parts ----------------------------------------------------------------------------------

    def _next_id(self) -> str:
        self._number += 1
        return f"{self._name}-{self._number}"

    def _account(self) -> str:
        chance = self._chance
        if chance.random() < STRANGE_SHARE:
            return chance.choice(BANKS_OWN)
        return chance.choice(ACCOUNTS if self._plan.amounts[0] == 1 else RICH_ACCOUNTS)

    def _leg(self) -> Leg:
        account = self._account()
        target = self._chance.choice([name for name in ACCOUNTS if name != account])
        return Leg(account=account, target=target, amount=self._amount(), pin=self._pin(account))

    def _amount(self) -> int:
        return self._chance.randint(*self._plan.amounts)

    def _amount_or_all(self) -> int | None:
        return None if self._chance.random() < ALL_SHARE else self._amount()

    def _part(self, amount: int) -> int | None:
        """All of it without saying so, a part, or too much."""
        match self._chance.randint(0, 7):
            case 0 | 1:
                return self._chance.randint(1, min(amount, AMOUNT_MINOR_MAX))
            case 2:
                return min(amount + 1, AMOUNT_MINOR_MAX)
        return None

    def _known(self, requests: Sequence[tuple[str, int]]) -> tuple[str, int]:
        """Return one of what is known, the newer the likelier; or an id that was never used."""
        if not requests:
            return f"nobody-{self._chance.randint(1, 5)}", 1
        return requests[max(self._chance.randrange(len(requests)), self._chance.randrange(len(requests)))]

    def _pin(self, account: str) -> str | None:
        if "pin" not in self._plan.workload or self._chance.random() < NO_PIN_SHARE:
            return None
        return _sealed(account, self._chance.choice(PINS)) if account in WITH_PIN else None


def _sealed(account: str, pin: str) -> str:
    return hashlib.sha256(f"{account} {pin}".encode()).hexdigest()
