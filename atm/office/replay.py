"""`bin/ledger import`: books an exported journal again, through the public client.

Each request keeps its id, so a repeated import books nothing twice, and an old reference finds its receipt.
"""

from __future__ import annotations

import csv
import itertools
import operator
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TextIO

import msgspec
from msgspec.structs import replace

from atm.client import Client, Leg
from atm.client.request_rules import check_request
from atm.ledger.audit.extract import JournalLine
from atm.ledger.commands import (
    BANK_ACCOUNTS,
    CASH,
    WRITEOFF,
    Batch,
    Credit,
    Debit,
    Post,
    Reverse,
    Transfer,
    WriteOff,
)
from atm.office.bulk_import import BulkImport, NotBooked, derived_id
from atm.office.windows import ImportRequest
from atm.spreadsheet import cell_text

NUMBERS = ("posting", "time_us", "amount", "debit_balance", "credit_balance")
LATER_COLUMNS = ("code", "text")  # which an export of release 1.1 has not
EXPIRY_POLL_S = 0.02
EXPIRY_S_MAX = 10.0
LEFT_OUT = (
    "Not carried over: PINs, limits, freezes and closures, holds, refused requests, times, "
    "the list of exceptions, and accounts without postings"
)


class BadFile(Exception):
    """The file is not an export; `str()` of it is one line for people."""


def read_jsonl(file: TextIO) -> Iterator[JournalLine]:
    """Yield the postings of an export as JSON lines; raise `BadFile`."""
    decoder = msgspec.json.Decoder(JournalLine)
    for number, text in enumerate(file, 1):
        try:
            yield decoder.decode(text)
        except (msgspec.DecodeError, UnicodeError) as error:
            raise BadFile(f"line {number} is no posting: {error}") from error


def read_csv(file: TextIO) -> Iterator[JournalLine]:
    """Yield the postings of an export as CSV; raise `BadFile`."""
    reader = csv.DictReader(file)
    columns = JournalLine.__struct_fields__
    if tuple(reader.fieldnames or ()) not in {columns, columns[: -len(LATER_COLUMNS)]}:
        raise BadFile(f"line 1 must name these columns: {','.join(columns)}")
    try:
        for row in reader:
            values: dict[str, object] = {name: cell_text(value) or None for name, value in row.items()}
            values |= {name: int(row[name]) for name in NUMBERS}
            values["code"] = int(row["code"]) if row.get("code") else None
            yield msgspec.convert(values, JournalLine)
    except (csv.Error, ValueError, TypeError) as error:
        raise BadFile(f"line {reader.line_num} is no posting: {error}") from error


class Replay:
    """One import of a journal; the public fields count, and those of `bulk`."""

    def __init__(self, client: Client, on_progress: Callable[[BulkImport], None] = lambda _: None) -> None:
        self._client = client
        self.bulk = BulkImport(client, on_progress)
        self.helped = 0  # postings that needed two more, see `_book_overdraft`
        self.balances: dict[str, int] = {}  # of each account, behind its last posting

    def book_all(self, lines: Iterable[JournalLine]) -> None:
        """Book all; raise `NotBooked`, `BadFile`, and what the client raises. It is safe to repeat."""
        for is_overdraft, requests in itertools.groupby(self._requests(lines), _is_overdraft):
            if is_overdraft:
                for first, *_ in requests:
                    self._book_overdraft(first)
            else:
                self.bulk.book_all(map(_import_request, requests))

    def _requests(self, lines: Iterable[JournalLine]) -> Iterator[Sequence[JournalLine]]:
        """Yield the postings of each request together."""
        for _, grouped in itertools.groupby(lines, operator.attrgetter("request_id")):
            request = list(grouped)
            for line in request:
                self.balances[line.debit_account] = line.debit_balance
                self.balances[line.credit_account] = line.credit_balance
            yield request

    def _book_overdraft(self, line: JournalLine) -> None:
        """Book cash that left although the funds were gone. The bank allows that only for an expired hold:
        lend the amount, hold it, wait for the hold to expire, reverse the loan, and post the hold.
        """
        client, account = self._client, line.debit_account
        lend, hold = derived_id("lend", line.request_id), derived_id("hold", line.request_id)
        loan = Credit(id=lend, account=account, amount=max(line.amount, -line.debit_balance))
        back = Reverse(id=derived_id("back", line.request_id), original=lend)
        post = ImportRequest(
            f"posting {line.posting}",
            Post(id=line.request_id, hold=hold, code=line.code, text=line.text),
            accounts=(account,),
            balance=line.debit_balance,
        )
        if self.bulk.is_known(post):
            return
        self.bulk.book_all([post._replace(command=loan, postings=0, balance=None)])
        held = client.hold(account, line.amount, 1, request_id=hold)
        if held.outcome != "ok":
            raise NotBooked(f"posting {line.posting} was not booked: its hold is refused, {held.outcome}")
        deadline_s = time.monotonic() + EXPIRY_S_MAX
        while (now := client.query(account)).available != now.balance:
            if time.monotonic() > deadline_s:
                raise NotBooked(f"posting {line.posting} was not booked: a hold on {account} does not expire")
            time.sleep(EXPIRY_POLL_S)
        self.bulk.book_all([post._replace(command=back, postings=0, balance=None)])
        self.helped += 1
        self.bulk.book_all([post])


def _is_overdraft(request: Sequence[JournalLine]) -> bool:
    return request[0].exception == "overdrawn"


def _import_request(request: Sequence[JournalLine]) -> ImportRequest:
    """Return the request that books these postings."""
    first, where = request[0], f"posting {request[0].posting}"
    try:
        command = replace(_command(request), code=first.code, text=first.text)
        check_request(command)
    except ValueError as error:
        raise BadFile(f"{where} cannot be booked: {error}") from error
    accounts = tuple({name for line in request for name in (line.debit_account, line.credit_account)})
    balance = _receipt_balance(first) if len(request) == 1 and not first.reverses else None
    return ImportRequest(where, command, accounts, len(request), balance)


def _command(request: Sequence[JournalLine]) -> Credit | Debit | Transfer | Batch | Reverse | WriteOff:
    """Return the request that books these postings."""
    first = request[0]
    request_id, amount = first.request_id, first.amount
    debit, credit = first.debit_account, first.credit_account
    if first.reverses is not None:
        return Reverse(id=request_id, original=first.reverses, amount=amount if len(request) == 1 else None)
    if first.op == "batch":
        legs = tuple(
            Leg(account=line.debit_account, target=line.credit_account, amount=line.amount)
            for line in request
        )
        return Batch(id=request_id, legs=legs)
    if debit == CASH:
        return Credit(id=request_id, account=credit, amount=amount)
    if debit == WRITEOFF:
        return WriteOff(id=request_id, account=credit, amount=amount)
    if credit == CASH:
        return Debit(id=request_id, account=debit, amount=amount)
    return Transfer(id=request_id, account=debit, target=credit, amount=amount)


def _receipt_balance(line: JournalLine) -> int:
    """Return the balance in the receipt of a request that has only this posting."""
    return line.credit_balance if line.debit_account in BANK_ACCOUNTS else line.debit_balance
