"""All commands of the teller, in the order of `help`: a row each.

A row is all that the teller knows of a command: parser, help, hints, completion and sentences read it. Its
request says who may use it (atm/permissions.py).
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from atm.client import Line, Receipt
from atm.client.operations import HOLD_MS
from atm.command_line import printable
from atm.ledger.commands import (
    BANK_ACCOUNTS,
    MAIN,
    WRITEOFF,
    Accounts,
    AccountState,
    Approvals,
    Approve,
    Close,
    Command,
    Credit,
    Debit,
    Exceptions,
    Freeze,
    Hold,
    Holds,
    HoldState,
    Login,
    Lookup,
    Open,
    Outcome,
    Post,
    Query,
    RaiseHold,
    Read,
    ResetPin,
    Reverse,
    SetCeiling,
    SetLimit,
    SetPin,
    Statement,
    Transfer,
    Unfreeze,
    Unlock,
    Void,
    WaitingRequest,
    WriteOff,
)
from atm.money import format_amount
from atm.teller.arguments import MINUTE_MS, InvalidCommand, form_hint, read_timestamp
from atm.teller.intents import (
    Cancel,
    ChangePin,
    Confirm,
    Help,
    LogIn,
    LogOut,
    More,
    Quit,
    Raise,
    Settle,
    ShowDays,
    ShowReceipt,
    ShowStatus,
    UseAccount,
)
from atm.teller.phrases import closed, duration, frozen, no_such_account, over_the_ceiling
from atm.teller.teller_command import Given, Listing, TellerCommand
from atm.timestamps import format_timestamp

PAGE_LINES = 10
DAY_US = 86_400_000_000

# -- parts of rows -------------------------------------------------------------------------------------------

_AccountOrder = type[Open | Freeze | Unfreeze | Unlock | ResetPin | Close]


def _order(kind: _AccountOrder) -> Callable[[Given], Command]:
    return lambda given: kind(id=given.request_id, account=given["account"])


def _remark(given: Given) -> dict[str, Any]:
    return {"code": given["code"], "text": given["text"]}


def _amount(request: Debit | Transfer) -> str:
    return "all there was" if request.amount is None else format_amount(request.amount)


def _transfer(given: Given) -> Transfer:
    if given["account"] == given.account:
        raise InvalidCommand(f"Your account is {given.account} itself: name the one that the money goes to")
    return Transfer(
        id=given.request_id,
        account=given.account,
        target=given["account"],
        amount=given["amount"],
        all=given["amount"] is None,
        **_remark(given),
    )


def _transfer_to_nobody(request: Transfer) -> str:
    if request.account == MAIN:  # which exists from the start
        return no_such_account(request.target)
    return f"No such account: {request.target}, or {request.account}"


def _reverse(given: Given) -> Reverse:
    if given["reference"] == given.request_id:  # that of --id
        raise InvalidCommand("A reversal has a reference of its own: give another one with --id")
    return Reverse(id=given.request_id, original=given["reference"], amount=given["amount"], **_remark(given))


def _days(given: Given) -> ShowDays:
    first_us, last_us = given["first-day"], given["last-day"] or given["first-day"]
    if first_us > last_us:
        raise InvalidCommand("The first day is after the last: nothing can be listed")
    return ShowDays(given.account, first_us - DAY_US + 1, last_us)


def _hold(given: Given) -> Hold:
    expires_ms = HOLD_MS if given["minutes"] is None else MINUTE_MS * given["minutes"]
    return Hold(
        id=given.request_id,
        account=given.account,
        amount=given["amount"],
        expires_ms=expires_ms,
        **_remark(given),
    )


def _set_limit(given: Given) -> SetLimit:
    if given["transfers"] and given["amount"] is None:
        raise InvalidCommand("Without a limit there is nothing that transfers could count towards")
    transfers = given["transfers"] is not None
    return SetLimit(
        id=given.request_id, account=given["account"], amount=given["amount"], transfers=transfers
    )


def _limit_deed(request: SetLimit) -> str:
    if request.amount is None:
        return f"taken the daily limit off {request.account}"
    what = "withdrawals and transfers" if request.transfers else "withdrawals"
    return f"limited {what} from {request.account} to {format_amount(request.amount)} a day"


def _ceiling_deed(request: SetCeiling) -> str:
    if request.amount is None:
        return f"taken the ceiling off {request.account}"
    return f"set a ceiling of {format_amount(request.amount)} on the balance of {request.account}"


def _ceiling_done(request: SetCeiling) -> str:
    if request.amount is None:
        return f"Successfully took the ceiling off {request.account}"
    return f"Successfully {_ceiling_deed(request)}"


def _limit_done(request: SetLimit) -> str:
    if request.amount is None:
        return f"Successfully took the daily limit off {request.account}"
    return f"Successfully {_limit_deed(request)}"


def _confirm(given: Given) -> Confirm:
    if given["more"] and given["amount"] is None:
        raise InvalidCommand("Say how much is paid out now: the rest stays held")
    return Confirm(given["reference"], given["amount"], bool(given["more"]), given.request_id)


def _post_deed(request: Post) -> str:
    part = "" if request.amount is None else f"{format_amount(request.amount)} of "
    rest = "" if request.final else ", the rest of which stays held"
    return f"confirmed and paid out {part}the hold {request.hold}{rest}"


def _reverse_deed(request: Reverse) -> str:
    part = "" if request.amount is None else f"{format_amount(request.amount)} of "
    return f"reversed {part}{request.original}"


def _balance(request: Query, found: Receipt) -> str:
    assert found.balance is not None
    lines = [f"Your current account balance is: {format_amount(found.balance)}"]
    if found.available is not None and found.available != found.balance:
        held = format_amount(found.balance - found.available)
        lines.append(f"Available: {format_amount(found.available)} ({held} held)")
    if found.ceiling is not None:
        lines.append(f"Ceiling: {format_amount(found.ceiling)}")
    if found.transfers_count:
        lines.append("Transfers count towards the daily limit")
    if found.state == "frozen":
        lines.append(frozen(request.account))
    if found.state == "closed":
        lines.append(closed(request.account))
    return "\n".join(lines)


def _past_balance(request: Query, found: Receipt) -> str:
    assert found.balance is not None
    at_us = request.at_us or 0
    when, balance = format_timestamp(at_us), format_amount(found.balance)
    if _is_to_come(at_us):
        return f"The balance of {request.account} so far is: {balance} ({when} UTC has not come yet)"
    return f"The balance of {request.account} at {when} UTC was: {balance}"


def _no_past_balance(request: Query) -> str:
    at_us = request.at_us or 0
    if _is_to_come(at_us):
        return no_such_account(request.account)
    return f"There was no account {request.account} at {format_timestamp(at_us)} UTC"


def _is_to_come(time_us: int) -> bool:
    """Return whether it is to come by the clock here: the bank's time does not come with an answer."""
    return time_us > time.time_ns() // 1000


def _help(given: Given) -> Help:
    topic = given["command"]
    if topic is None:
        return Help(None)
    command = command_named(topic)
    if command is None:
        raise InvalidCommand(form_hint(COMMANDS["help"].form))
    return Help(command.name)


def _over_the_limit(_: Debit | Hold | RaiseHold) -> str:
    return "Daily withdrawal limit exceeded: try a smaller amount, or wait until tomorrow (UTC)"


def _closely(amount: str) -> str:
    """Return an amount of a table as it is in a narrow one, which has no room for separators."""
    return amount.replace(",", "")


# -- pages of postings ------------------------------------------------------------------------------------


def _postings(what: Callable[[Line], str]) -> Listing:
    """Return a listing of postings; `what` describes each."""

    def cells(line: Line) -> list[str]:
        amount, balance = (format_amount(minor, in_column=True) for minor in (line.amount, line.balance))
        time, reference = format_timestamp(line.time_us), printable(line.request_id)
        remark = ["" if line.code is None else str(line.code), printable(line.text or "")]
        return [time, printable(what(line)), amount, balance, reference, *remark]

    def narrow_cells(line: Line) -> list[str]:
        time, deed, amount, balance, reference, code, text = cells(line)
        remark = "".join(f"\n{said}" for said in (code and f"code {code}", text) if said)
        return [f"{time[:-3]}\n{deed}\n{reference}{remark}", _closely(amount), _closely(balance)]

    return Listing(
        rows=lambda found: found.lines,
        headers=("time (UTC)", "what", "amount", "balance", "reference", "code", "text"),
        optional=frozenset({"code", "text"}),
        cells=cells,
        alignment=("left", "left", "right", "right", "left", "right", "left"),
        time_us=lambda line: line.time_us,
        narrow_headers=("posting (UTC)", "amount", "balance"),
        narrow_cells=narrow_cells,
        narrow_alignment=("left", "right", "right"),
    )


def _in_a_statement(line: Line) -> str:
    if line.other in BANK_ACCOUNTS:
        return word_for(line.op)
    return f"{word_for(line.op)} {'to' if line.amount < 0 else 'from'} {line.other}"


def _as_exception(line: Line) -> str:
    return f"{word_for(line.exception or '')}: {line.other if line.account == WRITEOFF else line.account}"


# -- pages of accounts ------------------------------------------------------------------------------------


def _account_cells(row: AccountState) -> list[str]:
    balance, available = (format_amount(minor, in_column=True) for minor in (row.balance, row.available))
    return [printable(row.account), balance, available, printable(row.state), printable(row.pin)]


def _narrow_account_cells(row: AccountState) -> list[str]:
    account, balance, available, state, pin = _account_cells(row)
    return [f"{account}\n{state}, PIN {pin}", _closely(balance), _closely(available)]


_ACCOUNTS = Listing(
    rows=lambda found: found.accounts,
    headers=("account", "balance", "available", "state", "PIN"),
    cells=_account_cells,
    alignment=("left", "right", "right", "left", "left"),
    narrow_headers=("account", "balance", "available"),
    narrow_cells=_narrow_account_cells,
    narrow_alignment=("left", "right", "right"),
)


# -- pages of holds -----------------------------------------------------------------------------------------


def _hold_cells(row: HoldState) -> list[str]:
    return [
        format_timestamp(row.time_us),
        format_timestamp(row.expires_us),
        format_amount(row.amount, in_column=True),
        format_amount(row.posted, in_column=True) if row.posted else "-",
        printable(row.request_id),
    ]


def _narrow_hold_cells(row: HoldState) -> list[str]:
    since, until, amount, paid_out, reference = _hold_cells(row)
    amounts = f"{amount}\n-{paid_out}" if row.posted else amount
    return [f"{since[:-3]}\n{reference}", until[5:-3], _closely(amounts)]


_HOLDS = Listing(
    rows=lambda found: found.holds,
    time_us=lambda row: row.time_us,
    headers=("since (UTC)", "until (UTC)", "amount", "paid out", "reference"),
    cells=_hold_cells,
    alignment=("left", "left", "right", "right", "left"),
    narrow_headers=("since (UTC)", "until", "amount"),
    narrow_cells=_narrow_hold_cells,
    narrow_alignment=("left", "left", "right"),
)


# -- pages of requests that wait for an approval ------------------------------------------------------------


def _waiting_cells(row: WaitingRequest) -> list[str]:
    amount = "-" if row.amount is None else format_amount(row.amount, in_column=True)
    stake = format_amount(row.stake, in_column=True)
    what = printable(f"{word_for(row.op)} {row.target}")
    return [
        format_timestamp(row.time_us),
        what,
        amount,
        stake,
        printable(row.actor),
        printable(row.request_id),
    ]


def _narrow_waiting_cells(row: WaitingRequest) -> list[str]:
    time, what, amount, stake, who, reference = _waiting_cells(row)
    return [f"{time[:-3]}\n{what}\n{who}\n{reference}", amount, stake]


_WAITING = Listing(
    rows=lambda found: found.approvals,
    time_us=lambda row: row.time_us,
    headers=("time (UTC)", "what", "amount", "at stake", "asked by", "reference"),
    cells=_waiting_cells,
    alignment=("left", "left", "right", "right", "left", "left"),
    narrow_headers=("request (UTC)", "amount", "at stake"),
    narrow_cells=_narrow_waiting_cells,
    narrow_alignment=("left", "right", "right"),
)


def _not_pending(request: Approve) -> str:
    return f"{request.request} needs no approval: check the reference (to list what does, type: approvals)"


# -- the table -----------------------------------------------------------------------------------------------

SAYS = "It may end in what it is for, such as: code 7 for Rent November."
_LAST = "Without a reference it is the last hold of this session."
_ROWS: tuple[TellerCommand[Any], ...] = (
    TellerCommand(
        "query",
        "shows the current balance of your account",
        "Also shows how much of it is held. Another word for it: balance.",
        request=Query,
        read=lambda given: Query(id=given.request_id, account=given.account),
        told=_balance,
    ),
    TellerCommand(
        "credit <amount>",
        "pays in an amount, such as 50 or 12.50",
        f"Another word for it: deposit. {SAYS}",
        request=Credit,
        takes_remark=True,
        read=lambda given: Credit(
            id=given.request_id, account=given.account, amount=given["amount"], **_remark(given)
        ),
        moves_money=True,
        deed=lambda request: f"credited {format_amount(request.amount)} to {request.account}",
        done=lambda request: f"Successfully credited {format_amount(request.amount)} to your account",
    ),
    TellerCommand(
        "debit <amount>|all",
        "pays out an amount, such as 50 or 12.50",
        f"Another word for it: withdraw. With all: what is available. {SAYS}",
        request=Debit,
        takes_remark=True,
        read=lambda given: Debit(
            id=given.request_id,
            account=given.account,
            amount=given["amount"],
            all=given["amount"] is None,
            **_remark(given),
        ),
        moves_money=True,
        deed=lambda request: f"debited {_amount(request)} from {request.account}",
        done=lambda request: f"Successfully debited {_amount(request)} from your account",
        refusals={Outcome.LIMIT_EXCEEDED: _over_the_limit},
    ),
    TellerCommand(
        "transfer <account> <amount>|all",
        "moves an amount to another account",
        f"With all: what is available. {SAYS}",
        request=Transfer,
        takes_remark=True,
        read=_transfer,
        moves_money=True,
        deed=lambda request: f"transferred {_amount(request)} from {request.account} to {request.target}",
        about=lambda request: f"{request.account} or {request.target}",
        refusals={
            Outcome.NO_SUCH_ACCOUNT: _transfer_to_nobody,
            Outcome.CEILING_EXCEEDED: lambda request: over_the_ceiling(request.target),
            Outcome.LIMIT_EXCEEDED: lambda _: (
                "Daily limit exceeded, or the balance would become too large: try a smaller amount"
            ),
        },
    ),
    TellerCommand(
        "statement [<n>] [before <posting>]",
        "lists the latest postings (default: 10)",
        "With the balance after each.",
        request=Statement,
        read=lambda given: Statement(
            id=given.request_id,
            account=given.account,
            limit=given["n"] or PAGE_LINES,
            before=given["posting"],
        ),
        listing=_postings(_in_a_statement),
    ),
    TellerCommand("more", "lists the next page", read=lambda _: More()),
    TellerCommand(
        "days <first-day> [<last-day>]",
        "lists all postings of a day, or of several",
        "For example: days 2026-11-01 2026-11-30. The days are those of UTC.",
        read=_days,
    ),
    TellerCommand(
        "balance at <date> [<time>]",
        "shows the balance at that time (UTC)",
        "For example: balance at 2026-11-22 (the end of that day), or 2026-11-22 10:00, or 10:00:59.",
        request=Query,
        read=lambda given: Query(
            id=given.request_id, account=given.account, at_us=read_timestamp(given["date"], given["time"])
        ),
        told=_past_balance,
        refusals={Outcome.NO_SUCH_ACCOUNT: _no_past_balance},
    ),
    TellerCommand(
        "hold <amount> [<minutes>]",
        "reserves an amount (default: 5 minutes)",
        request=Hold,
        takes_remark=True,
        read=_hold,
        moves_money=True,
        deed=lambda request: f"held {format_amount(request.amount)} for {duration(request.expires_ms)}",
        done=lambda request: (
            f"Successfully held {format_amount(request.amount)} for {duration(request.expires_ms)}: "
            "confirm or cancel it"
        ),
        refusals={Outcome.LIMIT_EXCEEDED: _over_the_limit},
    ),
    TellerCommand(
        "holds [<n>] [after <reference>]",
        "lists your active holds",
        "With what was paid out of each already. Default: 10.",
        request=Holds,
        read=lambda given: Holds(
            id=given.request_id,
            account=given.account,
            limit=given["n"] or PAGE_LINES,
            after_hold=given["reference"],
        ),
        listing=_HOLDS,
    ),
    TellerCommand(
        "confirm [<reference>] [<amount>] [more]",
        "pays out the last or named hold, or a part",
        f"{_LAST} With an amount the rest is released, or stays held for more.",
        request=Post,
        read=_confirm,
        moves_money=True,
        deed=_post_deed,
    ),
    TellerCommand(
        "raise [<reference>] <amount>",
        "holds so much more on the last or named hold",
        _LAST,
        request=RaiseHold,
        read=lambda given: Raise(given["reference"], given["amount"], given.request_id),
        moves_money=True,
        deed=lambda request: f"raised the hold {request.hold} by {format_amount(request.amount)}",
        refusals={
            Outcome.LIMIT_EXCEEDED: _over_the_limit,
            Outcome.HOLD_NOT_FOUND: lambda request: (
                f"No hold on {request.account} has this reference: check it (to list them, type: holds)"
            ),
        },
    ),
    TellerCommand(
        "cancel [<reference>]",
        "releases the last or named hold",
        _LAST,
        request=Void,
        read=lambda given: Cancel(given["reference"], given.request_id),
        moves_money=True,
        deed=lambda request: f"cancelled the hold {request.hold}",
    ),
    TellerCommand(
        "reverse <reference> [<amount>]",
        "takes back a request, or a part of it",
        "Part by part until all is taken back; without an amount, what is left of it. A hold is released, as "
        f"by cancel. {SAYS} Another word for it: refund.",
        request=Reverse,
        takes_remark=True,
        read=_reverse,
        moves_money=True,
        deed=_reverse_deed,
        refusals={
            Outcome.INSUFFICIENT_FUNDS: lambda _: (
                "Insufficient account balance: the money has left the account already"
            ),
            Outcome.HOLD_ALREADY_POSTED: lambda request: (
                f"The hold {request.original} was confirmed already: "
                "reverse the confirmation, by its own reference"
            ),
            Outcome.ALREADY_REVERSED: lambda request: (
                f"{request.original} was reversed already: nothing was changed"
            ),
            Outcome.ORIGINAL_NOT_FOUND: lambda request: (
                f"Nothing was moved under {request.original}, and nothing will be: check the reference"
            ),
        },
    ),
    TellerCommand(
        "receipt [<reference>]",
        "shows the last or named receipt again",
        "Refused requests have receipts, too.",
        request=Lookup,
        read=lambda given: ShowReceipt(given["reference"]),
    ),
    TellerCommand(
        "open <account>",
        "opens another account, with a balance of 0",
        request=Open,
        read=_order(Open),
        deed=lambda request: f"opened {request.account}",
        done=lambda request: (
            f"Successfully opened account {request.account} (to use it, type: account {request.account})"
        ),
    ),
    TellerCommand(
        "account <account>", "changes to another account", read=lambda given: UseAccount(given["account"])
    ),
    TellerCommand(
        "login [<account>]",
        "asks for the PIN and uses the account",
        "The PIN is never part of the command. Three wrong ones in a row lock the account.",
        request=Login,
        read=lambda given: LogIn(given["account"]),
        deed=lambda request: f"logged in to {request.account}",
    ),
    TellerCommand("logout", "forgets the PIN; so does an idle session", read=lambda _: LogOut()),
    TellerCommand(
        "pin",
        "sets or changes your PIN; asks for it",
        "A PIN is 4 to 12 digits; the old one is asked for too, if there is one.",
        request=SetPin,
        read=lambda _: ChangePin(),
        deed=lambda request: f"set the PIN of {request.account}",
    ),
    TellerCommand(
        "settle",
        "settles requests whose outcome is unknown",
        "So does each other command that asks the bank. What never reached it is carried out now, "
        "or cancelled if it is more than a day old.",
        read=lambda _: Settle(),
    ),
    TellerCommand("status", "shows how the bank's servers are doing", read=lambda _: ShowStatus()),
    TellerCommand("help [<command>]", "shows this list, or explains one command", read=_help),
    TellerCommand("quit", "leaves; so do exit and the end of input", read=lambda _: Quit()),
    TellerCommand(
        "freeze <account>",
        "stops money into and out of an account",
        "Except for what was held before, and for corrections.",
        request=Freeze,
        read=_order(Freeze),
        deed=lambda request: f"frozen {request.account}",
        done=lambda request: f"Successfully froze {request.account}",
    ),
    TellerCommand(
        "unfreeze <account>",
        "undoes freeze",
        request=Unfreeze,
        read=_order(Unfreeze),
        deed=lambda request: f"unfrozen {request.account}",
        done=lambda request: f"Successfully unfroze {request.account}",
    ),
    TellerCommand(
        "unlock <account>",
        "ends a lock after wrong PINs before its time",
        "The next wrong PIN locks for twice as long. Three times a day.",
        request=Unlock,
        read=_order(Unlock),
        deed=lambda request: f"unlocked {request.account}",
        refusals={
            Outcome.LIMIT_EXCEEDED: lambda request: (
                f"{request.account} was unlocked three times today: wait for the end of the lock, or if the "
                f"PIN is forgotten, type: resetpin {request.account}"
            )
        },
    ),
    TellerCommand(
        "resetpin <account>",
        "removes a forgotten PIN, and its lock",
        "Freeze the account until the customer has set another.",
        request=ResetPin,
        read=_order(ResetPin),
        deed=lambda request: f"removed the PIN of {request.account}",
    ),
    TellerCommand(
        "limit <account> <amount>|none [transfers]",
        "limits withdrawals per day (UTC)",
        "What is held counts, too; with transfers, so does what is transferred from then on.",
        request=SetLimit,
        read=_set_limit,
        deed=_limit_deed,
        done=_limit_done,
    ),
    TellerCommand(
        "ceiling <account> <amount>|none",
        "limits how large a balance may become",
        "Credits and transfers that would raise it above that are declined; corrections are not.",
        request=SetCeiling,
        read=lambda given: SetCeiling(id=given.request_id, account=given["account"], amount=given["amount"]),
        deed=_ceiling_deed,
        done=_ceiling_done,
    ),
    TellerCommand(
        "writeoff <account> <amount>",
        "pays an account at the bank's loss",
        f"With cash as the account: for cash that is missing. {SAYS}",
        request=WriteOff,
        takes_remark=True,
        read=lambda given: WriteOff(
            id=given.request_id, account=given["account"], amount=given["amount"], **_remark(given)
        ),
        moves_money=True,
        deed=lambda request: f"written off {format_amount(request.amount)} to {request.account}",
        done=lambda request: f"Successfully wrote off {format_amount(request.amount)} to {request.account}",
    ),
    TellerCommand(
        "close <account>",
        "closes an empty account for ever",
        request=Close,
        read=_order(Close),
        deed=lambda request: f"closed {request.account} for ever",
    ),
    TellerCommand(
        "exceptions [<n>] [before <posting>]",
        "lists postings that a person should check",
        "Late, overdrawn and written-off postings.",
        request=Exceptions,
        read=lambda given: Exceptions(
            id=given.request_id, limit=given["n"] or PAGE_LINES, before=given["posting"]
        ),
        listing=_postings(_as_exception),
    ),
    TellerCommand(
        "accounts [<n>] [after <account>]",
        "lists the customers' accounts by name",
        "With balance, state and whether there is a PIN. Default: 10.",
        request=Accounts,
        read=lambda given: Accounts(
            id=given.request_id, limit=given["n"] or PAGE_LINES, after=given["account"]
        ),
        listing=_ACCOUNTS,
    ),
    TellerCommand(
        "approvals [<n>] [before <entry>]",
        "lists what needs a second person",
        "What was asked within a day, and nobody approved.",
        request=Approvals,
        read=lambda given: Approvals(
            id=given.request_id, limit=given["n"] or PAGE_LINES, before=given["entry"]
        ),
        listing=_WAITING,
    ),
    TellerCommand(
        "approve <reference>",
        "carries out what somebody else asked",
        "By the rules as they are now. If these refuse it, it can be approved again.",
        request=Approve,
        read=lambda given: Approve(id=given.request_id, request=given["reference"]),
        moves_money=True,
        deed=lambda request: f"approved and carried out {request.request}",
        refusals={
            Outcome.NOT_ALLOWED: lambda _: (
                "Not allowed: somebody else has to approve it, who has the role operator "
                "(or who asked may not ask for it any more)"
            ),
            Outcome.ORIGINAL_NOT_FOUND: _not_pending,
        },
    ),
)

COMMANDS = {row.name: row for row in _ROWS}
ALIASES = {"exit": "quit", "?": "help", "deposit": "credit", "withdraw": "debit", "refund": "reverse"}
ALONE = {"balance": "query"}  # with nothing behind it

# Of the two that ask for a balance, `query` is first.
_BY_REQUEST = {row.request: row for row in reversed(_ROWS) if row.request is not None}
_BY_OP = {str(request.__struct_config__.tag): row.name for request, row in _BY_REQUEST.items()}
_OTHER_WORDS = {
    "written_off": "written off",
    "tombstone": "nothing: it was reversed before it arrived",
}


def command_named(word: str, *, alone: bool = False) -> TellerCommand[Any] | None:
    """Return the command that people mean by a word, in any case, or None; `alone`: nothing follows it."""
    name = word.lower()
    if alone:
        name = ALONE.get(name, name)
    return COMMANDS.get(ALIASES.get(name, name))


def command_of(request: Command | Read) -> TellerCommand[Any] | None:
    """Return the command at the teller that leads to a request, or None if there is none."""
    if isinstance(request, Query) and request.at_us is not None:
        return COMMANDS["balance"]
    return _BY_REQUEST.get(type(request))


def word_for(op: str) -> str:
    """Return the teller's word for an operation or exception of the bank."""
    return _BY_OP.get(op) or _OTHER_WORDS.get(op, op)


def commands_for(*, operator: bool) -> list[TellerCommand[Any]]:
    """Return the commands of this person."""
    return [command for command in _ROWS if operator or not command.for_operators]
