"""Commands on accounts that move no money: open, close, freeze, PINs and limits."""

from __future__ import annotations

from typing import assert_never

from atm.ledger import pin_lock
from atm.ledger.accounts import Account, PinNotHashed, exists
from atm.ledger.commands import (
    ACTIVE_HOLDS_MAX,
    BANK_ACCOUNTS,
    NOT_HASHED,
    OK,
    Close,
    Freeze,
    Login,
    Open,
    Outcome,
    ResetPin,
    SetCeiling,
    SetLimit,
    SetPin,
    Unfreeze,
    Unlock,
)
from atm.ledger.holds import count_active
from atm.ledger.peppers import generation_of
from atm.ledger.unit_of_work import DETAILS_LEVEL, Decision, UnitOfWork
from atm.ledger.withdrawals import check_pin


def decide_open(unit: UnitOfWork, command: Open) -> Decision:
    account = unit.accounts[command.account]
    if account is not None:
        closed = account.state == "closed"
        return (Outcome.ACCOUNT_CLOSED if closed else Outcome.EXISTS), account
    assert command.account not in BANK_ACCOUNTS, f"{command.account} exists from the start, and was not found"
    account = Account(name=command.account, opened_us=unit.time_us)
    unit.accounts[account.name] = unit.changed_balances[account.name] = account
    unit.change_account(account)
    return OK, account


def decide_pin(unit: UnitOfWork, command: SetPin | Login) -> Decision:
    account = unit.accounts[command.account]
    outcome = exists(account)
    if outcome is OK and account is not None:
        if isinstance(command, Login):
            return _log_in(unit, account, command.pin), account
        outcome = check_pin(unit, account, command.old_pin)
        if outcome is OK:
            if command.pin == NOT_HASHED or generation_of(command.pin) != unit.pepper.generation:
                raise PinNotHashed
            account.pin = command.pin
            unit.change_account(account)
    return outcome, account


def _log_in(unit: UnitOfWork, account: Account, pin: str) -> Outcome:
    outcome = check_pin(unit, account, pin)
    if outcome is OK and account.wrong_unseen:
        account.wrong_unseen = 0
        unit.change_lock(account)
    return outcome


def _unlock(unit: UnitOfWork, account: Account) -> Outcome:
    if not pin_lock.is_locked(account, unit.time_us):
        return OK
    outcome = pin_lock.unlock(account, unit.time_us)
    if outcome is OK:
        unit.change_lock(account)
    return outcome


def _tell_holds(unit: UnitOfWork, account: Account) -> None:
    """Let the receipt say how many holds are active, if any; from feature level 2 on."""
    if account.held and unit.feature_level >= DETAILS_LEVEL:
        unit.details["active_holds"] = min(count_active(unit, account), ACTIVE_HOLDS_MAX)


def _count_transfers(unit: UnitOfWork, account: Account, *, counted: bool) -> None:
    """Let transfers count from now on, or no more; those that were counted today stay counted."""
    if counted != (account.transfers_from is not None):
        account.transfers_from = unit.log_index if counted else None
        unit.change_account_limit(account)


def decide_administration(  # noqa: C901, PLR0912 - a case for each kind
    unit: UnitOfWork, command: Freeze | Unfreeze | Close | Unlock | ResetPin | SetLimit | SetCeiling
) -> Decision:
    account = unit.accounts[command.account]
    outcome = exists(account)
    if outcome is not OK or account is None:
        return outcome, account
    match command:
        case Freeze():
            account.state = "frozen"
            _tell_holds(unit, account)
        case Unfreeze():
            account.state = "open"
        case Close():
            if account.balance or account.held:
                _tell_holds(unit, account)
                return Outcome.NOT_EMPTY, account
            account.state = "closed"
        case Unlock():
            if unit.feature_level >= pin_lock.LOCK_LEVEL:
                return _unlock(unit, account), account
            account.wrong_pins = 0
        case ResetPin():
            pin_lock.reset(account)
            if account.locked_until_us is not None:
                unit.change_lock(account)
        case SetLimit():
            if account.daily_limit is None:
                account.count_from(unit.time_us)
            account.daily_limit = command.amount
            _count_transfers(unit, account, counted=command.transfers)
        case SetCeiling():
            if account.ceiling != command.amount:
                account.ceiling = command.amount
                unit.change_account_limit(account)
            return OK, account
        case _:
            assert_never(command)
    unit.change_account(account)
    return OK, account
