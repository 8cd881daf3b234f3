"""The ledger: balances, journal, receipts and the applied index, in one SQLite file (see schema.sql)."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from pathlib import Path

import msgspec

from atm.ledger.commands import CASH, Command, Credit, Debit, Open, Outcome, Receipt
from atm.ledger.database import Database, LedgerFault
from atm.ledger.posting import Book, Posting, Ruling

__all__ = ["Ledger", "LedgerFault", "NotNext"]

Record = tuple[int, int, Command | None]  # log index, time stamp in microseconds, and no command for a no-op
ReceiptRow = tuple[str, str, str, int | None, str, int | None, int, int]

OP: dict[type[Command], str] = {Open: "open", Credit: "credit", Debit: "debit"}

RECEIPTS = """select request_id, op, account, amount, outcome, balance, reference, time_us
    from receipt where request_id in (select value from json_each(?))"""
BALANCES = "select account, amount from balance where account in (select value from json_each(?))"
BALANCE = "select amount from balance where account = ?"
ADD_RECEIPT = "insert into receipt values (?, ?, ?, ?, ?, ?, ?, ?)"
ADD_POSTING = "insert into journal values (?, ?, ?, ?, ?, ?)"
SET_BALANCE = "insert into balance values (?, ?) on conflict (account) do update set amount = excluded.amount"
APPLIED = "select log_index from applied"
SET_APPLIED = "update applied set log_index = ?"


class NotNext(Exception):
    """A record does not follow on the applied index: applying it would leave one out or repeat one."""

    def __init__(self, log_index: int, expected: int) -> None:
        super().__init__(f"the next log index to apply is {expected}, not {log_index}")
        self.expected = expected


class Ledger:
    """The bank of one node. Used by one thread at a time; raises `LedgerFault` when its file fails it."""

    def __init__(self, path: Path | str) -> None:
        """Open the ledger at `path`, or make one at index 0; `":memory:"` keeps it in memory."""
        self._database = Database(path)
        self._cursor = self._database.cursor()
        with self._database.reading():
            self._applied_index: int = self._cursor.execute(APPLIED).get

    @property
    def applied_index(self) -> int:
        """The log index up to which everything has been applied."""
        return self._applied_index

    def apply(self, records: Sequence[Record]) -> list[Receipt | None]:
        """Apply committed log entries in one transaction; return a receipt for each, None for a no-op.

        The result is a function of the log alone: how it is cut into batches leaves no trace. Raises
        `NotNext` and changes nothing unless the records follow on `applied_index` without a gap.
        """
        self._assert_next(records)
        if not records:
            return []
        with self._database.transaction():
            book = self._read_book([command for _, _, command in records if command is not None])
            receipts = [
                None if command is None else book.settle(log_index, time_us, command)
                for log_index, time_us, command in records
            ]
            last_index = records[-1][0]
            self._write(book, last_index)
        self._applied_index = last_index
        return receipts

    def query(self, account: str) -> int | None:
        """Return the balance of `account` in minor units, or None if there is no such account."""
        with self._database.reading():
            balance: int | None = self._cursor.execute(BALANCE, (account,)).get
        return balance

    def digest(self) -> str:
        """Return a hash over all rows of all tables, equal on nodes that have applied the same log."""
        digest = hashlib.sha256()
        with self._database.reading():
            names = self._cursor.execute("select name from sqlite_schema where type = 'table' order by name")
            for (name,) in names.fetchall():
                digest.update(f"{name}\n".encode())
                for row in self._cursor.execute(f'select * from "{name}" order by 1'):
                    digest.update(msgspec.msgpack.encode(row))
        return digest.hexdigest()

    def close(self) -> None:
        """Close the file; may be called again."""
        self._database.close()

    def _assert_next(self, records: Sequence[Record]) -> None:
        for expected, (log_index, _, _) in enumerate(records, self._applied_index + 1):
            if log_index != expected:
                raise NotNext(log_index, expected)

    def _read_book(self, commands: Sequence[Command]) -> Book:
        execute = self._cursor.execute
        ids = _json_list(command.id for command in commands)
        rulings = {row[0]: self._ruling(row) for row in execute(RECEIPTS, (ids,))}
        accounts = _json_list({CASH, *(command.account for command in commands)})
        return Book(dict(execute(BALANCES, (accounts,))), rulings)

    def _write(self, book: Book, last_index: int) -> None:
        many = self._cursor.executemany
        many(ADD_RECEIPT, [_receipt_row(ruling) for ruling in book.new_rulings])
        many(SET_BALANCE, [(account, book.balances[account]) for account in book.changed_accounts])
        many(ADD_POSTING, [_journal_row(posting, receipt) for posting, receipt in book.new_postings])
        self._cursor.execute(SET_APPLIED, (last_index,))

    def _ruling(self, row: ReceiptRow) -> Ruling:
        try:
            return _ruling(row)
        except (ValueError, msgspec.ValidationError) as error:
            raise self._database.damage(f"has a receipt that cannot be read ({error})") from error


def _json_list(texts: Iterable[str]) -> str:
    return msgspec.json.encode(list(texts)).decode()


def _receipt_row(ruling: Ruling) -> ReceiptRow:
    command, receipt = ruling.command, ruling.receipt
    amount = None if isinstance(command, Open) else command.amount
    return (
        receipt.id,
        OP[type(command)],
        command.account,
        amount,
        receipt.outcome,
        receipt.balance,
        receipt.reference,
        receipt.time_us,
    )


def _journal_row(posting: Posting, receipt: Receipt) -> tuple[int, int, str, str, int, str]:
    return (
        receipt.reference,
        receipt.time_us,
        posting.debit_account,
        posting.credit_account,
        posting.amount_minor,
        receipt.id,
    )


def _ruling(row: ReceiptRow) -> Ruling:
    request_id, op, account, amount, outcome, balance, reference, time_us = row
    contents: dict[str, str | int] = {"op": op, "id": request_id, "account": account}
    if amount is not None:
        contents["amount"] = amount
    command: Command = msgspec.convert(contents, Command)
    receipt = Receipt(
        id=request_id,
        outcome=Outcome(outcome),
        balance=balance,
        available=balance,
        reference=reference,
        time_us=time_us,
    )
    return Ruling(command, receipt)
