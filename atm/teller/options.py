"""The teller's command line."""

from __future__ import annotations

import argparse
import contextlib
from collections.abc import Sequence

from atm.client import InvalidAccount
from atm.client.request_rules import check_account
from atm.command_line import OneLineParser, add_certificate, add_config, add_version, program_name
from atm.ledger.commands import MAIN
from atm.teller.arguments import InvalidCommand, read_reference
from atm.teller.identity import IDLE_S
from atm.teller.shell_completion import SHELLS, completion_script

PROGRAM = "atm"
DESCRIPTION = "The bank's teller: balances, payments, transfers, holds. In a session, type help."
EXIT_CODES = (
    "Exit codes: 0 done, 1 declined by the bank, 2 wrong usage, 3 not available and certainly not done, "
    "4 not allowed, 5 outcome unknown, 74 input or output failed and nothing is in doubt."
)
PATIENCE_S = 30.0  # until a session stops asking for an unknown outcome
PATIENCE_ONCE_S = 10.0  # likewise with -c
PATIENCE_S_MAX = 86_400.0


def read_options(argv: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line; a mistake is one line and exit code 2."""
    parser = options_parser()
    arguments = parser.parse_args(argv)
    if arguments.id is not None and len(arguments.commands or ()) != 1:
        parser.error("--id is for one command: give it with one -c")
    return arguments


def options_parser() -> argparse.ArgumentParser:
    """Return the parser of all options."""
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
    parser.add_argument(
        "--id",
        type=_reference,
        metavar="ID",
        help="the reference of the command of the only -c: given again, it is carried out once in all",
    )
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="print one JSON object per command")
    form.add_argument(
        "--csv", action="store_true", help="print lists as CSV on stdout, and all else on stderr"
    )
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
    parser.add_argument(
        "--no-pager",
        dest="pager",
        action="store_false",
        help="print what is longer than the screen, too; so does a session with PAGER=",
    )
    parser.add_argument(
        "--tombstone",
        action="store_true",
        help="let reverse decline for ever, and unasked, a request that has not reached the bank",
    )
    parser.add_argument("--operator", action="store_true", help="enable the commands of the bank's operators")
    parser.add_argument(
        "--completion",
        action=_PrintCompletion,
        choices=SHELLS,
        help="print what this shell needs to complete",
    )
    return parser


class _PrintCompletion(argparse.Action):
    """Prints what a shell needs to complete the options and commands of the teller."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: object,
        option_string: str | None = None,
    ) -> None:
        print(completion_script(str(values), parser))
        parser.exit()


def _reference(text: str) -> str:
    try:
        return read_reference(text)
    except InvalidCommand as error:
        raise argparse.ArgumentTypeError(str(error)) from None


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
