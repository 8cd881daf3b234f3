"""The bank's decisions as sentences: one line, which says what to do if there is something to do."""

from __future__ import annotations

from msgspec.structs import replace

from atm.client import Receipt
from atm.ledger.commands import (
    MAIN,
    Approve,
    Command,
    Credit,
    Debit,
    Lookup,
    Outcome,
    Post,
    RaiseHold,
    Read,
    Reverse,
    Transfer,
    Void,
)
from atm.permissions import needed
from atm.teller.commands import command_of
from atm.teller.phrases import active_holds, needs_approval, refusal


def decided(request: Command | Read, receipt: Receipt) -> str:
    """Return what was done, or why not. After a movement of money comes a line with its reference.

    A credit or debit of `main` has no such line: its text is fixed, to the letter.
    """
    if receipt.outcome is not Outcome.OK:
        return declined(request, receipt.outcome) + _holds(" ({})", receipt)
    if isinstance(request, Debit | Transfer) and receipt.moved is not None:
        request = replace(request, amount=receipt.moved, all=False)
    command = command_of(request)
    if command is not None and command.told is not None:
        return command.told(request, receipt)
    assert not isinstance(request, Read), f"the result of {request} is a table"
    if command is not None and command.done is not None:
        text = command.done(request)
    else:
        text = f"Successfully {_deed(request)}"
    text += _holds("\nIts holds stay, and can still be confirmed or cancelled: {}", receipt)
    says_less = isinstance(request, Credit | Debit) and request.account == MAIN
    if command is not None and command.moves_money and not says_less:
        text += f"\nReference {request.id}"
    return text


def _holds(phrase: str, receipt: Receipt) -> str:
    """Return the phrase with how many holds are active, and how much they hold; nothing without any."""
    if receipt.active_holds is None or receipt.balance is None or receipt.available is None:
        return ""
    return phrase.format(active_holds(receipt.active_holds, receipt.balance - receipt.available))


def settled(request: Command, outcome: Outcome, *, from_last_time: bool) -> str:
    """Return the outcome of a request whose answer had not come."""
    opening = "Settled from last time" if from_last_time else "Settled"
    if outcome is Outcome.OK:
        return f"{opening}: {_deed(request)} (reference {request.id})"
    if outcome is Outcome.WRONG_PIN:
        reason = "it was not done before, and is not done now without the PIN; log in and ask again"
    else:
        reason = declined(request, outcome)
    return f"{opening}: not {_deed(request)} (reference {request.id}): {reason}"


def cancelled(request: Command) -> str:
    """Return that a request whose time has passed was not done, and never will be."""
    return (
        f"Settled from last time: not {_deed(request)} (reference {request.id}): it never reached the bank, "
        "is more than a day old, and is cancelled"
    )


def reversed_since(request: Command, reversal: str) -> str:
    """Return that a request whose answer had not come was done, and taken back by the request `reversal`."""
    return f"Settled: {_deed(request)} (reference {request.id}), and reversed since (reference {reversal})"


def declined(request: Command | Read, outcome: Outcome) -> str:
    """Return why the request was refused, and what to do."""
    command = command_of(request)
    if command is not None and outcome in command.refusals:
        return command.refusals[outcome](request)
    if outcome is Outcome.NOT_ALLOWED:
        return needed(str(request.__struct_config__.tag))
    if outcome is Outcome.NEEDS_APPROVAL:
        return needs_approval(request.id)
    account = getattr(request, "account", None) or "The account"
    if command is not None and command.about is not None:
        account = command.about(request)
    return refusal(outcome, account, request.id, _named_by(request))


def _named_by(request: Command | Read) -> str:
    """Return the reference that a request names, and is about; its own if it names none."""
    match request:
        case Post() | RaiseHold() | Void():
            return request.hold
        case Reverse():
            return request.original
        case Lookup():
            return request.request_id
        case Approve():
            return request.request
        case _:
            return request.id


def _deed(request: Command) -> str:
    command = command_of(request)
    if command is None or command.deed is None:  # no command at the teller leads there
        return f"carried out, a {request.__struct_config__.tag}"
    return command.deed(request)
