"""Books the requests of a file, very many and many at a time, each once by its id.

Whatever a file's format is, its reader yields `ImportRequest`s, and `BulkImport.book_all` books them. An
import that broke off is run again: what the bank knows already is looked up, which makes no entry of the log,
and not sent again.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import islice

from atm.client import Client, NotAllowed, Receipt, Unfinished
from atm.client.request_rules import TOGETHER_MAX
from atm.ledger.commands import BANK_ACCOUNTS, MAIN, Command, Lookup, Open, Outcome, Query
from atm.ledger.requests import accounts_named, contents_of
from atm.office.windows import ImportRequest, windows
from atm.permissions import needed

LOOKAHEAD = 4 * TOGETHER_MAX  # requests, of which those that depend on none before them are sent


class NotBooked(Exception):
    """The bank refused a request; `str()` of it is one line for people."""


class BulkImport:
    """Books requests; the public fields count."""

    def __init__(self, client: Client, on_progress: Callable[[BulkImport], None] = lambda _: None) -> None:
        """`on_progress` is called with this import, often."""
        self._client = client
        self._on_progress = on_progress
        self._known = {MAIN, *BANK_ACCOUNTS}  # accounts that are open, or about to be
        self._newest_index = 0  # the last log entry that has decided one of the requests
        self._looks_up = True
        self.booked = 0  # postings
        self.booked_before = 0  # postings that an earlier import had booked
        self.opened = 0  # accounts
        self.open_before = 0
        self.other_balances = 0  # requests after which the balance is not that of the file

    @property
    def done(self) -> int:
        """How many postings and accounts are booked and open, now or before."""
        return self.booked + self.booked_before + self.opened + self.open_before

    def book_all(self, requests: Iterable[ImportRequest]) -> None:
        """Book all, of each account in their order, and open before them the accounts that they name.

        Raise `NotBooked`, `NotAllowed`, and what the client raises: `ValueError` for what is no request.
        It is safe to repeat.
        """
        for window in windows(self._with_openings(requests), TOGETHER_MAX, LOOKAHEAD):
            self._book(window)
            self._on_progress(self)

    def is_known(self, request: ImportRequest) -> bool:
        """Return whether the bank has booked a request before, and count it then."""
        return not self._not_known([request])

    def _with_openings(self, requests: Iterable[ImportRequest]) -> Iterator[ImportRequest]:
        """Yield before each request the openings of the accounts that it is the first to name."""
        for request in requests:
            if not isinstance(request.command, Open):
                for account in (*accounts_named(request.command), *request.accounts):
                    if account not in self._known:
                        yield opening(account, request.where)
                        self._known.add(account)
            yield request

    def _book(self, window: Sequence[ImportRequest]) -> None:
        if self._looks_up:  # until nothing was found: what comes later was not sent either
            unknown = self._not_known(window)
            self._looks_up = len(unknown) < len(window)
            window = unknown
        if not window:
            return
        try:
            receipts = self._client.submit([request.command for request in window])
        except Unfinished as error:
            self._count_all(window, error.receipts)
            raise
        self._count_all(window, {receipt.request_id: receipt for receipt in receipts})

    def _not_known(self, window: Sequence[ImportRequest]) -> list[ImportRequest]:
        """Count those that are booked already, and return the rest."""
        lookups = [
            Lookup(id=f"lookup-{number}", request_id=request.command.id)
            for number, request in enumerate(window)
        ]
        unknown, newest = [], self._newest_index
        for request, found in zip(window, self._client.read_all(lookups), strict=True):
            if is_done(request.command, found) and found.asked == contents_of(request.command):
                newest = max(newest, found.log_index)
                self._count(request, found, is_new=False)
            else:
                unknown.append(request)
        self._newest_index = newest
        return unknown

    def _count_all(self, window: Sequence[ImportRequest], receipts: Mapping[str, Receipt]) -> None:
        """Count what is decided; raise `NotBooked` or `NotAllowed` for the first that is refused."""
        newest, refused = self._newest_index, list[tuple[ImportRequest, Receipt]]()
        for request in window:
            receipt = receipts.get(request.command.id)
            if receipt is None:
                continue
            if is_done(request.command, receipt):
                # What was not sent before is decided behind everything that was answered before.
                self._count(request, receipt, is_new=receipt.log_index > newest)
                self._newest_index = max(self._newest_index, receipt.log_index)
            else:
                refused.append((request, receipt))
        if refused:
            raise _refusal(*refused[0])

    def _count(self, request: ImportRequest, receipt: Receipt, *, is_new: bool) -> None:
        if isinstance(request.command, Open):
            if is_new and receipt.outcome is Outcome.OK:
                self.opened += 1
            else:
                self.open_before += 1
        elif is_new:
            self.booked += request.postings
        else:
            self.booked_before += request.postings
        if request.balance is not None:
            self.other_balances += receipt.balance != request.balance


def opening(account: str, where: str) -> ImportRequest:
    """Return the request that opens an account, the same in every import."""
    return ImportRequest(where, Open(id=derived_id("open", account), account=account), postings=0)


def derived_id(what: str, name: str) -> str:
    """Return the request id of a helping request; it is the same in every import."""
    return f"import-{what}-{hashlib.sha256(name.encode()).hexdigest()[:40]}"


def is_done(command: Command, receipt: Receipt) -> bool:
    """Return whether the receipt says that what the command asks is so."""
    return receipt.outcome is Outcome.OK or (isinstance(command, Open) and receipt.outcome is Outcome.EXISTS)


def differences(client: Client, balances: Mapping[str, int]) -> Iterator[tuple[str, int, int | None]]:
    """Yield each account whose balance at the bank is not the given one, with both; None: it is not open."""
    names = iter(sorted(balances))
    while some := list(islice(names, TOGETHER_MAX)):
        queries = [Query(id=f"balance-{number}", account=name) for number, name in enumerate(some)]
        for name, found in zip(some, client.read_all(queries), strict=True):
            if found.outcome == "not_allowed":
                raise NotAllowed(needed("query"))
            if found.balance != balances[name]:
                yield name, balances[name], found.balance


def _refusal(request: ImportRequest, receipt: Receipt) -> Exception:
    command = request.command
    op = str(command.__struct_config__.tag)
    if receipt.outcome is Outcome.NOT_ALLOWED:
        return NotAllowed(needed(op))
    if isinstance(command, Open):
        return NotBooked(f"{request.where}: account {command.account} cannot be opened: {receipt.outcome}")
    leg = "" if receipt.leg is None else f" (leg {receipt.leg + 1})"
    return NotBooked(
        f"{request.where} (request {command.id}) was not booked: {receipt.outcome}{leg}. What was booked "
        "before it stays, and is not booked again when the import is run again. An export is for a new "
        "cluster without other clients"
    )
