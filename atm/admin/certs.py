"""`bin/admin certs`: a CA, and certificates for nodes and people. docs/security.md explains them."""

from __future__ import annotations

import argparse
import contextlib
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from tabulate import tabulate

from atm.admin.task import USAGE, NotDone, Task
from atm.command_line import OneLineParser
from atm.config import ConfigError, is_node_name
from atm.identity import Identity, Role, role_uri

if TYPE_CHECKING:
    from atm.admin.certs_folder import CertsFolder, Entry

FOLDER = "certs"  # beside cluster.ini
DAYS, DAYS_MAX = 365, 3650
RESERVED_NAMES = frozenset({"ca", "ca-next"})  # of whom the files would be the CA's
MISSING = (
    "the package cryptography is missing, which makes certificates: pip install 'atm-raft[certs]' (in a "
    "checkout: .venv/bin/pip install -e '.[certs]')"
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what can be done with certificates."""
    actions = parser.add_subparsers(
        required=True, dest="action", metavar="ACTION", parser_class=OneLineParser
    )
    init = _add(actions, "init", "make a CA, or with --next a second one that will replace it", _init)
    init.add_argument("--next", action="store_true", help="begin a change of the CA")
    issue = _add(actions, "issue", "make a key and a certificate for a new name", _issue)
    issue.add_argument("name", metavar="NAME", help="of a node in cluster.ini, or of a person or a program")
    issue.add_argument(
        "--role",
        required=True,
        action="append",
        choices=[str(role) for role in Role],
        help="what NAME may do; may be repeated",
    )
    renew = _add(actions, "renew", "replace keys and certificates by new ones of the same roles", _renew)
    renew.add_argument("names", nargs="*", metavar="NAME", help="whose certificates")
    renew.add_argument(
        "--all",
        action="store_true",
        help="every certificate; begins the change to a second CA if there is one",
    )
    for each in (issue, renew):
        each.add_argument(
            "--days", type=_days, default=DAYS, metavar="N", help="how long it is valid; default: %(default)s"
        )
    _add(actions, "retire", "trust the old CA no more", _retire)
    _add(actions, "show", "list all certificates, and what is wrong with each", _show)


def run(task: Task) -> int:
    """Carry out the action."""
    act: Callable[[Task], int] = task.options.act
    return act(task)


def opened(path: Path, *, make: bool = False) -> CertsFolder:
    """Open a folder of certificates; raise `NotDone`."""
    try:
        from atm.admin.certs_folder import CertsFolder  # noqa: PLC0415  (needs an extra)
    except ImportError:
        raise NotDone(USAGE, MISSING) from None
    return CertsFolder(path, make=make)


def holder(name: str, roles: frozenset[Role]) -> Identity:
    """Return whom a new certificate names; raise `NotDone` if there can be nobody like that."""
    try:
        for role in roles:
            role_uri(role, name)
    except ValueError as error:
        raise NotDone(USAGE, str(error)) from None
    if Role.NODE in roles and len(roles) > 1:
        raise NotDone(USAGE, "a node has no other role: its certificate is for the other nodes alone")
    if Role.NODE in roles and not is_node_name(name):
        raise NotDone(USAGE, f"{name!r} is no name of a node: letters, digits, '_' and '-' only")
    if name.lower() in RESERVED_NAMES:
        raise NotDone(USAGE, f"{name} is the name of the CA's files: take another one")
    return Identity(name, roles)


def _init(task: Task) -> int:
    with opened(_path(task), make=True) as folder:
        if task.options.next:
            folder.make_next_authority()
            lines = [
                f"Made a second CA: {folder.path / 'ca.pem'} has both, and the first one still signs",
                "Now copy ca.pem to every machine, also to those of tellers; only then: certs renew --all",
            ]
        else:
            folder.make_authority()
            lines = [
                f"Made a CA in {folder.path}: ca.pem is for every machine, ca.key signs and stays here",
                "Next: certs issue NAME --role ROLE, for each node (role node) and each person",
            ]
        return _finish(task, lines, folder)


def _issue(task: Task) -> int:
    options = task.options
    named = holder(options.name, frozenset(map(Role, options.role)))
    with opened(_path(task)) as folder:
        certificate = folder.issue(named, options.days)
        lines = [
            f"Issued {_files(folder, named.name)}: {named.name}, {', '.join(sorted(named.roles))}, until "
            f"{_day(certificate.not_valid_after_utc)}"
        ]
        if named.is_node and not _is_known(task, named.name):
            lines.append(f"There is no node {named.name} in {task.config} yet")
        lines.append(f"{named.name} needs both files and ca.pem, and nobody else needs {named.name}.key")
        return _finish(task, lines, folder)


def _renew(task: Task) -> int:
    options = task.options
    if bool(options.names) == options.all:
        raise NotDone(USAGE, "name the certificates to renew, or give --all")
    with opened(_path(task)) as folder:
        names: list[str] = folder.names if options.all else list(dict.fromkeys(options.names))
        renewed = folder.renew_all(options.days) if options.all else folder.renew(names, options.days)
        lines = [
            f"Renewed {_files(folder, name)}, until {_day(each.not_valid_after_utc)}"
            for name, each in zip(names, renewed, strict=True)
        ]
        lines.append(
            "Copy each pair to its machine, the key first; a node reads them by itself, without a restart"
        )
        if len(folder.authorities()) > 1:
            lines.append("Once all machines have theirs: certs retire, and copy ca.pem to all of them again")
        return _finish(task, lines, folder)


def _retire(task: Task) -> int:
    with opened(_path(task)) as folder:
        old = folder.retire()
        lines = [f"{', '.join(old)} is trusted no more: copy ca.pem to every machine"]
        return _finish(task, lines, folder)


def _show(task: Task) -> int:
    with opened(_path(task)) as folder:
        entries = folder.entries()
    rows = [
        (
            each.file,
            each.name,
            " ".join(each.roles),
            _day(each.ends),
            each.signed_by,
            "; ".join(each.faults) or "ok",
        )
        for each in entries
    ]
    headers = ("file", "who", "roles", "until", "signed by", "state")
    text = tabulate(rows, headers, disable_numparse=True)
    return task.finish(text, {"action": "show", "certificates": [_fields(each) for each in entries]})


def _add(
    actions: argparse._SubParsersAction[OneLineParser],
    name: str,
    does: str,
    act: Callable[[Task], int],
) -> argparse.ArgumentParser:
    parser = actions.add_parser(name, help=does, description=does, allow_abbrev=False)
    parser.add_argument(
        "--folder",
        type=Path,
        metavar="FOLDER",
        help="of the certificates; default: certs/ beside cluster.ini",
    )
    parser.add_argument(
        "--config", type=Path, default=argparse.SUPPRESS, metavar="FILE", help="the cluster's file"
    )
    parser.add_argument(
        "--json", action="store_true", default=argparse.SUPPRESS, help="print one JSON object"
    )
    parser.set_defaults(act=act)
    return parser


def _path(task: Task) -> Path:
    given: Path | None = task.options.folder
    return task.config.parent / FOLDER if given is None else given


def _is_known(task: Task, node: str) -> bool:
    with contextlib.suppress(ConfigError):
        return node in task.cluster.nodes
    return False


def _files(folder: CertsFolder, name: str) -> str:
    return f"{folder.path / name}.pem and {name}.key"


def _day(ends: datetime | None) -> str:
    return "" if ends is None else f"{ends:%Y-%m-%d}"


def _fields(entry: Entry) -> dict[str, object]:
    return {
        "file": entry.file,
        "name": entry.name,
        "roles": list(entry.roles),
        "ends_us": None if entry.ends is None else int(entry.ends.timestamp()) * 1_000_000,
        "signed_by": entry.signed_by,
        "faults": list(entry.faults),
    }


def _finish(task: Task, lines: list[str], folder: CertsFolder) -> int:
    fields = {"action": task.options.action, "folder": str(folder.path.absolute()), "message": lines[0]}
    return task.finish("\n".join(lines), fields)


def _days(text: str) -> int:
    if text.isascii() and text.isdecimal() and 1 <= int(text) <= DAYS_MAX:
        return int(text)
    raise argparse.ArgumentTypeError(f"a number of days from 1 to {DAYS_MAX}, not {text}")
