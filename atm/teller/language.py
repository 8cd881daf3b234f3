"""The parser of lines that people type at the teller."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from atm.client.errors import InvalidRequest
from atm.client.request_rules import check_request
from atm.ledger.commands import Command, Read
from atm.teller.arguments import (
    INVALID,
    READERS,
    InvalidCommand,
    form_hint,
    is_amount,
    join_currencies,
    read_amount,
)
from atm.teller.commands import ALIASES, command_named, commands_for
from atm.teller.intents import Intent
from atm.teller.teller_command import Given, TellerCommand

NO_CURRENCIES: Mapping[str, str | None] = {}
LINE_CHARS_MAX = 1000  # the longest sensible command has less than 200
LIKENESS_MIN = 0.8  # so that no word is taken for its opposite
PIN_SHOWN = "A PIN is never part of a command: the teller asks for it (type: help login)"

_BLANKS = re.compile(r"[ \t]+")  # str.split takes other blanks and control characters too
_PIN = re.compile(r"[0-9]{4,12}")


class OperatorsOnly(InvalidCommand):
    """The line is a command of the bank's operators."""


def parse(
    line: str,
    *,
    account: str,
    request_id: str,
    operator: bool = False,
    currencies: Mapping[str, str | None] = NO_CURRENCIES,
) -> Intent | None:
    """Return what a line asks for, or None if it is blank or begins with `#`; raise `InvalidCommand`.

    Requests to the bank are about `account` and carry `request_id`. An amount without a code is in the
    currency that `currencies` has for the account, else in the bank's first.
    """
    if len(line) > LINE_CHARS_MAX:
        raise InvalidCommand(f"{INVALID}: a line has at most {LINE_CHARS_MAX} characters")
    name, *words = _words(line)
    if name.startswith("#") or (name == "" and not words):
        return None
    if shows_pin(line):
        raise InvalidCommand(PIN_SHOWN)
    command = command_named(name, alone=not words)
    if command is None:
        raise InvalidCommand(_unknown(name, operator=operator))
    if command.for_operators and not operator:
        raise OperatorsOnly(
            f"{command.name} is a command of the bank's operators: start the teller with --operator"
        )
    words, remark = _without_remark(words, command)
    if "<amount>" in command.form:
        words = join_currencies(words)
    matches = command.grammar.matches(words)
    if not matches or _are_swapped(matches[0]):
        raise InvalidCommand(form_hint(command.form) if command.grammar.parts else INVALID)
    # Of `[<reference>] [<amount>]` an amount alone is the second.
    arguments = max(matches, key=lambda match: is_amount(match.get("amount", "").partition(" ")[0]))
    about = arguments.get("account", account) if command.for_operators else account
    amount, _, code = arguments.pop("amount", "").partition(" ")
    currency = (code or currencies.get(about)) if amount else None
    read = {argument: READERS.get(argument, str)(word) for argument, word in (arguments | remark).items()}
    if amount:
        read["amount"] = read_amount(amount, currency)
    return _checked(command.read(Given(account, request_id, read, currency)))


def _checked(intent: Intent) -> Intent:
    """Return it if it can be sent: of the bank's own accounts most commands take only the older names."""
    if isinstance(intent, Command | Read):
        try:
            check_request(intent)
        except InvalidRequest as error:
            raise InvalidCommand(str(error)) from None
    return intent


def _without_remark(words: list[str], command: TellerCommand[Any]) -> tuple[list[str], dict[str, str]]:
    """Return the words before `code <code>` and `for <text>`, and what these say."""
    if not command.takes_remark:
        return words, {}
    said: dict[str, str] = {}
    needed = sum(len(part.words) for part in command.grammar.parts if not part.is_optional)
    place = next((n for n, word in enumerate(words) if n >= needed and word.lower() == "for"), None)
    if place is not None:
        words, said["text"] = words[:place], " ".join(words[place + 1 :])
    if len(words) >= needed + 2 and words[-2].lower() == "code":
        *words, _, said["code"] = words
    return words, said


def _unknown(name: str, *, operator: bool) -> str:
    """Return the line for a word that is no command; it names the one that was probably meant."""
    import difflib  # noqa: PLC0415 - only here, and a command in order need not wait for it

    names = [*(command.name for command in commands_for(operator=operator)), *ALIASES]
    likely = name.lower() if name.isalpha() else ""
    alike = difflib.get_close_matches(likely, names, n=1, cutoff=LIKENESS_MIN)
    return f"{INVALID}: did you mean {alike[0]}?" if alike else INVALID


def shows_pin(line: str) -> bool:
    """Return whether the line may hold a PIN: then it must not be shown or kept.

    Pasted text may be several lines in one.
    """
    return any(_show_pin(_words(part)) for part in line.splitlines())


def asks_for_pin(line: str) -> bool:
    """Return whether the command in the line may ask for a PIN."""
    command = command_named(_words(line)[0])
    return command is not None and command.name in {"login", "pin"}


def _words(line: str) -> list[str]:
    return _BLANKS.split(line.strip(" \t\r\n"))


def _show_pin(words: list[str]) -> bool:
    """Return whether a word may be a PIN: alone, or behind a command that asks for one."""
    name, *others = words
    command = command_named(name)
    if not others:
        suspects = [name]
    elif command is None:
        suspects = []
    elif command.name == "login":  # more likely a PIN than the name of an account
        suspects = others
    elif command.takes_pin:
        before, _ = _without_remark(others, command)
        suspects = before[command.grammar.words_max :]
    else:
        suspects = []
    return any(_PIN.fullmatch(suspect) for suspect in suspects)


def _are_swapped(arguments: dict[str, str]) -> bool:
    """Return whether account and amount are swapped; an account's name may be digits only."""
    account, amount = arguments.get("account"), arguments.get("amount")
    return (
        account is not None
        and amount is not None
        and is_amount(account)
        and not is_amount(amount.partition(" ")[0])
    )
