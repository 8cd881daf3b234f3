"""The form of a command, such as `hold <amount> [<minutes>]`: read by the parser, the help and the Tab key.

A word stands for itself, in any case, `<name>` for an argument, `a|b` for one of the two; what is in brackets
is optional. A word that stands for itself is among the arguments, too, if it was said.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from msgspec import Struct

_PART = re.compile(r"\[[^\]]*\]|[^ \[\]]+")


class Part(Struct, frozen=True):
    """Words of a form that belong together; each is one of several alternatives."""

    words: tuple[tuple[str, ...], ...]
    is_optional: bool


class Form(Struct, frozen=True):
    """What may follow a command."""

    parts: tuple[Part, ...]

    @classmethod
    def of(cls, text: str) -> Form:
        """Read a form; its first word is the command itself."""
        _, *texts = _PART.findall(text)
        return cls(tuple(_part(part) for part in texts))

    @property
    def words_max(self) -> int:
        """How many words may follow."""
        return sum(len(part.words) for part in self.parts)

    def matches(self, words: Sequence[str]) -> list[dict[str, str]]:
        """Return each way to read the words, as arguments by name; their values are not checked.

        A word that may be left out by itself, such as `[more]`, stands under its own name if it was said.
        """
        return list(_matches(self.parts, words))

    def following(self, words: Sequence[str]) -> list[str]:
        """Return what may come behind the words: words, and `<name>` for arguments."""
        return list(dict.fromkeys(_following(self.parts, words)))


def _part(text: str) -> Part:
    words = tuple(tuple(word.split("|")) for word in text.strip("[]").split(" "))
    return Part(words, is_optional=text.startswith("["))


def _matches(parts: Sequence[Part], words: Sequence[str]) -> Iterator[dict[str, str]]:
    if not parts:
        if not words:
            yield {}
        return
    part, *others = parts
    taken = _taken(part, words)
    if taken is not None:
        for arguments in _matches(others, words[len(part.words) :]):
            yield taken | arguments
    if part.is_optional:
        yield from _matches(others, words)


def _following(parts: Sequence[Part], words: Sequence[str]) -> Iterator[str]:
    if not parts:
        return
    part, *others = parts
    if len(words) < len(part.words):
        if _begins(part, words):
            yield from part.words[len(words)]
    elif _taken(part, words) is not None:
        yield from _following(others, words[len(part.words) :])
    if part.is_optional:
        yield from _following(others, words)


def _taken(part: Part, words: Sequence[str]) -> dict[str, str] | None:
    """Return the arguments in the first words, or None if these are not the part."""
    if len(words) < len(part.words) or not _begins(part, words):
        return None
    if part.is_optional and part.words == ((words[0].lower(),),):
        return {words[0].lower(): words[0]}
    return {
        alternative.strip("<>"): word
        for alternatives, word in zip(part.words, words, strict=False)
        if not _is_said(alternatives, word)
        for alternative in alternatives
        if alternative.startswith("<")
    } | {
        word.lower(): word
        for alternatives, word in zip(part.words, words, strict=False)
        if _is_said(alternatives, word)
    }


def _begins(part: Part, words: Sequence[str]) -> bool:
    """Return whether the words can be the part's, as far as both go."""
    return all(
        _is_said(alternatives, word) or any(alternative.startswith("<") for alternative in alternatives)
        for alternatives, word in zip(part.words, words, strict=False)
    )


def _is_said(alternatives: Sequence[str], word: str) -> bool:
    """Return whether the word is one that stands for itself; an argument may read `<amount>`, too."""
    return not word.startswith("<") and word.lower() in alternatives
