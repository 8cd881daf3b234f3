"""Shows what is longer than the terminal's screen in the user's pager, as `git` and `psql` do."""

from __future__ import annotations

import os
import shlex
import shutil
import signal
from collections.abc import Callable, Mapping, Sequence
from types import FrameType
from typing import TypeAlias

Handler: TypeAlias = Callable[[int, FrameType | None], object] | int | None

# Leaves what was read on the screen, and shows colours. Without `-F` it stays open at the end of the text.
USUAL = ("less", "-FRX")


def pager_of(environment: Mapping[str, str]) -> Sequence[str]:
    """Return the command of `PAGER`, else `less`; nothing if that is not there, or `PAGER` is empty.

    A `PAGER` that cannot be read as a command is none.
    """
    named = environment.get("PAGER")
    if named is None:
        return USUAL if shutil.which(USUAL[0]) else ()
    try:
        return shlex.split(named)
    except ValueError:
        return ()


def is_longer_than_screen(text: str) -> bool:
    """Return whether the text leaves no line of the screen for the next prompt."""
    return text.count("\n") + 1 >= shutil.get_terminal_size().lines


def show(text: str, pager: Sequence[str]) -> bool:
    """Show the text until its reader has left; return whether the pager could be started.

    Ctrl-C and Ctrl-Z are for the pager meanwhile; if it stops, so does this program. `less` starts no shell
    and opens no file: who reads a statement at a teller need not be who may use its machine.
    """
    import subprocess  # noqa: PLC0415 - only here, and few commands show so much
    import tempfile  # noqa: PLC0415 - as above

    # Not ignored, which the pager would inherit.
    before = {number: signal.signal(number, lambda *_: None) for number in (signal.SIGINT, signal.SIGTSTP)}
    try:
        with tempfile.TemporaryFile() as file:
            file.write(f"{text}\n".encode(errors="backslashreplace"))
            file.seek(0)
            process = subprocess.Popen(pager, stdin=file, env={**os.environ, "LESSSECURE": "1"})
        while process.returncode is None:
            _, status = os.waitpid(process.pid, os.WUNTRACED)
            if os.WIFSTOPPED(status):
                _stop_as(before[signal.SIGTSTP])
            else:
                process.returncode = os.waitstatus_to_exitcode(status)
    except OSError:
        return False
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    return True


def _stop_as(handler: Handler) -> None:
    """Stop this program as Ctrl-Z does outside of the pager, until it is continued, and the pager with it."""
    meanwhile = signal.signal(signal.SIGTSTP, handler)
    signal.raise_signal(signal.SIGTSTP)
    signal.signal(signal.SIGTSTP, meanwhile)
