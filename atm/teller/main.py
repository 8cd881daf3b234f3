"""bin/atm, the teller: where its input comes from, where its output goes, and how it ends.

    atm [NODE] [--config cluster.ini] [--account NAME] [-c COMMAND]... [-f FILE] [--id ID] [--json | --csv]
        [--operator] [--timeout SECONDS] [--idle SECONDS] [--cert FILE --key FILE] [--tombstone] [--no-pager]
        [--completion SHELL]

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
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

import platformdirs

from atm.client import Client, UnknownNode
from atm.command_line import (
    CLOSED_PIPE,
    INPUT_OUTPUT_FAILED,
    complain,
    forget_stdout,
    program_name,
)
from atm.config import ConfigError, default_config, load
from atm.money import MINOR_PER_MAJOR
from atm.teller.echo import echo_off
from atm.teller.identity import Identity
from atm.teller.input import NumberedLines, PipedPins, piped_lines
from atm.teller.language import asks_for_pin
from atm.teller.options import PATIENCE_ONCE_S, PATIENCE_S, PROGRAM, read_options
from atm.teller.output import Output
from atm.teller.pager import pager_of
from atm.teller.report import INTERRUPTED, UNKNOWN, USAGE
from atm.teller.request_journal import RequestJournal
from atm.teller.request_runner import no_journal
from atm.teller.session import Teller

TIMEOUT_S = 5.0  # until "not available"; time for ten elections


def main(argv: Sequence[str] | None = None) -> int:
    """Run the teller; return its exit code.

    0 done, 1 declined, 2 usage, 3 not available, 4 not allowed, 5 outcome unknown.
    """
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # whatever the locale, no traceback
    try:
        arguments = read_options(argv)
        with _opened(arguments.file) as script:
            return _run(arguments, script)
    except _Mistake as mistake:
        complain(program_name(PROGRAM), str(mistake))
        return USAGE
    except (KeyboardInterrupt, OSError) as error:
        return _cut_off(error, in_doubt=False)


def _cut_off(error: KeyboardInterrupt | OSError, *, in_doubt: bool) -> int:
    """Return the exit code after Ctrl-C, or when reading stdin or writing stdout failed.

    With a request in doubt, whose outcome nobody has seen, it is 5.
    """
    if isinstance(error, KeyboardInterrupt):
        return UNKNOWN if in_doubt else INTERRUPTED
    forget_stdout()
    if isinstance(error, BrokenPipeError):
        return UNKNOWN if in_doubt else CLOSED_PIPE
    reason = error.strerror or error
    with contextlib.suppress(OSError):
        complain(program_name(PROGRAM), f"reading input or writing output failed: {reason}")
    return UNKNOWN if in_doubt else INPUT_OUTPUT_FAILED


def _run(arguments: argparse.Namespace, script: BinaryIO | None) -> int:
    once, as_json = arguments.commands is not None or script is not None, arguments.json
    on_terminal = _is_terminal(sys.stdout)
    interactive = not once and not as_json and not arguments.csv and on_terminal and _is_terminal(sys.stdin)
    patience_s = arguments.timeout or (PATIENCE_ONCE_S if once else PATIENCE_S)
    output = Output(
        as_json=as_json,
        as_csv=arguments.csv,
        notes=sys.stderr if once or as_json or arguments.csv else sys.stdout,
        on_terminal=on_terminal and not arguments.csv,
        pager_command=pager_of(os.environ) if interactive and arguments.pager and not _is_dumb() else (),
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
    typed = NumberedLines(piped_lines(sys.stdin.buffer) if sys.stdin is not None else iter(()))
    with client:
        state_folder = platformdirs.user_state_path("atm")
        journal = _journal(state_folder, cluster.identity(), output)
        identity = Identity(arguments.account, arguments.idle)
        ask_pin = _ask_at_terminal if _is_terminal(sys.stdin) else PipedPins(typed)
        teller = Teller(
            client,
            journal,
            identity,
            output,
            ask_pin,
            operator=arguments.operator,
            request_id=arguments.id,
            confirm_above=None if cluster.confirm_above is None else cluster.confirm_above * MINOR_PER_MAJOR,
            confirm=_confirm if interactive else None,
            tombstones=arguments.tombstone,
        )
        try:
            if once:
                return _carry_out(teller, arguments, script, typed)
            with echo_off() if interactive else contextlib.nullcontext():
                if not as_json:
                    teller.greet()
                if not interactive:
                    return teller.serve(typed, interactive=False)
                history_folder = None if journal is None else state_folder
                keyed = _typed_lines(teller, identity, history_folder, arguments)
                return teller.serve(keyed, interactive=True)
        except (KeyboardInterrupt, OSError) as error:
            return _cut_off(error, in_doubt=teller.in_doubt)


def _carry_out(
    teller: Teller, arguments: argparse.Namespace, script: BinaryIO | None, typed: NumberedLines
) -> int:
    """Carry out the commands of `-c` or `-f`; return the exit code."""
    with echo_off() if _may_ask_for_pin(arguments.commands) else contextlib.nullcontext():
        if script is None:
            return teller.run(arguments.commands)
        lines = _lines_of(script, typed)
        name = "standard input" if arguments.file == "-" else arguments.file
        return teller.run(lines, lambda: f"{name}, line {lines.number}")


def _may_ask_for_pin(commands: list[str] | None) -> bool:
    """Return whether `-c` commands may ask for a PIN; those of a file always may."""
    return commands is None or any(asks_for_pin(line) for line in commands)


def _lines_of(script: BinaryIO, typed: NumberedLines) -> NumberedLines:
    """Return the lines of `-f`. If it is standard input, PINs come from the same lines."""
    is_stdin = sys.stdin is not None and script is sys.stdin.buffer
    return typed if is_stdin else NumberedLines(piped_lines(script))


def _typed_lines(
    teller: Teller, identity: Identity, history_folder: Path | None, arguments: argparse.Namespace
) -> Iterator[str]:
    # Imported here because it takes longer than all the rest of a `-c` command.
    from atm.teller import keyboard  # noqa: PLC0415

    if _is_dumb():
        return keyboard.plain_lines(lambda: identity.account)
    return keyboard.Keyboard(
        history_folder,
        teller.state,
        operator=arguments.operator,
        idle_s=arguments.idle,
        account=lambda: identity.account,
        logged_in=lambda: identity.logged_in,
        when_idle=teller.log_out_if_idle,
    ).lines()


def _confirm(question: str) -> bool:
    from atm.teller import keyboard  # noqa: PLC0415 - as above

    return keyboard.ask(question, plainly=_is_dumb()).strip().lower() == "yes"


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


def _is_terminal(stream: object) -> bool:
    return isinstance(stream, io.TextIOBase) and stream.isatty()


def _is_dumb() -> bool:
    """Return whether the terminal can do no more than print lines."""
    return os.environ.get("TERM", "dumb") in {"", "dumb"}
