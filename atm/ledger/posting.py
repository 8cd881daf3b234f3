"""The bank's rules, as pure functions of the balances: no file, no clock, no chance.

Money is double entry. Every posting takes an amount from its debit account and gives it to its credit
account, as a customer uses the words: a debit lowers an account, a credit raises it. The other side is
the bank's own account, `cash`. Amounts are integers in minor units.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import assert_never

from msgspec import Struct

from atm.ledger.commands import (
    AMOUNT_MINOR_MAX,
    BALANCE_MINOR_MAX,
    CASH,
    Command,
    Credit,
    Debit,
    Open,
    Outcome,
    Receipt,
)

# The lowest that cash may be. One above the least signed 64-bit number: all balances add up to 0, so the
# sum of any of them, in any order, fits SQLite's integers as well.
CASH_MINOR_MIN = -(2**63 - 1)

assert AMOUNT_MINOR_MAX <= BALANCE_MINOR_MAX <= -CASH_MINOR_MIN


class Posting(Struct, frozen=True, gc=False):
    """`amount_minor` goes from `debit_account` to `credit_account`."""

    debit_account: str
    credit_account: str
    amount_minor: int


class Ruling(Struct, frozen=True):
    """A command as it was first asked under its id, and the receipt that it got."""

    command: Command
    receipt: Receipt


def posting_for(command: Credit | Debit) -> Posting:
    """Return what moves if the bank agrees to `command`."""
    match command:
        case Credit():
            return Posting(CASH, command.account, command.amount)
        case Debit():
            return Posting(command.account, CASH, command.amount)
        case _:
            assert_never(command)


def decide(command: Command, balances: Mapping[str, int]) -> Outcome:
    """Return how the bank decides `command`; `balances` holds cash and, if it exists, the account."""
    match command:
        case Open():
            return Outcome.EXISTS if command.account in balances else Outcome.OK
        case Credit() | Debit():
            if command.account == CASH or command.account not in balances:
                return Outcome.NO_SUCH_ACCOUNT
            return _decide_posting(posting_for(command), balances)
        case _:
            assert_never(command)


def _decide_posting(posting: Posting, balances: Mapping[str, int]) -> Outcome:
    left = balances[posting.debit_account] - posting.amount_minor
    if posting.debit_account == CASH:
        if left < CASH_MINOR_MIN:
            return Outcome.LIMIT_EXCEEDED
    elif left < 0:
        return Outcome.INSUFFICIENT_FUNDS
    if balances[posting.credit_account] + posting.amount_minor > BALANCE_MINOR_MAX:
        return Outcome.LIMIT_EXCEEDED
    return Outcome.OK


class Book:
    """A run of commands being decided: what was read for it, and what it leaves to be written.

    `balances` holds cash and every existing account that the commands name; `rulings` holds the first
    ruling on each of their ids that has one. Both grow as commands are settled.
    """

    def __init__(self, balances: dict[str, int], rulings: dict[str, Ruling]) -> None:
        self.balances = balances
        self._rulings = rulings
        self.new_rulings: list[Ruling] = []
        self.new_postings: list[tuple[Posting, Receipt]] = []
        self.changed_accounts: set[str] = set()

    def settle(self, log_index: int, time_us: int, command: Command) -> Receipt:
        """Decide `command` of the log entry at `log_index`, post what it moves, and return its receipt.

        An id that has a ruling gets that receipt again, whatever the balances are now; with other
        contents it is refused, nothing moves, and the first ruling stays.
        """
        _assert_well_formed(command)
        first = self._rulings.get(command.id)
        if first is None:
            receipt = self._rule(log_index, time_us, command)
            self._rulings[command.id] = ruling = Ruling(command, receipt)
            self.new_rulings.append(ruling)
            return receipt
        if first.command == command:
            return first.receipt
        return self._receipt(log_index, time_us, command, Outcome.ID_REUSED)

    def _rule(self, log_index: int, time_us: int, command: Command) -> Receipt:
        outcome = decide(command, self.balances)
        if outcome is not Outcome.OK:
            return self._receipt(log_index, time_us, command, outcome)
        if isinstance(command, Open):
            self.balances[command.account] = 0
            self.changed_accounts.add(command.account)
            return self._receipt(log_index, time_us, command, outcome)
        posting = posting_for(command)
        self._post(posting)
        receipt = self._receipt(log_index, time_us, command, outcome)
        self.new_postings.append((posting, receipt))
        return receipt

    def _post(self, posting: Posting) -> None:
        self.balances[posting.debit_account] -= posting.amount_minor
        self.balances[posting.credit_account] += posting.amount_minor
        self.changed_accounts.add(posting.debit_account)
        self.changed_accounts.add(posting.credit_account)

    def _receipt(self, log_index: int, time_us: int, command: Command, outcome: Outcome) -> Receipt:
        exists = outcome is not Outcome.NO_SUCH_ACCOUNT
        balance = self.balances.get(command.account) if exists else None
        return Receipt(
            id=command.id,
            outcome=outcome,
            balance=balance,
            available=balance,
            reference=log_index,
            time_us=time_us,
        )


def _assert_well_formed(command: Command) -> None:
    """Decoding has checked what came from outside; this stops a mistake of our own before it is money."""
    if not isinstance(command, Open):
        assert type(command.amount) is int, f"an amount is an int, not {command.amount!r}"
        assert 0 < command.amount <= AMOUNT_MINOR_MAX, f"the amount {command.amount} is out of range"
