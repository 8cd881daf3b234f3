"""What people may type at the teller, line by line, and what each line asks for."""

from __future__ import annotations

import re

from atm.teller.arguments import INVALID, READERS, InvalidCommand, form_hint, is_amount
from atm.teller.commands import ALIASES, COMMANDS
from atm.teller.intents import Intent
from atm.teller.teller_command import Given

LINE_CHARS_MAX = 1000  # the longest sensible command has less than 200
PIN_SHOWN = "A PIN is never part of a command: it is asked for, unseen (type: help login)"

_BLANKS = re.compile(r"[ \t]+")  # str.split would take the blanks of every script, and control characters
_PIN = re.compile(r"[0-9]{4,12}")


class OperatorsOnly(InvalidCommand):
    """The line is a command of the bank's operators."""


def parse(line: str, *, account: str, request_id: str, operator: bool = False) -> Intent | None:
    """Return what a line asks for, or None if it is blank or begins with `#`; raise `InvalidCommand`.

    Requests to the bank are about `account` and carry `request_id`.
    """
    if len(line) > LINE_CHARS_MAX:
        raise InvalidCommand(f"{INVALID}: a line has at most {LINE_CHARS_MAX} characters")
    name, *words = _words(line)
    if name.startswith("#") or (name == "" and not words):
        return None
    if shows_pin(line):
        raise InvalidCommand(PIN_SHOWN)
    command = COMMANDS.get(ALIASES.get(name, name))
    if command is None:
        raise InvalidCommand(INVALID)
    if command.for_operators and not operator:
        raise OperatorsOnly(f"{name} is a command of the bank's operators: start the teller with --operator")
    matches = command.grammar.matches(words)
    if not matches or _changed_places(matches[0]):
        raise InvalidCommand(form_hint(command.form) if command.grammar.parts else INVALID)
    # Of `[<reference>] [<amount>]` an amount alone is the second.
    arguments = max(matches, key=lambda match: is_amount(match.get("amount", "")))
    read = {argument: READERS[argument](word) for argument, word in arguments.items()}
    return command.read(Given(account, request_id, read))


def shows_pin(line: str) -> bool:
    """Return whether the line may hold a PIN, which it should not: it must not be shown or kept.

    What was pasted may be several lines in one.
    """
    return any(_show_pin(_words(part)) for part in line.splitlines())


def _words(line: str) -> list[str]:
    return _BLANKS.split(line.strip(" \t\r\n"))


def _show_pin(words: list[str]) -> bool:
    """Return whether a PIN may stand alone, or behind a command that asks for one, where nothing belongs."""
    name, *others = words[0].lower(), *words[1:]
    command = COMMANDS.get(name)
    if not others:
        suspects = [name]
    elif name == "login":  # rather a PIN than an account that is called so
        suspects = others
    elif command is not None and command.takes_pin:
        suspects = others[command.grammar.words_max :]
    else:
        suspects = []
    return any(_PIN.fullmatch(suspect) for suspect in suspects)


def _changed_places(arguments: dict[str, str]) -> bool:
    """Return whether account and amount changed places; an account may be called by digits only, too."""
    account, amount = arguments.get("account"), arguments.get("amount")
    return account is not None and amount is not None and is_amount(account) and not is_amount(amount)
