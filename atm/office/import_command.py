"""`bin/ledger import` and `bin/ledger open`: what they say meanwhile, and at the end."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TextIO

from atm.client import Client, InvalidAccount
from atm.client.request_rules import check_account
from atm.command_line import counted, printable
from atm.config import Cluster
from atm.currencies import MINOR_UNITS
from atm.ledger.own_accounts import is_banks_own
from atm.office.bulk_import import BulkImport, differences, opening
from atm.office.foreign.imports import ForeignBooks
from atm.office.progress import Progress
from atm.office.replay import LEFT_OUT, BadFile, Replay, read_csv, read_jsonl
from atm.office.windows import ImportRequest

TIMEOUT_S = 30.0  # longer than an election or a restart
DIFFERENCES_SHOWN = 20
READERS = {"jsonl": read_jsonl, "csv": read_csv}


def import_journal(cluster: Cluster, file: TextIO, form: str) -> bool:
    """Book an exported journal; return whether all balances are then those of the file. Raise as `Replay`."""
    teller = _Teller(file)
    with Client(cluster, timeout=TIMEOUT_S) as client:
        replay = Replay(client, teller.show)
        teller.tell(replay.bulk, lambda: replay.book_all(READERS[form](file)))
        if replay.helped:
            print(f"{replay.helped:,} of them overdrew an account, and needed two more postings each")
        if replay.bulk.other_balances:
            print(
                f"{replay.bulk.other_balances:,} left another balance than exported: other clients were there"
            )
        print(LEFT_OUT)
        return _compare(client, replay.balances)


def import_foreign(cluster: Cluster, books: ForeignBooks) -> None:
    """Book what another program's books have become. Raise as `BulkImport`, or `CannotBeCarried`."""
    teller = _Teller(None)
    with Client(cluster, timeout=TIMEOUT_S) as client:
        books.check_funds(client)
        bulk = BulkImport(client, teller.show)
        teller.tell(bulk, lambda: bulk.book_all(books.requests()))


def open_accounts(cluster: Cluster, file: TextIO, currency: str | None = None) -> None:
    """Open the accounts that are named in the lines of a file. Raise as `BulkImport`, or `BadFile`.

    They are in the `currency` that stands behind a name, else in this one; None: in the bank's first.
    """
    teller = _Teller(file)
    with Client(cluster, timeout=TIMEOUT_S) as client:
        bulk = BulkImport(client, teller.show)
        teller.tell(bulk, lambda: bulk.book_all(openings(file, currency)))


def openings(lines: Iterable[str], currency: str | None = None) -> Iterator[ImportRequest]:
    """Yield what opens the account in each line: its name, and maybe its currency. Raise `BadFile`."""
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        account, *said = line.split()
        if len(said) > 1:
            raise BadFile(
                f"line {number} is neither a name nor a name and a currency: {printable(line[:80])}"
            )
        try:
            check_account(account)
        except InvalidAccount as error:
            raise BadFile(f"line {number} names no account: {error}") from error
        if is_banks_own(account):
            raise BadFile(f"line {number}: {account} is the bank's own")
        code = said[0] if said else currency
        if code is not None and code not in MINOR_UNITS:
            raise BadFile(f"line {number}: {printable(code)} is no currency of ISO 4217, such as EUR")
        yield opening(account, code, f"line {number}")


def _compare(client: Client, balances: Mapping[str, int]) -> bool:
    """Compare the balances of a file with those at the bank, and say how many differ."""
    different = 0
    for name, told, found in differences(client, balances):
        different += 1
        if different <= DIFFERENCES_SHOWN:
            print(f"{name} has {found} at the bank, and {told} in the file (minor units)")
    if different:
        print(f"THE BOOKS DIFFER from the file: {different:,} of {len(balances):,} accounts")
    else:
        print(f"Compared: all {len(balances):,} accounts have the balance of the file")
    return not different


class _Teller:
    """Says how far an import is, and at its end what it did."""

    def __init__(self, file: TextIO | None) -> None:
        self._file = file
        self._started_s = time.monotonic()
        self._progress = Progress(sys.stderr)

    def show(self, bulk: BulkImport) -> None:
        """Show how far it is, if that is due."""
        self._progress.show(lambda: f"{self._share()}{_counts(bulk)}, {self._rate(bulk):,.0f} a second")

    def tell(self, bulk: BulkImport, work: Callable[[], None]) -> None:
        """Do the work, and say what it did; if it breaks off, on standard error, and only what was done."""
        try:
            work()
        except BaseException:
            self._progress.end()
            if bulk.done:
                print(f"Until then: {_counts(bulk)}", file=sys.stderr)
            raise
        self._progress.end()
        print(_counts(bulk))

    def _share(self) -> str:
        """Return how much of the file is read, "" of what is no file."""
        if self._file is None:
            return ""
        try:
            size = os.fstat(self._file.fileno()).st_size
            return f"{self._file.buffer.tell() / size:4.0%}  " if size else ""
        except (OSError, AttributeError):
            return ""

    def _rate(self, bulk: BulkImport) -> float:
        return bulk.done / max(time.monotonic() - self._started_s, 0.001)


def _counts(bulk: BulkImport) -> str:
    were = "was" if bulk.open_before == 1 else "were"
    accounts = f"{counted(bulk.opened, 'account')} opened, {bulk.open_before:,} {were} open before"
    if bulk.done and not bulk.booked + bulk.booked_before:
        return accounts
    return (
        f"{counted(bulk.booked, 'posting')} booked, {bulk.booked_before:,} had been booked before; {accounts}"
    )
