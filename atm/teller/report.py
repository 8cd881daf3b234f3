"""The result of a command: a text for people, fields for programs, an exit code for scripts."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec
from msgspec import Struct, field

from atm.client import Receipt
from atm.ledger.commands import Command, LedgerReceipt, Outcome, Page, Read, ReadResult
from atm.teller import sentences
from atm.teller.commands import command_of

DONE, DECLINED, USAGE, NOT_AVAILABLE, NOT_ALLOWED, UNKNOWN = range(6)  # exit codes
INTERRUPTED = 130  # as a shell counts Ctrl-C

_NOT_ALLOWED = frozenset({Outcome.WRONG_PIN, Outcome.LOCKED, Outcome.NOT_ALLOWED})
# Fields of a request that are not among the details: each report has them, or they are PINs or a page.
_NOT_DETAILS = frozenset(
    {"id", "account", "amount", "pin", "old_pin", "limit", "before", "after", "after_hold"}
)
_ONLY_READ = [name for name in ReadResult.__struct_fields__ if name not in LedgerReceipt.__struct_fields__]


class Report(Struct, frozen=True, kw_only=True):
    """The result of one command: `text` is for people, the rest for programs, amounts in minor units.

    `details` are the further fields of some commands; the text of a table is left out of the JSON.
    """

    command: str
    outcome: str
    code: int
    text: str
    account: str | None = None
    amount: int | None = None
    balance: int | None = None
    available: int | None = None
    request_id: str | None = None
    log_index: int | None = None
    details: Mapping[str, object] = field(default_factory=dict)
    is_table: bool = False
    csv: str | None = None  # of a listing

    def as_json(self) -> str:
        """Return one line of JSON in ASCII."""
        import json  # noqa: PLC0415 - only here; msgspec's does not write all in ASCII

        fields = {
            "command": self.command,
            "outcome": self.outcome,
            "account": self.account,
            "amount": self.amount,
            "balance": self.balance,
            "available": self.available,
            "request_id": self.request_id,
            "log_index": self.log_index,
            "message": "" if self.is_table else self.text,
        }
        return json.dumps(fields | msgspec.to_builtins(self.details))


class NotDone(Exception):
    """A command ended before the bank decided it; `report` says why."""

    def __init__(self, report: Report) -> None:
        super().__init__(report.text)
        self.report = report


def decided(request: Command | Read, receipt: Receipt, text: str | None = None) -> Report:
    """Report the bank's decision, in the words of `text` if given.

    Without the right PIN no balance is shown, not even that in the bank's refusal.
    """
    code = code_of(receipt.outcome)
    return Report(
        command=command_name(request),
        outcome=str(receipt.outcome),
        code=code,
        text=sentences.decided(request, receipt) if text is None else text,
        account=getattr(request, "account", None),
        amount=getattr(request, "amount", None) if receipt.moved is None else receipt.moved,
        balance=None if code == NOT_ALLOWED else receipt.balance,
        available=None if code == NOT_ALLOWED else receipt.available,
        request_id=receipt.request_id,
        log_index=receipt.log_index or None,
        details=_details(request, receipt),
    )


def undecided(request: Command | Read, outcome: str, code: int, text: str) -> Report:
    """Report that the bank did not answer, or that the outcome is unknown."""
    return Report(
        command=command_name(request),
        outcome=outcome,
        code=code,
        text=text,
        account=getattr(request, "account", None),
        amount=getattr(request, "amount", None),
        request_id=request.id,
    )


def code_of(outcome: Outcome) -> int:
    """Return the exit code: 4 without the right PIN or role, 1 for all other refusals."""
    if outcome is Outcome.OK:
        return DONE
    return NOT_ALLOWED if outcome in _NOT_ALLOWED else DECLINED


def command_name(request: Command | Read) -> str:
    """Return the word that people type for it."""
    command = command_of(request)
    return str(request.__struct_config__.tag) if command is None else command.name


def _details(request: Command | Read, receipt: Receipt) -> dict[str, object]:
    """Return the request's fields besides account and amount, and the fields that only its answer has."""
    further = [name for name in request.__struct_fields__ if name not in _NOT_DETAILS]
    asked = {name: getattr(request, name) for name in further}
    told = {name: getattr(receipt, name) for name in _ONLY_READ}
    found = {
        name: value for name, value in (asked | told).items() if value is not None and value is not False
    }
    if isinstance(request, Page) and receipt.outcome is Outcome.OK:
        found["next"] = receipt.next  # null at the end, too
    return found
