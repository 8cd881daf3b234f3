"""Reports whose text is a table: pages of postings, receipts, the servers."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING

from msgspec.structs import asdict as fields_of
from msgspec.structs import replace

from atm.client import Receipt
from atm.ledger.commands import Page
from atm.teller import tables
from atm.teller.commands import command_of
from atm.teller.report import DONE, NOT_AVAILABLE, Report, decided
from atm.wire.client_messages import decode_details

if TYPE_CHECKING:
    from atm.client import ClusterStatus

SAID_BESIDES = ("leg", "moved", "active_holds")  # by some receipts


def page(request: Page, found: Receipt, columns: int | None, *, local: bool = False) -> Report:
    """Report a page, and how to ask for the next one if there is one."""
    command = command_of(request)
    assert command is not None
    listing = command.listing
    assert listing is not None, f"{command.name} has no listing"
    rows = listing.rows(found)
    text = tables.page(listing, rows, columns, local=local) if rows else "There is nothing to list"
    if found.next is not None:
        following = f"{command.name} {request.limit} {request.cursor.split('_')[0]} {found.next}"
        text += f"\nThere is more (type: more{f', or elsewhere: {following}' if columns is None else ''})"
    return replace(decided(request, found, text), is_table=True, csv=tables.as_csv(listing, rows or ()))


def receipt(
    reference: str, found: Receipt, columns: int | None, *, with_balance: bool, local: bool
) -> Report:
    """Report what was asked under a reference and how it was decided: `decision`, in the JSON."""
    assert found.asked is not None
    asked = {name: value for name, value in fields_of(found.asked).items() if name != "details"}
    details = {} if found.asked.details is None else decode_details(found.asked.details)
    return Report(
        command="receipt",
        outcome="ok",
        code=DONE,
        text=tables.receipt(reference, found, details, columns, with_balance=with_balance, local=local),
        account=found.asked.account,
        amount=found.asked.amount,
        balance=found.balance if with_balance else None,
        available=found.available if with_balance else None,
        request_id=reference,
        log_index=found.log_index,
        details={
            "decision": str(found.outcome),
            **{name: value for name in SAID_BESIDES if (value := getattr(found, name)) is not None},
            "asked": asked | details,
            "time_us": found.time_us,
            "actor": found.actor,
            "reversed_by": found.reversed_by,
            "taken_back": found.taken_back,
            "approved_by": found.approved_by,
        },
        is_table=True,
    )


def servers(cluster: ClusterStatus, columns: int | None) -> Report:
    """Report the state of the servers and, in the last line, whether the bank is available."""
    # Imported here because few commands ask for a status, and it loads dataclasses.
    from atm.client.node_status import available_line, missing_lines, status_fields  # noqa: PLC0415

    return Report(
        command="status",
        outcome="ok" if cluster.available else "unavailable",
        code=DONE if cluster.available else NOT_AVAILABLE,
        text="\n".join(
            [
                tables.servers(cluster.nodes, columns),
                *(
                    line
                    for whole in (*missing_lines(cluster), available_line(cluster))
                    for line in textwrap.wrap(whole, columns or 1000)
                ),
            ]
        ),
        details=status_fields(cluster),
        is_table=True,
    )
