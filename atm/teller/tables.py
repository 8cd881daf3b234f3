"""Tables: statements, exceptions, receipts, the servers. In a narrow terminal they become narrower."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tabulate import tabulate

from atm.client import Line, NodeStatus, Receipt
from atm.command_line import printable
from atm.ledger.commands import BANK_ACCOUNTS, WRITEOFF
from atm.money import format_amount
from atm.teller.timestamps import format_timestamp
from atm.teller.words import typed

_STACKED_COLUMNS = 20  # the first column of a narrow table: a reference fits in
_LABEL_COLUMNS = 13  # of a receipt's first column, and the gap behind it
_DETAILS = {"target": "to", "hold": "hold", "original": "original"}


def statement(lines: Sequence[Line], columns: int | None) -> str:
    """Return an account's postings, the latest first, each with the balance after it."""
    headers = ["time (UTC)", "what", "amount", "balance", "reference"]
    rows = [
        [format_timestamp(line.time_us), _what(line), *_amounts(line), printable(line.request_id)]
        for line in lines
    ]
    return _posting_table(headers, rows, columns)


def exceptions(lines: Sequence[Line], columns: int | None) -> str:
    """Return the postings that a person should look at, the latest first."""
    headers = ["time (UTC)", "what", "amount", "balance", "reference"]
    rows = [
        [
            format_timestamp(line.time_us),
            printable(
                f"{typed(line.exception or '')}: {line.other if line.account == WRITEOFF else line.account}"
            ),
            *_amounts(line),
            printable(line.request_id),
        ]
        for line in lines
    ]
    return _posting_table(headers, rows, columns)


def receipt(
    reference: str, found: Receipt, details: Mapping[str, object], columns: int | None, *, with_balance: bool
) -> str:
    """Return what was asked under a reference, with the `details` of the request, and what was decided."""
    assert found.asked is not None
    asked = found.asked
    rows = [("reference", printable(reference)), ("what", printable(typed(asked.op)))]
    rows += [] if asked.account is None else [("account", printable(asked.account))]
    rows += [(label, printable(str(details[key]))) for key, label in _DETAILS.items() if key in details]
    rows += [] if asked.amount is None else [("amount", format_amount(asked.amount))]
    rows += [("outcome", found.outcome.replace("_", " "))]
    if with_balance and found.balance is not None and found.available is not None:
        rows += [("balance", format_amount(found.balance)), ("available", format_amount(found.available))]
    rows += [("time (UTC)", format_timestamp(found.time_us))]
    rows += [] if found.reversed_by is None else [("reversed by", printable(found.reversed_by))]
    width = None if columns is None else max(_STACKED_COLUMNS, columns - _LABEL_COLUMNS)
    return tabulate(rows, tablefmt="plain", disable_numparse=True, maxcolwidths=[None, width])


def servers(nodes: Sequence[NodeStatus], columns: int | None) -> str:
    """Return how the servers are doing; in a narrow terminal without what is for specialists."""
    headers = ("node", "role", "term", "commit", "applied", "lag", "address")
    rows = [
        (n.node, printable(n.role), n.term, n.commit_index, n.applied_index, n.lag, n.address) for n in nodes
    ]
    alignment = ("left", "left", "right", "right", "right", "right", "left")
    table = tabulate(rows, headers, missingval="-", disable_numparse=True, colalign=alignment)
    if fits(table, columns):
        return table
    return _narrow(
        [("node", "role", "term", "applied", "lag")]
        + [(n.node, printable(n.role), n.term, n.applied_index, n.lag) for n in nodes],
        ("left", "left", "right", "right", "right"),
    )


def fits(table: str, columns: int | None) -> bool:
    """Return whether no line of the table is longer than the terminal is wide; a pipe takes all."""
    return columns is None or max(map(len, table.splitlines())) <= columns


def _posting_table(headers: list[str], rows: list[list[str]], columns: int | None) -> str:
    """Put time, what and reference below each other where they do not fit side by side."""
    wide = tabulate(rows, headers, disable_numparse=True, colalign=("left", "left", "right", "right", "left"))
    if fits(wide, columns):
        return wide
    return _narrow(
        [("posting (UTC)", "amount", "balance")]
        + [(f"{time[:-3]}\n{what}\n{reference}", *amounts) for time, what, *amounts, reference in rows],
        ("left", "right", "right"),
        maxcolwidths=[_STACKED_COLUMNS, None, None],
    )


def _narrow(rows: Sequence[Sequence[object]], alignment: Sequence[str], **further: Any) -> str:
    """Return a table whose first row is its head: the library pads a real one by two columns."""
    return tabulate(
        rows, tablefmt="plain", missingval="-", disable_numparse=True, colalign=alignment, **further
    )


def _what(line: Line) -> str:
    deed = typed(line.op)
    if line.other in BANK_ACCOUNTS:
        return printable(deed)
    return printable(f"{deed} {'to' if line.amount < 0 else 'from'} {line.other}")


def _amounts(line: Line) -> tuple[str, str]:
    return format_amount(line.amount, in_column=True), format_amount(line.balance, in_column=True)
