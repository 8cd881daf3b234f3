"""In which currency a request was asked, and in which the account is that it was about."""

from __future__ import annotations

from atm.ledger.commands import Contents
from atm.ledger.requests import details_of, named_in
from atm.ledger.rows import LedgerRows


def currency_of(rows: LedgerRows, request_id: str) -> str | None:
    """Return the currency of the account that a request is about, None for the bank's first, or for none.

    What names a request is about the account of that one.
    """
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


def currency_said(rows: LedgerRows, request_id: str) -> str | None:
    """Return the currency that a request says its amount is in; None for the bank's first, or for none."""
    record = rows.record(request_id) if rows.has_level_2 else None
    return None if record is None else details_of(record.asked).get("currency")


def _first_payer(asked: Contents) -> str:
    return str(details_of(asked)["legs"][0][0])
