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

from atm.version import RELEASE

USAGE = 2
INTERRUPTED = 130  # as a shell counts Ctrl-C
CLOSED_PIPE = 141  # as a shell counts a process that SIGPIPE ended


class OneLineParser(argparse.ArgumentParser):
    """Reports a mistake in one line that names the program."""

    def error(self, message: str) -> NoReturn:
        program = self.prog.split()[0]  # a subcommand's has the subcommand behind it
        complain(program, f"{message} (try: {program} --help)")
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
    """Print an error for people to stderr."""
    print(f"{program}: {printable(line)}", file=sys.stderr)


def printable(text: str) -> str:
    """Return the text with everything replaced that could move a cursor or break a line."""
    return "".join(char if char.isprintable() else "?" for char in text)


def forget_stdout() -> None:
    """Redirect stdout to nothing, so that the interpreter's last flush raises no further error."""
    with contextlib.suppress(OSError, ValueError, AttributeError):
        nothing = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nothing, sys.stdout.fileno())
        os.close(nothing)
