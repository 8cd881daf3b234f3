"""Double entry: money moves between two accounts, and the journal remembers each move for ever.

Every posting takes an amount from its debit account and gives it to its credit account, as a customer
uses the words: a debit lowers an account, a credit raises it. Amounts are integers in minor units.
"""

from __future__ import annotations

import hashlib

from msgspec import Struct

from atm.ledger.accounts import Account
from atm.ledger.commands import AMOUNT_MINOR_MAX, BALANCE_MINOR_MAX, LEGS_MAX, OK, Outcome

# The lowest that an account of the bank's own may be. One above the least signed 64-bit number: all
# balances add up to 0, so the sum of any of them, in any order, fits SQLite's integers as well.
BANK_MINOR_MIN = -(2**63 - 1)

assert AMOUNT_MINOR_MAX <= BALANCE_MINOR_MAX <= -BANK_MINOR_MIN

POSTINGS_PER_ENTRY = LEGS_MAX  # a posting's number is its log index times this, plus its place in the entry
NO_HASH = bytes(32)  # before the first posting


class Posting(Struct, frozen=True, gc=False):
    """`amount_minor` goes from `debit_account` to `credit_account`."""

    debit_account: str
    credit_account: str
    amount_minor: int

    def opposite(self, amount_minor: int) -> Posting:
        """Return the posting that takes back `amount_minor` of it."""
        return Posting(self.credit_account, self.debit_account, amount_minor)


# A posting as it stands in the journal: number, time stamp, debit account, credit account, amount, what the
# two have right after it, request id, hash. A plain tuple, since a named one takes four times as long.
JournalRow = tuple[int, int, str, str, int, int, int, str, bytes]


def funds(debit: Account, credit: Account, amount_minor: int, *, overdraft: bool) -> Outcome:
    """Return `OK` if the two accounts can bear it; under `overdraft` what is there does not matter."""
    left = debit.balance - amount_minor
    if debit.is_banks_own:
        if left < BANK_MINOR_MIN:
            return Outcome.LIMIT_EXCEEDED
    elif overdraft:
        if left < -BALANCE_MINOR_MAX:
            return Outcome.LIMIT_EXCEEDED
    elif left < debit.held:
        return Outcome.INSUFFICIENT_FUNDS
    if credit.balance + amount_minor > BALANCE_MINOR_MAX:
        return Outcome.LIMIT_EXCEEDED
    return OK


def chained(
    previous_hash: bytes,
    number: int,
    time_us: int,
    debit: Account,
    credit: Account,
    amount: int,
    request_id: str,
) -> JournalRow:
    """Return the journal's next row, once the two accounts have what they have after it.

    Its hash covers the row and, through `previous_hash`, all before it.
    """
    row = (number, time_us, debit.name, credit.name, amount, debit.balance, credit.balance, request_id)
    return (*row, row_hash(previous_hash, *row))


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

    They are text in ASCII, with a space between each two: no column holds one.
    """
    text = f"{number} {time_us} {debit} {credit} {amount} {debit_balance} {credit_balance} {request_id}"
    return hashlib.sha256(previous_hash + text.encode()).digest()
