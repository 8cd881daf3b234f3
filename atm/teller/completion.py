"""What the Tab key offers, given what was typed before it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from atm.teller.words import WORDS, words_of

_TAKE_REFERENCE = frozenset({"confirm", "cancel", "reverse", "receipt"})


def candidates(
    typed: Sequence[str], *, accounts: Iterable[str], references: Sequence[str], operator: bool
) -> list[str]:
    """Return what may stand behind the words `typed`: commands, then names or the latest references first."""
    match typed:
        case []:
            return [*words_of(operator=operator), "exit"]
        case ["help"]:
            return list(words_of(operator=operator))
        case ["balance"]:
            return ["at"]
        case [word] if word in WORDS and takes_account(word):
            return sorted(accounts)
        case [word] if word in _TAKE_REFERENCE:
            return list(reversed(references))
        case _:
            return []


def takes_arguments(word: str) -> bool:
    """Return whether something may follow the command."""
    return word in WORDS and WORDS[word].takes_arguments


def takes_account(word: str) -> bool:
    """Return whether the command's first argument is an account."""
    return "account>" in WORDS[word].form.partition(" ")[2].partition(" ")[0]


def accounts_in(lines: Iterable[str]) -> set[str]:
    """Return the accounts that these commands of earlier sessions named."""
    split = (line.split() for line in lines)
    return {words[1] for words in split if len(words) > 1 and words[0] in WORDS and takes_account(words[0])}
