"""bin/atm, the teller: its command line, and where its output goes.

    atm [NODE] [--config cluster.ini] [--account NAME] [-c COMMAND]... [-f FILE] [--json] [--operator]
        [--timeout SECONDS] [--idle SECONDS] [--cert FILE --key FILE]

If stdin and stdout are a terminal, it is a session with line editing. With a pipe it prints the greeting and
then the result of each command; with `-c` or `-f` only the results. Results go to stdout. Notes between them
(a request that is tried again, one that was settled from last time) go to stdout too; with `-c`, `-f` or
`--json`, where stdout is for programs, they go to stderr. A PIN is asked for at the terminal; without a
terminal it is the next line of standard input.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

import platformdirs

from atm.client import Client, InvalidAccount, UnknownNode
from atm.client.request_rules import check_account
from atm.command_line import (
    CLOSED_PIPE,
    OneLineParser,
    add_certificate,
    add_config,
    add_version,
    complain,
    forget_stdout,
    program_name,
)
from atm.config import ConfigError, default_config, load
from atm.ledger.commands import MAIN
from atm.teller.echo import echo_off
from atm.teller.identity import IDLE_S, Identity
from atm.teller.input import PipedPins, piped_lines
from atm.teller.language import asks_for_pin
from atm.teller.output import Output
from atm.teller.report import INTERRUPTED, UNKNOWN, USAGE
from atm.teller.request_journal import RequestJournal
from atm.teller.request_runner import no_journal
from atm.teller.session import Teller

PROGRAM = "atm"
DESCRIPTION = "The bank's teller: balances, payments, transfers, holds. In a session, type help."
EXIT_CODES = (
    "Exit codes: 0 done, 1 declined by the bank, 2 wrong usage, 3 not available and certainly not done, "
    "4 not allowed, 5 outcome unknown."
)
TIMEOUT_S = 5.0  # until "not available"; time for ten elections
PATIENCE_S = 30.0  # until a session stops asking for an unknown outcome
PATIENCE_ONCE_S = 10.0  # likewise with -c
PATIENCE_S_MAX = 86_400.0


def main(argv: Sequence[str] | None = None) -> int:
    """Run the teller; return its exit code.

    0 done, 1 declined, 2 usage, 3 not available, 4 not allowed, 5 outcome unknown.
    """
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # whatever the locale, no traceback
    try:
        arguments = _arguments(argv)
        with _opened(arguments.file) as script:
            return _run(arguments, script)
    except _Mistake as mistake:
        complain(program_name(PROGRAM), str(mistake))
        return USAGE
    except BrokenPipeError:
        forget_stdout()
        return CLOSED_PIPE
    except KeyboardInterrupt:
        return INTERRUPTED
    except OSError as error:  # reading stdin or writing stdout failed
        forget_stdout()
        complain(program_name(PROGRAM), f"reading input or writing output failed: {error.strerror or error}")
        return UNKNOWN


def _run(arguments: argparse.Namespace, script: BinaryIO | None) -> int:
    once, as_json = arguments.commands is not None or script is not None, arguments.json
    on_terminal = _is_terminal(sys.stdout)
    interactive = not once and not as_json and on_terminal and _is_terminal(sys.stdin)
    patience_s = arguments.timeout or (PATIENCE_ONCE_S if once else PATIENCE_S)
    output = Output(
        as_json=as_json, notes=sys.stderr if once or as_json else sys.stdout, on_terminal=on_terminal
    )
    try:
        config = arguments.config or default_config()
        cluster = load(config).with_client_certificate(arguments.cert, arguments.key)
        client = Client(
            cluster,
            arguments.node,
            min(TIMEOUT_S, patience_s),
            patience=patience_s,
            on_unknown=output.retrying,
        )
    except (ConfigError, UnknownNode) as error:
        raise _Mistake(str(error)) from None
    typed = piped_lines(sys.stdin.buffer) if sys.stdin is not None else iter(())
    with client:
        state_folder = platformdirs.user_state_path("atm")
        journal = _journal(state_folder, cluster.identity(), output)
        identity = Identity(arguments.account, arguments.idle)
        ask_pin = _ask_at_terminal if _is_terminal(sys.stdin) else PipedPins(typed)
        teller = Teller(client, journal, identity, output, ask_pin, operator=arguments.operator)
        if once:
            commands = _commands(arguments.commands, script, typed)
            with echo_off() if _may_ask_for_pin(arguments.commands) else contextlib.nullcontext():
                return teller.run(commands)
        with echo_off() if interactive else contextlib.nullcontext():
            if not as_json:
                teller.greet()
            if interactive:
                history_folder = None if journal is None else state_folder
                typed = _typed_lines(teller, identity, history_folder, arguments)
            return teller.serve(typed, interactive=interactive)


def _may_ask_for_pin(commands: list[str] | None) -> bool:
    """Return whether `-c` commands may ask for a PIN; those of a file always may."""
    return commands is None or any(asks_for_pin(line) for line in commands)


def _commands(given: list[str] | None, script: BinaryIO | None, typed: Iterator[str]) -> Iterable[str]:
    """Return the commands of `-c` or `-f`. If `-f` is standard input, PINs come from the same lines."""
    if given is not None:
        return given
    assert script is not None
    return typed if sys.stdin is not None and script is sys.stdin.buffer else piped_lines(script)


def _typed_lines(
    teller: Teller, identity: Identity, history_folder: Path | None, arguments: argparse.Namespace
) -> Iterator[str]:
    # Imported here because it takes longer than all the rest of a `-c` command.
    from atm.teller import keyboard  # noqa: PLC0415

    if _is_dumb():
        return keyboard.plain_lines()
    return keyboard.Keyboard(
        history_folder,
        teller.state,
        operator=arguments.operator,
        idle_s=arguments.idle,
        logged_in=lambda: identity.logged_in,
        when_idle=teller.log_out_if_idle,
    ).lines()


def _ask_at_terminal(prompt: str) -> str | None:
    from atm.teller import keyboard  # noqa: PLC0415 - as above

    plainly = _is_dumb() or not (_is_terminal(sys.stdout) or _is_terminal(sys.stderr))
    return keyboard.ask_pin_plainly(prompt) if plainly else keyboard.ask_pin(prompt)


@contextlib.contextmanager
def _opened(file: str | None) -> Iterator[BinaryIO | None]:
    """Open the file of `-f`; `-` is standard input. Raise `_Mistake`."""
    if file is None:
        yield None
    elif file == "-":
        yield io.BytesIO() if sys.stdin is None else sys.stdin.buffer
    else:
        try:
            script = Path(file).open("rb")  # noqa: SIM115 - closed below
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or error
            raise _Mistake(f"the file of commands {file} cannot be read: {reason}") from None
        with script:
            yield script


def _journal(folder: Path, cluster: str, output: Output) -> RequestJournal | None:
    try:
        return RequestJournal(folder, cluster)
    except OSError as error:
        output.warn(no_journal(error))
        return None


class _Mistake(Exception):
    """The command line cannot be used; `str()` of it is a line for people."""


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = OneLineParser(
        prog=program_name(PROGRAM), description=DESCRIPTION, epilog=EXIT_CODES, allow_abbrev=False
    )
    add_version(parser)
    parser.add_argument("node", nargs="?", metavar="NODE", help="the first node to contact (default: any)")
    add_config(parser)
    parser.add_argument(
        "--account", type=_account, default=MAIN, metavar="NAME", help="your account (default: main)"
    )
    add_certificate(parser)
    commands = parser.add_mutually_exclusive_group()
    commands.add_argument(
        "-c",
        dest="commands",
        action="append",
        metavar="COMMAND",
        help="carry out COMMAND and leave; may be repeated, and stops at the first command that is not done",
    )
    commands.add_argument(
        "-f",
        dest="file",
        metavar="FILE",
        help="like -c, for the commands in FILE, one per line; - is standard input",
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object per command")
    parser.add_argument(
        "--timeout",
        type=_seconds,
        metavar="SECONDS",
        help="how long to keep asking while an outcome is unknown "
        f"(default: {PATIENCE_S:g}, with -c or -f {PATIENCE_ONCE_S:g})",
    )
    parser.add_argument(
        "--idle",
        type=_seconds,
        default=IDLE_S,
        metavar="SECONDS",
        help=f"log out after this time without a command (default: {IDLE_S:g})",
    )
    parser.add_argument("--operator", action="store_true", help="enable the commands of the bank's operators")
    return parser.parse_args(argv)


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


def _is_dumb() -> bool:
    """Return whether the terminal can do no more than print lines."""
    return os.environ.get("TERM", "dumb") in {"", "dumb"}
