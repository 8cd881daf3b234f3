"""Postings that were found by their code or text, as a table."""

from __future__ import annotations

from collections.abc import Sequence

from tabulate import tabulate

from atm.command_line import printable
from atm.ledger.commands import Line
from atm.money import format_amount
from atm.timestamps import format_timestamp

HEADERS = ("posting", "time (UTC)", "what", "from", "to", "amount", "code", "text", "request")


def print_found(lines: Sequence[Line]) -> None:
    """Print a line for each posting."""
    if not lines:
        print("No posting was found here")
        return
    rows = [
        (
            line.posting,
            format_timestamp(line.time_us),
            printable(line.op),
            printable(line.account),
            printable(line.other),
            format_amount(-line.amount),
            "-" if line.code is None else line.code,
            printable(line.text or "-"),
            printable(line.request_id),
        )
        for line in lines
    ]
    print(tabulate(rows, HEADERS, disable_numparse=True))
