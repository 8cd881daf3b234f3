"""What people may type at the teller, and the help that tells them."""

from __future__ import annotations

import re
from dataclasses import dataclass

from atm.client.errors import InvalidAccount
from atm.client.request_rules import check_account
from atm.ledger.commands import Credit, Debit, Open, Query
from atm.money import AmountError, parse_amount

LINE_CHARS_MAX = 1000  # the longest sensible command has less than 100

USAGES = {
    "query": "query",
    "credit": "credit <amount>",
    "debit": "debit <amount>",
    "open": "open <account>",
    "account": "account <account>",
    "status": "status",
    "help": "help",
    "quit": "quit",
}
EXPLANATIONS = {
    "query": "shows the current balance of your account",
    "credit": "pays an amount, such as 50 or 12.50, into your account",
    "debit": "pays an amount, such as 50 or 12.50, out of your account",
    "open": "opens another account, with a balance of 0",
    "account": "goes on with another account",
    "status": "shows how each of the bank's servers is doing",
    "help": "shows this list; help <command> explains one command",
    "quit": "leaves, as do exit and the end of input",
}
AVAILABLE = "Available commands are: " + ", ".join(USAGES.values())
INVALID = "Invalid command"

_BLANKS = re.compile(r"[ \t]+")  # str.split would take the blanks of every script, and control characters


class InvalidCommand(Exception):
    """The line is no command; `str()` of it is a line for people."""


@dataclass(frozen=True)
class UseAccount:
    """Go on with another account."""

    account: str


@dataclass(frozen=True)
class ShowStatus:
    """Show how the servers are doing."""


@dataclass(frozen=True)
class Help:
    """Explain one command, or list all."""

    topic: str | None


@dataclass(frozen=True)
class Quit:
    """Leave."""


_ALONE: dict[str, ShowStatus | Help | Quit] = {
    "status": ShowStatus(),
    "help": Help(None),
    "quit": Quit(),
    "exit": Quit(),
}
_MOVES: dict[str, type[Credit | Debit]] = {"credit": Credit, "debit": Debit}

Wish = Open | Credit | Debit | Query | UseAccount | ShowStatus | Help | Quit


def parse(line: str, *, account: str, request_id: str) -> Wish | None:
    """Return what a line asks for, or None if it is blank; raise `InvalidCommand`.

    Requests to the bank are about `account` and carry `request_id`.
    """
    if len(line) > LINE_CHARS_MAX:
        raise InvalidCommand(f"{INVALID}: a line has at most {LINE_CHARS_MAX} characters")
    words = _BLANKS.split(line.strip(" \t\r\n"))
    match words:
        case [""]:
            return None
        case [word] if word in _ALONE:
            return _ALONE[word]
        case ["query"]:
            return Query(id=request_id, account=account)
        case ["credit" | "debit" as word, amount]:
            return _MOVES[word](id=request_id, account=account, amount=_amount(amount))
        case ["open", name]:
            return Open(id=request_id, account=_account(name))
        case ["account", name]:
            return UseAccount(_account(name))
        case ["help", topic] if topic in USAGES:
            return Help(topic)
        case _:
            raise InvalidCommand(INVALID)


def help_text(topic: str | None) -> str:
    """Return a line for one command, or a line for each."""
    if topic is not None:
        return f"{USAGES[topic]}: {EXPLANATIONS[topic]}"
    width = max(map(len, USAGES.values()))
    return "\n".join(f"{usage:{width}}  {EXPLANATIONS[name]}" for name, usage in USAGES.items())


def _amount(text: str) -> int:
    try:
        return parse_amount(text)
    except AmountError as error:
        raise InvalidCommand(str(error)) from None


def _account(name: str) -> str:
    try:
        check_account(name)
    except InvalidAccount as error:
        raise InvalidCommand(str(error)) from None
    return name
