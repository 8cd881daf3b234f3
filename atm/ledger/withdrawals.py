"""Whether money may leave an account: its state, its PIN, its funds and its daily limit, in this order."""

from __future__ import annotations

from atm.ledger import pin_lock
from atm.ledger.accounts import WRONG_PINS_MAX, Account, in_currency, may_move
from atm.ledger.commands import OK, Debit, Hold, Outcome, RaiseHold
from atm.ledger.unit_of_work import UnitOfWork


def may_withdraw(
    unit: UnitOfWork, account: Account | None, command: Debit | Hold | RaiseHold, amount: int
) -> Outcome:
    """Return `OK`, or why the amount cannot be paid out or held; a wrong PIN counts.

    If the command says no amount, since it is for all there is, it need not say the currency either.
    """
    outcome = may_pay(unit, account, command.pin)
    if outcome is OK and account is not None:
        assert account.state == "open", f"{account.name} is {account.state}, and would pay"
        assert account.held >= 0, f"{account.name} holds {account.held}"
        if command.amount is not None and in_currency(account, command.currency) is not OK:
            return Outcome.CURRENCY_MISMATCH
        if account.available < amount:
            return Outcome.INSUFFICIENT_FUNDS
        if account.exceeds_limit(amount, unit.time_us):
            return Outcome.LIMIT_EXCEEDED
    return outcome


def may_pay(unit: UnitOfWork, account: Account | None, pin: str | None) -> Outcome:
    """Return `OK`, or why nothing may leave the account; a wrong PIN counts."""
    outcome = may_move(account)
    if outcome is not OK or account is None or account.pin is None:  # without a PIN, it accepts any
        return outcome
    return check_pin(unit, account, pin)


def check_pin(unit: UnitOfWork, account: Account, pin: str | None) -> Outcome:
    """Return `OK`, `WRONG_PIN` or `LOCKED`; what was counted stays, even if the command is declined."""
    before, unseen_before = account.wrong_pins, account.wrong_unseen
    if unit.feature_level >= pin_lock.LOCK_LEVEL:
        outcome = pin_lock.check_pin(account, pin, unit.time_us)
    else:
        assert 0 <= before <= WRONG_PINS_MAX, f"{account.name} has {before} wrong PINs"
        outcome = account.check_pin(pin, locked=account.locked)
    if account.wrong_pins != before:
        unit.change_account(account)
    if account.wrong_unseen != unseen_before:
        unit.change_lock(account)
    return outcome


def all_there_is(account: Account | None) -> int:
    """Return what is available; where nothing is, the smallest amount, for which there are no funds."""
    return 1 if account is None else max(1, account.available)


def note_withdrawal(unit: UnitOfWork, account: Account, amount: int) -> None:
    """Count what leaves or is held now towards the daily limit."""
    if account.daily_limit is not None:
        account.note_withdrawal(amount, unit.time_us)
        unit.change_account(account)


def restore_limit(unit: UnitOfWork, account: Account, amount: int, withdrawn_us: int) -> None:
    """Take back what was counted at `withdrawn_us`, if it counts towards today's limit."""
    if account.counts(withdrawn_us, unit.time_us):
        account.withdrawn -= amount
        assert account.withdrawn >= 0, f"{account.name} would have withdrawn {account.withdrawn}"
        unit.change_account(account)
