"""The names of the bank's own accounts: a cash and a write-off account for each currency.

And where the bank has several lanes, one through which transfers leave and enter a lane (crossings.py).

Those of the first currency are `cash` and `writeoff`, as ever; those of another have its code behind a colon,
as in `cash:EUR`. No name of a customer has a colon, so nobody can have had one of these before.
"""

from __future__ import annotations

from atm.ledger.commands import BANK_ACCOUNTS, CASH, WRITEOFF

_COLON = ":"
TRANSIT = "transit"


def cash_of(currency: str | None) -> str:
    """Return the other side of every credit and debit in that currency; None is the first."""
    return CASH if currency is None else f"{CASH}{_COLON}{currency}"


def writeoff_of(currency: str | None) -> str:
    """Return the account that bears the bank's losses in that currency; None is the first."""
    return WRITEOFF if currency is None else f"{WRITEOFF}{_COLON}{currency}"


def transit_of(currency: str | None) -> str:
    """Return the account through which transfers leave and enter a lane; None is the first currency."""
    return f"{TRANSIT}{_COLON}{currency or ''}"


def is_transit(*names: str) -> bool:
    """Return whether one of these is the account for transfers between lanes of any currency."""
    return any(name.startswith(f"{TRANSIT}{_COLON}") for name in names)


def is_banks_own(name: str) -> bool:
    """Return whether an account of that name is the bank's, and no customer's."""
    return name in BANK_ACCOUNTS or _COLON in name


def is_cash(name: str) -> bool:
    """Return whether it is the cash account of any currency."""
    return name.partition(_COLON)[0] == CASH


def is_writeoff(name: str) -> bool:
    """Return whether it is the write-off account of any currency."""
    return name.partition(_COLON)[0] == WRITEOFF


def currency_of_own(name: str) -> str | None:
    """Return the currency of an account of the bank's own, by its name; None is the first."""
    return name.partition(_COLON)[2] or None
