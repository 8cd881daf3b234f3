"""What the programs for people share: a mistake is one line, and an output that closes is no fault."""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
from typing import NoReturn

USAGE = 2
CLOSED_PIPE = 141  # as a shell counts a process that SIGPIPE ended


class OneLineParser(argparse.ArgumentParser):
    """Tells a mistake in one line, in the name of the program."""

    def error(self, message: str) -> NoReturn:
        program = self.prog.split()[0]  # a subcommand's has the subcommand behind it
        complain(program, f"{message} (try: {program} --help)")
        raise SystemExit(USAGE)


def complain(program: str, line: str) -> None:
    """Tell a person, on standard error, what is wrong."""
    print(f"{program}: {printable(line)}", file=sys.stderr)


def printable(text: str) -> str:
    """Return the text with all that could move a cursor or break a line replaced."""
    return "".join(char if char.isprintable() else "?" for char in text)


def forget_stdout() -> None:
    """Point stdout at nothing, so that the interpreter's last flush does not complain as well."""
    with contextlib.suppress(OSError, ValueError, AttributeError):
        nothing = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nothing, sys.stdout.fileno())
        os.close(nothing)
