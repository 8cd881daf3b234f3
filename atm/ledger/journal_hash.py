"""The hash that chains each row of the journal to all before it: whoever reads them all can check it."""

from __future__ import annotations

import hashlib

from msgspec import Struct
from msgspec.json import encode


class Remark(Struct, frozen=True, gc=False):
    """The code and the text of postings; one of the two may be None."""

    code: int | None
    text: str | None


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
    remark: Remark | None = None,
) -> bytes:
    """Return SHA-256 over the hash before (32 bytes), the row's other columns, and its remark if it has one.

    The columns are ASCII text, separated by spaces: no column contains one. A remark is a JSON array.
    """
    text = f"{number} {time_us} {debit} {credit} {amount} {debit_balance} {credit_balance} {request_id}"
    if remark is not None:
        text += f" {encode((remark.code, remark.text)).decode()}"
    return hashlib.sha256(previous_hash + text.encode()).digest()
