"""The rows of one lane: what a batch needs is looked up together, and what it changed is written together.

A round trip for each command would take longer than all the rest. So the lookups of a batch go in two rounds,
whatever its commands, and its rows in one statement. What is not foreseen is looked up alone, as on SQLite.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from contextlib import nullcontext
from functools import lru_cache
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
FENCE = "select atm.fence(%s::integer, %s, %s, %s, %s, %s, %s)"
ACTIVE_HOLDS_OF = """select account, count(*) from hold where account = any(?) and state = 'active'
    group by account"""


def _texts(values: Collection[Any]) -> str:
    """Return an array of texts, and NULL for each None, as PostgreSQL reads it."""
    if None not in values:
        joined = '","'.join(values)
        if "\\" not in joined and joined.count('"') == 2 * (len(values) - 1):
            return '{"' + joined + '"}'  # most often: there is nothing to quote within them
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
TYPES: dict[str, tuple[str, Callable[[Collection[Any]], str]]] = {
    "t": ("text[]", _texts),
    "i": ("bigint[]", _integers),
    "n": ("integer[]", _integers),
    "b": ("bytea[]", _hashes),
}


class Insertion:
    """Writes rows of one table, however many, as a part of a `BatchStatement`.

    `types` has a letter of `TYPES` for each column but the lane.
    """

    def __init__(self, table: str, types: str, on_conflict: str = "") -> None:
        self._writers = [TYPES[letter][1] for letter in types]
        columns = ", ".join(f"unnest(%s::{TYPES[letter][0]})" for letter in types)
        conflict = on_conflict.replace("on conflict (", "on conflict (lane, ")
        self.part = f"insert into atm.{table} select %s::integer, {columns} from fence {conflict}"

    def arrays(self, rows: Collection[Row]) -> list[str]:
        """Return the rows as an array for each column."""
        columns = zip(*rows, strict=True)
        return [write(column) for write, column in zip(self._writers, columns, strict=True)]


class BatchStatement:
    """All that a batch writes, behind its fence: one statement, since each takes its time on both sides.

    PostgreSQL runs all of it on the state before it: no part sees what another one writes.
    """

    def __init__(self, lane: int, fence: Sequence[Any]) -> None:
        """`fence` are the values of `atm.fence` behind the lane."""
        self._lane = lane
        self._parts: list[str] = []
        self._values: list[Any] = [lane, *fence]

    def insert(self, insertion: Insertion, rows: Collection[Row]) -> None:
        """Write these rows, if there are any."""
        if rows:
            self.add(insertion.part, *insertion.arrays(rows))

    def add(self, part: str, *values: Any) -> None:
        """Do that, too; the first value of a part is the lane. It reads `fence`, which so comes first."""
        self._parts.append(part)
        self._values += (self._lane, *values)

    def execute(self, connection: psycopg.Connection[Any], changed_holds: Collection[str]) -> int | None:
        """Do it all or nothing; return when the first of the other active holds is due."""
        values = (*self._values, list(changed_holds))
        [(due_us,)] = connection.execute(_statement(tuple(self._parts)), values).fetchall()
        return None if due_us is None else int(due_us)


@lru_cache
def _statement(parts: Sequence[str]) -> bytes:
    named = [f", part_{number} as ({part})" for number, part in enumerate(parts)]
    return f"with fence as materialized ({FENCE}){''.join(named)} select {OTHERS_DUE} from fence".encode()


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
END_TRANSFERS = "delete from atm.open_transfer using fence where lane = %s and request_id = any(%s)"
OPEN_TRANSFERS = "select transfer from open_transfer"
OTHERS_DUE = """(select min(expires_us) from hold
    where state = 'active' and request_id <> all(%s::text[]))"""
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
        accounts = self._missing({CASH, *(name for each in commands for name in accounts_named(each))})
        new_holds = {each.account for each in commands if isinstance(each, Hold)}
        receipt_rows, hold_rows, account_rows, reversals, refunds, raised, approvals, counts = self._ask(
            (RECEIPTS, ids | named),
            (HOLDS, holds | reversed_),
            (self.accounts_where(NAMED_ACCOUNTS), accounts),
            (REVERSALS, reversed_),
            (REFUNDS, reversed_),
            (RAISED_HOLDS, holds | reversed_),
            (APPROVALS, {each.request for each in commands if isinstance(each, Approve)}),
            (ACTIVE_HOLDS_OF, new_holds),
        )
        unit.records.update(dict.fromkeys(ids | named))
        unit.holds.update(dict.fromkeys(holds | reversed_))
        unit.raised_holds.update(dict.fromkeys(holds | reversed_))
        unit.refunded.update(dict.fromkeys(reversed_))
        self._reversed.update(dict.fromkeys(reversed_))
        unit.holds.update({hold.id: hold for hold in map(hold_of, hold_rows)})
        unit.raised_holds.update({each.hold: each for each in map(raised_hold_of, raised)})
        unit.approvals.update({each.request_id: each for each in map(approval_of, approvals)})
        unit.refunded.update(dict(refunds))
        self._reversed.update(dict(reversals))
        self._keep(accounts, account_rows)
        active = dict(counts)
        for row in receipt_rows:
            record = self._record(row)
            unit.records[record.receipt.id] = record
        for name in new_holds:
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
        by_name = self.accounts_where(NAMED_ACCOUNTS)
        accounts = self._missing({hold.account for hold in holds})
        moved, found = self._ask((POSTINGS_OF, indexes), (by_name, accounts))
        self._keep(accounts, found)
        self._moved = {index: [] for index in indexes}
        names: set[str] = set()
        for number, *row in moved:
            posting = posting_of(tuple(row))
            self._moved[number // POSTINGS_PER_ENTRY].append(posting)
            names |= {posting.debit_account, posting.credit_account}
        accounts = self._missing(names)
        [found] = self._ask((by_name, accounts))
        self._keep(accounts, found)

    def open_transfers(self) -> list[OpenTransfer]:
        """Return the transfers that have departed and are not settled."""
        found = self._connection.execute(OPEN_TRANSFERS).fetchall()
        return [msgspec.json.decode(transfer, type=OpenTransfer) for (transfer,) in found]

    def _ask(self, *questions: tuple[str, Collection[Any]]) -> list[list[Any]]:
        """Return the rows that each finds of what it is asked for, all in one round trip."""
        asked = [(sql, list(names)) for sql, names in questions if names]
        with self._connection.pipeline() if len(asked) > 1 else nullcontext():
            execute = self._connection.execute
            cursors = [execute(sql.replace("?", "%s").encode(), (names,)) for sql, names in asked]
        found = iter([cursor.fetchall() for cursor in cursors])
        return [next(found) if names else [] for _, names in questions]

    def _missing(self, names: Iterable[str]) -> list[str]:
        return [name for name in names if name not in self._accounts]

    def _keep(self, asked: Iterable[str], found: Iterable[Row]) -> None:
        """Keep these accounts in memory, and also that there is none of a name."""
        self._accounts.update(dict.fromkeys(asked))
        self._accounts.update({account.name: account for account in map(account_of, found)})

    def reversal(self, original: str) -> str | None:
        """Return the id of the first reversal."""
        return self._reversed[original] if original in self._reversed else super().reversal(original)

    def postings(self, log_index: int) -> Sequence[Posting]:
        """Return what the entry at that index moved."""
        return self._moved[log_index] if log_index in self._moved else super().postings(log_index)

    def write(
        self,
        fence: Sequence[Any],
        unit: UnitOfWork,
        begun: Collection[OpenTransfer],
        ended: Collection[str],
    ) -> int | None:
        """Write what the unit of work changed, and which transfers have departed and which are settled.

        Within the caller's transaction if `changed_asked` is not empty. Returns when the next active hold is
        due.
        """
        statement = BatchStatement(self._lane, fence)
        insert = statement.insert
        insert(RECEIPT_ROWS, list(map(receipt_row, unit.new_records)))
        insert(BALANCE_ROWS, [(name, each.balance) for name, each in unit.changed_balances.items()])
        insert(JOURNAL_ROWS, unit.journal)
        insert(REMARK_ROWS, unit.remarks)
        insert(ACCOUNT_ROWS, list(map(account_row, unit.changed_accounts.values())))
        insert(CURRENCY_ROWS, list(unit.new_currencies.items()))
        insert(LOCK_ROWS, list(map(lock_row, unit.changed_locks.values())))
        insert(ACCOUNT_LIMIT_ROWS, list(map(limit_row, unit.changed_account_limits.values())))
        insert(RECEIPT_DETAIL_ROWS, list(map(detail_row, unit.detailed)))
        insert(HOLD_ROWS, list(map(hold_row, unit.changed_holds.values())))
        insert(RAISED_HOLD_ROWS, list(map(astuple, unit.changed_raised_holds.values())))
        insert(REVERSAL_ROWS, list(unit.reversals.items()))
        insert(REFUND_ROWS, unit.refunds)
        insert(EXCEPTION_ROWS, unit.exceptions)
        insert(DEED_ROWS, unit.deeds)
        insert(ROLE_ROWS, list(map(role_row, unit.changed_roles.values())))
        insert(APPROVAL_LIMIT_ROWS, list(map(astuple, unit.changed_limits.values())))
        insert(APPROVAL_ROWS, list(map(approval_row, unit.changed_approvals.values())))
        insert(PEPPER_ROWS, list(map(astuple, unit.changed_peppers.values())))
        insert(OPEN_TRANSFER_ROWS, [(each.command.id, msgspec.json.encode(each).decode()) for each in begun])
        if ended:
            statement.add(END_TRANSFERS, list(ended))
        due_us = [each.expires_us for each in unit.changed_holds.values() if each.state == "active"]
        others_due_us = statement.execute(self._connection, unit.changed_holds)
        if others_due_us is not None:
            due_us.append(others_due_us)
        for request_id, asked in unit.changed_asked.items():
            self._connection.execute(SET_DETAILS, (asked.details, self._lane, request_id))
        return min(due_us, default=None)


def _request_named(command: LogCommand | LaneCommand) -> str | None:
    match command:
        case Reverse():
            return command.original
        case Approve():
            return command.request
        case _:
            return None
