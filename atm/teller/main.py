"""bin/atm, the teller: what is given on the command line, and who is told.

    atm [NODE] [--config cluster.ini] [--account NAME] [-c COMMAND]... [--json] [--timeout SECONDS]

With a terminal on both sides it is a session with line editing; with a pipe it says the lines of its
greeting and then each command's result; with `-c` only the results. Results go to stdout. So does what
happens between them (a request that is tried again, one that was settled from last time), but with `-c`
or `--json`, where stdout is for programs, that goes to stderr.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

import platformdirs

import atm
from atm.client import Client, InvalidAccount, UnknownNode
from atm.client.request_rules import check_account
from atm.config import ConfigError, load
from atm.ledger.commands import MAIN
from atm.teller.input import piped_lines, terminal_lines
from atm.teller.pending import Journal
from atm.teller.report import INTERRUPTED, UNKNOWN, USAGE, printable
from atm.teller.session import Teller, Voice, no_journal

TIMEOUT_S = 5.0  # until "not available"; ten elections fit in
PATIENCE_S = 30.0  # until a session gives up on an outcome that is unknown
PATIENCE_ONCE_S = 10.0  # likewise with -c
PATIENCE_S_MAX = 86_400.0
CLOSED_PIPE = 141  # as a shell counts a process that SIGPIPE ended


def main(argv: Sequence[str] | None = None) -> int:
    """Run the teller; return its exit code: 0 done, 1 declined, 2 usage, 3 not available, 5 unknown."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # whatever the locale, no traceback
    try:
        return _run(_arguments(argv))
    except BrokenPipeError:
        _forget_stdout()
        return CLOSED_PIPE
    except KeyboardInterrupt:
        return INTERRUPTED
    except OSError as error:  # stdin cannot be read or stdout cannot be written
        _forget_stdout()
        _complain(f"input or output is not possible: {error.strerror or error}")
        return UNKNOWN


def _run(arguments: argparse.Namespace) -> int:
    once, as_json = arguments.commands is not None, arguments.json
    interactive = not once and not as_json and _is_terminal(sys.stdin) and _is_terminal(sys.stdout)
    patience_s = arguments.timeout or (PATIENCE_ONCE_S if once else PATIENCE_S)
    voice = Voice(as_json=as_json, asides=sys.stderr if once or as_json else sys.stdout)
    try:
        cluster = load(arguments.config)
        client = Client(
            cluster,
            arguments.node,
            min(TIMEOUT_S, patience_s),
            patience=patience_s,
            on_unknown=voice.retrying,
        )
    except (ConfigError, UnknownNode) as error:
        _complain(str(error))
        return USAGE
    with client:
        state_folder = platformdirs.user_state_path("atm")
        journal = _journal(state_folder, cluster.identity(), voice)
        teller = Teller(client, journal, arguments.account, voice)
        if once:
            return teller.run(arguments.commands)
        if not as_json:
            teller.greet()
        if interactive:
            lines = terminal_lines(state_folder if journal is not None else None)
        else:
            lines = piped_lines(sys.stdin.buffer) if sys.stdin is not None else iter(())
        return teller.serve(lines, interactive=interactive)


def _journal(folder: Path, cluster: str, voice: Voice) -> Journal | None:
    try:
        return Journal(folder, cluster)
    except OSError as error:
        voice.warn(no_journal(error))
        return None


class _Parser(argparse.ArgumentParser):
    """Tells a mistake in one line."""

    def error(self, message: str) -> NoReturn:
        _complain(f"{message} (try: atm --help)")
        raise SystemExit(USAGE)


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = _Parser(prog="atm", description="The bank's teller.", allow_abbrev=False)
    parser.add_argument("node", nargs="?", metavar="NODE", help="the node to start with; any, unless given")
    parser.add_argument(
        "--config",
        type=Path,
        default=_default_config(),
        metavar="FILE",
        help="the cluster's file; unless given, cluster.ini in this folder or else the project's",
    )
    parser.add_argument(
        "--account", type=_account, default=MAIN, metavar="NAME", help="your account; main, unless given"
    )
    parser.add_argument(
        "-c",
        dest="commands",
        action="append",
        metavar="COMMAND",
        help="carry out COMMAND and leave; may be given several times, and stops at the first not done",
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object a command")
    parser.add_argument(
        "--timeout",
        type=_seconds,
        metavar="SECONDS",
        help=f"how long to ask for an unknown outcome; {PATIENCE_S:g}, or with -c {PATIENCE_ONCE_S:g}",
    )
    return parser.parse_args(argv)


def _default_config() -> Path:
    here = Path("cluster.ini")
    return here if here.exists() else Path(atm.__file__).resolve().parent.parent / "cluster.ini"


def _account(text: str) -> str:
    try:
        check_account(text)
    except InvalidAccount as error:
        raise argparse.ArgumentTypeError(str(error)) from None
    return text


def _seconds(text: str) -> float:
    with contextlib.suppress(ValueError):
        seconds = float(text)
        if 0 < seconds <= PATIENCE_S_MAX:
            return seconds
    raise argparse.ArgumentTypeError(f"a number of seconds above 0, {PATIENCE_S_MAX:.0f} at most")


def _is_terminal(stream: object) -> bool:
    return isinstance(stream, io.TextIOBase) and stream.isatty()


def _complain(line: str) -> None:
    print(f"atm: {printable(line)}", file=sys.stderr)


def _forget_stdout() -> None:
    """Point stdout at nothing, so that the interpreter's last flush does not complain as well."""
    with contextlib.suppress(OSError, ValueError, AttributeError):
        nothing = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nothing, sys.stdout.fileno())
        os.close(nothing)
