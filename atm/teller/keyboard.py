"""Input from a terminal: line editing, history, completion, PINs without echo, and the idle time."""

from __future__ import annotations

import asyncio
import contextlib
import getpass
import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from prompt_toolkit import PromptSession
from prompt_toolkit.completion import CompleteEvent, Completer, Completion
from prompt_toolkit.formatted_text import FormattedText
from prompt_toolkit.history import FileHistory, History, InMemoryHistory
from prompt_toolkit.input.typeahead import clear_typeahead
from prompt_toolkit.output.defaults import create_output

from atm.ledger.commands import MAIN
from atm.teller.completion import accounts_in, candidates, takes_arguments
from atm.teller.echo import drop_typed_ahead, echo_on
from atm.teller.language import LINE_CHARS_MAX, asks_for_pin, shows_pin
from atm.teller.session_state import SessionState

if TYPE_CHECKING:
    from prompt_toolkit.buffer import Buffer
    from prompt_toolkit.document import Document

HISTORY_FILE = "history"


def prompt_for(account: str) -> str:
    """Return the prompt, which says whose account it is, unless it is the usual one."""
    return "Enter command: " if account == MAIN else f"Enter command ({account}): "


class IdleTimeout(Exception):
    """Nothing was typed for the idle time."""


class Keyboard:
    """Reads commands with line editing, history and completion.

    Ctrl-C clears the line; Ctrl-D ends the input. The history is kept in `state_folder`, if given. After
    `idle_s` seconds without a key `when_idle` is called, if `logged_in` says so, and what was typed stays.
    `account` says whose account it is.
    """

    def __init__(
        self,
        state_folder: Path | None,
        state: SessionState,
        *,
        operator: bool,
        idle_s: float,
        account: Callable[[], str],
        logged_in: Callable[[], bool],
        when_idle: Callable[[], None],
    ) -> None:
        # Without this the library warns about terminals that do not report the cursor's position.
        os.environ.setdefault("PROMPT_TOOLKIT_NO_CPR", "1")
        self._idle_s = idle_s
        self._account = account
        self._logged_in = logged_in
        self._when_idle = when_idle
        self._last_key_s = 0.0
        history: History = _ShortHistory()
        if state_folder is not None and _make_private(state_folder / HISTORY_FILE):
            history = _PrivateHistory(str(state_folder / HISTORY_FILE))
            state.accounts |= accounts_in(history.load_history_strings())
        self._session: PromptSession[str] = PromptSession(
            history=history,
            completer=_Words(state, operator=operator),
            complete_while_typing=False,
            enable_suspend=True,
            output=create_output(sys.stdout),
        )
        self._session.default_buffer.on_text_changed += _clip
        self._session.default_buffer.on_text_changed += self._note_key

    def lines(self) -> Iterator[str]:
        """Yield each line."""
        typed = ""
        while True:
            try:
                # With a colour (the default one) the library writes the prompt's last blank as a blank.
                prompt = FormattedText([("fg:ansidefault", prompt_for(self._account()))])
                line = self._session.prompt(prompt, default=typed, pre_run=self._watch)
                typed = ""
            except KeyboardInterrupt:
                typed = ""
                continue
            except IdleTimeout:
                typed = self._session.default_buffer.text
                self._when_idle()
                continue
            except EOFError:
                return
            yield line
            if asks_for_pin(line) and not self._logged_in():
                self._forget_typed_ahead()

    def _forget_typed_ahead(self) -> None:
        """Forget it after a login that failed: it may be the PIN, and the next prompt would show it."""
        drop_typed_ahead()
        clear_typeahead(self._session.input)

    def _note_key(self, _: Buffer) -> None:
        self._last_key_s = time.monotonic()

    def _watch(self) -> None:
        self._last_key_s = time.monotonic()
        if self._logged_in():
            self._session.app.create_background_task(self._leave_when_idle())

    async def _leave_when_idle(self) -> None:
        while (left_s := self._last_key_s + self._idle_s - time.monotonic()) > 0:
            await asyncio.sleep(left_s)
        self._session.app.exit(exception=IdleTimeout())


class _Words(Completer):
    def __init__(self, state: SessionState, *, operator: bool) -> None:
        self._state = state
        self._operator = operator

    def get_completions(self, document: Document, complete_event: CompleteEvent) -> Iterable[Completion]:
        """Offer what starts with the word before the cursor."""
        *before, begun = document.text_before_cursor.lstrip().split(" ")
        offered = candidates(
            [word for word in before if word],
            accounts=self._state.accounts,
            references_for=self._state.references_for,
            operator=self._operator,
        )
        return [
            Completion(word + " " * (not before and takes_arguments(word)), -len(begun), display=word)
            for word in offered
            if word.startswith(begun)
        ]


class _ShortHistory(InMemoryHistory):
    """A history without lines that are too long or may show a PIN."""

    def append_string(self, string: str) -> None:
        if _is_kept(string):
            super().append_string(string)


class _PrivateHistory(FileHistory):
    """Likewise in a file; on a full disk it forgets, and raises nothing."""

    def append_string(self, string: str) -> None:
        if _is_kept(string):
            super().append_string(string)

    def store_string(self, string: str) -> None:
        with contextlib.suppress(OSError):
            super().store_string(string)


def ask_pin(prompt: str) -> str | None:
    """Ask for a PIN at the terminal: shows stars, keeps nothing; None if it ends with Ctrl-D."""
    session: PromptSession[str] = PromptSession(
        is_password=True, history=InMemoryHistory(), output=create_output(always_prefer_tty=True)
    )
    try:
        return session.prompt([("fg:ansidefault", prompt)])
    except EOFError:
        return None


def ask(question: str, *, plainly: bool) -> str:
    """Ask a question at the terminal, `plainly` if it cannot move its cursor; nothing on Ctrl-C or Ctrl-D."""
    try:
        if plainly:
            with echo_on():
                return input(question)
        session: PromptSession[str] = PromptSession(
            history=InMemoryHistory(), output=create_output(sys.stdout)
        )
        return session.prompt([("fg:ansidefault", question)])
    except (EOFError, KeyboardInterrupt):
        return ""


def plain_lines(account: Callable[[], str]) -> Iterator[str]:
    """Yield each line typed at a terminal that cannot move its cursor."""
    while True:
        try:
            with echo_on():
                line = input(prompt_for(account()))
            yield line
            if asks_for_pin(line):
                drop_typed_ahead()
        except KeyboardInterrupt:
            print()
        except EOFError:
            return


def ask_pin_plainly(prompt: str) -> str | None:
    """Ask for a PIN at a terminal that cannot move its cursor; shows nothing."""
    try:
        return getpass.getpass(prompt)
    except EOFError:
        return None


def _is_kept(line: str) -> bool:
    return len(line) <= LINE_CHARS_MAX and not shows_pin(line)


def _clip(buffer: Buffer) -> None:
    """Cut a line that is too long to a length that the parser still refuses: redrawing takes time."""
    if len(buffer.text) > LINE_CHARS_MAX + 1:
        buffer.text = buffer.text[: LINE_CHARS_MAX + 1]


def _make_private(path: Path) -> bool:
    """Make the file for this user only; return whether it can be written."""
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NONBLOCK, 0o600)
        with contextlib.closing(os.fdopen(descriptor, "ab")):
            os.fchmod(descriptor, 0o600)
    except OSError:
        return False
    return path.is_file()
