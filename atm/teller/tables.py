"""Tables: statements, exceptions, receipts, the servers. In a narrow terminal they become narrower."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from atm.client import Receipt
from atm.command_line import printable
from atm.ledger.commands import LOCAL
from atm.money import format_amount
from atm.spreadsheet import safe_cell
from atm.teller.commands import word_for
from atm.teller.teller_command import Listing
from atm.timestamps import format_local, format_timestamp

if TYPE_CHECKING:
    from atm.client import NodeStatus

_STACKED_COLUMNS = 20  # the first column of a narrow table: wide enough for a reference
_LABEL_COLUMNS = 13  # of a receipt's first column, and the gap behind it
_AMOUNT = re.compile(r"-?[0-9,]+(\.[0-9]{2}|(\.[0-9]+)? [A-Z]{3})")
_DETAILS = {"target": "to", "hold": "hold", "original": "original", "request": "request"} | {
    "code": "code",
    "text": "text",
}


def page(listing: Listing, rows: Sequence[object], columns: int | None, *, local: bool = False) -> str:
    """Return a page of a listing, in the narrow form if the wide one does not fit.

    With `local`, rows that have a time have it in local time, too.
    """
    time_us = listing.time_us if local else None
    places, cells = _columns(listing, rows)
    headers, alignment = ([texts[n] for n in places] for texts in (listing.headers, listing.alignment))
    narrow = [list(listing.narrow_cells(row)) for row in rows]
    if time_us is not None:
        headers.insert(1, "local time")
        alignment.insert(1, "left")
        for row, wide_cells, narrow_cells in zip(rows, cells, narrow, strict=True):
            here = format_local(time_us(row))
            wide_cells.insert(1, here)
            utc, _, rest = narrow_cells[0].partition("\n")
            narrow_cells[0] = f"{utc}\n{here[:16]}{here[19:]}\n{rest}"
    wide = _tabulate(cells, headers, colalign=alignment)
    if fits(wide, columns):
        return wide
    return _narrow(
        [listing.narrow_headers, *narrow],
        listing.narrow_alignment,
        maxcolwidths=[_STACKED_COLUMNS, *[None] * (len(listing.narrow_headers) - 1)],
    )


def as_csv(listing: Listing, rows: Sequence[object]) -> str:
    """Return rows as CSV with a line of headers; amounts have no separators, and no cell is a formula."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    places, cells = _columns(listing, rows)
    writer.writerow(listing.headers[n] for n in places)
    for row in cells:
        writer.writerow(map(_csv_cell, row))
    return out.getvalue().rstrip("\n")


def _columns(listing: Listing, rows: Sequence[object]) -> tuple[list[int], list[list[str]]]:
    """Return which columns are shown, and the cells of each row in these."""
    cells = [listing.cells(row) for row in rows]
    places = [
        n
        for n, header in enumerate(listing.headers)
        if header not in listing.optional or any(row[n] for row in cells)
    ]
    return places, [[row[n] for n in places] for row in cells]


def _csv_cell(text: str) -> str:
    return text.replace(",", "") if _AMOUNT.fullmatch(text) else safe_cell(text)


def receipt(
    reference: str,
    found: Receipt,
    details: Mapping[str, object],
    columns: int | None,
    *,
    with_balance: bool,
    local: bool,
) -> str:
    """Return what was asked under a reference, with the `details` of the request, and what was decided."""
    assert found.asked is not None
    asked, said = found.asked, details.get("currency")
    assert said is None or isinstance(said, str)
    rows = [("reference", printable(reference)), ("what", printable(word_for(asked.op)))]
    rows += [] if asked.account is None else [("account", printable(asked.account))]
    rows += [(label, printable(str(details[key]))) for key, label in _DETAILS.items() if key in details]
    rows += [] if asked.amount is None else [("amount", format_amount(asked.amount, said, separated=True))]
    if found.moved is not None:
        rows += [("all there was", format_amount(found.moved, found.currency, separated=True))]
    leg = "" if found.leg is None else f" (leg {found.leg + 1})"
    rows += [("outcome", found.outcome.replace("_", " ") + leg)]
    rows += [] if found.active_holds is None else [("active holds", str(found.active_holds))]
    if with_balance and found.balance is not None and found.available is not None:
        amounts = {"balance": found.balance, "available": found.available}
        rows += [
            (label, format_amount(minor, found.currency, separated=True)) for label, minor in amounts.items()
        ]
    rows += [("log entry", str(found.log_index)), ("time (UTC)", format_timestamp(found.time_us))]
    rows += [("local time", format_local(found.time_us))] if local else []
    if found.actor is not None and found.actor != LOCAL:
        rows += [("asked by", printable(found.actor))]
    rows += [] if found.reversed_by is None else [("reversed by", printable(found.reversed_by))]
    if found.taken_back is not None:
        rows += [("taken back", format_amount(found.taken_back, found.currency, separated=True))]
    rows += [] if found.approved_by is None else [("approved by", printable(found.approved_by))]
    width = None if columns is None else max(_STACKED_COLUMNS, columns - _LABEL_COLUMNS)
    return _tabulate(rows, tablefmt="plain", maxcolwidths=[None, width])


def servers(nodes: Sequence[NodeStatus], columns: int | None) -> str:
    """Return the state of the servers; in a narrow terminal without commit index and address."""
    headers = ("node", "role", "term", "commit", "applied", "lag", "address")
    rows = [
        (n.node, printable(n.role), n.term, n.commit_index, n.applied_index, n.lag, n.address) for n in nodes
    ]
    alignment = ("left", "left", "right", "right", "right", "right", "left")
    table = _tabulate(rows, headers, missingval="-", colalign=alignment)
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


def _narrow(rows: Sequence[Sequence[object]], alignment: Sequence[str], **further: Any) -> str:
    """Return a table whose first row is its header: the library pads a real one by two columns."""
    return _tabulate(rows, tablefmt="plain", missingval="-", colalign=alignment, **further)


def _tabulate(rows: Sequence[Sequence[object]], headers: Sequence[str] = (), **further: Any) -> str:
    # Imported here because it takes longer to load than most commands, which print no table, need in all.
    from tabulate import tabulate  # noqa: PLC0415

    return tabulate(rows, headers, disable_numparse=True, **further)
