"""bin/ledger: verify, export or import the bank's books, open accounts, or repair a node. See docs/ledger.md.

ledger verify [FILE...] [--config cluster.ini] [--json]
ledger export FILE|--node NAME --format jsonl|csv|hledger|beancount
ledger import FILE [--format jsonl|csv] [--config cluster.ini]
ledger import FILE --mapping FILE [--format csv|hledger|beancount] [--dry-run]
ledger open FILE [--currency CODE] [--config cluster.ini]
ledger deeds [--limit N] [--before DEED] [--json] [--config cluster.ini]
ledger find [--code N] [--text TEXT [--whole]] [--limit N] [--before POSTING] [--json] [--config cluster.ini]
ledger watch [--from ENTRY | --after LINE] [--account NAME]... [--config cluster.ini]
ledger repair NODE [--term N --yes] [--config cluster.ini]
"""

from __future__ import annotations

import argparse
import contextlib
import re
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, TextIO

import apsw
import msgspec

from atm.checkout import command_here
from atm.client import (
    Client,
    ClientError,
    InvalidRequest,
    NotAllowed,
    OutcomeUnknown,
    Posted,
    Refused,
    Unavailable,
    Unfinished,
)
from atm.command_line import (
    CLOSED_PIPE,
    USAGE,
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
from atm.config import LEDGER_FILE, POSTGRESQL, Cluster, ConfigError, default_config, load
from atm.currencies import MINOR_UNITS
from atm.files import keep_private
from atm.lanes.faults import EngineFault, EngineRefused, NoDriver
from atm.ledger.audit.extract import account_lines, journal_lines
from atm.ledger.audit.read_only import DamagedLedger, NoLedger, open_read_only
from atm.ledger.commands import PAGE_LINES_MAX
from atm.office.books import COMMODITY, write_beancount, write_csv, write_hledger, write_jsonl
from atm.office.bulk_import import NotBooked
from atm.office.deeds import print_deeds
from atm.office.foreign.imports import FOREIGN_READERS, SUFFIXES, CannotBeCarried, ForeignBooks
from atm.office.foreign.mapping import BadMapping
from atm.office.found import print_found
from atm.office.import_command import READERS, import_foreign, import_journal, open_accounts
from atm.office.lanes import accounts_of_all, copied_lanes, journal_of_all
from atm.office.repair import run_repair
from atm.office.replay import BadFile
from atm.office.verify import exit_code, print_report, verify_cluster, verify_files, verify_lanes
from atm.permissions import needed
from atm.server.group.repair import NotRepaired
from atm.storage.data_folder import FolderRefused
from atm.storage.log_file import DamagedLog, LogFailed, LogOfAnotherRelease
from atm.wire.log_entries import NewerEntry

PROGRAM = "ledger"
DONE, FAILED, NOT_AVAILABLE, NOT_ALLOWED, UNKNOWN = 0, 1, 3, 4, 5
INTERRUPTED = 130
VERIFY_S = 900.0
FAULTS = (
    DamagedLedger,
    DamagedLog,
    EngineFault,
    EngineRefused,
    FolderRefused,
    LogFailed,
    LogOfAnotherRelease,
    NewerEntry,
    NoDriver,
    NotBooked,
    NotRepaired,
)
EXIT_CODES = (
    "Exit codes: 0 done, 1 refused, or the books are not right, 2 wrong usage or a file that cannot be used, "
    "3 not available, 4 not allowed, 5 outcome unknown, 74 input or output failed."
)
AGAIN = "Run it again: nothing is done twice"  # an import, and the opening of accounts
COMMODITY_RULE = re.compile(r"[A-Z]{2,10}")


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; return the exit code."""
    options = _arguments(argv)
    keep_private()
    try:
        code: int = options.run(options)
        flush_stdout()
        return code
    except (ConfigError, NoLedger, BadFile, BadMapping, CannotBeCarried, InvalidRequest) as error:
        return _complain(str(error), USAGE)
    except FAULTS as error:
        return _complain(str(error), FAILED)
    except (OutcomeUnknown, Unfinished) as error:  # only of what books or opens
        return _complain(f"{error}. {AGAIN}", UNKNOWN)
    except NotAllowed as error:
        return _complain(str(error), NOT_ALLOWED)
    except Unavailable as error:
        changes = options.run in (_import, _open)
        return _complain(f"{error}. {AGAIN}" if changes else str(error), NOT_AVAILABLE)
    except ClientError as error:
        return _complain(str(error), FAILED)
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        forget_stdout()
        return CLOSED_PIPE
    except OSError as error:
        return _complain(*told_of(error))


def _verify(options: argparse.Namespace) -> int:
    if options.files:
        report = verify_files(options.files)
    elif (cluster := _cluster(options)).engine.kind == POSTGRESQL:
        report = verify_lanes(cluster.engine)
    else:
        report = verify_cluster(cluster, options.timeout)
    print_report(report, as_json=options.json)
    return exit_code(report)


def _cluster(options: argparse.Namespace) -> Cluster:
    return _loaded(options).with_client_certificate(options.cert, options.key)


def _loaded(options: argparse.Namespace) -> Cluster:
    return load(options.config or default_config())


def _export(options: argparse.Namespace) -> int:
    with _ledgers_of(options) as paths, contextlib.ExitStack() as opened:
        cursors = [opened.enter_context(open_read_only(path)) for path in paths]
        try:
            _write(cursors, options.format, options.commodity, sys.stdout)
        except msgspec.ValidationError as error:
            raise DamagedLedger(
                f"the ledger has an invalid row: {error}. Run {command_here('ledger')} verify"
            ) from error
    return DONE


def _write(cursors: Sequence[apsw.Cursor], form: str, commodity: str, out: TextIO) -> None:
    accounts, lines = (
        accounts_of_all(map(account_lines, cursors)),
        journal_of_all(map(journal_lines, cursors)),
    )
    match form:
        case "jsonl":
            write_jsonl(lines, out)
        case "csv":
            write_csv(lines, out)
        case "hledger":
            write_hledger(accounts, lines, out, commodity)
        case _:
            write_beancount(accounts, lines, out, commodity)


@contextlib.contextmanager
def _ledgers_of(options: argparse.Namespace) -> Iterator[Sequence[Path]]:
    """Yield the files to export: that of a node, or a copy of each lane that is in PostgreSQL."""
    if options.node is None:
        yield [options.file]
        return
    cluster = _loaded(options)
    if options.node not in cluster.nodes:
        raise ConfigError(
            f"{cluster.path}: there is no node {options.node!r}, only {', '.join(cluster.nodes)}"
        )
    if cluster.engine.kind == POSTGRESQL:
        with copied_lanes(cluster.engine) as copies:
            yield [copy.path for copy in copies]
        return
    yield [cluster.data_dir / str(options.node) / LEDGER_FILE]


def _import(options: argparse.Namespace) -> int:
    form = _import_format(options)
    if options.mapping is not None:
        books = ForeignBooks(options.file, form, options.mapping)
        books.tell()
        if options.dry_run:
            print("Nothing was booked: this was to look at it (--dry-run)")
        else:
            import_foreign(_cluster(options), books)
        return DONE
    cluster = _cluster(options)
    with _opened(options.file) as file, _named(options.file):
        return DONE if import_journal(cluster, file, form) else FAILED


def _open(options: argparse.Namespace) -> int:
    with _opened(options.file) as file, _named(options.file):
        open_accounts(_cluster(options), file, options.currency)
    return DONE


def _deeds(options: argparse.Namespace) -> int:
    with Client(_cluster(options)) as client:
        found = client.deeds(options.limit, options.before)
    if found.outcome == "not_allowed":
        raise NotAllowed(needed("deeds"))
    rows = found.deeds or ()
    if options.json:
        print(msgspec.json.encode({"deeds": rows, "next": found.next}).decode())
        return DONE
    print_deeds(rows)
    if found.next is not None:
        print(f"There is more: {command_here('ledger')} deeds --limit {options.limit} --before {found.next}")
    return DONE


def _watch(options: argparse.Namespace) -> int:
    """Print each posting as a line of JSON as it is committed, until Ctrl-C."""
    try:
        with Client(_cluster(options)) as client:
            for posted in client.watch(options.first, options.accounts or None, after=options.after):
                fields = {"log_index": posted.log_index} | msgspec.to_builtins(posted)
                print(msgspec.json.encode(fields).decode(), flush=True)
    except KeyboardInterrupt:  # as it is meant to be left
        pass
    except Refused as error:
        if error.outcome == "not_allowed":
            raise NotAllowed(needed("watch")) from error
        raise
    except Unavailable as error:
        return _complain(f"{error}. Go on with --after and the last line that was printed", NOT_AVAILABLE)
    return DONE


def _posted(line: str) -> Posted:
    try:
        return msgspec.json.decode(line, type=Posted)
    except msgspec.DecodeError as error:
        raise argparse.ArgumentTypeError(f"no line that watch has printed: {error}") from None


def _find(options: argparse.Namespace) -> int:
    if options.code is None and options.text is None:
        return _complain("name what to find: --code N, --text TEXT, or both", USAGE)
    with Client(_cluster(options)) as client:
        found = client.find(
            options.code, options.text, whole=options.whole, limit=options.limit, before=options.before
        )
    if found.outcome == "not_allowed":
        raise NotAllowed(needed("find"))
    rows = found.lines or ()
    if options.json:
        print(msgspec.json.encode({"lines": rows, "next": found.next}).decode())
        return DONE
    print_found(rows)
    if found.next is not None:
        print(f"There may be more: the same with --before {found.next}")
    return DONE


def _repair(options: argparse.Namespace) -> int:
    return run_repair(_loaded(options), options.node, options.term, yes=options.yes)


@contextlib.contextmanager
def _named(path: Path) -> Iterator[None]:
    """Name the file in front of what is wrong in it."""
    try:
        yield
    except BadFile as error:
        raise BadFile(f"{'standard input' if path == Path('-') else path}: {error}") from error


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[TextIO]:
    try:
        if path == Path("-"):
            yield sys.stdin
        else:
            with path.open(encoding="utf-8", newline="") as file:
                yield file
    except UnicodeDecodeError as error:
        raise BadFile(f"{path} is not UTF-8") from error


# -- the command line --------------------------------------------------------------------------------------


def _add_watch(commands: Any) -> argparse.ArgumentParser:
    watch = _add(commands, "watch", "print each posting as a line of JSON as it is committed")
    begin = watch.add_mutually_exclusive_group()
    begin.add_argument("--from", dest="first", type=int, default=0, metavar="ENTRY", help="a log entry")
    begin.add_argument("--after", type=_posted, metavar="LINE", help="the last line that was dealt with")
    watch.add_argument("--account", dest="accounts", action="append", metavar="NAME", help="only of these")
    watch.set_defaults(run=_watch)
    return watch


def _add(commands: Any, name: str, does: str) -> OneLineParser:
    added: OneLineParser = commands.add_parser(name, help=does, description=does, epilog=EXIT_CODES)
    return added


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = OneLineParser(
        prog=program_name(PROGRAM),
        description="Verify, export or import the bank's books, or repair a stopped node.",
        epilog=EXIT_CODES,
        allow_abbrev=False,
    )
    add_version(parser)
    add_config(parser)
    add_certificate(parser)
    commands = parser.add_subparsers(required=True, metavar="COMMAND", parser_class=OneLineParser)

    verify = _add(commands, "verify", "audit the ledgers of all nodes, or of files, and compare them")
    verify.add_argument(
        "files", nargs="*", type=Path, metavar="FILE", help="ledger files; default: the cluster's nodes"
    )
    verify.add_argument("--json", action="store_true", help="print one JSON object")
    verify.add_argument(
        "--timeout",
        type=float,
        default=VERIFY_S,
        metavar="SECONDS",
        help="how long to wait for the nodes; default: %(default)g",
    )
    verify.set_defaults(run=_verify)

    export = _add(commands, "export", "write the journal to standard output")
    which = export.add_mutually_exclusive_group(required=True)
    which.add_argument("file", nargs="?", type=Path, metavar="FILE", help="a ledger.db; its node may run")
    which.add_argument("--node", metavar="NAME", help="the ledger of this node, on this machine")
    export.add_argument("--format", required=True, choices=["jsonl", "csv", "hledger", "beancount"])
    export.add_argument(
        "--commodity",
        type=_commodity,
        default=COMMODITY,
        help="the currency, such as EUR; default: %(default)s",
    )
    export.set_defaults(run=_export)

    imports = _add(
        commands,
        "import",
        "post an exported journal into a new cluster, or another program's books into a bank",
    )
    imports.add_argument(
        "file",
        type=Path,
        metavar="FILE",
        help="an export as jsonl or csv, or other books; - is standard input",
    )
    imports.add_argument(
        "--format", choices=sorted({*READERS, *FOREIGN_READERS}), help="default: the suffix of FILE"
    )
    imports.add_argument(
        "--mapping",
        type=Path,
        metavar="FILE",
        help="FILE is another program's CSV, hledger or beancount, and this says how (docs/ledger.md)",
    )
    imports.add_argument(
        "--dry-run", action="store_true", help="with --mapping: only say what would be booked"
    )
    imports.set_defaults(run=_import)

    opens = _add(commands, "open", "open the accounts in a list, each once")
    opens.add_argument(
        "file",
        type=Path,
        metavar="FILE",
        help="a name in each line, and behind it a currency if it has another; - is standard input",
    )
    opens.add_argument(
        "--currency",
        type=_currency,
        metavar="CODE",
        help="of the accounts without one in the file, such as EUR; default: the bank's first currency",
    )
    opens.set_defaults(run=_open)

    repairs = _add(
        commands,
        "repair",
        "diagnose a stopped node's log, and with --term and --yes repair it (docs/repair.md)",
    )
    repairs.add_argument("node", metavar="NODE", help="the node's name in cluster.ini, such as 5000")
    repairs.add_argument("--term", type=int, metavar="N", help="the new term, the same for all nodes")
    repairs.add_argument(
        "--yes",
        action="store_true",
        help="repair; without it only the diagnosis is printed. The old folder is kept",
    )
    repairs.set_defaults(run=_repair)

    deeds = _add(commands, "deeds", "list what operators and administrators did, the latest first")
    deeds.add_argument(
        "--limit",
        type=_lines,
        default=20,
        metavar="N",
        help="at most so many; default: 20",
    )
    deeds.add_argument("--before", type=_number, metavar="DEED", help="only deeds before this one")
    deeds.add_argument("--json", action="store_true", help="print one JSON object")
    deeds.set_defaults(run=_deeds)

    find = _add(commands, "find", "list postings by their code or text, the latest first")
    find.add_argument("--code", type=_number, metavar="N", help="the code of the postings, a number")
    find.add_argument("--text", metavar="TEXT", help="a part of it; small letters find capital ones")
    find.add_argument("--whole", action="store_true", help="the text is all of it, to the letter")
    find.add_argument(
        "--limit",
        type=_lines,
        default=20,
        metavar="N",
        help="at most so many; default: 20",
    )
    find.add_argument("--before", type=_number, metavar="POSTING", help="only postings before this one")
    find.add_argument("--json", action="store_true", help="print one JSON object")
    find.set_defaults(run=_find)

    watch = _add_watch(commands)

    for command in (verify, export, imports, opens, repairs, deeds, find, watch):
        add_config(command, argparse.SUPPRESS)
        add_certificate(command, argparse.SUPPRESS)
    return parser.parse_args(argv)


def _import_format(options: argparse.Namespace) -> str:
    suffix = options.file.suffix.removeprefix(".")
    found = str(options.format or SUFFIXES.get(suffix, suffix))
    known = READERS if options.mapping is None else FOREIGN_READERS
    if options.mapping is None and options.dry_run:
        raise BadFile("--dry-run is for other programs' books, with --mapping")
    if options.mapping is None and found in FOREIGN_READERS and found not in READERS:
        raise BadFile(
            f"{options.file}: {found} needs --mapping FILE, which says whose account is whose: docs/ledger.md"
        )
    if found not in known:
        raise BadFile(f"{options.file}: the format is unknown: give --format {' or --format '.join(known)}")
    return found


def _number(text: str) -> int:
    if not re.fullmatch("[0-9]{1,18}", text):
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number")
    return int(text)


def _lines(text: str) -> int:
    if not 1 <= (number := _number(text)) <= PAGE_LINES_MAX:
        raise argparse.ArgumentTypeError(f"a number from 1 to {PAGE_LINES_MAX}, not {text}")
    return number


def _currency(text: str) -> str:
    if text not in MINOR_UNITS:
        raise argparse.ArgumentTypeError("a currency is a code of ISO 4217, such as EUR")
    return text


def _commodity(text: str) -> str:
    if not COMMODITY_RULE.fullmatch(text):
        raise argparse.ArgumentTypeError("a commodity is 2 to 10 capital letters, such as EUR")
    return text


def _complain(line: str, code: int) -> int:
    complain(program_name(PROGRAM), line)
    return code
