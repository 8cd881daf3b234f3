"""The bank's rules once more, in the simplest words, to hold the ledger against.

Everything is kept for ever and added up when it is asked for; a refusal is raised. What was opened, held and
moved under which id is all there is to know.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from msgspec.structs import replace

from atm.ledger.commands import (
    AMOUNT_MINOR_MAX,
    BALANCE_MINOR_MAX,
    CASH,
    WRITEOFF,
    Approve,
    Batch,
    Close,
    Command,
    Credit,
    Debit,
    Freeze,
    GrantRole,
    Hold,
    Leg,
    Login,
    Open,
    Post,
    RaiseHold,
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
from tests.simulation.people import ROLES, may

BANK = (CASH, WRITEOFF)
BANK_FLOOR = -(2**63) + 1
WRONG_PINS = 3
HOLDS = 1_000  # active ones of an account, from feature level 2 on
WRONG_PINS_A_DAY = 10
UNLOCKS_A_DAY = 3
MINUTE_US = 60_000_000
US_PER_DAY = 86_400_000_000
APPROVE_WITHIN_US = US_PER_DAY  # a run of the simulation takes less

Move = tuple[str, str, int]  # who gives, who gets, how much


class Refused(Exception):
    """The bank says no; `args[0]` is the outcome."""


class Undecided(Exception):
    """The PIN is sealed for another pepper than the account's: nobody can say whether it is right."""


@dataclass
class Account:
    """A customer's account, or one of the bank's own."""

    opened_us: int
    balance: int = 0
    state: str = "open"
    pin: str | None = None
    wrong_pins: int = 0
    limit: int | None = None
    counted_from_us: int = 0
    counted: int = 0  # towards the limit, if that was today
    locked_until_us: int | None = None  # None: never by the rules of feature level 2
    pins_day: int = 0  # of the next two
    wrong_today: int = 0
    unlocks_today: int = 0
    wrong_unseen: int = 0
    ceiling: int | None = None
    transfers_since: int | None = None  # the entry that let them count towards the limit

    def is_locked(self, now_us: int) -> bool:
        """By the rules of the level at which it was locked."""
        if self.locked_until_us is None:
            return self.wrong_pins >= WRONG_PINS
        return self.locked_until_us > now_us


@dataclass
class Reserved:
    """What a hold holds: its `layers` were reserved one after the other, and the first are paid out first."""

    account: str
    layers: list[tuple[int, int]]  # since when, and how much
    until_us: int
    state: str = "active"
    posted: int = 0

    @property
    def since_us(self) -> int:
        return self.layers[0][0]

    @property
    def amount(self) -> int:
        return sum(amount for _, amount in self.layers)

    @property
    def left(self) -> int:
        return self.amount - self.posted

    def slices(self, first: int, end: int) -> list[tuple[int, int]]:
        """Return since when each part of what lies between two places of the whole was reserved."""
        found, place = [], 0
        for since_us, amount in self.layers:
            part = min(end, place + amount) - max(first, place)
            if part > 0:
                found.append((since_us, part))
            place += amount
        return found


@dataclass
class Waiting:
    """What somebody asked that needs somebody else, and the request by which that one had it done."""

    command: Command
    actor: str
    roles: int
    since_us: int
    stake: int
    approval: str | None = None


@dataclass
class Bank:
    """The whole bank at one place of the log; `moves` and `flags` are of the newest command alone."""

    accounts: dict[str, Account] = field(
        default_factory=lambda: {CASH: Account(0), WRITEOFF: Account(0), "main": Account(0)}
    )
    holds: dict[str, Reserved] = field(default_factory=dict)
    done: dict[str, tuple[int, list[Move]]] = field(default_factory=dict)  # id: when counted, what it moved
    reversals: set[str] = field(default_factory=set)
    reversed: dict[str, list[tuple[str, int]]] = field(default_factory=dict)  # original: by whom, how much
    emptied: dict[str, int] = field(default_factory=dict)  # postings that left nothing of a hold, how much
    raised: dict[str, tuple[int, int]] = field(default_factory=dict)  # hold: the last raise, and what counts
    buried: set[str] = field(default_factory=set)  # reversed before they came
    moves: list[tuple[Move, int, int]] = field(default_factory=list)  # with both balances right after
    role_changes: dict[str, tuple[int, int]] = field(default_factory=dict)  # granted and revoked, as bits
    limits: dict[str, tuple[int | None, int]] = field(default_factory=dict)  # and the entry that set it
    waiting: dict[str, Waiting] = field(default_factory=dict)
    carried_out: Command | None = None  # by the newest command, an approval
    further: dict[str, int] = field(default_factory=dict)  # that the newest receipt says, from level 2 on
    spent: dict[str, dict[str, tuple[int, int]]] = field(default_factory=dict)  # id: when counted, for whom
    pepper: tuple[int, str] = (1, "")  # the current one: its generation and its name
    flag: str | None = None  # what kind of exception the newest command was
    now_us: int = 0
    index: int = 0
    level: int = 1
    _place: int = 0  # of the leg that is looked at

    def do(self, command: Command, index: int, now_us: int, actor: str, roles: int) -> str:
        """Do what was never asked for before, and may be asked by this actor.

        Return the outcome, or raise `Undecided`.
        """
        self.now_us, self.moves, self.flag, self.carried_out = now_us, [], None, None
        self.index, self.further = index, {}
        try:
            self._wait_for_approval(command, actor, roles)
            self._do(command, index, actor)
        except Refused as refused:
            assert not self.moves, "a refusal moves nothing"
            if isinstance(command, Batch) and self.level >= 2:
                self.further["leg"] = self._place
            return str(refused)
        moves = [move for move, _, _ in self.moves]
        match command:
            case Debit():
                counted_us = now_us
            case Post(hold=hold):
                counted_us = self.holds[hold].since_us
            case _:
                counted_us = 0
        self.done[command.id] = (counted_us, moves)
        return "ok"

    def expire(self, now_us: int, limit: int | None) -> list[str]:
        """End what is due, or the `limit` that were due first; return the holds' ids."""
        self.now_us, self.moves, self.flag = now_us, [], None
        due = [id_ for id_, hold in self.holds.items() if hold.state == "active" and hold.until_us <= now_us]
        due = sorted(due, key=lambda id_: (self.holds[id_].until_us, id_))[:limit]
        for request_id in due:
            hold = self.holds[request_id]
            hold.state = "expired"
            self._give_back(hold, hold.posted)
        return due

    def reseal(self, generation: int, seals: Sequence[tuple[str, str]]) -> None:
        """Replace what is sealed for an older pepper."""
        self.moves, self.flag = [], None
        for name, seal in seals:
            account = self.accounts.get(name)
            if account is not None and account.pin is not None and sealed_for(account.pin) < generation:
                account.pin = seal

    def held(self, name: str) -> int:
        return sum(h.left for h in self.holds.values() if h.account == name and h.state == "active")

    def shown(self, command: Command) -> str | None:
        """Return whose balance the receipt tells."""
        match command:
            case Post() | RaiseHold() if command.level_needed > self.level:
                return None
            case Batch(legs=legs):
                return legs[0].account
            case RaiseHold(hold=hold, account=name):
                return name if hold in self.holds and self.holds[hold].account == name else None
            case Post(hold=hold) | Void(hold=hold):
                return self.holds[hold].account if hold in self.holds else None
            case Reverse(original=original):
                if original in self.holds:
                    return self.holds[original].account
                moves = self._reversible(original)
                return next((name for name in moves[0][:2] if name not in BANK), CASH) if moves else None
            case Approve():
                return None if self.carried_out is None else self.shown(self.carried_out)
            case GrantRole() | RevokeRole() | RotatePepper() | SetApprovalLimit():
                return None
        return command.account

    # -- a second person -------------------------------------------------------------------------------

    def _wait_for_approval(self, command: Command, actor: str, roles: int) -> None:
        limit, _ = self.limits.get(str(command.__struct_config__.tag), (None, 0))
        if limit is None or roles == 0:
            return
        try:
            stake = self._stake(command)
        except Refused:
            return  # it will be refused at once, and nothing is at stake
        if stake > limit:
            self.waiting[command.id] = Waiting(command, actor, roles, self.now_us, stake)
            raise Refused("needs_approval")

    def _stake(self, command: Command) -> int:
        match command:
            case WriteOff(account=name, amount=amount):
                if name != CASH:
                    self._customer(name)
                return amount
            case Reverse():
                if command.original in self.holds:
                    return 0
                return self.taken_back(command.original) + sum(move[2] for move in self._back(command))
            case Unlock(account=name) | ResetPin(account=name):
                return self._customer(name).balance
        raise AssertionError(f"{command} has no limit")

    def _approve(self, command: Approve, index: int, actor: str) -> None:
        waiting = self.waiting.get(command.request)
        if waiting is None:
            raise Refused("original_not_found")
        if waiting.approval is not None:
            raise Refused("already_approved")
        if self.now_us > waiting.since_us + APPROVE_WITHIN_US:
            raise Refused("approval_expired")
        op, now = str(waiting.command.__struct_config__.tag), self.roles(waiting.actor, waiting.roles)
        same = actor.partition("/")[0] == waiting.actor.partition("/")[0]
        if same or not may(waiting.actor, now, op):
            raise Refused("not_allowed")
        self.carried_out = replace(waiting.command, id=command.id)
        self._do(self.carried_out, index, actor)
        waiting.approval = command.id

    # -- the rules -----------------------------------------------------------------------------------

    def _do(self, command: Command, index: int, actor: str) -> None:  # noqa: C901 - a line for each kind
        match command:
            case Open(account=name):
                if name in self.accounts:
                    raise Refused("account_closed" if self.accounts[name].state == "closed" else "exists")
                self.accounts[name] = Account(self.now_us)
            case Credit(account=name, amount=amount):
                self._usable(name)
                self._move([(CASH, name, amount)], bounded=True)
            case Debit(account=name):
                amount = self._withdraw(command)
                self._move([(name, CASH, amount)])
                self._count(name, amount)
                if command.all:
                    self.further["moved"] = amount
            case Transfer():
                amount = self._transfer(command.id, (command,))
                if command.all:
                    self.further["moved"] = amount
            case Batch():
                self._transfer(command.id, command.legs)
            case Hold():
                self._withdraw(command)
                active = [
                    h for h in self.holds.values() if (h.account, h.state) == (command.account, "active")
                ]
                if self.level >= 2 and len(active) >= HOLDS:
                    raise Refused("limit_exceeded")
                until_us = self.now_us + 1000 * command.expires_ms
                layer = (self.now_us, command.amount)
                self.holds[command.id] = Reserved(command.account, [layer], until_us)
                self._count(command.account, command.amount)
            case RaiseHold():
                self._raise(command)
            case Post():
                if self.level < 2 and (command.amount == 0 or not command.final):
                    raise Refused("not_allowed")
                self._post(command)
            case Void():
                self._release(self._unexpired(command.hold))
            case Reverse():
                self._reverse(command)
            case WriteOff(account=name, amount=amount):
                if name != CASH:
                    self._customer(name)
                self._move([(WRITEOFF, name, amount)])
                self.flag = "written_off"
            case GrantRole() | RevokeRole():
                self._change_role(command)
            case SetApprovalLimit(limited=op, amount=amount):
                self.limits[op] = amount, index
            case Approve():
                self._approve(command, index, actor)
            case RotatePepper(generation=generation, pepper=name):
                if (generation, name) != self.pepper:
                    if self.level < 2 or generation <= self.pepper[0]:
                        raise Refused("not_allowed")
                    self.pepper = generation, name
            case _:
                self._administer(command)

    def _change_role(self, command: GrantRole | RevokeRole) -> None:
        bits = 31 if command.role is None else 1 << ROLES.index(command.role)
        granted, revoked = self.role_changes.get(command.name, (0, 0))
        if isinstance(command, GrantRole):
            self.role_changes[command.name] = granted | bits, revoked & ~bits
        else:
            self.role_changes[command.name] = granted & ~bits, revoked | bits

    def roles(self, actor: str, certified: int) -> int:
        """Return what an actor is now."""
        granted, revoked = self.role_changes.get(actor.split("/", maxsplit=1)[0], (0, 0))
        return (certified | granted) & ~revoked

    def _administer(  # noqa: C901 - a line for each kind
        self, command: Freeze | Unfreeze | Close | SetPin | Login | Unlock | ResetPin | SetLimit | SetCeiling
    ) -> None:
        account = self._customer(command.account)
        match command:
            case Freeze():
                account.state = "frozen"
                self._tell_holds(command.account)
            case Unfreeze():
                account.state = "open"
            case Close():
                if account.balance != 0 or self.held(command.account) != 0:
                    self._tell_holds(command.account)
                    raise Refused("not_empty")
                account.state = "closed"
            case SetPin(pin=pin, old_pin=old_pin):
                self._identify(account, old_pin)
                if sealed_for(pin) != self.pepper[0]:
                    raise Undecided
                account.pin = pin
            case Login(pin=pin):
                self._identify(account, pin)
                account.wrong_unseen = 0
            case Unlock():
                self._unlock(account)
            case ResetPin():
                account.pin, account.wrong_pins, account.wrong_today, account.wrong_unseen = None, 0, 0, 0
                if account.locked_until_us is not None:
                    account.locked_until_us = 0
            case SetLimit(amount=amount):
                if account.limit is None:
                    account.counted, account.counted_from_us = 0, self.now_us
                account.limit = amount
                if not command.transfers:
                    account.transfers_since = None
                elif account.transfers_since is None:
                    account.transfers_since = self.index
            case SetCeiling(amount=amount):
                account.ceiling = amount

    def _tell_holds(self, name: str) -> None:
        number = sum(1 for h in self.holds.values() if h.account == name and h.state == "active")
        if number and self.level >= 2:
            self.further["active_holds"] = min(HOLDS, number)

    def _customer(self, name: str) -> Account:
        if name in BANK or name not in self.accounts:
            raise Refused("no_such_account")
        if self.accounts[name].state == "closed":
            raise Refused("account_closed")
        return self.accounts[name]

    def _usable(self, name: str) -> Account:
        account = self._customer(name)
        if account.state == "frozen":
            raise Refused("account_frozen")
        return account

    def _identify(self, account: Account, pin: str | None) -> None:
        """The third wrong PIN in a row is the last that is looked at; none at all tells nothing."""
        if account.pin is None:
            return
        if account.is_locked(self.now_us):
            raise Refused("locked")
        if pin is not None and sealed_for(pin) != sealed_for(account.pin):
            raise Undecided
        if pin is not None:
            account.wrong_pins = 0 if pin == account.pin else account.wrong_pins + 1
        if pin != account.pin:
            if pin is not None and self.level >= 2:
                self._count_wrong(account)
            raise Refused("wrong_pin")

    def _count_wrong(self, account: Account) -> None:
        """Lock it at the third in a row and the tenth of a day, each time for twice as long."""
        self._begin_day(account)
        account.wrong_today += 1
        account.wrong_unseen += 1
        account.locked_until_us = account.locked_until_us or 0
        beyond = max(account.wrong_pins - WRONG_PINS, account.wrong_today - WRONG_PINS_A_DAY)
        if beyond >= 0:
            account.locked_until_us = self.now_us + MINUTE_US * min(2**beyond, 24 * 60)

    def _unlock(self, account: Account) -> None:
        if self.level < 2:
            account.wrong_pins = 0
        elif account.is_locked(self.now_us):
            self._begin_day(account)
            if account.unlocks_today == UNLOCKS_A_DAY:
                raise Refused("limit_exceeded")
            account.unlocks_today += 1
            account.locked_until_us = 0

    def _begin_day(self, account: Account) -> None:
        if not self._is_today(account.pins_day * US_PER_DAY):
            account.pins_day = self.now_us // US_PER_DAY
            account.wrong_today = account.unlocks_today = 0

    def _wanted(self, name: str, amount: int | None) -> int:
        """Return how much is to leave: without an amount all that may."""
        there = self.accounts[name].balance - self.held(name)
        if amount is None:
            if there < 1:
                raise Refused("insufficient_funds")
            if there > AMOUNT_MINOR_MAX:
                raise Refused("limit_exceeded")
        return amount or there

    def _withdraw(self, command: Debit | Hold | RaiseHold) -> int:
        account = self._usable(command.account)
        self._identify(account, command.pin)
        amount = self._wanted(command.account, command.amount)
        if account.balance - self.held(command.account) < amount:
            raise Refused("insufficient_funds")
        if account.limit is not None:
            today = account.counted if self._is_today(account.counted_from_us) else 0
            if today + amount > account.limit:
                raise Refused("limit_exceeded")
        return amount

    def _transfer(self, request_id: str, legs: tuple[Transfer | Leg, ...]) -> int:
        """Return how much was moved."""
        moves: list[Move] = []
        for self._place, leg in enumerate(legs):
            self._identify(self._usable(leg.account), leg.pin)
            self._usable(leg.target)
            moves.append((leg.account, leg.target, self._wanted(leg.account, leg.amount)))
        self._move(moves, bounded=True)
        for payer, _, amount in moves:
            since = self.accounts[payer].transfers_since
            if since is not None:
                self._count(payer, amount)
                self.spent.setdefault(request_id, {})[payer] = (since, self.now_us)
        return sum(amount for _, _, amount in moves)

    def _unfinished(self, request_id: str) -> Reserved:
        hold = self.holds.get(request_id)
        if hold is None:
            raise Refused("hold_not_found")
        if hold.state in ("posted", "voided"):
            raise Refused(f"hold_already_{hold.state}")
        return hold

    def _unexpired(self, request_id: str) -> Reserved:
        hold = self._unfinished(request_id)
        if hold.state == "expired":
            raise Refused("hold_expired")
        return hold

    def _release(self, hold: Reserved) -> None:
        hold.state = "voided"
        self._give_back(hold, hold.posted)

    def _give_back(self, hold: Reserved, first: int) -> None:
        """Count what lies behind that place of the hold no more towards the daily limit."""
        for since_us, amount in hold.slices(first, hold.amount):
            self._uncount(hold.account, amount, since_us)

    def _raise(self, command: RaiseHold) -> None:
        if self.level < 2:
            raise Refused("not_allowed")
        hold = self.holds.get(command.hold)
        if hold is None or hold.account != command.account:
            raise Refused("hold_not_found")
        self._unexpired(command.hold)
        self._withdraw(command)
        if hold.amount + command.amount > AMOUNT_MINOR_MAX:
            raise Refused("limit_exceeded")
        account = self.accounts[hold.account]
        together = sum(amount for since_us, amount in hold.layers if self._counts(account, since_us))
        self.raised[command.hold] = self.now_us, together + command.amount
        hold.layers.append((self.now_us, command.amount))
        self._count(hold.account, command.amount)

    def _post(self, command: Post) -> None:
        if command.amount == 0:
            self._release(self._unexpired(command.hold))
            return
        hold = self._unfinished(command.hold)
        before, left = hold.posted, hold.left
        amount = command.amount or left
        if amount > left:
            raise Refused("exceeds_hold")
        account, late = self.accounts[hold.account], hold.state == "expired"
        closed = account.state == "closed"
        self._move([(WRITEOFF if closed else hold.account, CASH, amount)], forced=True)
        hold.posted += amount
        if hold.left == 0:
            self.emptied[command.id] = amount
        is_last = command.final or hold.left == 0
        if is_last:
            hold.state = "posted"
        if late:
            self._count_late(hold, before)
        elif is_last:
            self._give_back(hold, hold.posted)
        if closed:
            self.flag = "written_off"
        elif account.balance < 0:
            self.flag = "overdrawn"
        elif late:
            self.flag = "late"

    def _count_late(self, hold: Reserved, before: int) -> None:
        """Count what has just left once more: it was given back when the hold ended."""
        for since_us, part in hold.slices(before, hold.posted):
            if self._counts(self.accounts[hold.account], since_us):
                self._count(hold.account, part)

    def _reversible(self, request_id: str) -> list[Move]:
        _, moves = self.done.get(request_id, (0, []))
        return moves if request_id not in self.reversals else []

    def _reverse(self, command: Reverse) -> None:
        original = command.original
        if original in self.buried:
            raise Refused("already_reversed")
        if original in self.holds:
            self._reverse_hold(command)
            return
        back = self._back(command)
        self._move(back)
        customer = self.shown(command)
        amount = sum(amount for _, _, amount in back)
        self.reversed.setdefault(original, []).append((command.id, amount))
        self.reversals.add(command.id)
        if customer is not None:
            self._uncount(customer, amount, self.done[original][0])
        for _, payer, amount in back:
            since, then_us = self.spent.get(original, {}).get(payer, (None, 0))
            if since is not None and self.accounts[payer].transfers_since == since:
                self._uncount(payer, amount, then_us)

    def _back(self, command: Reverse) -> list[Move]:
        """Return what a reversal moves, or refuse."""
        if command.original in self.buried or (self.level < 2 and command.original in self.reversed):
            raise Refused("already_reversed")
        moves = self._reversible(command.original)
        if not moves:
            raise Refused("original_not_found")
        total = sum(amount for _, _, amount in moves)
        left = total - self.taken_back(command.original)
        if left == 0:
            raise Refused("already_reversed")
        amount = command.amount or left
        if amount > left or (len(moves) > 1 and amount != total):
            raise Refused("exceeds_original")
        if any(self.accounts[name].state == "closed" for move in moves for name in move[:2]):
            raise Refused("account_closed")
        if len(moves) == 1:
            moves = [(*moves[0][:2], amount)]
        return [(receiver, giver, back) for giver, receiver, back in reversed(moves)]

    def taken_back(self, original: str) -> int:
        return sum(amount for _, amount in self.reversed.get(original, ()))

    def _reverse_hold(self, command: Reverse) -> None:
        if command.original in self.reversed:
            raise Refused("already_reversed")
        hold = self._unexpired(command.original)
        if command.amount is not None and command.amount != hold.left:
            raise Refused("exceeds_original")
        self._release(hold)
        self.reversed[command.original] = [(command.id, 0)]
        self.reversals.add(command.id)

    # -- money -----------------------------------------------------------------------------------------

    def _move(self, moves: list[Move], *, forced: bool = False, bounded: bool = False) -> None:
        """Move all of it, each after the one before, or refuse and move nothing.

        `bounded`: within what operators set for the accounts.
        """
        balances = {name: account.balance for name, account in self.accounts.items()}
        moved: list[tuple[Move, int, int]] = []
        for self._place, (giver, receiver, amount) in enumerate(moves):
            balances[giver] -= amount
            if giver in BANK or forced:
                if balances[giver] < (BANK_FLOOR if giver in BANK else -BALANCE_MINOR_MAX):
                    raise Refused("limit_exceeded")
            elif balances[giver] < self.held(giver):
                raise Refused("insufficient_funds")
            balances[receiver] += amount
            if balances[receiver] > BALANCE_MINOR_MAX:
                raise Refused("limit_exceeded")
            if bounded:
                self._within_bounds(giver, receiver, balances[receiver], moves[: self._place + 1])
            moved.append(((giver, receiver, amount), balances[giver], balances[receiver]))
        for name, account in self.accounts.items():
            account.balance = balances[name]
        self.moves = moved

    def _within_bounds(self, giver: str, receiver: str, received: int, so_far: list[Move]) -> None:
        """Refuse what is more than a day's limit on transfers, or than the receiver may have."""
        payer, ceiling = self.accounts[giver], self.accounts[receiver].ceiling
        if payer.transfers_since is not None and payer.limit is not None:
            paid = sum(amount for name, _, amount in so_far if name == giver)
            today = payer.counted if self._is_today(payer.counted_from_us) else 0
            if today + paid > payer.limit:
                raise Refused("limit_exceeded")
        if ceiling is not None and received > ceiling:
            raise Refused("ceiling_exceeded")

    def _count(self, name: str, amount: int) -> None:
        account = self.accounts[name]
        if account.limit is not None:
            if not self._is_today(account.counted_from_us):
                account.counted, account.counted_from_us = 0, self.now_us // US_PER_DAY * US_PER_DAY
            account.counted += amount

    def _uncount(self, name: str, amount: int, then_us: int) -> None:
        account = self.accounts[name]
        if self._counts(account, then_us):
            account.counted -= amount

    def _counts(self, account: Account, then_us: int) -> bool:
        """Whether a withdrawal of that time is in today's count."""
        return (
            account.limit is not None
            and account.counted_from_us <= then_us
            and self._is_today(account.counted_from_us)
        )

    def _is_today(self, time_us: int) -> bool:
        return time_us // US_PER_DAY == self.now_us // US_PER_DAY


def sealed_for(seal: str) -> int:
    """Return the generation of the pepper."""
    return int(seal.split(":", maxsplit=1)[0]) if ":" in seal else 1
