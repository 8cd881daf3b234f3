"""bin/admin: administrates a cluster. docs/operations.md explains it by task.

Results go to stdout; what is under way, and errors, to stderr.
"""

from __future__ import annotations

import argparse
import contextlib
from collections.abc import Sequence

from atm.admin.commands import COMMANDS
from atm.admin.task import (
    INTERRUPTED,
    NOT_ALLOWED,
    NOT_AVAILABLE,
    REFUSED,
    UNKNOWN,
    USAGE,
    NotDone,
    Task,
)
from atm.client.errors import NotAllowed, OutcomeUnknown, Rejected, Unavailable
from atm.command_line import (
    CLOSED_PIPE,
    OneLineParser,
    add_certificate,
    add_config,
    add_version,
    complain,
    flush_stdout,
    forget_stdout,
    program_name,
    told_of,
)
from atm.config import ConfigError
from atm.files import keep_private

PROGRAM = "admin"
SECONDS_MAX = 7 * 86_400.0
EXIT_CODES = (
    "Exit codes: 0 done, 1 refused (health: degraded), 2 wrong usage, 3 not available, 4 not allowed, "
    "5 outcome unknown, 74 input or output failed."
)


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; return the exit code."""
    task = Task(_arguments(argv))
    keep_private()
    try:
        code: int = task.options.run(task)
        flush_stdout()
        return code
    except NotDone as end:
        return _end(task, end.code, str(end))
    except ConfigError as error:
        return _end(task, USAGE, str(error))
    except NotAllowed as error:
        return _end(task, NOT_ALLOWED, f"{error}; nothing was changed")
    except Rejected as error:
        return _end(task, REFUSED, str(error))
    except Unavailable as error:
        return _end(task, NOT_AVAILABLE, f"{error}; nothing was changed")
    except OutcomeUnknown:
        return _end(
            task, UNKNOWN, "No answer came: it may or may not be done. Look (members, status), then ask again"
        )
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        forget_stdout()
        return CLOSED_PIPE
    except OSError as error:
        line, code = told_of(error)
        return _end(task, code, line)


def _end(task: Task, code: int, line: str) -> int:
    """Tell people and programs why the command was not done."""
    if task.as_json:
        with contextlib.suppress(OSError):
            task.finish("", {"message": line}, code)
    complain(program_name(PROGRAM), line)
    return code


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = OneLineParser(
        prog=program_name(PROGRAM),
        description="Administrate a cluster: its members, its health, its snapshots.",
        epilog=EXIT_CODES,
        allow_abbrev=False,
    )
    add_version(parser)
    _add_common(parser, None)
    rows = parser.add_subparsers(required=True, dest="command", metavar="COMMAND", parser_class=OneLineParser)
    for row in COMMANDS:
        command = rows.add_parser(row.name, help=row.does, description=row.does, allow_abbrev=False)
        row.add_arguments(command)
        _add_common(command, argparse.SUPPRESS)  # they may stand before or after the command
        command.set_defaults(run=row.run, waits=row.waits)
    return parser.parse_args(argv)


def _add_common(parser: argparse.ArgumentParser, default: object) -> None:
    add_config(parser, default)
    add_certificate(parser, default)
    parser.add_argument(
        "--json",
        action="store_true",
        default=False if default is None else default,
        help="print one JSON object",
    )
    parser.add_argument(
        "--timeout",
        type=_seconds,
        default=default,
        metavar="S",
        help="how many seconds to look for a node that answers (default: 5); with add and replace, how long "
        "to wait until the node has caught up",
    )


def _seconds(text: str) -> float:
    with contextlib.suppress(ValueError):
        seconds = float(text)
        if 0 < seconds <= SECONDS_MAX:
            return seconds
    raise argparse.ArgumentTypeError(f"a number of seconds above 0, {SECONDS_MAX:.0f} at most")
