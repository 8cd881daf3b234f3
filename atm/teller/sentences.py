"""How the teller says what the bank decided: one line, which tells what to do where there is something."""

from __future__ import annotations

from typing import assert_never

from atm.client import Receipt
from atm.client.errors import OutcomeUnknown
from atm.ledger.commands import (
    MAIN,
    Batch,
    Close,
    Command,
    Credit,
    Debit,
    Exceptions,
    Freeze,
    Hold,
    Login,
    Lookup,
    Open,
    Outcome,
    Post,
    Query,
    Read,
    Reverse,
    SetLimit,
    SetPin,
    Transfer,
    Unfreeze,
    Unlock,
    Void,
    WriteOff,
)
from atm.money import format_amount
from atm.teller.timestamps import format_timestamp

MINUTE_MS = 60_000
MONEY = Credit | Debit | Transfer | Hold | Post | Void | Reverse | WriteOff


def decided(request: Command | Read, receipt: Receipt) -> str:
    """Tell what was done, or why not. What moved money is followed by a line with its reference.

    But not a credit or a debit of `main`: these say what the original said, to the letter.
    """
    if receipt.outcome is not Outcome.OK:
        return declined(request, receipt.outcome)
    if isinstance(request, Query):
        return _balance(request, receipt)
    assert not isinstance(request, Read), f"{request} is told in a table"
    text = _done(request)
    if isinstance(request, MONEY) and not (isinstance(request, Credit | Debit) and request.account == MAIN):
        text += f"\nReference {request.id}"
    return text


def settled(request: Command, outcome: Outcome, *, from_last_time: bool) -> str:
    """Tell what became of a request whose answer had not come."""
    opening = "Settled from last time" if from_last_time else "Settled"
    if outcome is Outcome.OK:
        return f"{opening}: {_deed(request)} (reference {request.id})"
    if outcome is Outcome.WRONG_PIN:
        reason = "it was not done before, and is not done now without the PIN; log in and ask anew"
    else:
        reason = declined(request, outcome)
    return f"{opening}: not {_deed(request)} (reference {request.id}): {reason}"


def still_unknown(request_id: str, *, journalled: bool) -> str:
    """Tell that nobody knows, and when the teller will ask again."""
    also = ", or when the teller starts again" if journalled else ""
    return f"{OutcomeUnknown(request_id)}: it will be settled at the next command{also}"


def log_in_first(account: str) -> str:
    """Tell that an account is for who knows its PIN."""
    return f"{account} has a PIN: log in first (type: login)"


def banks_own(account: str) -> str:
    """Tell that an account is no customer's."""
    return f"{account} is the bank's own account: to look into it, start the teller with --operator"


def locked(account: str) -> str:
    """Tell that no PIN is taken, and who can help."""
    return f"{account} is locked after three wrong PINs: an operator of the bank can unlock it"


def no_such_account(account: str) -> str:
    """Tell that there is no such account, and what to do about it."""
    return f"No such account: {account} (open it with: open {account})"


def duration(milliseconds: int) -> str:
    """Return a time of whole minutes in words."""
    minutes = milliseconds // MINUTE_MS
    return "1 minute" if minutes == 1 else f"{minutes} minutes"


def _balance(request: Query, receipt: Receipt) -> str:
    assert receipt.balance is not None
    if request.at_us is not None:
        when = format_timestamp(request.at_us)
        return f"The balance of {request.account} at {when} UTC was: {format_amount(receipt.balance)}"
    lines = [f"Your current account balance is: {format_amount(receipt.balance)}"]
    if receipt.available is not None and receipt.available != receipt.balance:
        held = format_amount(receipt.balance - receipt.available)
        lines.append(f"Available: {format_amount(receipt.available)} ({held} held)")
    if receipt.state == "frozen":
        lines.append(_frozen(request.account))
    if receipt.state == "closed":
        lines.append(_closed(request.account))
    return "\n".join(lines)


def _done(request: Command) -> str:
    match request:
        case Credit():
            return f"Successfully credited {format_amount(request.amount)} to your account"
        case Debit():
            return f"Successfully debited {format_amount(request.amount)} from your account"
        case Hold():
            return f"Successfully {_deed(request)}: confirm or cancel it"
        case WriteOff():
            return f"Successfully wrote off {format_amount(request.amount)} to {request.account}"
        case Freeze():
            return f"Successfully froze {request.account}"
        case Unfreeze():
            return f"Successfully unfroze {request.account}"
        case SetLimit(amount=None):
            return f"Successfully took the daily limit off {request.account}"
        case Open():
            return f"Successfully opened account {request.account} (go on with it: account {request.account})"
        case _:
            return f"Successfully {_deed(request)}"


def _deed(request: Command) -> str:  # noqa: C901, PLR0912 - a line for each kind
    match request:
        case Credit():
            return f"credited {format_amount(request.amount)} to {request.account}"
        case Debit():
            return f"debited {format_amount(request.amount)} from {request.account}"
        case Transfer():
            return f"transferred {format_amount(request.amount)} from {request.account} to {request.target}"
        case Batch():
            return f"done all of {len(request.legs)} transfers"
        case Hold():
            return f"held {format_amount(request.amount)} for {duration(request.expires_ms)}"
        case Post(amount=None):
            return f"confirmed and paid out the whole hold {request.hold}"
        case Post():
            return f"confirmed and paid out {format_amount(request.amount or 0)} of the hold {request.hold}"
        case Void():
            return f"cancelled the hold {request.hold}"
        case Reverse(amount=None):
            return f"reversed {request.original}"
        case Reverse():
            return f"reversed {format_amount(request.amount or 0)} of {request.original}"
        case WriteOff():
            return f"written off {format_amount(request.amount)} to {request.account}"
        case Open():
            return f"opened {request.account}"
        case Freeze():
            return f"frozen {request.account}"
        case Unfreeze():
            return f"unfrozen {request.account}"
        case Close():
            return f"closed {request.account} for ever"
        case Unlock():
            return f"unlocked {request.account}"
        case SetLimit(amount=None):
            return f"taken the daily limit off {request.account}"
        case SetLimit():
            return f"limited withdrawals from {request.account} to {format_amount(request.amount or 0)} a day"
        case SetPin():
            return f"set the PIN of {request.account}"
        case Login():
            return f"logged in to {request.account}"
        case _:
            assert_never(request)


def declined(request: Command | Read, outcome: Outcome) -> str:  # noqa: C901, PLR0912 - a line for each outcome
    """Tell why not, and what to do."""
    match outcome:
        case Outcome.INSUFFICIENT_FUNDS if isinstance(request, Reverse):
            return "Insufficient account balance: the money has left the account already"
        case Outcome.INSUFFICIENT_FUNDS:
            return "Insufficient account balance"
        case Outcome.NO_SUCH_ACCOUNT:
            return _nobody(request)
        case Outcome.EXISTS:
            return f"There is an account {_account(request)} already"
        case Outcome.LIMIT_EXCEEDED if isinstance(request, Debit | Hold):
            return "More than the account's daily limit leaves: try less, or wait for tomorrow (UTC)"
        case Outcome.LIMIT_EXCEEDED:
            return "The balance would become too large: nothing was changed"
        case Outcome.ID_REUSED:
            return "The reference belongs to another request: nothing was changed"
        case Outcome.ACCOUNT_FROZEN:
            return _frozen(_account(request))
        case Outcome.ACCOUNT_CLOSED:
            return _closed(_account(request))
        case Outcome.NOT_EMPTY:
            return f"{_account(request)} is not empty: pay out its balance and end its holds first"
        case Outcome.WRONG_PIN:
            return "Wrong PIN: after three in a row the account is locked"
        case Outcome.LOCKED:
            return locked(_account(request))
        case Outcome.HOLD_ALREADY_POSTED if isinstance(request, Reverse):
            return "The hold was confirmed already: reverse the confirmation, by its own reference"
        case Outcome.HOLD_NOT_FOUND | Outcome.HOLD_ALREADY_POSTED | Outcome.HOLD_ALREADY_VOIDED:
            return _HOLDS[outcome]
        case Outcome.HOLD_EXPIRED:
            return "The hold has expired by itself: nothing is held any more"
        case Outcome.EXCEEDS_HOLD:
            return "More than was held: confirm that much, or less"
        case Outcome.ALREADY_REVERSED if isinstance(request, Reverse):
            return f"{request.original} was reversed already: nothing was changed"
        case Outcome.ALREADY_REVERSED:
            return "It was reversed before it came to the bank: it is not done, and never will be"
        case Outcome.EXCEEDS_ORIGINAL:
            return "More than was moved: reverse that much, or less (a batch or a hold only as a whole)"
        case Outcome.ORIGINAL_NOT_FOUND if isinstance(request, Reverse):
            return (
                f"Nothing was moved under {request.original}: check the reference "
                "(if such a request is still on its way, it will be declined)"
            )
        case Outcome.ORIGINAL_NOT_FOUND:
            return "Nothing is known under this reference: check it"
        case _:
            return f"The bank declined: {outcome.replace('_', ' ')}"


_HOLDS = {
    Outcome.HOLD_NOT_FOUND: "Nothing was held under this reference: check it",
    Outcome.HOLD_ALREADY_POSTED: "The hold was confirmed already: nothing was changed",
    Outcome.HOLD_ALREADY_VOIDED: "The hold was cancelled already: nothing was changed",
}


def _nobody(request: Command | Read) -> str:
    match request:
        case Transfer(account="main"):  # which exists from the start
            return no_such_account(request.target)
        case Transfer():
            return f"No such account: {request.target}, or {request.account}"
        case Query(at_us=int(at_us)):
            return f"There was no account {request.account} at {format_timestamp(at_us)} UTC"
        case _:
            return no_such_account(_account(request))


def _account(request: Command | Read) -> str:
    match request:
        case Transfer():
            return f"{request.account} or {request.target}"
        case Batch() | Post() | Void() | Reverse() | Lookup() | Exceptions():
            return "The account"
        case _:
            return request.account


def _frozen(account: str) -> str:
    return f"{account} is frozen: nothing goes in or out until an operator unfreezes it"


def _closed(account: str) -> str:
    return f"{account} is closed for ever: use another account"
