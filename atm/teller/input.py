"""Where the teller's commands come from: a terminal, or a pipe."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from atm.teller.language import LINE_CHARS_MAX, USAGES

if TYPE_CHECKING:
    from prompt_toolkit.buffer import Buffer

PROMPT = "Enter command: "
LINE_BYTES_MAX = 4 * LINE_CHARS_MAX + 2
HISTORY_FILE = "history"


def piped_lines(stream: BinaryIO) -> Iterator[str]:
    """Yield each line; of one that is too long only so much that it is seen to be.

    Bytes that are not UTF-8 become U+FFFD, which no command has.
    """
    while piece := stream.readline(LINE_BYTES_MAX):
        yield piece.decode("utf-8", errors="replace")
        while len(piece) == LINE_BYTES_MAX and not piece.endswith(b"\n"):
            piece = stream.readline(LINE_BYTES_MAX)


def terminal_lines(state_folder: Path | None) -> Iterator[str]:
    """Yield each line a person types, with line editing, history and completion.

    Ctrl-C clears the line; Ctrl-D ends the input. The history is kept in `state_folder`, if given.
    """
    # Imported here because it takes longer than all the rest of a `-c` command.
    from prompt_toolkit import PromptSession  # noqa: PLC0415
    from prompt_toolkit.completion import NestedCompleter  # noqa: PLC0415
    from prompt_toolkit.history import FileHistory, History, InMemoryHistory  # noqa: PLC0415
    from prompt_toolkit.output.defaults import create_output  # noqa: PLC0415

    class PrivateHistory(FileHistory):
        """A history that is not worth an error: a full disk only makes it forget."""

        def store_string(self, string: str) -> None:
            if len(string) <= LINE_CHARS_MAX:
                with contextlib.suppress(OSError):
                    super().store_string(string)

    history: History = InMemoryHistory()
    if state_folder is not None and _make_private(state_folder / HISTORY_FILE):
        history = PrivateHistory(str(state_folder / HISTORY_FILE))
    commands = dict.fromkeys([*USAGES, "exit"])
    # Not every terminal answers when asked for its cursor's position, and the library says so in a line.
    os.environ.setdefault("PROMPT_TOOLKIT_NO_CPR", "1")
    session: PromptSession[str] = PromptSession(
        history=history,
        completer=NestedCompleter.from_nested_dict({**commands, "help": dict.fromkeys(USAGES)}),
        complete_while_typing=False,
        output=create_output(sys.stdout),
    )
    session.default_buffer.on_text_changed += _clip
    while True:
        try:
            # A colour, if only the terminal's own, has the blank at the prompt's end written as a blank.
            yield session.prompt([("fg:ansidefault", PROMPT)])
        except KeyboardInterrupt:
            continue
        except EOFError:
            return


def _clip(buffer: Buffer) -> None:
    """Keep of a line that is too long only so much that it is seen to be: redrawing it takes its length."""
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
