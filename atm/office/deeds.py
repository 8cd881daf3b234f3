"""The record of what operators and administrators did, as a table."""

from __future__ import annotations

from collections.abc import Sequence

from tabulate import tabulate

from atm.command_line import printable
from atm.ledger.commands import Deed
from atm.money import format_amount
from atm.timestamps import format_timestamp

HEADERS = ("deed", "time (UTC)", "who", "roles", "what", "on", "amount", "outcome", "request")


def print_deeds(deeds: Sequence[Deed]) -> None:
    """Print a line for each deed."""
    if not deeds:
        print("There is no deed")
        return
    rows = [
        (
            deed.deed,
            format_timestamp(deed.time_us),
            printable(deed.actor),
            printable(deed.roles) or "-",
            printable(deed.op),
            printable(deed.target or "-"),
            "-" if deed.amount is None else format_amount(deed.amount, deed.currency),
            printable(deed.outcome),
            printable(deed.request_id),
        )
        for deed in deeds
    ]
    print(tabulate(rows, HEADERS, disable_numparse=True))
