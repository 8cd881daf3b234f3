"""The bank's rules: how each command is decided, and what it changes. No file, no clock, no chance.

A `UnitOfWork` decides a run of log entries: it looks things up through a `LedgerReader` (the ledger as it
was before the run), collects what it changes, and leaves that to be written in one transaction.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Sequence
from operator import itemgetter
from typing import Literal, Protocol, TypeVar, assert_never

from msgspec import Struct

from atm.ledger.accounts import Account, exists, may_move
from atm.ledger.commands import (
    AMOUNT_MINOR_MAX,
    CASH,
    OK,
    WRITEOFF,
    Batch,
    Close,
    Command,
    Contents,
    Credit,
    Debit,
    Expire,
    Freeze,
    Hold,
    LedgerReceipt,
    Leg,
    LoggedCommand,
    Login,
    Open,
    Outcome,
    Post,
    Reverse,
    SetLimit,
    SetPin,
    Transfer,
    Unfreeze,
    Unlock,
    Void,
    WriteOff,
)
from atm.ledger.posting import POSTINGS_PER_ENTRY, JournalRow, Posting, chained, funds
from atm.ledger.requests import contents_of, hold_named

T = TypeVar("T")

TOMBSTONE = "tombstone"  # the `op` of what stands under an id that was reversed before it came

HoldState = Literal["active", "posted", "voided", "expired"]
ExceptionKind = Literal["late", "overdrawn", "written_off"]
Decision = tuple[Outcome, Account | None]  # and whose balance the receipt shows


class IdempotencyRecord(Struct, frozen=True, gc=False):
    """What was first asked under an id and by whom, and the receipt that it got."""

    asked: Contents
    actor: str
    receipt: LedgerReceipt


class HoldRecord(Struct, kw_only=True):
    """An amount reserved on an account by the request `id`."""

    id: str
    account: str
    amount: int
    time_us: int
    expires_us: int
    state: HoldState = "active"
    posted: int = 0


class LazyCache(dict[str, T | None]):
    """What has been looked up, by name, the rest as it is asked for; None is known not to exist."""

    def __init__(self, look_up: Callable[[str], T | None]) -> None:
        super().__init__()
        self._look_up = look_up

    def __missing__(self, name: str) -> T | None:
        found = self[name] = self._look_up(name)
        return found


class LedgerReader(Protocol):
    """The ledger as it was before the run."""

    def hold(self, request_id: str) -> HoldRecord | None: ...
    def holds_due(self, time_us: int) -> Sequence[HoldRecord]: ...
    def postings(self, log_index: int) -> Sequence[Posting]: ...
    def is_reversed(self, request_id: str) -> bool: ...


class UnitOfWork:
    """A run of commands being decided. Its public fields are what is to be written afterwards."""

    def __init__(
        self,
        reader: LedgerReader,
        accounts: LazyCache[Account],
        records: LazyCache[IdempotencyRecord],
        journal_hash: bytes,
    ) -> None:
        """Begin with the accounts and rulings that were looked up together."""
        self._ledger = reader
        self._accounts = accounts
        self.records = records
        self.journal_hash = journal_hash
        self.new_records: list[IdempotencyRecord] = []
        self.journal: list[JournalRow] = []
        self.changed_balances: dict[str, Account] = {}
        self.changed_accounts: dict[str, Account] = {}
        self.changed_holds: dict[str, HoldRecord] = {}
        self.reversals: dict[str, str] = {}  # original to reversal
        self.exceptions: list[tuple[int, ExceptionKind]] = []
        self._holds = LazyCache(reader.hold)
        self._log_index = 0  # of the entry being decided
        self._time_us = 0
        self._actor = ""

    def settle(self, log_index: int, time_us: int, logged: LoggedCommand) -> LedgerReceipt | None:
        """Decide the command of the log entry at `log_index`; return its receipt, None for the bank's own.

        An id that has a ruling gets that receipt again, whatever is the case now; with other contents it is
        refused, nothing moves, and the first ruling stays, whoever asks.
        """
        command = logged.command
        self._log_index, self._time_us, self._actor = log_index, time_us, logged.actor
        if isinstance(command, Expire):
            self._expire()
            return None
        asked = contents_of(command)
        assert asked.amount is None or type(asked.amount) is int, f"an amount is an int, not {asked.amount!r}"
        assert asked.amount is None or 0 < asked.amount <= AMOUNT_MINOR_MAX, f"{asked.amount} is out of range"
        first = self.records[command.id]
        if first is not None:
            if first.asked == asked or first.asked.op == TOMBSTONE:
                return first.receipt
            account = None if asked.account is None else self._accounts[asked.account]
            return self._receipt(command.id, Outcome.ID_REUSED, account)
        outcome, account = self._decide(command)
        receipt = self._receipt(command.id, outcome, account)
        self._remember(IdempotencyRecord(asked, logged.actor, receipt))
        return receipt

    def _decide(self, command: Command) -> Decision:  # noqa: C901, PLR0912 - a line for each kind
        match command:
            case Credit():
                return self._credit(command)
            case Debit():
                return self._debit(command)
            case Transfer():
                return self._transfer(command.id, (command,))
            case Batch():
                return self._transfer(command.id, command.legs)
            case Hold():
                return self._hold_back(command)
            case Post():
                return self._post(command)
            case Void():
                return self._void(command)
            case Reverse():
                return self._reverse(command)
            case WriteOff():
                return self._write_off(command)
            case Open():
                return self._open(command)
            case SetPin() | Login():
                return self._identify(command)
            case Freeze() | Unfreeze() | Close() | Unlock() | SetLimit():
                return self._administer(command)
            case _:
                assert_never(command)

    # -- money in and out ----------------------------------------------------------------------------------

    def _credit(self, command: Credit) -> Decision:
        account = self._accounts[command.account]
        outcome = may_move(account)
        if outcome is OK:
            outcome = self._move(command.id, [Posting(CASH, command.account, command.amount)])
        return outcome, account

    def _debit(self, command: Debit) -> Decision:
        account = self._accounts[command.account]
        outcome = self._may_withdraw(account, command.pin, command.amount)
        if outcome is OK and account is not None:
            outcome = self._move(command.id, [Posting(command.account, CASH, command.amount)])
            if outcome is OK:
                self._note_withdrawal(account, command.amount)
        return outcome, account

    def _transfer(self, request_id: str, legs: Sequence[Transfer | Leg]) -> Decision:
        """All legs or none, but every wrong PIN on the way counts."""
        payer = self._accounts[legs[0].account]
        for leg in legs:
            outcome = self._may_pay(self._accounts[leg.account], leg.pin)
            if outcome is OK:
                outcome = may_move(self._accounts[leg.target])
            if outcome is not OK:
                return outcome, payer
        return self._move(request_id, [Posting(leg.account, leg.target, leg.amount) for leg in legs]), payer

    def _write_off(self, command: WriteOff) -> Decision:
        account = self._accounts[command.account]
        outcome = OK if command.account == CASH else exists(account)
        if outcome is OK:
            outcome = self._move(command.id, [Posting(WRITEOFF, command.account, command.amount)])
            if outcome is OK:
                self._note_exception("written_off")
        return outcome, account

    def _may_pay(self, account: Account | None, pin: str | None) -> Outcome:
        outcome = may_move(account)
        return self._check_pin(account, pin) if outcome is OK and account is not None else outcome

    def _may_withdraw(self, account: Account | None, pin: str | None, amount: int) -> Outcome:
        outcome = self._may_pay(account, pin)
        if outcome is OK and account is not None:
            if account.available < amount:
                return Outcome.INSUFFICIENT_FUNDS
            if account.exceeds_limit(amount, self._time_us):
                return Outcome.LIMIT_EXCEEDED
        return outcome

    def _note_withdrawal(self, account: Account, amount: int) -> None:
        if account.daily_limit is not None:
            account.note_withdrawal(amount, self._time_us)
            self._change(account)

    def _restore_limit(self, account: Account, amount: int, withdrawn_us: int) -> None:
        if account.counts(withdrawn_us, self._time_us):
            account.withdrawn -= amount
            self._change(account)

    # -- holds ---------------------------------------------------------------------------------------------

    def _hold_back(self, command: Hold) -> Decision:
        account = self._accounts[command.account]
        outcome = self._may_withdraw(account, command.pin, command.amount)
        if outcome is OK and account is not None:
            account.held += command.amount
            self._change(account)
            self._note_withdrawal(account, command.amount)
            hold = HoldRecord(
                id=command.id,
                account=command.account,
                amount=command.amount,
                time_us=self._time_us,
                expires_us=self._time_us + command.expires_ms * 1000,
            )
            self._holds[hold.id] = self.changed_holds[hold.id] = hold
        return outcome, account

    def _post(self, command: Post) -> Decision:
        """The cash is gone already, so what stands in the way now is an exception and no refusal."""
        hold = self._holds[command.hold]
        if hold is None:
            return Outcome.HOLD_NOT_FOUND, None
        account = self._known_account(hold.account)
        outcome = _may_end(hold)
        if outcome not in {OK, Outcome.HOLD_EXPIRED}:
            return outcome, account
        amount = hold.amount if command.amount is None else command.amount
        if amount > hold.amount:
            return Outcome.EXCEEDS_HOLD, account
        late = outcome is Outcome.HOLD_EXPIRED
        payer = WRITEOFF if account.state == "closed" else hold.account
        outcome = self._move(command.id, [Posting(payer, CASH, amount)], overdraft=True)
        if outcome is not OK:
            return outcome, account
        if not late:
            self._release(account, hold)
            self._restore_limit(account, hold.amount - amount, hold.time_us)
        elif account.counts(hold.time_us, self._time_us):
            self._note_withdrawal(account, amount)  # again: it was given back when the hold ended
        hold.state, hold.posted = "posted", amount
        self.changed_holds[hold.id] = hold
        if payer == WRITEOFF:
            self._note_exception("written_off")
        elif account.balance < 0:
            self._note_exception("overdrawn")
        elif late:
            self._note_exception("late")
        return OK, account

    def _void(self, command: Void) -> Decision:
        hold = self._holds[command.hold]
        if hold is None:
            return Outcome.HOLD_NOT_FOUND, None
        account = self._known_account(hold.account)
        outcome = _may_end(hold)
        if outcome is OK:
            self._end(account, hold, "voided")
        return outcome, account

    def _expire(self) -> None:
        """End the holds that are due by log time, in an order of their own."""
        due = {hold.id for hold in self._ledger.holds_due(self._time_us)} | self.changed_holds.keys()
        for hold_id in sorted(due):
            hold = self._holds[hold_id]
            if hold is not None and hold.state == "active" and hold.expires_us <= self._time_us:
                self._end(self._known_account(hold.account), hold, "expired")

    def _end(self, account: Account, hold: HoldRecord, state: HoldState) -> None:
        self._release(account, hold)
        self._restore_limit(account, hold.amount, hold.time_us)
        hold.state = state
        self.changed_holds[hold.id] = hold

    def _release(self, account: Account, hold: HoldRecord) -> None:
        account.held -= hold.amount
        assert account.held >= 0, f"{account.name} would hold {account.held}"
        self._change(account)

    # -- reversals -----------------------------------------------------------------------------------------

    def _reverse(self, command: Reverse) -> Decision:
        original = self.records[command.original]
        if original is None:
            self._bury(command.original)
            return Outcome.ORIGINAL_NOT_FOUND, None
        if original.asked.op == TOMBSTONE:
            return Outcome.ALREADY_REVERSED, None
        hold = self._holds[command.original] if original.asked.op == "hold" else None
        if hold is not None:
            return self._reverse_hold(command, hold)
        postings = self._postings(original)
        if not postings:
            return Outcome.ORIGINAL_NOT_FOUND, None
        account = self._known_account(_customer(postings[0]))
        if self._is_reversed(command.original):
            return Outcome.ALREADY_REVERSED, account
        total = sum(posting.amount_minor for posting in postings)
        amount = total if command.amount is None else command.amount
        if amount > total or (amount < total and len(postings) > 1):
            return Outcome.EXCEEDS_ORIGINAL, account
        if len(postings) == 1:
            opposites = [postings[0].opposite(amount)]
        else:
            opposites = [posting.opposite(posting.amount_minor) for posting in reversed(postings)]
        outcome = self._may_correct(opposites)
        if outcome is OK:
            outcome = self._move(command.id, opposites)
        if outcome is OK:
            self.reversals[command.original] = command.id
            self._restore_limit(account, amount, self._withdrawn_us(original))
        return outcome, account

    def _reverse_hold(self, command: Reverse, hold: HoldRecord) -> Decision:
        """Release it, as a whole. What was paid out of it is taken back under the id of its posting."""
        account = self._known_account(hold.account)
        if self._is_reversed(hold.id):
            return Outcome.ALREADY_REVERSED, account
        outcome = _may_end(hold)
        if outcome is OK and command.amount not in (None, hold.amount):
            outcome = Outcome.EXCEEDS_ORIGINAL
        if outcome is OK:
            self._end(account, hold, "voided")
            self.reversals[hold.id] = command.id
        return outcome, account

    def _is_reversed(self, request_id: str) -> bool:
        return request_id in self.reversals or self._ledger.is_reversed(request_id)

    def _bury(self, request_id: str) -> None:
        """Let the request of this id, which is still on its way, be declined for ever."""
        self._remember(
            IdempotencyRecord(
                Contents(op=TOMBSTONE),
                self._actor,
                self._receipt(request_id, Outcome.ALREADY_REVERSED, None),
            ),
        )

    def _postings(self, original: IdempotencyRecord) -> Sequence[Posting]:
        """Return what the request moved; a reversal itself cannot be taken back."""
        if original.receipt.outcome is not OK or original.asked.op == "reverse":
            return ()
        number = original.receipt.log_index * POSTINGS_PER_ENTRY
        first, end = (
            bisect_left(self.journal, bound, key=itemgetter(0))
            for bound in (number, number + POSTINGS_PER_ENTRY)
        )
        here = [Posting(debit, credit, amount) for _, _, debit, credit, amount, *_ in self.journal[first:end]]
        return here or self._ledger.postings(original.receipt.log_index)

    def _withdrawn_us(self, original: IdempotencyRecord) -> int:
        """Return when what the request paid out was counted towards the daily limit; 0 if it was not."""
        match original.asked.op:
            case "debit":
                return original.receipt.time_us
            case "post":
                hold = self._holds[hold_named(original.asked)]
                return 0 if hold is None else hold.time_us
            case _:
                return 0

    def _may_correct(self, postings: Sequence[Posting]) -> Outcome:
        for posting in postings:
            for name in (posting.debit_account, posting.credit_account):
                if self._known_account(name).state == "closed":
                    return Outcome.ACCOUNT_CLOSED
        return OK

    # -- accounts ------------------------------------------------------------------------------------------

    def _open(self, command: Open) -> Decision:
        account = self._accounts[command.account]
        if account is not None:
            closed = account.state == "closed"
            return (Outcome.ACCOUNT_CLOSED if closed else Outcome.EXISTS), account
        account = Account(name=command.account, opened_us=self._time_us)
        self._accounts[account.name] = self.changed_balances[account.name] = account
        self._change(account)
        return OK, account

    def _identify(self, command: SetPin | Login) -> Decision:
        account = self._accounts[command.account]
        outcome = exists(account)
        if outcome is OK and account is not None:
            if isinstance(command, Login):
                return self._check_pin(account, command.pin), account
            outcome = self._check_pin(account, command.old_pin)
            if outcome is OK:
                account.pin = command.pin
                self._change(account)
        return outcome, account

    def _administer(self, command: Freeze | Unfreeze | Close | Unlock | SetLimit) -> Decision:
        account = self._accounts[command.account]
        outcome = exists(account)
        if outcome is not OK or account is None:
            return outcome, account
        match command:
            case Freeze():
                account.state = "frozen"
            case Unfreeze():
                account.state = "open"
            case Close():
                if account.balance or account.held:
                    return Outcome.NOT_EMPTY, account
                account.state = "closed"
            case Unlock():
                account.wrong_pins = 0
            case SetLimit():
                if account.daily_limit is None:
                    account.count_from(self._time_us)
                account.daily_limit = command.amount
            case _:
                assert_never(command)
        self._change(account)
        return OK, account

    def _check_pin(self, account: Account | None, pin: str | None) -> Outcome:
        assert account is not None
        before = account.wrong_pins
        outcome = account.check_pin(pin)
        if account.wrong_pins != before:
            self._change(account)
        return outcome

    # -- the books -----------------------------------------------------------------------------------------

    def _move(self, request_id: str, postings: Sequence[Posting], *, overdraft: bool = False) -> Outcome:
        """Post all, each seeing those before it, or none."""
        rows: list[JournalRow] = []
        time_us, journal_hash = self._time_us, self.journal_hash
        for number, posting in enumerate(postings, self._log_index * POSTINGS_PER_ENTRY):
            debit = self._known_account(posting.debit_account)
            credit = self._known_account(posting.credit_account)
            amount = posting.amount_minor
            outcome = funds(debit, credit, amount, overdraft=overdraft)
            if outcome is not OK:
                for done in postings[: len(rows)]:
                    self._known_account(done.debit_account).balance += done.amount_minor
                    self._known_account(done.credit_account).balance -= done.amount_minor
                return outcome
            debit.balance -= amount
            credit.balance += amount
            self.changed_balances[debit.name] = debit
            self.changed_balances[credit.name] = credit
            row = chained(journal_hash, number, time_us, debit, credit, amount, request_id)
            journal_hash = row[-1]
            rows.append(row)
        self.journal += rows
        self.journal_hash = journal_hash
        return OK

    def _note_exception(self, kind: ExceptionKind) -> None:
        number, *_ = self.journal[-1]
        self.exceptions.append((number, kind))

    def _change(self, account: Account) -> None:
        self.changed_accounts[account.name] = account

    def _remember(self, record: IdempotencyRecord) -> None:
        self.records[record.receipt.id] = record
        self.new_records.append(record)

    def _receipt(self, request_id: str, outcome: Outcome, account: Account | None) -> LedgerReceipt:
        if account is None or outcome is Outcome.NO_SUCH_ACCOUNT:
            balance = available = None
        else:
            balance, available = account.balance, account.available
        return LedgerReceipt(
            id=request_id,
            outcome=outcome,
            balance=balance,
            available=available,
            log_index=self._log_index,
            time_us=self._time_us,
        )

    def _known_account(self, name: str) -> Account:
        account = self._accounts[name]
        assert account is not None, f"{name} was posted to and does not exist"
        return account


def _may_end(hold: HoldRecord) -> Outcome:
    match hold.state:
        case "active":
            return OK
        case "posted":
            return Outcome.HOLD_ALREADY_POSTED
        case "voided":
            return Outcome.HOLD_ALREADY_VOIDED
        case "expired":
            return Outcome.HOLD_EXPIRED
        case _:
            assert_never(hold.state)


def _customer(posting: Posting) -> str:
    """Return the customer's side of a posting, the payer's if both are customers."""
    banks_own = posting.debit_account in {CASH, WRITEOFF}
    return posting.credit_account if banks_own else posting.debit_account
