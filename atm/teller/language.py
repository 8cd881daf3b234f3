"""What people may type at the teller, line by line, and what each line asks for."""

from __future__ import annotations

import re

from atm.client.client import HOLD_MS
from atm.ledger.commands import (
    HOLD_MS_MAX,
    Close,
    Credit,
    Debit,
    Exceptions,
    Freeze,
    Hold,
    Open,
    Query,
    Reverse,
    SetLimit,
    Statement,
    Transfer,
    Unfreeze,
    Unlock,
    WriteOff,
)
from atm.teller.arguments import (
    INVALID,
    InvalidCommand,
    is_amount,
    read_account,
    read_amount,
    read_number,
    read_page,
    read_reference,
    read_timestamp,
)
from atm.teller.intents import (
    Cancel,
    ChangePin,
    Confirm,
    Help,
    Intent,
    LogIn,
    LogOut,
    More,
    Own,
    Quit,
    ShowReceipt,
    ShowStatus,
    UseAccount,
)
from atm.teller.words import WORDS

LINE_CHARS_MAX = 1000  # the longest sensible command has less than 200
MINUTE_MS = 60_000
PIN_SHOWN = "A PIN is never part of a command: it is asked for, unseen (type: help login)"

_BLANKS = re.compile(r"[ \t]+")  # str.split would take the blanks of every script, and control characters
_PIN = re.compile(r"[0-9]{4,12}")


class OperatorsOnly(InvalidCommand):
    """The line is a command of the bank's operators."""


_ALONE: dict[str, Own] = {
    "more": More(),
    "login": LogIn(None),
    "logout": LogOut(),
    "pin": ChangePin(),
    "status": ShowStatus(),
    "help": Help(None),
    "quit": Quit(),
    "exit": Quit(),
}
_MOVES: dict[str, type[Credit | Debit]] = {"credit": Credit, "debit": Debit}
_ORDERS: dict[str, type[Open | Freeze | Unfreeze | Unlock | Close]] = {
    "open": Open,
    "freeze": Freeze,
    "unfreeze": Unfreeze,
    "unlock": Unlock,
    "close": Close,
}


def parse(line: str, *, account: str, request_id: str, operator: bool = False) -> Intent | None:
    """Return what a line asks for, or None if it is blank or begins with `#`; raise `InvalidCommand`.

    Requests to the bank are about `account` and carry `request_id`.
    """
    if len(line) > LINE_CHARS_MAX:
        raise InvalidCommand(f"{INVALID}: a line has at most {LINE_CHARS_MAX} characters")
    words = _words(line)
    if words == [""] or words[0].startswith("#"):
        return None
    if shows_pin(line):
        raise InvalidCommand(PIN_SHOWN)
    word = WORDS.get(words[0])
    if word is not None and word.operators and not operator:
        raise OperatorsOnly(
            f"{words[0]} is a command of the bank's operators: start the teller with --operator"
        )
    hint = f"{INVALID}: its form is {word.form}" if word is not None and word.takes_arguments else INVALID
    if _amount_comes_first(words):
        raise InvalidCommand(hint)
    intent = (
        _money(words, account, request_id)
        or _end_of_hold(words)
        or _reading(words, account, request_id)
        or _other(words, request_id)
    )
    if intent is None:
        raise InvalidCommand(hint)
    return intent


def shows_pin(line: str) -> bool:
    """Return whether the line may hold a PIN, which it should not: it must not be shown or kept.

    What was pasted may be several lines in one.
    """
    return any(_show_pin(_words(part)) for part in line.splitlines())


def _words(line: str) -> list[str]:
    return _BLANKS.split(line.strip(" \t\r\n"))


def _show_pin(words: list[str]) -> bool:
    match [words[0].lower(), *words[1:]]:
        case [word]:
            suspects = [word]
        case ["login" | "pin", *rest]:
            suspects = rest
        case ["debit", _, *rest] | ["transfer" | "hold", _, _, *rest]:
            suspects = rest
        case _:
            suspects = []
    return any(_PIN.fullmatch(suspect) for suspect in suspects)


def _amount_comes_first(words: list[str]) -> bool:
    """Return whether account and amount changed places; an account may be called by digits only, too."""
    match words:
        case ["transfer" | "writeoff" | "limit", first, second]:
            return is_amount(first) and not is_amount(second) and second != "none"
        case _:
            return False


def _money(words: list[str], account: str, request_id: str) -> Intent | None:
    match words:
        case ["credit" | "debit" as word, amount]:
            return _MOVES[word](id=request_id, account=account, amount=read_amount(amount))
        case ["transfer", target, amount]:
            if read_account(target) == account:
                raise InvalidCommand(f"Your account is {account} itself: name the one that the money goes to")
            return Transfer(id=request_id, account=account, target=target, amount=read_amount(amount))
        case ["hold", amount]:
            return Hold(id=request_id, account=account, amount=read_amount(amount), expires_ms=HOLD_MS)
        case ["hold", amount, minutes]:
            held_ms = MINUTE_MS * read_number(
                minutes, HOLD_MS_MAX // MINUTE_MS, "A hold lasts a number of minutes"
            )
            return Hold(id=request_id, account=account, amount=read_amount(amount), expires_ms=held_ms)
        case ["reverse", reference]:
            return Reverse(id=request_id, original=read_reference(reference))
        case ["reverse", reference, amount]:
            return Reverse(id=request_id, original=read_reference(reference), amount=read_amount(amount))
        case ["writeoff", name, amount]:
            return WriteOff(id=request_id, account=read_account(name), amount=read_amount(amount))
        case _:
            return None


def _end_of_hold(words: list[str]) -> Intent | None:
    match words:
        case ["confirm"]:
            return Confirm(None, None)
        case ["confirm", part] if is_amount(part):
            return Confirm(None, read_amount(part))
        case ["confirm", reference]:
            return Confirm(read_reference(reference), None)
        case ["confirm", reference, amount]:
            return Confirm(read_reference(reference), read_amount(amount))
        case ["cancel"]:
            return Cancel(None)
        case ["cancel", reference]:
            return Cancel(read_reference(reference))
        case _:
            return None


def _reading(words: list[str], account: str, request_id: str) -> Intent | None:
    match words:
        case ["query"]:
            return Query(id=request_id, account=account)
        case ["balance", "at", *moment] if moment:
            return Query(id=request_id, account=account, at_us=read_timestamp(moment))
        case ["statement" | "exceptions" as word, *page]:
            limit, before = read_page(word, page)
            if word == "exceptions":
                return Exceptions(id=request_id, limit=limit, before=before)
            return Statement(id=request_id, account=account, limit=limit, before=before)
        case ["receipt"]:
            return ShowReceipt(None)
        case ["receipt", reference]:
            return ShowReceipt(read_reference(reference))
        case _:
            return None


def _other(words: list[str], request_id: str) -> Intent | None:
    match words:
        case [word] if word in _ALONE:
            return _ALONE[word]
        case ["open" | "freeze" | "unfreeze" | "unlock" | "close" as word, name]:
            return _ORDERS[word](id=request_id, account=read_account(name))
        case ["limit", name, "none"]:
            return SetLimit(id=request_id, account=read_account(name))
        case ["limit", name, amount]:
            return SetLimit(id=request_id, account=read_account(name), amount=read_amount(amount))
        case ["account", name]:
            return UseAccount(read_account(name))
        case ["login", name]:
            return LogIn(read_account(name))
        case ["help", topic] if topic in WORDS:
            return Help(topic)
        case _:
            return None
