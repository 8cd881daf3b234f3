"""What the Tab key offers."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from atm.teller.commands import ALIASES, command_named, commands_for


def candidates(
    typed: Sequence[str],
    *,
    accounts: Iterable[str],
    references_for: Callable[[str], Sequence[str]],
    operator: bool,
) -> list[str]:
    """Return what may follow the words `typed`: commands, or names, or references (latest first).

    `references_for` says which references a command can be about, the latest last.
    """
    names = [command.name for command in commands_for(operator=operator)]
    if not typed:
        return [*names, *ALIASES]
    name, *words = typed
    command = command_named(name)
    if command is None:
        return []
    references = list(reversed(references_for(command.name)))
    known = {"<account>": sorted(accounts), "<reference>": references, "<command>": names}
    return [
        candidate
        for word in command.grammar.following(words)
        for candidate in known.get(word, [] if word.startswith("<") else [word])
    ]


def takes_arguments(name: str) -> bool:
    """Return whether something may follow the command."""
    command = command_named(name)
    return command is not None and command.grammar.words_max > 0


def takes_account(name: str) -> bool:
    """Return whether the command's first argument is an account."""
    command = command_named(name)
    return command is not None and "<account>" in command.grammar.following([])


def accounts_in(lines: Iterable[str]) -> set[str]:
    """Return the accounts that these commands of earlier sessions named."""
    split = (line.split() for line in lines)
    return {words[1] for words in split if len(words) > 1 and takes_account(words[0])}
