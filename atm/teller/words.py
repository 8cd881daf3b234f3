"""The teller's words: the form of each command, and what it does, in the order of `help`."""

from __future__ import annotations

import textwrap
from dataclasses import dataclass

EXPLANATION_COLUMNS_MIN = 30  # beside the forms; on a narrower terminal they go below


@dataclass(frozen=True)
class Word:
    """A command's form, what it does, what else there is to know, and whether only operators have it."""

    form: str
    does: str
    besides: str = ""
    operators: bool = False

    @property
    def takes_arguments(self) -> bool:
        """Whether anything may follow the word itself."""
        return " " in self.form


_LAST = "Without a reference it is the last hold of this session."
_ALL = (
    Word("query", "shows the current balance of your account"),
    Word("credit <amount>", "pays in an amount, such as 50 or 12.50"),
    Word("debit <amount>", "pays out an amount, such as 50 or 12.50"),
    Word("transfer <account> <amount>", "moves an amount to another account"),
    Word("statement [<n>] [before <posting>]", "lists the latest postings, 10 unless told"),
    Word("more", "lists what comes before the last page"),
    Word(
        "balance at <date> [<time>]",
        "shows the balance then, times in UTC",
        "Such as: balance at 2026-11-22, at the end of that day; or 2026-11-22 10:00, or 10:00:59.",
    ),
    Word("hold <amount> [<minutes>]", "reserves an amount, 5 minutes unless told"),
    Word(
        "confirm [<reference>] [<amount>]",
        "pays out the last or named hold, or a part",
        f"{_LAST} With an amount the rest is released.",
    ),
    Word("cancel [<reference>]", "releases the last or named hold", _LAST),
    Word("reverse <reference> [<amount>]", "takes back what was done, or a part, once"),
    Word("receipt [<reference>]", "shows the last or named receipt again"),
    Word("open <account>", "opens another account, with a balance of 0"),
    Word("account <account>", "goes on with another account"),
    Word(
        "login [<account>]",
        "asks for the PIN and uses the account",
        "The PIN is never part of the command. Three wrong ones in a row lock the account.",
    ),
    Word("logout", "forgets the PIN, as an idle session does"),
    Word(
        "pin",
        "sets or changes your PIN; asks for it",
        "A PIN is 4 to 12 digits; the old one is asked for too, if there is one.",
    ),
    Word("status", "shows how the bank's servers are doing"),
    Word("help [<command>]", "shows this list, or explains one command"),
    Word("quit", "leaves, as do exit and the end of input"),
    Word("freeze <account>", "lets nothing into or out of an account", operators=True),
    Word("unfreeze <account>", "undoes freeze", operators=True),
    Word("unlock <account>", "takes PINs again, after three wrong ones", operators=True),
    Word("limit <account> <amount>|none", "limits withdrawals in a day (UTC)", operators=True),
    Word(
        "writeoff <account> <amount>",
        "pays an account at the bank's loss",
        "With cash as the account: for cash that is missing.",
        operators=True,
    ),
    Word("close <account>", "closes an empty account for ever", operators=True),
    Word("exceptions [<n>] [before <posting>]", "lists what a person should look at", operators=True),
)
WORDS = {word.form.split()[0]: word for word in _ALL}
_TYPED = {  # where the bank has another word for it
    "post": "confirm",
    "void": "cancel",
    "write_off": "writeoff",
    "set_limit": "limit",
    "set_pin": "pin",
    "lookup": "receipt",
    "written_off": "written off",
    "tombstone": "nothing: it was reversed before it came",
}
AVAILABLE = "Available commands are: query, credit <amount>, debit <amount>, and more: help"


def words_of(*, operator: bool) -> dict[str, Word]:
    """Return the commands that this person has."""
    return {name: word for name, word in WORDS.items() if operator or not word.operators}


def typed(op: str) -> str:
    """Return people's word for one of the bank's."""
    return _TYPED.get(op, op)


def help_text(topic: str | None, *, operator: bool, columns: int | None) -> str:
    """Explain one command, or list all that this person has, as wide as fits in `columns`."""
    if topic is not None:
        word = WORDS[topic]
        whose = " (operators only)" if word.operators else ""
        return f"{word.form}: {word.does}{whose}" + (f"\n{word.besides}" if word.besides else "")
    words = words_of(operator=operator).values()
    form_columns = max(len(word.form) for word in words)
    return "\n".join(_help_line(word, form_columns, columns) for word in words)


def _help_line(word: Word, form_columns: int, columns: int | None) -> str:
    beside = f"{word.form:{form_columns}}  "
    if columns is None:
        return beside + word.does
    if columns < form_columns + EXPLANATION_COLUMNS_MIN:
        below = textwrap.fill(word.does, columns, initial_indent="  ", subsequent_indent="  ")
        return f"{word.form}\n{below}"
    return textwrap.fill(word.does, columns, initial_indent=beside, subsequent_indent=" " * len(beside))
