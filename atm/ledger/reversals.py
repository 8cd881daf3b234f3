"""Reversals: the opposite of what a request moved is booked; what is left of a hold is released.

Once; from feature level 2 on in several parts, until all is taken back.
"""

from __future__ import annotations

from collections.abc import Sequence

from atm.ledger.accounts import Account, in_currency
from atm.ledger.commands import OK, Contents, Outcome, Reverse
from atm.ledger.holds import end_hold, find_hold, may_end
from atm.ledger.own_accounts import is_banks_own, is_transit
from atm.ledger.posting import Posting
from atm.ledger.requests import details_of, named_in, remark_of
from atm.ledger.transfers import restore_limits
from atm.ledger.unit_of_work import TOMBSTONE, Decision, HoldRecord, IdempotencyRecord, UnitOfWork
from atm.ledger.withdrawals import restore_limit

ARRIVED = "arrive"  # the `op` of what came from another lane: only crossings.py can take that back
PARTS_LEVEL = 2  # the feature level from which on there may be several reversals of one request


def decide_reverse(unit: UnitOfWork, command: Reverse) -> Decision:
    """Take back what the original moved or held. If it has not arrived, decline it for ever."""
    original = unit.records[command.original]
    if original is None:
        _leave_tombstone(unit, command.original)
        return Outcome.ORIGINAL_NOT_FOUND, None
    assert original.receipt.id == command.original, f"{command.original} led to {original.receipt.id}"
    assert original.receipt.log_index < unit.log_index, f"{command.original} was decided later than now"
    if original.asked.op == TOMBSTONE:
        return Outcome.ALREADY_REVERSED, None
    hold = find_hold(unit, command.original) if original.asked.op == "hold" else None
    if hold is not None:
        return _reverse_hold(unit, command, hold)
    outcome, account, opposites = planned(unit, command, original)
    if outcome is OK and is_transit(opposites[0].debit_account, opposites[0].credit_account):
        return Outcome.NOT_ALLOWED, account  # not by these rules: see crossings.py
    if outcome is OK:
        outcome = unit.move(command.id, opposites, remark=remark_of(command))
    if outcome is OK and account is not None:
        note_reversal(unit, command, _total(opposites))
        restore_limit(unit, account, _total(opposites), _withdrawn_us(unit, original))
        if original.asked.op in {"transfer", "batch"}:
            restore_limits(unit, opposites, original.receipt.log_index, original.receipt.time_us)
    return outcome, account


def taken_back(unit: UnitOfWork, command: Reverse) -> tuple[int, Account | None]:
    """Return how much of its original is taken back in all after a reversal, and the customer's account.

    Whatever the balances. With what was taken back before, or many small reversals would escape a limit that
    one is held to. 0 if it is refused, and for the release of a hold, which moves nothing.
    """
    original = unit.records[command.original]
    if original is None:
        return 0, None
    outcome, account, opposites = planned(unit, command, original)
    in_all = _taken_back(unit, command.original) + _total(opposites) if outcome is OK else 0
    return in_all, account


def planned(
    unit: UnitOfWork, command: Reverse, original: IdempotencyRecord
) -> tuple[Outcome, Account | None, Sequence[Posting]]:
    """Return what is to be posted if the balances allow it, or why nothing is, and the customer's account."""
    postings = _postings_of(unit, original)
    if not postings:
        return Outcome.ORIGINAL_NOT_FOUND, None, ()
    account = unit.known_account(_customer(postings[0]))
    total = _total(postings)
    left = total - _taken_back(unit, command.original)
    if left == 0 or (unit.feature_level < PARTS_LEVEL and left < total):
        return Outcome.ALREADY_REVERSED, account, ()
    if command.amount is not None and in_currency(account, command.currency) is not OK:
        return Outcome.CURRENCY_MISMATCH, account, ()
    amount = left if command.amount is None else command.amount
    if amount > left or (amount < total and len(postings) > 1):
        return Outcome.EXCEEDS_ORIGINAL, account, ()
    assert 0 < amount <= left, f"{amount} of {left} would be reversed"
    if len(postings) == 1:
        opposites = [postings[0].opposite(amount)]
    else:
        opposites = [posting.opposite(posting.amount_minor) for posting in reversed(postings)]
    return _may_correct(unit, opposites), account, opposites


def _taken_back(unit: UnitOfWork, original: str) -> int:
    """Return how much the reversals of a request moved so far."""
    first = unit.reversal_of(original)
    if first is None:
        return 0
    in_all = unit.refunded[original]
    if in_all is not None:
        return in_all
    reversal = unit.records[first]
    assert reversal is not None, f"{original} was reversed by {first}, which has no receipt"
    return _total(unit.postings(reversal.receipt.log_index))


def note_reversal(unit: UnitOfWork, command: Reverse, amount: int) -> None:
    """Have it written that the reversal `command` took back so much."""
    if unit.reversal_of(command.original) is None:
        unit.reversals[command.original] = command.id
    else:
        unit.add_refund(command.original, _taken_back(unit, command.original) + amount, command.id)


def _total(postings: Sequence[Posting]) -> int:
    return sum(posting.amount_minor for posting in postings)


def _reverse_hold(unit: UnitOfWork, command: Reverse, hold: HoldRecord) -> Decision:
    """Release all that is left of it. What was paid out of it is reversed under the id of its posting."""
    account = unit.known_account(hold.account)
    if unit.reversal_of(hold.id) is not None:
        return Outcome.ALREADY_REVERSED, account
    outcome = may_end(hold)
    if outcome is OK and command.amount is not None:
        outcome = in_currency(account, command.currency)
    if outcome is OK and command.amount not in (None, hold.left):
        outcome = Outcome.EXCEEDS_ORIGINAL
    if outcome is OK:
        end_hold(unit, account, hold, "voided")
        unit.reversals[hold.id] = command.id
    return outcome, account


def _leave_tombstone(unit: UnitOfWork, request_id: str) -> None:
    """Decline the request of this id for ever: it may still be on its way."""
    receipt = unit.receipt(request_id, Outcome.ALREADY_REVERSED, None)
    unit.keep_record(IdempotencyRecord(Contents(op=TOMBSTONE), unit.actor, receipt))


def _postings_of(unit: UnitOfWork, original: IdempotencyRecord) -> Sequence[Posting]:
    """Return what the request moved; nothing for a reversal, which cannot be reversed."""
    if original.receipt.outcome is not OK or _op_of(unit, original) == "reverse":
        return ()
    if original.asked.op == ARRIVED and "reverses" in details_of(original.asked):  # one from another lane
        return ()
    return unit.postings(original.receipt.log_index)


def _op_of(unit: UnitOfWork, record: IdempotencyRecord) -> str:
    """Return what was carried out: of an approval, that which it approved."""
    if record.asked.op != "approve":
        return record.asked.op
    approved = unit.records[named_in(record.asked, "request")]
    assert approved is not None, f"{record.receipt.id} carried out what was never asked"
    return approved.asked.op


def _withdrawn_us(unit: UnitOfWork, original: IdempotencyRecord) -> int:
    """Return when what the request paid out was counted towards the daily limit; 0 if it was not."""
    match original.asked.op:
        case "debit":
            return original.receipt.time_us
        case "post":
            hold = find_hold(unit, named_in(original.asked, "hold"))
            return 0 if hold is None else hold.time_us
        case _:
            return 0


def _may_correct(unit: UnitOfWork, postings: Sequence[Posting]) -> Outcome:
    """Return `OK` unless an account is closed: a frozen one can be corrected."""
    for posting in postings:
        for name in (posting.debit_account, posting.credit_account):
            if unit.known_account(name).state == "closed":
                return Outcome.ACCOUNT_CLOSED
    return OK


def _customer(posting: Posting) -> str:
    """Return the customer's side of a posting, the payer's if both are customers."""
    return posting.credit_account if is_banks_own(posting.debit_account) else posting.debit_account
