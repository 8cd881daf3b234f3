"""Commands and PINs from a pipe or a file, not from a person at a terminal."""

from __future__ import annotations

from collections.abc import Iterator
from typing import BinaryIO

from atm.teller.language import LINE_CHARS_MAX

LINE_BYTES_MAX = 4 * LINE_CHARS_MAX + 2


def piped_lines(stream: BinaryIO) -> Iterator[str]:
    """Yield each line; one that is too long is cut to a length that the parser still refuses.

    Bytes that are not UTF-8 become U+FFFD, which no command has.
    """
    while piece := stream.readline(LINE_BYTES_MAX):
        yield piece.decode("utf-8", errors="replace")
        while len(piece) == LINE_BYTES_MAX and not piece.endswith(b"\n"):
            piece = stream.readline(LINE_BYTES_MAX)


class NumberedLines:
    """Lines, and the number of the last one that was taken; a PIN may be one of them."""

    def __init__(self, lines: Iterator[str]) -> None:
        self._lines = lines
        self.number = 0

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        line = next(self._lines)
        self.number += 1
        return line


class PipedPins:
    """PINs from a pipe: each is its next line."""

    def __init__(self, lines: Iterator[str]) -> None:
        self._lines = lines

    def __call__(self, prompt: str) -> str | None:
        """Return the next line, or None if there is none; `prompt` is for people."""
        line = next(self._lines, None)
        return None if line is None else line.strip(" \t\r\n")
