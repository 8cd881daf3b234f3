"""`bin/admin pepper`: adds a new pepper to the file, makes it current while the bank serves, shows it."""

from __future__ import annotations

import argparse
import time

from msgspec.structs import asdict
from tabulate import tabulate

from atm.admin.membership import change
from atm.admin.task import DONE, REFUSED, NotDone, Task, require_allowed
from atm.client import Client
from atm.client.node_status import ClusterStatus
from atm.client.receipt import new_request_id
from atm.ledger.commands import Pepper, PepperView, RotatePepper
from atm.server.security.peppers import PepperRefused, add_pepper

READ_S = 8.0  # within which the nodes have read a changed file, and told the leader
POLL_S = 0.2


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what is to be done."""
    parser.add_argument("action", choices=("add", "rotate", "show"), metavar="add|rotate|show")


def run(task: Task) -> int:
    """Carry out one of the three."""
    if task.options.action == "add":
        return _add(task)
    return _rotate(task) if task.options.action == "rotate" else _show(task)


def _add(task: Task) -> int:
    """Add to the file of this machine; no node need answer."""
    path = task.cluster.pepper_file
    try:
        names = add_pepper(path).names
    except PepperRefused as error:
        raise NotDone(REFUSED, str(error)) from error
    lines = [f"Added pepper {names[-1]} to {path}, as line {len(names)}; nothing is sealed for it yet"]
    if task.cluster.is_on_one_machine:
        lines.append("The nodes read it by themselves, within some seconds")
    else:
        lines.append(
            "Copy the file to all other machines, for the bank's user only (mode 0600); the nodes read it by "
            "themselves, within some seconds"
        )
    lines.append("Keep a copy with the one that you have; lines are never taken out. Then: pepper rotate")
    return task.finish("\n".join(lines), {"file": str(path), "peppers": list(names)})


def _rotate(task: Task) -> int:
    """Make the newest pepper that any node knows current; wait a little for those that read it just now."""
    until = time.monotonic() + (task.timeout_s or READ_S)
    with task.bank_client() as client:
        while True:
            current = _current(client)
            newest = max(_peppers_of(client.cluster_status()).values(), key=len, default=())
            is_last_try = time.monotonic() > until
            if len(newest) > current.generation:
                try:
                    return _rotate_to(task, newest)
                except NotDone as refusal:
                    if is_last_try or refusal.code != REFUSED:
                        raise
            elif is_last_try and current.generation > 1:
                text = f"Pepper {current.name} is current already, and no node knows a newer one"
                return task.finish(text, {"pepper": current.name, "index": current.log_index})
            elif is_last_try:
                raise NotDone(REFUSED, "no node knows a newer pepper: add one first (pepper add)")
            time.sleep(POLL_S)


def _rotate_to(task: Task, peppers: tuple[str, ...]) -> int:
    request = RotatePepper(id=new_request_id(), generation=len(peppers), pepper=peppers[-1])
    reply = change(task, request)
    current = f"Pepper {request.pepper} is current, from log entry {reply.index} on"
    text = f"{current}: the stored PINs are being carried over"
    fields = {"generation": request.generation, "pepper": request.pepper, "index": reply.index}
    return task.finish(text, fields)


def _current(client: Client) -> PepperView:
    receipt = client.ask(Pepper(id=new_request_id()))
    require_allowed(receipt, "pepper")
    assert receipt.pepper is not None, "an ok has what was asked for"
    return receipt.pepper


def _show(task: Task) -> int:
    """Show which pepper is current, how far the stored PINs are carried over, and what the nodes know."""
    with task.bank_client() as client:
        view = _current(client)
        known = _peppers_of(client.cluster_status())
    table = tabulate(
        [(node, len(names), names[-1]) for node, names in known.items()],
        ("node", "lines", "last pepper"),
        disable_numparse=True,
        colalign=("left", "right", "left"),
    )
    fields = {"current": asdict(view), "nodes": {node: list(names) for node, names in known.items()}}
    return task.finish(f"{table}\n{_line_about(view)}", fields, DONE)


def _peppers_of(status: ClusterStatus) -> dict[str, tuple[str, ...]]:
    """Return the names of the peppers that each answering node knows."""
    return {
        node.node: (node.pepper, *node.further_peppers) for node in status.nodes if node.pepper is not None
    }


def _line_about(view: PepperView) -> str:
    if view.generation == 1:
        return "The first pepper is current: all PINs are sealed for it"
    current = f"Pepper {view.name} (line {view.generation}) is current since log entry {view.log_index}"
    if view.carried_index is not None:
        since = f"since entry {view.carried_index} the books hold nothing that is sealed for an older one"
        return f"{current}: {since}"
    accounts = "1 account has a PIN" if view.older == 1 else f"{view.older} accounts have PINs"
    return f"{current}: carrying over, {accounts} sealed for an older one"
