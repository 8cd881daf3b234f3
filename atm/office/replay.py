"""`bin/ledger import`: books an exported journal again, request by request, through the public client.

Each request keeps its id, so a repeated import books nothing twice, and an old reference finds its receipt.
"""

from __future__ import annotations

import csv
import hashlib
import itertools
import operator
import time
from collections.abc import Iterable, Iterator, Sequence
from typing import TextIO

import msgspec
from msgspec.structs import replace

from atm.client import Client, Leg, NotAllowed, Receipt
from atm.ledger.audit.extract import JournalLine
from atm.ledger.commands import (
    BANK_ACCOUNTS,
    CASH,
    MAIN,
    WRITEOFF,
    Batch,
    Command,
    Credit,
    Debit,
    Post,
    Reverse,
    Transfer,
    WriteOff,
)
from atm.permissions import needed
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


class NotBooked(Exception):
    """The bank refused a request; `str()` of it is one line for people."""


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
    """One import; the public fields count."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._known: set[str] = {MAIN, *BANK_ACCOUNTS}
        self.postings = 0
        self.opened = 0
        self.helped = 0  # postings that needed two more, see `_book_overdraft`
        self.other_balances = 0  # requests after which the balance is not the exported one

    def book_all(self, lines: Iterable[JournalLine]) -> None:
        """Book all; raise `NotBooked`, `BadFile`, and what the client raises. It is safe to repeat."""
        for _, grouped in itertools.groupby(lines, operator.attrgetter("request_id")):
            request = list(grouped)
            for line in request:
                self._open_account(line.debit_account)
                self._open_account(line.credit_account)
            first = request[0]
            try:
                receipt = self._book_request(request)
            except ValueError as error:  # of the client: it is no request
                raise BadFile(f"posting {first.posting} cannot be booked: {error}") from error
            self.postings += len(request)
            if len(request) == 1 and not first.reverses:
                self.other_balances += receipt.balance != _receipt_balance(first)

    def _book_request(self, request: Sequence[JournalLine]) -> Receipt:
        first = request[0]
        if first.exception == "overdrawn":
            return self._book_overdraft(first)
        return self._book_command(replace(_command(request), code=first.code, text=first.text), first)

    def _open_account(self, account: str) -> None:
        if account not in self._known:
            outcome = self._client.open(account, request_id=_derived("open", account)).outcome
            if outcome == "not_allowed":
                raise NotAllowed(needed("open"))
            if outcome not in {"ok", "exists"}:
                raise NotBooked(f"account {account} cannot be opened: {outcome}")
            self._known.add(account)
            self.opened += 1

    def _book_command(self, command: Command, line: JournalLine) -> Receipt:
        receipt = self._client.ask(command)
        if receipt.outcome == "not_allowed":
            raise NotAllowed(needed(str(command.__struct_config__.tag)))
        if receipt.outcome != "ok":
            leg = "" if receipt.leg is None else f" (leg {receipt.leg + 1})"
            raise NotBooked(
                f"posting {line.posting} (request {line.request_id}) was not booked: {receipt.outcome}{leg}. "
                "Import into a new cluster that has no other clients"
            )
        return receipt

    def _book_overdraft(self, line: JournalLine) -> Receipt:
        """Book cash that left although the funds were gone. The bank allows that only for an expired hold:
        lend the amount, hold it, wait for the hold to expire, reverse the loan, and post the hold.
        """
        client, account = self._client, line.debit_account
        lend, hold = _derived("lend", line.request_id), _derived("hold", line.request_id)
        lacking = max(line.amount, -line.debit_balance)
        self._book_command(Credit(id=lend, account=account, amount=lacking), line)
        held = client.hold(account, line.amount, 1, request_id=hold)
        if held.outcome != "ok":
            raise NotBooked(f"posting {line.posting} was not booked: its hold is refused, {held.outcome}")
        deadline_s = time.monotonic() + EXPIRY_S_MAX
        while (now := client.query(account)).available != now.balance:
            if time.monotonic() > deadline_s:
                raise NotBooked(f"posting {line.posting} was not booked: a hold on {account} does not expire")
            time.sleep(EXPIRY_POLL_S)
        self._book_command(Reverse(id=_derived("back", line.request_id), original=lend), line)
        self.helped += 1
        receipt = client.ask(Post(id=line.request_id, hold=hold, code=line.code, text=line.text))
        if receipt.outcome != "ok":
            raise NotBooked(f"posting {line.posting} was not booked: {receipt.outcome}")
        return receipt


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


def _derived(what: str, name: str) -> str:
    """Return the request id of a helping request; it is the same in every import."""
    return f"import-{what}-{hashlib.sha256(name.encode()).hexdigest()[:40]}"
