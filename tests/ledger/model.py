"""The bank as a teller would explain it, in dictionaries: what any run of commands must come to."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from msgspec.structs import asdict

from atm.ledger.commands import (
    Approve,
    Batch,
    Close,
    Command,
    Credit,
    Debit,
    Expire,
    Freeze,
    GrantRole,
    Hold,
    Leg,
    LogCommand,
    Login,
    NoteDeed,
    Open,
    Post,
    RaiseHold,
    Reseal,
    ResetPin,
    Reverse,
    RevokeRole,
    RotatePepper,
    SetApprovalLimit,
    SetCeiling,
    SetLimit,
    SetPin,
    Transfer,
    Unfreeze,
    Unlock,
    Void,
    WriteOff,
)

FULL = 9_007_199_254_740_991
Answer = tuple[str, int | None, int | None, int]  # outcome, balance, available, log index
Decision = tuple[str, str | None]  # outcome, and whose balance the answer shows
Move = tuple[str, str, int]  # from, to, amount


@dataclass
class Person:
    state: str = "open"
    pin: str | None = None
    wrong: int = 0
    limit: int | None = None
    charged: dict[str, tuple[int, int]] = field(default_factory=dict)  # by request: day, amount


def amount_of(asked: Debit | Transfer | Hold | Leg) -> int:
    """Return how much is asked for: all there is, only from feature level 2 on."""
    assert asked.amount is not None
    return asked.amount


class Model:
    """Every account, hold and answer; `moves` are all postings there ever were."""

    def __init__(self) -> None:
        self.money = {"cash": 0, "main": 0, "writeoff": 0}
        self.people = {"main": Person()}
        self.holds: dict[str, list[Any]] = {}  # account, amount, expires, state
        self.answers: dict[str, tuple[Any, Answer]] = {}
        self.moved: dict[str, list[Move]] = {}  # by request
        self.reversed: set[str] = set()
        self.exceptions: list[tuple[str, str]] = []  # request, kind
        self.posts: dict[str, str] = {}  # request to its hold
        self.index, self.now_us = 0, 0

    def ask(self, index: int, now_us: int, asked: LogCommand | None) -> Answer | None:
        self.index, self.now_us = index, now_us
        if asked is None:
            return None
        assert not isinstance(asked, Reseal), "that is of feature level 2"
        if isinstance(asked, Expire):
            due = [
                (expires_us, hold_id, account, amount)
                for hold_id, (account, amount, expires_us, state) in self.holds.items()
                if state == "active" and expires_us <= now_us
            ]
            for _, hold_id, account, amount in sorted(due)[: asked.limit]:
                self.end(hold_id, account, "expired", amount)
            return None
        assert not isinstance(asked, NoteDeed), "no story here has one"
        contents = without_pins(asked)
        if asked.id in self.answers:
            first, answer = self.answers[asked.id]
            if first in (contents, "never"):
                return answer
            return self.answer("id_reused", getattr(asked, "account", None))
        answer = self.answer(*self.decide(asked))
        self.answers[asked.id] = (contents, answer)
        return answer

    def answer(self, outcome: str, account: str | None) -> Answer:
        if outcome == "no_such_account" or account not in self.money:
            return outcome, None, None, self.index
        return outcome, self.money[account], self.available(account), self.index

    def held(self, account: str) -> int:
        return sum(hold[1] for hold in self.holds.values() if hold[0] == account and hold[3] == "active")

    def available(self, account: str) -> int:
        return self.money[account] - self.held(account)

    # -- decisions -------------------------------------------------------------------------------------

    def decide(self, asked: Command) -> Decision:  # noqa: C901 - a case for each kind
        match asked:
            case Credit():
                return self.blocked(asked.account) or self.move(
                    asked.id, [("cash", asked.account, asked.amount)]
                ), asked.account
            case Debit():
                outcome = self.refused(asked) or self.move(
                    asked.id, [(asked.account, "cash", amount_of(asked))]
                )
                self.charge(asked, outcome)
                return outcome, asked.account
            case Hold():
                outcome = self.refused(asked) or "ok"
                self.charge(asked, outcome)
                if outcome == "ok":
                    expires_us = self.now_us + asked.expires_ms * 1000
                    self.holds[asked.id] = [asked.account, asked.amount, expires_us, "active"]
                return outcome, asked.account
            case Transfer():
                return self.transfer(asked.id, (asked,)), asked.account
            case Batch():
                return self.transfer(asked.id, asked.legs), asked.legs[0].account
            case Post() | Void():
                return self.finish(asked)
            case Reverse():
                return self.reverse(asked)
            case WriteOff():
                missing = None if asked.account == "cash" else self.missing(asked.account)
                outcome = missing or self.move(asked.id, [("writeoff", asked.account, asked.amount)])
                if outcome == "ok":
                    self.exceptions.append((asked.id, "written_off"))
                return outcome, asked.account
            case Open():
                if asked.account in self.money:
                    person = self.people.get(asked.account)
                    closed = person is not None and person.state == "closed"
                    return "account_closed" if closed else "exists", asked.account
                self.money[asked.account] = 0
                self.people[asked.account] = Person()
                return "ok", asked.account
            case (
                GrantRole()
                | RevokeRole()
                | RotatePepper()
                | SetApprovalLimit()
                | Approve()
                | RaiseHold()
                | SetCeiling()
            ):
                return "not_allowed", None  # below feature level 2
            case _:
                return self.missing(asked.account) or self.change(asked), asked.account

    def change(self, asked: SetPin | Login | Freeze | Unfreeze | Close | Unlock | ResetPin | SetLimit) -> str:
        person = self.people[asked.account]
        match asked:
            case SetPin():
                outcome = self.wrong_pin(asked.account, asked.old_pin) or "ok"
                person.pin = asked.pin if outcome == "ok" else person.pin
                return outcome
            case Login():
                return self.wrong_pin(asked.account, asked.pin) or "ok"
            case Freeze() | Unfreeze():
                person.state = "frozen" if isinstance(asked, Freeze) else "open"
            case Close():
                if self.money[asked.account] or self.held(asked.account):
                    return "not_empty"
                person.state = "closed"
            case ResetPin():
                person.pin, person.wrong = None, 0
            case Unlock():
                person.wrong = 0
            case SetLimit():
                if person.limit is None:
                    person.charged.clear()
                person.limit = asked.amount
        return "ok"

    def missing(self, account: str) -> str | None:
        if account not in self.people:
            return "no_such_account"
        return "account_closed" if self.people[account].state == "closed" else None

    def blocked(self, account: str) -> str | None:
        frozen = account in self.people and self.people[account].state == "frozen"
        return self.missing(account) or ("account_frozen" if frozen else None)

    def wrong_pin(self, account: str, pin: str | None) -> str | None:
        person = self.people[account]
        if person.pin is None:
            return None
        if person.wrong >= 3:
            return "locked"
        if pin == person.pin:
            person.wrong = 0
            return None
        person.wrong += pin is not None
        return "wrong_pin"

    def refused(self, asked: Debit | Hold) -> str | None:
        refusal = self.blocked(asked.account) or self.wrong_pin(asked.account, asked.pin)
        if refusal:
            return refusal
        if amount_of(asked) > self.available(asked.account):
            return "insufficient_funds"
        person = self.people[asked.account]
        today = sum(amount for day, amount in person.charged.values() if day == self.day())
        over = person.limit is not None and today + amount_of(asked) > person.limit
        return "limit_exceeded" if over else None

    def charge(self, asked: Debit | Hold, outcome: str) -> None:
        if outcome == "ok" and self.people[asked.account].limit is not None:
            self.people[asked.account].charged[asked.id] = (self.day(), amount_of(asked))

    def discharge(self, account: str, request_id: str, amount: int) -> None:
        charged = self.people[account].charged if account in self.people else {}
        if request_id in charged:
            day, before = charged[request_id]
            charged[request_id] = (day, before - amount)

    def day(self) -> int:
        return self.now_us // 86_400_000_000

    def transfer(self, request_id: str, legs: tuple[Transfer | Leg, ...]) -> str:
        for leg in legs:
            refusal = (
                self.blocked(leg.account) or self.wrong_pin(leg.account, leg.pin) or self.blocked(leg.target)
            )
            if refusal:
                return refusal
        return self.move(request_id, [(leg.account, leg.target, amount_of(leg)) for leg in legs])

    def finish(self, asked: Post | Void) -> Decision:
        if asked.hold not in self.holds:
            return "hold_not_found", None
        account, held, _, state = self.holds[asked.hold]
        if state in {"posted", "voided"}:
            return f"hold_already_{state}", account
        late = state == "expired"
        if isinstance(asked, Void):
            if late:
                return "hold_expired", account
            self.end(asked.hold, account, "voided", held)
            return "ok", account
        amount = held if asked.amount is None else asked.amount
        if amount > held:
            return "exceeds_hold", account
        closed = self.people[account].state == "closed"
        payer = "writeoff" if closed else account
        outcome = self.move(asked.id, [(payer, "cash", amount)], forced=True)
        if outcome == "ok":
            # A late one is charged anew: its hold was discharged in full when it ended.
            self.end(asked.hold, account, "posted", -amount if late else held - amount)
            self.posts[asked.id] = asked.hold
            overdrawn = self.money[account] < 0
            kind = "written_off" if closed else "overdrawn" if overdrawn else "late" if late else None
            if kind:
                self.exceptions.append((asked.id, kind))
        return outcome, account

    def end(self, hold_id: str, account: str, state: str, not_paid: int) -> None:
        self.holds[hold_id][3] = state
        self.discharge(account, hold_id, not_paid)

    def reverse(self, asked: Reverse) -> Decision:
        if asked.original not in self.answers:
            self.answers[asked.original] = ("never", ("already_reversed", None, None, self.index))
            return "original_not_found", None
        contents, (outcome, *_) = self.answers[asked.original]
        if contents == "never":
            return "already_reversed", None
        if asked.original in self.holds:
            return self.release(asked)
        moves = self.moved.get(asked.original, [])
        if outcome != "ok" or not moves or contents[0] is Reverse:
            return "original_not_found", None
        source, target, _ = moves[0]
        account = target if source in {"cash", "writeoff"} else source
        if asked.original in self.reversed:
            return "already_reversed", account
        total = sum(amount for *_, amount in moves)
        amount = total if asked.amount is None else asked.amount
        if amount > total or (amount < total and len(moves) > 1):
            return "exceeds_original", account
        if any(self.missing(name) == "account_closed" for move in moves for name in move[:2]):
            return "account_closed", account
        back = [(target, source, part) for source, target, part in reversed(moves)]
        if len(moves) == 1:
            back = [(target, source, amount)]
        outcome = self.move(asked.id, back)
        if outcome == "ok":
            self.reversed.add(asked.original)
            self.discharge(account, self.posts.get(asked.original, asked.original), amount)
        return outcome, account

    def release(self, asked: Reverse) -> Decision:
        account, held, _, state = self.holds[asked.original]
        if asked.original in self.reversed:
            return "already_reversed", account
        if state != "active":
            return "hold_expired" if state == "expired" else f"hold_already_{state}", account
        if asked.amount not in {None, held}:
            return "exceeds_original", account
        self.end(asked.original, account, "voided", held)
        self.reversed.add(asked.original)
        return "ok", account

    def move(self, request_id: str, moves: list[Move], *, forced: bool = False) -> str:
        before = dict(self.money)
        for source, target, amount in moves:
            if source in self.people and not forced and amount > self.available(source):
                self.money = before
                return "insufficient_funds"
            if self.money[target] + amount > FULL:
                self.money = before
                return "limit_exceeded"
            self.money[source] -= amount
            self.money[target] += amount
        self.moved[request_id] = moves
        return "ok"


def without_pins(asked: Command) -> tuple[type[Command], dict[str, Any]]:
    """Return what is asked: all but the PINs that show who asks."""
    contents = {name: value for name, value in asdict(asked).items() if name not in {"id", "old_pin"}}
    if not isinstance(asked, SetPin):
        contents.pop("pin", None)
    if isinstance(asked, Batch):
        contents["legs"] = [(leg.account, leg.target, leg.amount) for leg in asked.legs]
    return type(asked), contents
