"""The rows of one lane: what a batch needs is looked up together, and what it changed is written together.

A round trip for each command would take longer than all the rest. So the lookups of a batch go in two rounds,
whatever its commands, and its rows in one. What is not foreseen is looked up alone, as on SQLite.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from typing import Any

import msgspec
import psycopg
from msgspec.structs import astuple

from atm.lanes.cursor import LaneCursor
from atm.ledger.commands import (
    CASH,
    Approve,
    Hold,
    LaneCommand,
    LogCommand,
    Post,
    RaiseHold,
    Reverse,
    Settle,
    Void,
)
from atm.ledger.crossings import OpenTransfer
from atm.ledger.posting import POSTINGS_PER_ENTRY, Posting
from atm.ledger.requests import accounts_named
from atm.ledger.rows import (
    HOLD_COLUMNS,
    RECEIPT_COLUMNS,
    SET_ACCOUNT,
    SET_ACCOUNT_LIMIT,
    SET_APPROVAL,
    SET_APPROVAL_LIMIT,
    SET_HOLD,
    SET_LOCK,
    SET_PEPPER,
    SET_RAISED_HOLD,
    SET_ROLES,
    WITHOUT_RECEIPT,
    LedgerRows,
    Row,
    account_of,
    account_row,
    approval_of,
    approval_row,
    detail_row,
    hold_of,
    hold_row,
    limit_row,
    lock_row,
    posting_of,
    raised_hold_of,
    receipt_row,
    role_row,
)
from atm.ledger.unit_of_work import HoldRecord, UnitOfWork

NAMED_ACCOUNTS = "account = any(?)"
RECEIPTS = f"select {RECEIPT_COLUMNS} from receipt where request_id = any(?)"
HOLDS = f"{HOLD_COLUMNS} where request_id = any(?)"
RAISED_HOLDS = "select hold, counted_us, counted from raised_hold where hold = any(?)"
REVERSALS = "select original, reversal from reversal where original = any(?)"
REFUNDS = """select distinct on (original) original, taken_back from refund where original = any(?)
    order by original, taken_back desc"""
APPROVALS = """select request_id, asked_by, roles, asked_us, stake, approved_by from approval
    where request_id = any(?)"""
POSTINGS_OF = f"""select posting, debit_account, credit_account, amount from unnest(?) as entry (log_index)
    join journal on posting between log_index * {POSTINGS_PER_ENTRY} and log_index * {POSTINGS_PER_ENTRY}
    + {POSTINGS_PER_ENTRY - 1} order by posting"""
ACTIVE_HOLDS_OF = """select account, count(*) from hold where account = any(?) and state = 'active'
    group by account"""


def _texts(values: Iterable[Any]) -> str:
    """Return an array of texts, and NULL for each None, as PostgreSQL reads it."""
    quoted = [
        "NULL" if value is None else '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'
        for value in values
    ]
    return "{" + ",".join(quoted) + "}"


def _integers(values: Iterable[Any]) -> str:
    return "{" + ",".join(["NULL" if value is None else str(value) for value in values]) + "}"


def _hashes(values: Iterable[Any]) -> str:
    return "{" + ",".join(['"\\\\x' + value.hex() + '"' for value in values]) + "}"


# By letter, the type of a column's array, and what writes it: psycopg's own took half of a batch's time.
TYPES: dict[str, tuple[str, Callable[[Iterable[Any]], str]]] = {
    "t": ("text[]", _texts),
    "i": ("bigint[]", _integers),
    "n": ("integer[]", _integers),
    "b": ("bytea[]", _hashes),
}


class Insertion:
    """Writes rows of one table, however many, by one statement.

    `types` has a letter of `TYPES` for each column but the lane.
    """

    def __init__(self, table: str, types: str, on_conflict: str = "") -> None:
        self._writers = [TYPES[letter][1] for letter in types]
        arrays = ", ".join(f"%s::{TYPES[letter][0]}" for letter in types)
        conflict = on_conflict.replace("on conflict (", "on conflict (lane, ")
        self._sql = f"insert into atm.{table} select %s::integer, * from unnest({arrays}) {conflict}".encode()

    def insert(self, connection: psycopg.Connection[Any], lane: int, rows: Collection[Row]) -> None:
        """Send the rows, if there are any."""
        if rows:
            columns = zip(*rows, strict=True)
            arrays = [write(column) for write, column in zip(self._writers, columns, strict=True)]
            connection.execute(self._sql, (lane, *arrays))


RECEIPT_ROWS = Insertion("receipt", "tttitttiiii")
BALANCE_ROWS = Insertion("balance", "ti", "on conflict (account) do update set amount = excluded.amount")
JOURNAL_ROWS = Insertion("journal", "iittiiitb")
REMARK_ROWS = Insertion("remark", "int")
ACCOUNT_ROWS = Insertion("account", "tititniii", SET_ACCOUNT)
CURRENCY_ROWS = Insertion("account_currency", "tt")
LOCK_ROWS = Insertion("pin_lock", "tinnnn", SET_LOCK)
ACCOUNT_LIMIT_ROWS = Insertion("account_limit", "tii", SET_ACCOUNT_LIMIT)
RECEIPT_DETAIL_ROWS = Insertion("receipt_detail", "tnin")
HOLD_ROWS = Insertion("hold", "ttiiiti", SET_HOLD)
RAISED_HOLD_ROWS = Insertion("raised_hold", "tii", SET_RAISED_HOLD)
REVERSAL_ROWS = Insertion("reversal", "tt")
REFUND_ROWS = Insertion("refund", "tit")
EXCEPTION_ROWS = Insertion("exception", "it")
DEED_ROWS = Insertion("deed", "iittttittb")
ROLE_ROWS = Insertion("role_change", "ttti", SET_ROLES)
APPROVAL_LIMIT_ROWS = Insertion("approval_limit", "tii", SET_APPROVAL_LIMIT)
APPROVAL_ROWS = Insertion("approval", "tttiit", SET_APPROVAL)
PEPPER_ROWS = Insertion("pepper", "ntii", SET_PEPPER)
OPEN_TRANSFER_ROWS = Insertion("open_transfer", "tt")
END_TRANSFERS = b"delete from atm.open_transfer where lane = %s and request_id = any(%s)"
OPEN_TRANSFERS = "select transfer from open_transfer"
SET_DETAILS = b"update atm.receipt set details = %s where lane = %s and request_id = %s"


class LaneRows(LedgerRows):
    """The lookups of atm/ledger, one at a time, and those of a whole batch; a `LedgerReader`."""

    def __init__(self, connection: psycopg.Connection[Any], lane: int) -> None:
        super().__init__(LaneCursor(connection), has_level_2=True)
        self._connection = connection
        self._lane = lane
        self._reversed: dict[str, str | None] = {}  # as of the batch's begin
        self._moved: dict[int, list[Posting]] = {}  # likewise, by log index

    def look_up(self, unit: UnitOfWork, commands: Sequence[LogCommand | LaneCommand]) -> None:
        """Look up what these commands name, and then what that names, each in one round trip."""
        self._reversed, self._moved = {}, {}
        ids = {command.id for command in commands if not isinstance(command, WITHOUT_RECEIPT)}
        named = {name for command in commands if (name := _request_named(command)) is not None}
        holds = {command.hold for command in commands if isinstance(command, Post | Void | RaiseHold)}
        holds |= {command.id for command in commands if isinstance(command, Settle)}
        reversed_ = {command.original for command in commands if isinstance(command, Reverse)}
        with self._connection.pipeline():
            receipts = self._several(RECEIPTS, ids | named)
            found_holds = self._several(HOLDS, holds | reversed_)
            accounts = self._accounts_found(
                {CASH, *(name for each in commands for name in accounts_named(each))}
            )
            reversals = self._several(REVERSALS, reversed_)
            refunds = self._several(REFUNDS, reversed_)
            raised = self._several(RAISED_HOLDS, holds | reversed_)
            approvals = self._several(
                APPROVALS, {each.request for each in commands if isinstance(each, Approve)}
            )
            counts = self._several(
                ACTIVE_HOLDS_OF, {each.account for each in commands if isinstance(each, Hold)}
            )
            unit.records.update(dict.fromkeys(ids | named))
            unit.holds.update(dict.fromkeys(holds | reversed_))
            unit.raised_holds.update(dict.fromkeys(holds | reversed_))
            unit.refunded.update(dict.fromkeys(reversed_))
            self._reversed.update(dict.fromkeys(reversed_))
            receipt_rows = receipts()
            unit.holds.update({hold.id: hold for hold in map(hold_of, found_holds())})
            unit.raised_holds.update({each.hold: each for each in map(raised_hold_of, raised())})
            unit.approvals.update({each.request_id: each for each in map(approval_of, approvals())})
            unit.refunded.update(dict(refunds()))
            self._reversed.update(dict(reversals()))
            self._keep(accounts())
            active = {row[0]: row[1] for row in counts()}
        for row in receipt_rows:
            record = self._record(row)
            unit.records[record.receipt.id] = record
        for name in {each.account for each in commands if isinstance(each, Hold)}:
            account = self._accounts.get(name)
            if account is not None and account.active_holds is None:
                account.active_holds = active.get(name, 0)
        self._look_up_further(unit, [hold for hold in unit.holds.values() if hold is not None], reversed_)

    def _look_up_further(
        self, unit: UnitOfWork, holds: Sequence[HoldRecord], reversed_: Collection[str]
    ) -> None:
        """Look up the accounts of these holds, and what the requests that are to be reversed moved."""
        originals = [unit.records[name] for name in reversed_]
        indexes = {original.receipt.log_index for original in originals if original is not None}
        if not indexes and not holds:
            return
        with self._connection.pipeline():
            moved = self._several(POSTINGS_OF, indexes)
            accounts = self._accounts_found({hold.account for hold in holds})
            self._moved = {index: [] for index in indexes}
            names: set[str] = set()
            for number, *row in moved():
                posting = posting_of(tuple(row))
                self._moved[number // POSTINGS_PER_ENTRY].append(posting)
                names |= {posting.debit_account, posting.credit_account}
            self._keep(accounts())
            self._keep(self._accounts_found(names)())

    def open_transfers(self) -> list[OpenTransfer]:
        """Return the transfers that have departed and are not settled."""
        found = self._connection.execute(OPEN_TRANSFERS).fetchall()
        return [msgspec.json.decode(transfer, type=OpenTransfer) for (transfer,) in found]

    def write_transfers(self, begun: Collection[OpenTransfer], ended: Collection[str]) -> None:
        """Send which transfers have departed, and which are settled, within the caller's transaction."""
        rows = [(each.command.id, msgspec.json.encode(each).decode()) for each in begun]
        OPEN_TRANSFER_ROWS.insert(self._connection, self._lane, rows)
        if ended:
            self._connection.execute(END_TRANSFERS, (self._lane, list(ended)))

    def _several(self, sql: str, names: Collection[Any]) -> Callable[[], list[Any]]:
        """Ask now, and return what fetches the rows: of nothing, without asking."""
        if not names:
            return list
        cursor = self._connection.execute(sql.replace("?", "%s").encode(), (list(names),))
        return cursor.fetchall

    def _accounts_found(self, names: Collection[str]) -> Callable[[], list[Any]]:
        missing = [name for name in names if self._accounts.get(name) is None]
        return self._several(self.accounts_where(NAMED_ACCOUNTS), missing)

    def _keep(self, rows: Sequence[Row]) -> None:
        for account in map(account_of, rows):
            if self._accounts.get(account.name) is None:
                self._accounts[account.name] = account

    def reversal(self, original: str) -> str | None:
        """Return the id of the first reversal."""
        return self._reversed[original] if original in self._reversed else super().reversal(original)

    def postings(self, log_index: int) -> Sequence[Posting]:
        """Return what the entry at that index moved."""
        return self._moved[log_index] if log_index in self._moved else super().postings(log_index)

    def write_unit(self, unit: UnitOfWork) -> None:
        """Send what the unit of work changed, within the caller's transaction and pipeline."""
        send, lane = self._connection, self._lane
        accounts = unit.changed_accounts.values()
        RECEIPT_ROWS.insert(send, lane, list(map(receipt_row, unit.new_records)))
        BALANCE_ROWS.insert(
            send, lane, [(name, each.balance) for name, each in unit.changed_balances.items()]
        )
        JOURNAL_ROWS.insert(send, lane, unit.journal)
        REMARK_ROWS.insert(send, lane, unit.remarks)
        ACCOUNT_ROWS.insert(send, lane, list(map(account_row, accounts)))
        CURRENCY_ROWS.insert(send, lane, list(unit.new_currencies.items()))
        LOCK_ROWS.insert(send, lane, list(map(lock_row, unit.changed_locks.values())))
        ACCOUNT_LIMIT_ROWS.insert(send, lane, list(map(limit_row, unit.changed_account_limits.values())))
        RECEIPT_DETAIL_ROWS.insert(send, lane, list(map(detail_row, unit.detailed)))
        HOLD_ROWS.insert(send, lane, list(map(hold_row, unit.changed_holds.values())))
        RAISED_HOLD_ROWS.insert(send, lane, list(map(astuple, unit.changed_raised_holds.values())))
        REVERSAL_ROWS.insert(send, lane, list(unit.reversals.items()))
        REFUND_ROWS.insert(send, lane, unit.refunds)
        EXCEPTION_ROWS.insert(send, lane, unit.exceptions)
        DEED_ROWS.insert(send, lane, unit.deeds)
        ROLE_ROWS.insert(send, lane, list(map(role_row, unit.changed_roles.values())))
        APPROVAL_LIMIT_ROWS.insert(send, lane, list(map(astuple, unit.changed_limits.values())))
        APPROVAL_ROWS.insert(send, lane, list(map(approval_row, unit.changed_approvals.values())))
        PEPPER_ROWS.insert(send, lane, list(map(astuple, unit.changed_peppers.values())))
        for request_id, asked in unit.changed_asked.items():
            send.execute(SET_DETAILS, (asked.details, lane, request_id))


def _request_named(command: LogCommand | LaneCommand) -> str | None:
    match command:
        case Reverse():
            return command.original
        case Approve():
            return command.request
        case _:
            return None
