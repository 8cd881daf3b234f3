"""Limits that an operator sets for an account: a ceiling on its balance, and transfers in its daily limit.

They bind credits, transfers and batches. Corrections (`reverse`, `write_off`), and cash that has left a
machine (`post`), are booked whatever they say.
"""

from __future__ import annotations

from atm.ledger.accounts import Account
from atm.ledger.commands import OK, Outcome


class Limits:
    """What the postings of one command use up, each asked about in its order; `paid` is by account."""

    def __init__(self, time_us: int) -> None:
        """`time_us` is the log time at which the command is decided."""
        self._time_us = time_us
        self.paid: dict[str, int] = {}  # by accounts whose transfers count, in their order

    def check(self, debit: Account, credit: Account, amount: int) -> Outcome:
        """Return `OK`, or which limit a posting would break, after those that were asked about before."""
        if debit.transfers_from is not None:
            paid = self.paid.get(debit.name, 0) + amount
            if debit.exceeds_limit(paid, self._time_us):
                return Outcome.LIMIT_EXCEEDED
            self.paid[debit.name] = paid
        if credit.ceiling is not None and credit.balance + amount > credit.ceiling:
            return Outcome.CEILING_EXCEEDED
        return OK
