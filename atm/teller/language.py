"""What people may type at the teller, line by line, and what each line asks for."""

from __future__ import annotations

import re

import msgspec

from atm.client.client import HOLD_MS
from atm.client.errors import InvalidAccount
from atm.client.request_rules import check_account
from atm.ledger.commands import (
    HOLD_MS_MAX,
    PAGE_LINES_MAX,
    Close,
    Credit,
    Debit,
    Exceptions,
    Freeze,
    Hold,
    Open,
    Query,
    RequestId,
    Reverse,
    SetLimit,
    Statement,
    Transfer,
    Unfreeze,
    Unlock,
    WriteOff,
)
from atm.money import AmountError, parse_amount
from atm.teller.moments import MomentError, parse_moment
from atm.teller.wishes import (
    Cancel,
    ChangePin,
    Confirm,
    Help,
    LogIn,
    LogOut,
    More,
    Own,
    Quit,
    ShowReceipt,
    ShowStatus,
    UseAccount,
    Wish,
)
from atm.teller.words import WORDS

LINE_CHARS_MAX = 1000  # the longest sensible command has less than 200
PAGE_LINES = 10
POSTING_MAX = 2**63 - 1
MINUTE_MS = 60_000
INVALID = "Invalid command"
PIN_SHOWN = "A PIN is never part of a command: it is asked for, unseen (type: help login)"
REFERENCE_RULE = "A reference is what the teller printed as one, without spaces, such as 1M81TYHJ6Q912PEARJX5"

_BLANKS = re.compile(r"[ \t]+")  # str.split would take the blanks of every script, and control characters
_PIN = re.compile(r"[0-9]{4,12}")
_NUMBER = re.compile(r"[0-9]{1,19}")


class InvalidCommand(Exception):
    """The line is no command; `str()` of it is a line for people."""


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


def parse(line: str, *, account: str, request_id: str, operator: bool = False) -> Wish | None:
    """Return what a line asks for, or None if it is blank or begins with `#`; raise `InvalidCommand`.

    Requests to the bank are about `account` and carry `request_id`.
    """
    if len(line) > LINE_CHARS_MAX:
        raise InvalidCommand(f"{INVALID}: a line has at most {LINE_CHARS_MAX} characters")
    words = _words(line)
    if words == [""] or words[0].startswith("#"):
        return None
    if _show_pin(words):
        raise InvalidCommand(PIN_SHOWN)
    word = WORDS.get(words[0])
    if word is not None and word.operators and not operator:
        raise OperatorsOnly(
            f"{words[0]} is a command of the bank's operators: start the teller with --operator"
        )
    wish = (
        _money(words, account, request_id)
        or _end_of_hold(words)
        or _reading(words, account, request_id)
        or _other(words, request_id)
    )
    if wish is None:
        hint = f": its form is {word.form}" if word is not None and word.takes_arguments else ""
        raise InvalidCommand(INVALID + hint)
    return wish


def shows_pin(line: str) -> bool:
    """Return whether the line may hold a PIN, which it should not: it must not be shown or kept."""
    return _show_pin(_words(line))


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


def _money(words: list[str], account: str, request_id: str) -> Wish | None:
    match words:
        case ["credit" | "debit" as word, amount]:
            return _MOVES[word](id=request_id, account=account, amount=_amount(amount))
        case ["transfer", target, amount]:
            if _account(target) == account:
                raise InvalidCommand(f"Your account is {account} itself: name the one that the money goes to")
            return Transfer(id=request_id, account=account, target=target, amount=_amount(amount))
        case ["hold", amount]:
            return Hold(id=request_id, account=account, amount=_amount(amount), expires_ms=HOLD_MS)
        case ["hold", amount, minutes]:
            held_ms = MINUTE_MS * _number(
                minutes, HOLD_MS_MAX // MINUTE_MS, "A hold lasts a number of minutes"
            )
            return Hold(id=request_id, account=account, amount=_amount(amount), expires_ms=held_ms)
        case ["reverse", reference]:
            return Reverse(id=request_id, original=_reference(reference))
        case ["reverse", reference, amount]:
            return Reverse(id=request_id, original=_reference(reference), amount=_amount(amount))
        case ["writeoff", name, amount]:
            return WriteOff(id=request_id, account=_account(name), amount=_amount(amount))
        case _:
            return None


def _end_of_hold(words: list[str]) -> Wish | None:
    match words:
        case ["confirm"]:
            return Confirm(None, None)
        case ["confirm", part] if _is_amount(part):
            return Confirm(None, _amount(part))
        case ["confirm", reference]:
            return Confirm(_reference(reference), None)
        case ["confirm", reference, amount]:
            return Confirm(_reference(reference), _amount(amount))
        case ["cancel"]:
            return Cancel(None)
        case ["cancel", reference]:
            return Cancel(_reference(reference))
        case _:
            return None


def _reading(words: list[str], account: str, request_id: str) -> Wish | None:
    match words:
        case ["query"]:
            return Query(id=request_id, account=account)
        case ["balance", "at", *moment] if moment:
            return Query(id=request_id, account=account, at_us=_moment(moment))
        case ["statement" | "exceptions" as word, *page]:
            limit, before = _page(word, page)
            if word == "exceptions":
                return Exceptions(id=request_id, limit=limit, before=before)
            return Statement(id=request_id, account=account, limit=limit, before=before)
        case ["receipt"]:
            return ShowReceipt(None)
        case ["receipt", reference]:
            return ShowReceipt(_reference(reference))
        case _:
            return None


def _other(words: list[str], request_id: str) -> Wish | None:
    match words:
        case [word] if word in _ALONE:
            return _ALONE[word]
        case ["open" | "freeze" | "unfreeze" | "unlock" | "close" as word, name]:
            return _ORDERS[word](id=request_id, account=_account(name))
        case ["limit", name, "none"]:
            return SetLimit(id=request_id, account=_account(name))
        case ["limit", name, amount]:
            return SetLimit(id=request_id, account=_account(name), amount=_amount(amount))
        case ["account", name]:
            return UseAccount(_account(name))
        case ["login", name]:
            return LogIn(_account(name))
        case ["help", topic] if topic in WORDS:
            return Help(topic)
        case _:
            return None


def _page(word: str, page: list[str]) -> tuple[int, int | None]:
    match page:
        case []:
            limit, before = None, None
        case ["before", posting]:
            limit, before = None, posting
        case [count]:
            limit, before = count, None
        case [count, "before", posting]:
            limit, before = count, posting
        case _:
            raise InvalidCommand(f"{INVALID}: its form is {WORDS[word].form}")
    return (
        PAGE_LINES if limit is None else _number(limit, PAGE_LINES_MAX, "A page has a number of lines"),
        None if before is None else _number(before, POSTING_MAX, "A posting has a number"),
    )


def _amount(text: str) -> int:
    try:
        return parse_amount(text)
    except AmountError as error:
        raise InvalidCommand(str(error)) from None


def _is_amount(text: str) -> bool:
    try:
        parse_amount(text)
    except AmountError:
        return False
    return True


def _account(name: str) -> str:
    try:
        check_account(name)
    except InvalidAccount as error:
        raise InvalidCommand(str(error)) from None
    return name


def _reference(text: str) -> str:
    try:
        return msgspec.convert(text, RequestId)
    except msgspec.ValidationError:
        raise InvalidCommand(REFERENCE_RULE) from None


def _number(text: str, maximum: int, rule: str) -> int:
    if _NUMBER.fullmatch(text) and 0 < int(text) <= maximum:
        return int(text)
    raise InvalidCommand(f"{rule}, from 1 to {maximum}")


def _moment(words: list[str]) -> int:
    try:
        return parse_moment(" ".join(words))
    except MomentError as error:
        raise InvalidCommand(str(error)) from None
