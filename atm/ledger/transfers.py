"""Transfers between customers, alone or as the legs of a batch: all or none."""

from __future__ import annotations

from collections.abc import Sequence

from atm.ledger.accounts import may_move
from atm.ledger.commands import AMOUNT_MINOR_MAX, OK, Batch, Leg, Outcome, Transfer
from atm.ledger.limits import Limits
from atm.ledger.posting import Posting
from atm.ledger.requests import remark_of
from atm.ledger.unit_of_work import DETAILS_LEVEL, Decision, UnitOfWork
from atm.ledger.withdrawals import all_there_is, may_pay, note_withdrawal, restore_limit


def decide_transfer(unit: UnitOfWork, command: Transfer) -> Decision:
    """Move money from one customer to another."""
    payer = unit.accounts[command.account]
    amount = all_there_is(payer) if command.amount is None else command.amount
    currency = payer.currency if payer is not None and command.all else command.currency
    _, outcome = _moved(unit, command, (command,), (amount,), currency)
    if outcome is OK and command.all:
        unit.details["moved"] = amount
    return outcome, payer


def decide_batch(unit: UnitOfWork, command: Batch) -> Decision:
    """Do all legs or none; from feature level 2 on the receipt says which leg was refused."""
    amounts = [leg.amount for leg in command.legs]
    leg, outcome = _moved(unit, command, command.legs, amounts, command.currency)
    if outcome is not OK and unit.feature_level >= DETAILS_LEVEL:
        unit.details["leg"] = leg
    return outcome, unit.accounts[command.legs[0].account]


def _moved(
    unit: UnitOfWork,
    command: Transfer | Batch,
    legs: Sequence[Transfer | Leg],
    amounts: Sequence[int],
    currency: str | None,
) -> tuple[int, Outcome]:
    """Return the place of the leg that was refused, and why; all accounts must be in the currency.

    Every wrong PIN on the way counts.
    """
    is_limited = False
    for place, leg in enumerate(legs):
        payer, receiver = unit.accounts[leg.account], unit.accounts[leg.target]
        outcome = may_pay(unit, payer, leg.pin)
        if outcome is OK:
            outcome = may_move(receiver)
        if outcome is not OK or payer is None or receiver is None:
            return place, outcome
        if payer.currency != currency or receiver.currency != currency:
            return place, Outcome.CURRENCY_MISMATCH
        if amounts[place] > AMOUNT_MINOR_MAX:  # of all there is
            return place, Outcome.LIMIT_EXCEEDED
        is_limited |= payer.transfers_from is not None or receiver.ceiling is not None
    limits = Limits(unit.time_us) if is_limited else None
    postings = [Posting(leg.account, leg.target, amount) for leg, amount in zip(legs, amounts, strict=True)]
    outcome = unit.move(command.id, postings, limits=limits, remark=remark_of(command))
    if outcome is OK and limits is not None:
        for name, paid in limits.paid.items():
            note_withdrawal(unit, unit.known_account(name), paid)
    return unit.refused_at, outcome


def restore_limits(unit: UnitOfWork, opposites: Sequence[Posting], log_index: int, time_us: int) -> None:
    """Take back what these reverse and the entry at `log_index` counted towards daily limits."""
    for posting in opposites:
        payer = unit.known_account(posting.credit_account)
        if payer.transfers_from is not None and payer.transfers_from < log_index:
            restore_limit(unit, payer, posting.amount_minor, time_us)
