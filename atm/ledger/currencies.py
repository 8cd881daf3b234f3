"""In which currency a request was asked: that of the account that it names, or that of the request it names."""

from __future__ import annotations

import msgspec

from atm.ledger.commands import Contents
from atm.ledger.requests import named_in
from atm.ledger.rows import SqliteRows


def currency_of(rows: SqliteRows, request_id: str) -> str | None:
    """Return the currency of the amounts of a request, None for the bank's first, or if there are none."""
    record = rows.record(request_id) if rows.has_level_2 else None
    if record is None:
        return None
    match record.asked.op:
        case "post" | "void":
            hold = rows.hold(named_in(record.asked, "hold"))
            name = None if hold is None else hold.account
        case "reverse":
            return currency_of(rows, named_in(record.asked, "original"))
        case "approve":
            return currency_of(rows, named_in(record.asked, "request"))
        case "batch":
            name = _first_payer(record.asked)
        case _:
            name = record.asked.account
    account = None if name is None else rows.account(name)
    return None if account is None else account.currency


def _first_payer(asked: Contents) -> str:
    assert asked.details is not None
    legs = msgspec.json.decode(asked.details, type=dict[str, list[tuple[str, str, int]]])["legs"]
    return legs[0][0]
