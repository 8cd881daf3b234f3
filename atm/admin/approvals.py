"""`bin/admin approval-limit` and `approvals`: what needs a second person, and what waits for one."""

from __future__ import annotations

import argparse
from typing import get_args

from msgspec.structs import asdict
from tabulate import tabulate

from atm.admin.task import Task, require_allowed
from atm.client import new_request_id
from atm.client.pages import pages
from atm.command_line import printable
from atm.ledger.commands import PAGE_LINES_MAX, Approvals, LimitedOp, WaitingRequest
from atm.money import AmountError, format_amount, parse_amount
from atm.timestamps import format_timestamp

OPS = get_args(LimitedOp)


def add_limit_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what is limited, and to how much."""
    parser.add_argument("op", choices=OPS, metavar="OP", help=", ".join(OPS))
    parser.add_argument(
        "amount",
        type=_amount,
        metavar="AMOUNT|none",
        help="what is above it needs a second person: the amount of a write-off or a reversal, the balance "
        "of the account whose PIN it is about; 0: all of them",
    )


def run_limit(task: Task) -> int:
    """Set a limit, or take it off."""
    op, amount = task.options.op, task.options.amount
    with task.bank_client() as client:
        receipt = client.set_approval_limit(op, amount)
    require_allowed(receipt, "set_approval_limit")
    what = f"{op} above {format_amount(amount)} needs" if amount is not None else f"{op} does not need"
    text = f"{what} a second person, from log entry {receipt.log_index} on"
    return task.finish(text, {"op": op, "amount": amount, "index": receipt.log_index})


def run_list(task: Task) -> int:
    """Show the limits, and what waits."""
    with task.bank_client() as client:
        found = list(pages(client.ask, Approvals(id=new_request_id(), limit=PAGE_LINES_MAX)))
    for page in found:
        require_allowed(page, "approvals")
    limits = found[0].limits or ()
    waiting = [row for page in found for row in page.approvals or ()]
    fields = {"limits": [asdict(row) for row in limits], "approvals": [asdict(row) for row in waiting]}
    if not limits and not waiting:
        return task.finish("Nothing needs a second person: no limit is set", fields)
    set_limits = tabulate(
        [(row.op, format_amount(row.amount or 0), row.log_index) for row in limits],
        ("what", "above", "since entry"),
        disable_numparse=True,
        colalign=("left", "right", "right"),
    )
    text = set_limits if limits else "No limit is set any more"
    return task.finish(f"{text}\n\n{_table(waiting)}", fields)


def _table(waiting: list[WaitingRequest]) -> str:
    if not waiting:
        return "Nothing waits for a second person"
    return tabulate(
        [
            (
                format_timestamp(row.time_us),
                printable(row.op),
                printable(row.target),
                format_amount(row.stake, row.currency),
                printable(row.actor),
                printable(row.request_id),
            )
            for row in waiting
        ],
        ("time (UTC)", "what", "on", "at stake", "asked by", "reference"),
        disable_numparse=True,
        colalign=("left", "left", "left", "right", "left", "left"),
    )


def _amount(text: str) -> int | None:
    """Return an amount in minor units, 0 too; None for `none`."""
    if text == "none":
        return None
    try:
        return 0 if text == "0" else parse_amount(text)
    except AmountError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
