"""The teller's output: to a terminal of some width, with or without colour, or to a program."""

from __future__ import annotations

import os
import shutil
import sys
import textwrap
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import TextIO

from atm.client.errors import OutcomeUnknown
from atm.command_line import printable
from atm.teller import pager
from atm.teller.progress import Progress
from atm.teller.report import DONE, UNKNOWN, Report
from atm.timestamps import is_utc_here

USUAL_COLUMNS = 80

_RED, _YELLOW, _DIM, _PLAIN = "\x1b[31m", "\x1b[33m", "\x1b[2m", "\x1b[0m"


def has_colour(environment: Mapping[str, str]) -> bool:
    """Return whether a terminal with this environment gets colour (no-color.org)."""
    return not environment.get("NO_COLOR") and environment.get("TERM", "dumb") != "dumb"


class Output:
    """Prints, flushed: results to stdout, notes between them to `notes`, warnings to stderr."""

    def __init__(
        self,
        *,
        as_json: bool,
        notes: TextIO | None,
        on_terminal: bool = False,
        as_csv: bool = False,
        pager_command: Sequence[str] = (),
    ) -> None:
        """`pager_command` shows what is longer than the screen; without one it is printed."""
        self._as_json = as_json
        self._as_csv = as_csv
        self._pager_command = pager_command
        self._notes = notes
        self._on_terminal = on_terminal and not as_json
        self._coloured = self._on_terminal and has_colour(os.environ)
        self._retrying: set[str] = set()
        self._progress = None
        if self._on_terminal:
            self._progress = Progress(sys.stdout, erases=os.environ.get("TERM", "dumb") != "dumb")

    @property
    def columns(self) -> int | None:
        """The terminal's width now; None if this is no terminal, and lines may have any length."""
        return shutil.get_terminal_size().columns if self._on_terminal else None

    @property
    def shows_local(self) -> bool:
        """Whether local times stand beside those in UTC: on a terminal, where the two differ."""
        return self._on_terminal and not is_utc_here()

    def report(self, report: Report) -> None:
        """Print the result of a command."""
        if self._as_csv and report.csv is not None:
            self._write(report.csv, sys.stdout)
            return
        text = report.as_json() if self._as_json else report.text
        if not report.is_table:
            text = _between_words(text, self.columns)
        text = _painted(text, report.code) if self._coloured else text
        if not (self._is_paged(text) and pager.show(text, self._pager_command)):
            self._write(text, self._notes if self._as_csv else sys.stdout)

    def _is_paged(self, text: str) -> bool:
        return bool(self._pager_command) and pager.is_longer_than_screen(text)

    def say(self, line: str) -> None:
        """Print a line that is no command's result."""
        self._write(_between_words(line, self.columns), self._notes)

    def retrying(self, request_id: str) -> None:
        """Print, once per request, that its outcome is unknown so far."""
        if request_id not in self._retrying:
            self._retrying.add(request_id)
            self.say(f"{OutcomeUnknown(request_id)}: retrying")

    def warn(self, line: str) -> None:
        """Print a problem on this side."""
        self._write(printable(line), sys.stderr)

    def waiting(self) -> AbstractContextManager[None]:
        """Within the block, show on a terminal that the bank is waited for, if that takes long."""
        return nullcontext() if self._progress is None else self._progress.waiting()

    def _write(self, text: str, stream: TextIO | None) -> None:
        if self._progress is None:
            print(text, file=stream, flush=True)
        else:
            self._progress.write(text, stream)


def _between_words(text: str, columns: int | None) -> str:
    """Return the text wrapped between words for a narrow terminal, which would break within them.

    On other terminals each line is as documented, to the letter.
    """
    if columns is None or columns >= USUAL_COLUMNS:
        return text
    lines = (textwrap.wrap(line, columns, break_on_hyphens=False) or [""] for line in text.split("\n"))
    return "\n".join(line for broken in lines for line in broken)


def _painted(text: str, code: int) -> str:
    """Return the text coloured if the command was not done, and with its reference dimmed."""
    if code != DONE:
        return f"{_YELLOW if code == UNKNOWN else _RED}{text}{_PLAIN}"
    first, separator, reference = text.partition("\nReference ")
    return f"{first}\n{_DIM}Reference {reference}{_PLAIN}" if separator else text
