"""`bin/admin roles`: grants and revokes roles in the log, whatever certificates say, and lists them."""

from __future__ import annotations

import argparse

from msgspec.structs import asdict
from tabulate import tabulate

from atm.admin.task import DONE, REFUSED, USAGE, NotDone, Task, require_allowed
from atm.client import Client
from atm.client.pages import pages
from atm.client.receipt import new_request_id
from atm.command_line import printable
from atm.ledger.commands import GrantRole, RevokeRole, Roles, RoleState
from atm.tls.of_cluster import client_credentials

ROLES = ("admin", "auditor", "gateway", "operator", "teller")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what is to be done, and to whom."""
    parser.add_argument("action", choices=("grant", "revoke", "list"), metavar="grant|revoke|list")
    parser.add_argument("name", nargs="?", metavar="NAME", help="the name in the certificate")
    parser.add_argument(
        "role", nargs="?", choices=ROLES, metavar="ROLE", help=f"{', '.join(ROLES)}; revoke: default all"
    )
    parser.add_argument("--yes", action="store_true", help="also if you revoke your own right to do this")


def run(task: Task) -> int:
    """Carry out one of the three."""
    options = task.options
    with task.bank_client() as client:
        if options.action == "list":
            if options.name is not None:
                raise NotDone(USAGE, "roles list takes no name: it lists all that the log changed")
            return _list(task, client)
        if options.name is None or (options.action == "grant" and options.role is None):
            raise NotDone(USAGE, f"roles {options.action} needs a name and a role, such as: ann teller")
        try:
            return _change(task, client)
        except ValueError:
            raise NotDone(
                USAGE, f"{printable(options.name)} is the name of no certificate whose roles can be changed"
            ) from None


def _change(task: Task, client: Client) -> int:
    name, role = task.options.name, task.options.role
    if task.options.action == "grant":
        receipt = client.ask(GrantRole(id=new_request_id(), name=name, role=role))
        done = f"{name} has the role {role}, from log entry {receipt.log_index} on"
    else:
        if role in ("admin", None) and name == _own_name(task) and not task.options.yes:
            raise NotDone(
                REFUSED,
                f"{name} is you: without any other administrator nobody can grant a role any more. If "
                "there is one, add --yes. Nothing was changed",
            )
        receipt = client.ask(RevokeRole(id=new_request_id(), name=name, role=role))
        what = "all roles" if role is None else f"the role {role}"
        done = f"{name} has lost {what}, whatever the certificate says, from log entry {receipt.log_index} on"
    require_allowed(receipt, f"{task.options.action}_role")
    return task.finish(done, {"name": name, "role": role, "index": receipt.log_index})


def _own_name(task: Task) -> str | None:
    """Return the name in the caller's certificate."""
    credentials = client_credentials(task.cluster)
    return None if credentials is None else credentials.loaded.identity.name


def _list(task: Task, client: Client) -> int:
    rows: list[RoleState] = []
    for page in pages(client.ask, Roles(id=new_request_id())):
        require_allowed(page, "roles")
        rows += page.roles or ()
    table = tabulate(
        [(row.name, row.granted or "-", row.revoked or "-", row.log_index) for row in rows],
        ("name", "granted", "revoked", "since entry"),
        disable_numparse=True,
        colalign=("left", "left", "left", "right"),
    )
    text = (
        table if rows else "No role was granted or revoked here: everybody has the roles of the certificate"
    )
    return task.finish(text, {"roles": [asdict(row) for row in rows]}, DONE)
