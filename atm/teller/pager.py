"""Shows what is longer than the terminal's screen in the user's pager, as `git` and `psql` do."""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import subprocess
from collections.abc import Mapping, Sequence

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

    Ctrl-C is for the pager meanwhile. `less` starts no shell and opens no file: who reads a statement at a
    teller need not be who may use its machine.
    """
    before = signal.signal(signal.SIGINT, lambda *_: None)  # not ignored, which the pager would inherit
    try:
        process = subprocess.Popen(
            pager,
            stdin=subprocess.PIPE,
            text=True,
            errors="backslashreplace",
            env={**os.environ, "LESSSECURE": "1"},
        )
    except OSError:
        return False
    else:
        process.communicate(text + "\n")  # whoever leaves early is no error
    finally:
        signal.signal(signal.SIGINT, before)
    return True
