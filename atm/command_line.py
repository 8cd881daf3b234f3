"""Shared by the command-line programs: a mistake is one line, a closed output is no error."""

from __future__ import annotations

import argparse
import contextlib
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

from atm.checkout import as_typed
from atm.version import RELEASE

USAGE = 2
INTERRUPTED = 130  # as a shell counts Ctrl-C
INPUT_OUTPUT_FAILED = 74  # as sysexits.h counts it
CLOSED_PIPE = 141  # as a shell counts a process that SIGPIPE ended
UNITS = ("B", "KiB", "MiB", "GiB", "TiB", "PiB")


class OneLineParser(argparse.ArgumentParser):
    """Reports a mistake in one line that names the program."""

    def error(self, message: str) -> NoReturn:
        program, *subcommand = self.prog.split()
        typed = " ".join([as_typed(program), *subcommand, "--help"])
        complain(program, f"{message} (try: {typed})")
        raise SystemExit(USAGE)


def program_name(usual: str) -> str:
    """Return the name by which this program was called: that of an installed command, else the usual one.

    The commands in bin/ start a module, whose file's name says nothing to people.
    """
    called = Path(sys.argv[0]).name
    return called if called == "atm" or called.startswith("atm-") else usual


def interruptible(main: Callable[[], int]) -> int:
    """Run a program; from its first line to its exit code, Ctrl-C is a `KeyboardInterrupt`, and the code 130.

    While it was loaded, the signal itself ended it (`atm.programs`, bin/start.py).
    """
    try:
        if signal.getsignal(signal.SIGINT) is signal.SIG_DFL:
            signal.signal(signal.SIGINT, signal.default_int_handler)
        code = main()
        signal.signal(signal.SIGINT, signal.SIG_IGN)
    except KeyboardInterrupt:
        code = INTERRUPTED
    return code


def add_version(parser: argparse.ArgumentParser) -> None:
    """Let the program print its release with `--version`, and nothing else."""
    parser.add_argument(
        "--version", action="version", version=f"atm-raft {RELEASE}", help="print the release and leave"
    )


def add_config(parser: argparse.ArgumentParser, default: object = None) -> None:
    """Let the program take another cluster than that of `atm.config.default_config`."""
    parser.add_argument(
        "--config",
        type=Path,
        default=default,
        metavar="FILE",
        help="the cluster's file (default: $ATM_CONFIG, else cluster.ini in this folder, else that of the "
        "project's checkout)",
    )


def add_certificate(parser: argparse.ArgumentParser, default: object = None) -> None:
    """Let the program take another certificate than that of cluster.ini."""
    for option, what in (("--cert", "your certificate"), ("--key", "its key")):
        parser.add_argument(
            option,
            type=Path,
            default=default,
            metavar="FILE",
            help=f"{what}, for a bank with [tls] (default: that of cluster.ini)",
        )


def complain(program: str, line: str) -> None:
    """Print an error for people to stderr, in one piece, whoever else writes there."""
    print(f"{program}: {printable(line)}\n", end="", file=sys.stderr, flush=True)


def printable(text: str) -> str:
    """Return the text with everything replaced that could move a cursor or break a line."""
    return "".join(char if char.isprintable() else "?" for char in text)


def counted(number: int, what: str) -> str:
    """Return a number and what it counts, such as "1 request" and "2,000 requests"."""
    return f"{number:,} {what}{'' if number == 1 else 's'}"


def size(size_bytes: int | None) -> str | None:
    """Return bytes for people: 3 digits and a unit."""
    if size_bytes is None:
        return None
    number, power = float(size_bytes), 0
    while number >= 1000 and power < len(UNITS) - 1:
        number, power = number / 1024, power + 1
    digits = 0 if number >= 100 or power == 0 else 1
    return f"{number:.{digits}f} {UNITS[power]}"


def flush_stdout() -> None:
    """Write what was printed; raise `OSError`. Without a standard output nothing was."""
    if sys.stdout is not None:
        sys.stdout.flush()


def told_of(error: OSError) -> tuple[str, int]:
    """Return a line for people and the exit code: of a file that cannot be used, else of stdin or stdout."""
    reason = error.strerror or error
    if error.filename is not None:
        return f"{error.filename}: {reason}", USAGE
    forget_stdout()
    return f"reading input or writing output failed: {reason}", INPUT_OUTPUT_FAILED


def forget_stdout() -> None:
    """Redirect stdout to nothing, so that the interpreter's last flush raises no further error."""
    with contextlib.suppress(OSError, ValueError, AttributeError):
        nothing = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nothing, sys.stdout.fileno())
        os.close(nothing)
