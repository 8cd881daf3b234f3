"""The hash that chains each row of the journal to all before it: whoever reads them all can check it."""

from __future__ import annotations

import hashlib


def row_hash(
    previous_hash: bytes,
    number: int,
    time_us: int,
    debit: str,
    credit: str,
    amount: int,
    debit_balance: int,
    credit_balance: int,
    request_id: str,
) -> bytes:
    """Return SHA-256 over the hash before (32 bytes) and the row's other columns.

    The columns are ASCII text, separated by spaces: no column contains one.
    """
    text = f"{number} {time_us} {debit} {credit} {amount} {debit_balance} {credit_balance} {request_id}"
    return hashlib.sha256(previous_hash + text.encode()).digest()
