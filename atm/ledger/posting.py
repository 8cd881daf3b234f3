"""Double entry: each posting moves money between two accounts, and stays in the journal for ever.

The words are those of a customer: a debit lowers an account, a credit raises it. A posting lowers its debit
account and raises its credit account by one amount, an integer of minor units.
"""

from __future__ import annotations

from msgspec import Struct

from atm.ledger.accounts import Account
from atm.ledger.commands import AMOUNT_MINOR_MAX, BALANCE_MINOR_MAX, LEGS_MAX, OK, Outcome
from atm.ledger.journal_hash import Remark, row_hash

# The lowest balance of an account of the bank's own: one above the least signed 64-bit integer. All balances
# add up to 0, so the sum of any of them, in any order, fits into an integer of SQLite too.
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
        """Return the posting that reverses `amount_minor` of it."""
        return Posting(self.credit_account, self.debit_account, amount_minor)


# A posting as the journal has it: number, time stamp, debit account, credit account, amount, the balances of
# the two right after it, request id, hash. A plain tuple, since a named one takes four times as long.
JournalRow = tuple[int, int, str, str, int, int, int, str, bytes]


def funds(debit: Account, credit: Account, amount_minor: int, *, overdraft: bool) -> Outcome:
    """Return `OK`, or why the balances do not allow a posting; under `overdraft` no funds are needed."""
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
    remark: Remark | None,
) -> JournalRow:
    """Return the journal's next row; the two accounts have their balances after it already.

    Its hash covers the row and, through `previous_hash`, all rows before it.
    """
    row = (number, time_us, debit.name, credit.name, amount, debit.balance, credit.balance, request_id)
    return (*row, row_hash(previous_hash, *row, remark))
