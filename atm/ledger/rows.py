"""The rows of the ledger: looked up for a `UnitOfWork`, and written from it.

The queries here, in inquiries.py and in finding.py are in the SQL that SQLite and PostgreSQL both know: a
lane on PostgreSQL (atm/lanes) asks them, too.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from typing import Any, Protocol, TypeVar

import msgspec
from msgspec.structs import astuple

from atm.identity import Role
from atm.ledger.accounts import Account
from atm.ledger.commands import (
    CASH,
    ApprovalLimit,
    Contents,
    DetailedReceipt,
    Expire,
    LedgerReceipt,
    LogCommand,
    NoteDeed,
    Reseal,
)
from atm.ledger.own_accounts import currency_of_own, is_banks_own
from atm.ledger.peppers import PepperState
from atm.ledger.posting import NO_HASH, POSTINGS_PER_ENTRY, Posting
from atm.ledger.requests import accounts_named
from atm.ledger.roles import RoleChange
from atm.ledger.unit_of_work import (
    ApprovalRecord,
    HoldRecord,
    IdempotencyRecord,
    LazyCache,
    RaisedHold,
    UnitOfWork,
)
from atm.permissions import bits_of, names_of

RECEIPT_COLUMNS = (
    "request_id, op, account, amount, details, actor, outcome, balance, available, log_index, time_us"
)
# The join puts the ids first: with `in`, SQLite would sort them into a table of its own before it looks.
RECEIPTS = f"select {RECEIPT_COLUMNS} from json_each(?) cross join receipt on request_id = value"
RECEIPT = f"select {RECEIPT_COLUMNS} from receipt where request_id = ?"
RECEIPT_DETAIL = """select leg, moved, active_holds, currency from receipt_detail
    join receipt using (request_id) left join account_currency using (account) where request_id = ?"""
ACCOUNT_COLUMNS = """select account, amount, opened_us, state, held, pin, wrong_pins, daily_limit,
    counted_from_us, withdrawn{} from balance left join account using (account)"""
LEVEL_2_COLUMNS = """, locked_until_us, coalesce(pins_day, 0), coalesce(wrong_today, 0),
    coalesce(unlocks_today, 0), coalesce(wrong_unseen, 0), ceiling, transfers_from, currency"""
LEVEL_2_JOINS = """left join pin_lock using (account) left join account_limit using (account)
    left join account_currency using (account)"""
NAMED_ACCOUNTS = "account in (select value from json_each(?))"
NAMED_ACCOUNT = "account = ?"
HOLD_COLUMNS = "select request_id, account, amount, time_us, expires_us, state, posted from hold"
HOLD = f"{HOLD_COLUMNS} where request_id = ?"
HOLDS_DUE = f"""{HOLD_COLUMNS} where state = 'active' and expires_us <= ?
    and (expires_us, request_id) > (?, ?) order by expires_us, request_id limit ?"""
NO_LIMIT = 2**63 - 1
HOLDS_OF = """select request_id, amount, time_us, expires_us, posted from hold
    where account = ? and state = 'active' and request_id > ? order by request_id limit ?"""
ACTIVE_HOLDS = """select count(*) from
    (select 1 from hold where account = ? and state = 'active' limit ?) as active"""
NEXT_EXPIRY = "select min(expires_us) from hold where state = 'active'"
POSTINGS = """select debit_account, credit_account, amount from journal
    where posting >= ? and posting < ? order by posting"""
REVERSAL = "select reversal from reversal where original = ?"
LAST_REFUND = """select taken_back, reversal from refund where original = ?
    order by taken_back desc limit 1"""
RAISED_HOLD = "select hold, counted_us, counted from raised_hold where hold = ?"
ROLE_CHANGES = "select name, granted, revoked, log_index from role_change"
APPROVAL_LIMITS = "select op, amount, log_index from approval_limit"
APPROVAL = """select request_id, asked_by, roles, asked_us, stake, approved_by from approval
    where request_id = ?"""
LAST_DEED_HASH = "select hash from deed order by deed desc limit 1"
LAST_BACKUP = (
    "select time_us from deed where op = 'backup_begin' and outcome = 'ok' order by deed desc limit 1"
)
NEWEST_PEPPER = """select generation, name, log_index, carried_index from pepper
    order by generation desc limit 1"""
PINS_AFTER = "select account, pin from account where account > ? order by account limit ?"
NEW_PINS_AFTER = """select request_id, case when op = 'set_pin' then details end from receipt
    where request_id > ? order by request_id limit ?"""
SET_DETAILS = "update receipt set details = ? where request_id = ?"
LAST_HASH = "select hash from journal order by posting desc limit 1"

SET_ACCOUNT = """on conflict (account) do update set state = excluded.state, held = excluded.held,
    pin = excluded.pin, wrong_pins = excluded.wrong_pins, daily_limit = excluded.daily_limit,
    counted_from_us = excluded.counted_from_us, withdrawn = excluded.withdrawn"""
SET_LOCK = """on conflict (account) do update set locked_until_us = excluded.locked_until_us,
    pins_day = excluded.pins_day, wrong_today = excluded.wrong_today,
    unlocks_today = excluded.unlocks_today, wrong_unseen = excluded.wrong_unseen"""
SET_ACCOUNT_LIMIT = """on conflict (account) do update set ceiling = excluded.ceiling,
    transfers_from = excluded.transfers_from"""
SET_ROLES = """on conflict (name) do update set granted = excluded.granted, revoked = excluded.revoked,
    log_index = excluded.log_index"""
SET_APPROVAL_LIMIT = "on conflict (op) do update set amount = excluded.amount, log_index = excluded.log_index"
SET_APPROVAL = "on conflict (request_id) do update set approved_by = excluded.approved_by"
SET_PEPPER = "on conflict (generation) do update set carried_index = excluded.carried_index"
SET_HOLD = """on conflict (request_id) do update set amount = excluded.amount, state = excluded.state,
    posted = excluded.posted"""
SET_RAISED_HOLD = """on conflict (hold) do update set counted_us = excluded.counted_us,
    counted = excluded.counted"""

ACCOUNTS_KEPT_MAX = 20_000  # in memory, some 400 bytes each

ROWS_AT_ONCE = 8

WITHOUT_RECEIPT = (Expire, Reseal, NoteDeed)  # commands that no id is kept of

RECEIPT_DETAILS = (
    "leg",
    "moved",
    "active_holds",
)  # what some receipts say besides, as `receipt_detail` has it
SAY_MORE = frozenset({"batch", "freeze", "close"})  # whose receipts may; and those of all there is

Row = tuple[str | int | float | bytes | None, ...]
Stored = TypeVar("Stored", ApprovalLimit, ApprovalRecord, PepperState, RaisedHold)


class Unreadable(Exception):
    """A row holds a value that this program never writes."""


class Found(Protocol):
    """The rows of one query."""

    def __iter__(self) -> Iterator[Any]: ...
    def fetchall(self) -> list[Any]: ...
    @property
    def get(self) -> Any:
        """The first row, its value alone if it has one column; None without a row."""


class Cursor(Protocol):
    """What asks a database: SQLite's own, or that of a lane on PostgreSQL."""

    def execute(self, sql: str, values: Any = ..., /) -> Found: ...


class Insertion:
    """Writes rows of one table, several to a statement.

    Not `executemany`: it returns its statement to apsw's cache after each row, in another place, so a few
    dozen rows evict all other statements, and every batch has to parse them again.
    """

    def __init__(self, table: str, columns: int, on_conflict: str = "") -> None:
        row = f"({', '.join('?' * columns)})"
        self._one = f"insert into {table} values {row} {on_conflict}"
        self._several = f"insert into {table} values {', '.join([row] * ROWS_AT_ONCE)} {on_conflict}"

    def insert(self, cursor: Cursor, rows: Sequence[Row]) -> None:
        whole = len(rows) - len(rows) % ROWS_AT_ONCE
        for start in range(0, whole, ROWS_AT_ONCE):
            cursor.execute(self._several, tuple(chain.from_iterable(rows[start : start + ROWS_AT_ONCE])))
        for row in rows[whole:]:
            cursor.execute(self._one, row)


RECEIPT_ROWS = Insertion("receipt", columns=11)
BALANCE_ROWS = Insertion("balance", 2, "on conflict (account) do update set amount = excluded.amount")
JOURNAL_ROWS = Insertion("journal", columns=9)
REMARK_ROWS = Insertion("remark", columns=3)
ACCOUNT_ROWS = Insertion("account", 9, SET_ACCOUNT)
CURRENCY_ROWS = Insertion("account_currency", columns=2)
LOCK_ROWS = Insertion("pin_lock", 6, SET_LOCK)
ACCOUNT_LIMIT_ROWS = Insertion("account_limit", 3, SET_ACCOUNT_LIMIT)
RECEIPT_DETAIL_ROWS = Insertion("receipt_detail", columns=4)
HOLD_ROWS = Insertion("hold", 7, SET_HOLD)
RAISED_HOLD_ROWS = Insertion("raised_hold", 3, SET_RAISED_HOLD)
REVERSAL_ROWS = Insertion("reversal", columns=2)
REFUND_ROWS = Insertion("refund", columns=3)
EXCEPTION_ROWS = Insertion("exception", columns=2)
DEED_ROWS = Insertion("deed", columns=10)
ROLE_ROWS = Insertion("role_change", 4, SET_ROLES)
APPROVAL_LIMIT_ROWS = Insertion("approval_limit", 3, SET_APPROVAL_LIMIT)
APPROVAL_ROWS = Insertion("approval", 6, SET_APPROVAL)
PEPPER_ROWS = Insertion("pepper", 4, SET_PEPPER)


class LedgerRows:
    """Lookups and writes by one cursor, whose statements stay prepared; a `LedgerReader`.

    `has_level_2` says whether the ledger has the tables that feature level 2 adds.
    """

    def __init__(self, cursor: Cursor, *, has_level_2: bool) -> None:
        self.has_level_2 = has_level_2
        self._accounts = LazyCache(self.account)  # as decided last; only this process writes them
        self._execute = cursor.execute
        self._cursor = cursor

    def begin_unit(self, journal_hash: bytes) -> UnitOfWork:
        """Return a unit of work for the next entries; it must be written before another begins."""
        if len(self._accounts) > ACCOUNTS_KEPT_MAX:
            self.drop_cache()
        return UnitOfWork(self, self._accounts, LazyCache(self.record), journal_hash)

    def look_up(self, unit: UnitOfWork, commands: Sequence[LogCommand]) -> None:
        """Look up the receipts and accounts that these commands name, in two queries."""
        ids = [command.id for command in commands if not isinstance(command, WITHOUT_RECEIPT)]
        new_ids = [each for each in ids if each not in unit.records]
        unit.records.update(dict.fromkeys(new_ids))
        for row in self._execute(RECEIPTS, (_json_list(new_ids),)).fetchall():  # `_record` uses the cursor
            record = self._record(row)
            unit.records[record.receipt.id] = record
        names = {CASH}
        names.update(*map(accounts_named, commands))
        missing = [name for name in names if name not in self._accounts]
        if missing:
            for row in self._execute(self.accounts_where(NAMED_ACCOUNTS), (_json_list(missing),)):
                account = account_of(row)
                self._accounts[account.name] = account

    def cached_account(self, name: str) -> Account | None:
        """Return the account as it was decided last, None if it is not in memory."""
        return self._accounts.get(name)

    def drop_cache(self) -> None:
        """Drop all accounts in memory: what the unit of work changed on them was not written."""
        self._accounts.clear()

    def write_unit(self, unit: UnitOfWork) -> None:
        """Write what the unit of work changed; receipts first, since the other rows refer to them."""
        RECEIPT_ROWS.insert(self._cursor, list(map(receipt_row, unit.new_records)))
        balances = unit.changed_balances
        BALANCE_ROWS.insert(self._cursor, [(name, account.balance) for name, account in balances.items()])
        JOURNAL_ROWS.insert(self._cursor, unit.journal)
        if unit.remarks:
            REMARK_ROWS.insert(self._cursor, unit.remarks)
        ACCOUNT_ROWS.insert(
            self._cursor, [account_row(account) for account in unit.changed_accounts.values()]
        )
        CURRENCY_ROWS.insert(self._cursor, list(unit.new_currencies.items()))
        if unit.changed_locks:
            LOCK_ROWS.insert(self._cursor, list(map(lock_row, unit.changed_locks.values())))
        if unit.changed_account_limits:
            limits = [limit_row(account) for account in unit.changed_account_limits.values()]
            ACCOUNT_LIMIT_ROWS.insert(self._cursor, limits)
        if unit.detailed:
            RECEIPT_DETAIL_ROWS.insert(self._cursor, list(map(detail_row, unit.detailed)))
        HOLD_ROWS.insert(self._cursor, list(map(hold_row, unit.changed_holds.values())))
        if unit.changed_raised_holds:
            RAISED_HOLD_ROWS.insert(self._cursor, list(map(astuple, unit.changed_raised_holds.values())))
        REVERSAL_ROWS.insert(self._cursor, list(unit.reversals.items()))
        if unit.refunds:
            REFUND_ROWS.insert(self._cursor, unit.refunds)
        EXCEPTION_ROWS.insert(self._cursor, unit.exceptions)
        DEED_ROWS.insert(self._cursor, unit.deeds)
        ROLE_ROWS.insert(self._cursor, list(map(role_row, unit.changed_roles.values())))
        APPROVAL_LIMIT_ROWS.insert(self._cursor, list(map(astuple, unit.changed_limits.values())))
        APPROVAL_ROWS.insert(self._cursor, list(map(approval_row, unit.changed_approvals.values())))
        PEPPER_ROWS.insert(self._cursor, list(map(astuple, unit.changed_peppers.values())))
        for request_id, asked in unit.changed_asked.items():
            self._execute(SET_DETAILS, (asked.details, request_id))

    def last_hash(self) -> bytes:
        """Return the hash of the journal's last row."""
        found = self._execute(LAST_HASH).get
        return NO_HASH if found is None else bytes(found)

    def last_deed_hash(self) -> bytes:
        """Return the hash of the last deed."""
        found = self._execute(LAST_DEED_HASH).get
        return NO_HASH if found is None else bytes(found)

    def last_backup_us(self) -> int | None:
        """Return the log time at which the last backup was begun, None if none is recorded."""
        found: int | None = self._execute(LAST_BACKUP).get
        return found

    def role_changes(self) -> dict[str, RoleChange]:
        """Return what the log says about roles, by the names of the identities."""
        return {str(row[0]): role_change_of(row) for row in self._execute(ROLE_CHANGES).fetchall()}

    def approval_limits(self) -> dict[str, ApprovalLimit]:
        """Return the limits above which a request needs an approval, by op."""
        return {limit.op: limit for limit in map(_approval_limit, self._execute(APPROVAL_LIMITS).fetchall())}

    def pepper(self) -> PepperState:
        """Return the current pepper."""
        row = _only_row(self._execute(NEWEST_PEPPER))
        return PepperState() if row is None else _pepper(row)

    def pins_after(self, account: str, limit: int) -> Sequence[tuple[str, str | None]]:
        """Return accounts in the order of their names, and their seals."""
        return [
            (str(name), None if pin is None else str(pin))
            for name, pin in self._execute(PINS_AFTER, (account, limit)).fetchall()
        ]

    def new_pins_after(self, request_id: str, limit: int) -> Sequence[tuple[str, str | None]]:
        """Return request ids in their order, and the details of those that set a PIN."""
        rows = self._execute(NEW_PINS_AFTER, (request_id, limit)).fetchall()
        return [(str(id_), None if details is None else str(details)) for id_, details in rows]

    def next_expiry_us(self) -> int | None:
        """Return when the next active hold is due, or None."""
        found: int | None = self._execute(NEXT_EXPIRY).get
        return found

    # -- what a unit of work looks up ----------------------------------------------------------------------

    def account(self, name: str) -> Account | None:
        row = _only_row(self._execute(self.accounts_where(NAMED_ACCOUNT), (name,)))
        return None if row is None else account_of(row)

    def accounts_where(self, condition: str) -> str:
        """Return the query of the accounts that meet an SQL condition; each row is an `Account`."""
        if self.has_level_2:
            columns = f"{ACCOUNT_COLUMNS.format(LEVEL_2_COLUMNS)} {LEVEL_2_JOINS}"
        else:
            columns = ACCOUNT_COLUMNS.format("")
        return f"{columns} where {condition}"

    def record(self, request_id: str) -> IdempotencyRecord | None:
        row = _only_row(self._execute(RECEIPT, (request_id,)))
        return None if row is None else self._record(row)

    def _record(self, row: Row) -> IdempotencyRecord:
        request_id, op, _, amount, *_ = row
        further = None
        if self.has_level_2 and (op in SAY_MORE or (amount is None and op in {"debit", "transfer"})):
            further = _only_row(self._execute(RECEIPT_DETAIL, (request_id,)))
        return _record(row, further)

    def hold(self, request_id: str) -> HoldRecord | None:
        row = _only_row(self._execute(HOLD, (request_id,)))
        return None if row is None else hold_of(row)

    def holds_due(self, time_us: int, after: tuple[int, str], limit: int | None) -> Sequence[HoldRecord]:
        found = self._execute(HOLDS_DUE, (time_us, *after, NO_LIMIT if limit is None else limit))
        return [hold_of(row) for row in found.fetchall()]

    def active_holds(self, account: str, limit: int) -> int:
        return int(self._execute(ACTIVE_HOLDS, (account, limit)).get)

    def postings(self, log_index: int) -> Sequence[Posting]:
        first = log_index * POSTINGS_PER_ENTRY
        rows = self._execute(POSTINGS, (first, first + POSTINGS_PER_ENTRY)).fetchall()
        return [posting_of(row) for row in rows]

    def raised_hold(self, hold: str) -> RaisedHold | None:
        if not self.has_level_2:
            return None
        row = _only_row(self._execute(RAISED_HOLD, (hold,)))
        return None if row is None else raised_hold_of(row)

    def reversal(self, original: str) -> str | None:
        found = self._execute(REVERSAL, (original,)).get
        return None if found is None else str(found)

    def refunded(self, original: str) -> int | None:
        refund = self.last_refund(original)
        return None if refund is None else refund[0]

    def last_refund(self, original: str) -> tuple[int, str] | None:
        """Return how much was taken back in all and by which request last, if not by the first alone."""
        row = _only_row(self._execute(LAST_REFUND, (original,))) if self.has_level_2 else None
        return None if row is None else (int(str(row[0])), str(row[1]))

    def approval(self, request_id: str) -> ApprovalRecord | None:
        if not self.has_level_2:
            return None
        row = _only_row(self._execute(APPROVAL, (request_id,)))
        return None if row is None else approval_of(row)


def _only_row(found: Found) -> Row | None:
    """Return the one row, or None. All rows are fetched, so that the query ends and blocks no checkpoint."""
    rows = found.fetchall()
    return rows[0] if rows else None


def _json_list(texts: Iterable[str]) -> str:
    return msgspec.json.encode(list(texts)).decode()


def receipt_row(record: IdempotencyRecord) -> Row:
    asked, receipt = record.asked, record.receipt
    return (
        receipt.id,
        asked.op,
        asked.account,
        asked.amount,
        asked.details,
        record.actor,
        receipt.outcome,
        receipt.balance,
        receipt.available,
        receipt.log_index,
        receipt.time_us,
    )


def _record(row: Row, further: Row | None) -> IdempotencyRecord:
    request_id, op, account, amount, details, actor, outcome, balance, available, log_index, time_us = row
    asked = {"op": op, "account": account, "amount": amount, "details": details}
    receipt = {
        "id": request_id,
        "outcome": outcome,
        "balance": balance,
        "available": available,
        "log_index": log_index,
        "time_us": time_us,
    }
    kind = LedgerReceipt if further is None else DetailedReceipt
    if further is not None:
        receipt |= dict(zip((*RECEIPT_DETAILS, "currency"), further, strict=True))
    try:
        return IdempotencyRecord(
            msgspec.convert(asked, Contents),
            msgspec.convert(actor, str),
            msgspec.convert(receipt, kind),
        )
    except msgspec.ValidationError as error:
        raise Unreadable(f"a receipt that cannot be read ({error})") from error


def detail_row(receipt: DetailedReceipt) -> Row:
    return receipt.id, *(getattr(receipt, name) for name in RECEIPT_DETAILS)


def account_of(row: Any) -> Account:
    if row[2] is not None:
        return Account(*row)
    name, balance = row[:2]
    if not is_banks_own(name):
        raise Unreadable(f"a balance of {name!r}, but no such account")
    return Account(name=name, balance=balance, state="banks_own", currency=currency_of_own(name))


def account_row(account: Account) -> Row:
    return (
        account.name,
        account.opened_us,
        account.state,
        account.held,
        account.pin,
        account.wrong_pins,
        account.daily_limit,
        account.counted_from_us,
        account.withdrawn,
    )


def lock_row(account: Account) -> Row:
    return (
        account.name,
        account.locked_until_us,
        account.pins_day,
        account.wrong_today,
        account.unlocks_today,
        account.wrong_unseen,
    )


def limit_row(account: Account) -> Row:
    return account.name, account.ceiling, account.transfers_from


def hold_of(row: Row) -> HoldRecord:
    fields = ("id", "account", "amount", "time_us", "expires_us", "state", "posted")
    try:
        return msgspec.convert(dict(zip(fields, row, strict=True)), HoldRecord)
    except msgspec.ValidationError as error:
        raise Unreadable(f"a hold that cannot be read ({error})") from error


def posting_of(row: Row) -> Posting:
    fields = ("debit_account", "credit_account", "amount_minor")
    try:
        return msgspec.convert(dict(zip(fields, row, strict=True)), Posting)
    except msgspec.ValidationError as error:
        raise Unreadable(f"a posting that cannot be read ({error})") from error


def hold_row(hold: HoldRecord) -> Row:
    return hold.id, hold.account, hold.amount, hold.time_us, hold.expires_us, hold.state, hold.posted


def role_row(change: RoleChange) -> Row:
    return change.name, names_of(change.granted), names_of(change.revoked), change.log_index


def role_change_of(row: Row) -> RoleChange:
    name, granted, revoked, log_index = row
    try:
        return RoleChange(str(name), _bits(granted), _bits(revoked), int(str(log_index)))
    except ValueError as error:
        raise Unreadable(f"a change of roles that cannot be read ({error})") from error


def _approval_limit(row: Row) -> ApprovalLimit:
    return _as(ApprovalLimit, row, "an approval limit")


def approval_row(approval: ApprovalRecord) -> Row:
    request_id, asked_by, roles, *others = astuple(approval)
    return request_id, asked_by, names_of(roles), *others


def raised_hold_of(row: Row) -> RaisedHold:
    return _as(RaisedHold, row, "a raised hold")


def approval_of(row: Row) -> ApprovalRecord:
    request_id, asked_by, roles, *others = row
    try:
        bits = _bits(roles)
    except ValueError as error:
        raise Unreadable(f"an approval that cannot be read ({error})") from error
    return _as(ApprovalRecord, (request_id, asked_by, bits, *others), "an approval")


def _pepper(row: Row) -> PepperState:
    return _as(PepperState, row, "a pepper")


def _as(kind: type[Stored], row: Row, what: str) -> Stored:
    """Return the struct whose fields are the row's columns; raise `Unreadable`, which says `what` it is."""
    try:
        return msgspec.convert(dict(zip(kind.__struct_fields__, row, strict=True)), kind)
    except msgspec.ValidationError as error:
        raise Unreadable(f"{what} that cannot be read ({error})") from error


def _bits(names: object) -> int:
    return bits_of(frozenset(Role(name) for name in str(names).split(",") if name))
