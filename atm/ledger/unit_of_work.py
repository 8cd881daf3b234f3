"""The unit of work: what some log entries change, collected until it is written in one transaction.

It looks things up through a `LedgerReader` (the ledger as it was before these entries). The rules of
`rules.py`, and of the files that it calls, decide each command on it. No file, no clock, no chance.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Mapping, Sequence
from operator import itemgetter
from typing import Literal, Protocol, TypeVar

from msgspec import Struct

from atm.ledger.accounts import Account
from atm.ledger.commands import (
    OK,
    ApprovalLimit,
    BanksOwn,
    Contents,
    DetailedReceipt,
    LedgerReceipt,
    LoggedCommand,
    LoggedDeed,
    Outcome,
)
from atm.ledger.deeds import BACKUP_BEGUN, DeedRow, deed_hash, target_of
from atm.ledger.journal_hash import Remark
from atm.ledger.limits import Limits
from atm.ledger.peppers import PepperState
from atm.ledger.posting import NO_HASH, POSTINGS_PER_ENTRY, JournalRow, Posting, chained, funds
from atm.ledger.roles import RoleChange

T = TypeVar("T")

DETAILS_LEVEL = 2  # the feature level from which on receipts may say more: see `DetailedReceipt`
TOMBSTONE = "tombstone"  # the `op` under an id that was reversed before its request arrived

HoldState = Literal["active", "posted", "voided", "expired"]
ExceptionKind = Literal["late", "overdrawn", "written_off"]
Decision = tuple[Outcome, Account | None]  # and the account whose balance the receipt shows


class IdempotencyRecord(Struct, frozen=True, gc=False):
    """What was first asked under an id and by which actor, and the receipt that it got."""

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

    @property
    def left(self) -> int:
        """What was not paid out; it is held while the hold is active."""
        return self.amount - self.posted


class RaisedHold(Struct, frozen=True, kw_only=True, gc=False):
    """A hold that was raised, and how much of it counts towards the daily limit since `counted_us`."""

    hold: str
    counted_us: int
    counted: int


class ApprovalRecord(Struct, frozen=True, kw_only=True, gc=False):
    """A request that needed an approval: who asked, with which roles in the certificate (bits), and when.

    `stake` was above the limit, in minor units. `approved_by` is the id of the approval that carried it out.
    """

    request_id: str
    asked_by: str
    roles: int
    asked_us: int
    stake: int
    approved_by: str | None = None


class LazyCache(dict[str, T | None]):
    """What has been looked up, by name; the rest is looked up when it is needed. None: it does not exist."""

    def __init__(self, look_up: Callable[[str], T | None]) -> None:
        super().__init__()
        self._look_up = look_up

    def __missing__(self, name: str) -> T | None:
        found = self[name] = self._look_up(name)
        return found


class LedgerReader(Protocol):
    """The ledger as it was before the unit of work began."""

    def hold(self, request_id: str) -> HoldRecord | None: ...
    def holds_due(self, time_us: int, after: tuple[int, str], limit: int | None) -> Sequence[HoldRecord]:
        """Return active holds that are due, in the order of (expires_us, id), `limit` at most."""

    def active_holds(self, account: str, limit: int) -> int:
        """Return how many active holds the account has, `limit` if there are more."""

    def postings(self, log_index: int) -> Sequence[Posting]: ...
    def raised_hold(self, hold: str) -> RaisedHold | None: ...
    def reversal(self, original: str) -> str | None:
        """Return the id of the first reversal."""

    def refunded(self, original: str) -> int | None:
        """Return how much was taken back in all, None if there was no reversal beside the first."""

    def approval(self, request_id: str) -> ApprovalRecord | None: ...


class UnitOfWork:
    """The state that commands are decided on, and what they change.

    The fields from `new_records` on are what is to be written afterwards.
    """

    def __init__(
        self,
        reader: LedgerReader,
        accounts: LazyCache[Account],
        records: LazyCache[IdempotencyRecord],
        journal_hash: bytes,
    ) -> None:
        """`accounts` and `records` may hold what was looked up already; `journal_hash` is of the last row."""
        self.ledger = reader
        self.accounts = accounts
        self.records = records
        self.holds = LazyCache(reader.hold)
        self.raised_holds = LazyCache(reader.raised_hold)
        self.refunded = LazyCache(reader.refunded)
        self.approvals = LazyCache(reader.approval)
        self.log_index = 0  # of the entry that is being decided
        self.time_us = 0
        self.actor = ""
        self.refused_at = 0  # of the postings that `move` was given and refused, this one
        self.details: dict[str, int] = {}  # that the next receipt says besides
        self.feature_level = 1  # of the cluster, as of the entry that is being decided
        self.new_records: list[IdempotencyRecord] = []
        self.detailed: list[DetailedReceipt] = []  # of the new receipts, those that say more
        self.journal: list[JournalRow] = []
        self.journal_hash = journal_hash
        self.remarks: list[tuple[int, int | None, str | None]] = []  # posting, code, text
        self.changed_balances: dict[str, Account] = {}
        self.changed_accounts: dict[str, Account] = {}
        self.new_currencies: dict[str, str] = {}  # of accounts in another currency than the first
        self.changed_locks: dict[str, Account] = {}
        self.changed_account_limits: dict[str, Account] = {}
        self.changed_holds: dict[str, HoldRecord] = {}
        self.expired_to = (0, "")  # up to this expires_us and id, `Expire` has ended what was active before
        self.changed_raised_holds: dict[str, RaisedHold] = {}
        self.reversals: dict[str, str] = {}  # original to its first reversal
        self.refunds: list[tuple[str, int, str]] = []  # further ones: original, sum with this one, reversal
        self.exceptions: list[tuple[int, ExceptionKind]] = []
        self.role_changes: Mapping[str, RoleChange] = {}  # of all identities; never changed in place
        self.changed_roles: dict[str, RoleChange] = {}
        self.approval_limits: Mapping[str, ApprovalLimit] = {}  # by op; never changed in place
        self.changed_limits: dict[str, ApprovalLimit] = {}
        self.changed_approvals: dict[str, ApprovalRecord] = {}
        self.pepper = PepperState()
        self.changed_peppers: dict[int, PepperState] = {}  # by their generations
        self.changed_asked: dict[str, Contents] = {}  # of receipts that were kept before, by their ids
        self.deeds: list[DeedRow] = []
        self.deed_hash = NO_HASH

    def known_account(self, name: str) -> Account:
        """Return an account that must exist, since a row of the ledger or the bank itself names it."""
        account = self.accounts[name]
        assert account is not None, f"{name} was posted to and does not exist"
        return account

    def move(
        self,
        request_id: str,
        postings: Sequence[Posting],
        *,
        overdraft: bool = False,
        limits: Limits | None = None,
        remark: Remark | None = None,
    ) -> Outcome:
        """Post all, each on the balances that those before it left, or none.

        The rules have checked the accounts' states already; under `overdraft` funds do not matter. `limits`
        is asked about each posting for which there are funds. `remark` is that of all postings.
        """
        rows: list[JournalRow] = []
        accounts, changed = self.accounts, self.changed_balances  # not looked up again for each posting
        time_us, journal_hash = self.time_us, self.journal_hash
        for number, posting in enumerate(postings, self.log_index * POSTINGS_PER_ENTRY):
            debit, credit = accounts[posting.debit_account], accounts[posting.credit_account]
            amount = posting.amount_minor
            assert debit is not None, f"{posting.debit_account} does not exist, and would pay {amount}"
            assert credit is not None, f"{posting.credit_account} does not exist, and would receive {amount}"
            assert debit is not credit, f"{debit.name} would pay itself"
            assert debit.currency == credit.currency, f"{debit.name} and {credit.name} differ in currency"
            assert debit.state != "closed", f"{debit.name} is closed, and would pay {amount}"
            assert credit.state != "closed", f"{credit.name} is closed, and would receive {amount}"
            outcome = funds(debit, credit, amount, overdraft=overdraft)
            if outcome is OK and limits is not None:
                outcome = limits.check(debit, credit, amount)
            if outcome is not OK:
                self.refused_at = len(rows)
                for done in postings[: len(rows)]:
                    self.known_account(done.debit_account).balance += done.amount_minor
                    self.known_account(done.credit_account).balance -= done.amount_minor
                return outcome
            debit.balance -= amount
            credit.balance += amount
            changed[debit.name], changed[credit.name] = debit, credit
            row = chained(journal_hash, number, time_us, debit, credit, amount, request_id, remark)
            journal_hash = row[-1]
            rows.append(row)
        self.journal += rows
        if remark is not None:
            self.remarks += [(row[0], remark.code, remark.text) for row in rows]
        self.journal_hash = journal_hash
        return OK

    def note_exception(self, kind: ExceptionKind) -> None:
        """List the last posting for a person to look at."""
        number, *_ = self.journal[-1]
        self.exceptions.append((number, kind))

    def add_account(self, account: Account) -> None:
        """Have a new account found and written, with its balance; `change_account` adds a customer's rest."""
        self.accounts[account.name] = self.changed_balances[account.name] = account
        if account.currency is not None:
            self.new_currencies[account.name] = account.currency

    def change_account(self, account: Account) -> None:
        """Have all of the account but its balance and its lock written."""
        self.changed_accounts[account.name] = account

    def change_lock(self, account: Account) -> None:
        """Have the account's lock written; from feature level 2 on."""
        self.changed_locks[account.name] = account

    def change_account_limit(self, account: Account) -> None:
        """Have the account's ceiling, and whether transfers count, written; from feature level 2 on."""
        self.changed_account_limits[account.name] = account

    def change_hold(self, hold: HoldRecord) -> None:
        """Have the hold written, and found by the entries that follow."""
        self.holds[hold.id] = self.changed_holds[hold.id] = hold

    def change_raised_hold(self, raised: RaisedHold) -> None:
        """Have written how much of a raised hold counts, and found by the entries that follow."""
        self.raised_holds[raised.hold] = self.changed_raised_holds[raised.hold] = raised

    def reversal_of(self, request_id: str) -> str | None:
        """Return the id of the first reversal of a request, None if it was not reversed."""
        return self.reversals.get(request_id) or self.ledger.reversal(request_id)

    def add_refund(self, original: str, taken_back: int, reversal: str) -> None:
        """Have a further reversal written, after which so much is taken back in all."""
        self.refunded[original] = taken_back
        self.refunds.append((original, taken_back, reversal))

    def postings(self, log_index: int) -> Sequence[Posting]:
        """Return what the entry at that index moved."""
        number = log_index * POSTINGS_PER_ENTRY
        first, end = (
            bisect_left(self.journal, bound, key=itemgetter(0))
            for bound in (number, number + POSTINGS_PER_ENTRY)
        )
        here = [Posting(debit, credit, amount) for _, _, debit, credit, amount, *_ in self.journal[first:end]]
        return here or self.ledger.postings(log_index)

    def change_roles(self, change: RoleChange) -> None:
        """Have what the log says about an identity's roles written, and counted from the next entry on."""
        self.role_changes = {**self.role_changes, change.name: change}
        self.changed_roles[change.name] = change

    def change_limit(self, limit: ApprovalLimit) -> None:
        """Have the limit of a kind of request written, and counted from the next entry on."""
        self.approval_limits = {**self.approval_limits, limit.op: limit}
        self.changed_limits[limit.op] = limit

    def change_approval(self, approval: ApprovalRecord) -> None:
        """Have a request that needs an approval written, and found by the entries that follow."""
        self.approvals[approval.request_id] = self.changed_approvals[approval.request_id] = approval

    def change_pepper(self, pepper: PepperState) -> None:
        """Have the current pepper written, and counted from now on."""
        self.pepper = self.changed_peppers[pepper.generation] = pepper

    def change_asked(self, record: IdempotencyRecord, asked: Contents) -> None:
        """Have less written of what was asked under an id; its receipt stays."""
        self.records[record.receipt.id] = IdempotencyRecord(asked, record.actor, record.receipt)
        self.changed_asked[record.receipt.id] = asked

    def note_deed(
        self, logged: LoggedCommand | LoggedDeed, held: str, asked: Contents, receipt: LedgerReceipt
    ) -> None:
        """Record what is no teller's: with the roles `held` when it was decided, and what came."""
        assert not isinstance(logged.command, BanksOwn)
        row = (
            self.log_index,
            self.time_us,
            logged.actor,
            held,
            asked.op,
            target_of(logged.command),
            asked.amount,
            str(receipt.outcome),
            receipt.id,
        )
        self.deed_hash = deed_hash(self.deed_hash, *row)
        self.deeds.append((*row, self.deed_hash))

    def last_backup_us(self) -> int | None:
        """Return the log time of the last backup that was begun among these deeds, None without one."""
        begun = [
            time_us for _, time_us, _, _, op, _, _, outcome, *_ in self.deeds if (op, outcome) == BACKUP_BEGUN
        ]
        return begun[-1] if begun else None

    def receipt(self, request_id: str, outcome: Outcome, account: Account | None) -> LedgerReceipt:
        """Return a receipt with the account's balances as they are now."""
        if account is None or outcome is Outcome.NO_SUCH_ACCOUNT:
            balance = available = None
        else:
            balance, available = account.balance, account.available
        if self.details:
            details, self.details = self.details, {}
            tells_amounts = account is not None and "leg" not in details
            receipt = DetailedReceipt(
                id=request_id,
                outcome=outcome,
                balance=balance,
                available=available,
                log_index=self.log_index,
                time_us=self.time_us,
                currency=account.currency if account is not None and tells_amounts else None,
                **details,
            )
            self.detailed.append(receipt)
            return receipt
        return LedgerReceipt(
            id=request_id,
            outcome=outcome,
            balance=balance,
            available=available,
            log_index=self.log_index,
            time_us=self.time_us,
        )

    def keep_record(self, record: IdempotencyRecord) -> None:
        """Keep a receipt for ever: its id gets no other."""
        self.records[record.receipt.id] = record
        self.new_records.append(record)
