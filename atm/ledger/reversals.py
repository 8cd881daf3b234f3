"""Reversals: the opposite of what a request moved is booked, once; a hold is released as a whole."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from operator import itemgetter

from atm.ledger.accounts import Account
from atm.ledger.commands import CASH, OK, WRITEOFF, Contents, Outcome, Reverse
from atm.ledger.holds import end_hold, find_hold, may_end
from atm.ledger.posting import POSTINGS_PER_ENTRY, Posting
from atm.ledger.requests import named_in, remark_of
from atm.ledger.transfers import restore_limits
from atm.ledger.unit_of_work import TOMBSTONE, Decision, HoldRecord, IdempotencyRecord, UnitOfWork
from atm.ledger.withdrawals import restore_limit


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
    outcome, account, opposites = _planned(unit, command, original)
    if outcome is OK:
        outcome = unit.move(command.id, opposites, remark=remark_of(command))
    if outcome is OK and account is not None:
        unit.reversals[command.original] = command.id
        restore_limit(unit, account, _total(opposites), _withdrawn_us(unit, original))
        if original.asked.op in {"transfer", "batch"}:
            restore_limits(unit, opposites, original.receipt.log_index, original.receipt.time_us)
    return outcome, account


def taken_back(unit: UnitOfWork, command: Reverse) -> tuple[int, Account | None]:
    """Return how much a reversal would move now, whatever the balances, and the customer's account.

    0 if it is refused, and for the release of a hold, which moves nothing.
    """
    original = unit.records[command.original]
    if original is None:
        return 0, None
    outcome, account, opposites = _planned(unit, command, original)
    return (_total(opposites) if outcome is OK else 0), account


def _planned(
    unit: UnitOfWork, command: Reverse, original: IdempotencyRecord
) -> tuple[Outcome, Account | None, Sequence[Posting]]:
    """Return what is to be posted if the balances allow it, or why nothing is, and the customer's account."""
    postings = _postings_of(unit, original)
    if not postings:
        return Outcome.ORIGINAL_NOT_FOUND, None, ()
    account = unit.known_account(_customer(postings[0]))
    if unit.is_reversed(command.original):
        return Outcome.ALREADY_REVERSED, account, ()
    total = _total(postings)
    amount = total if command.amount is None else command.amount
    if amount > total or (amount < total and len(postings) > 1):
        return Outcome.EXCEEDS_ORIGINAL, account, ()
    assert 0 < amount <= total, f"{amount} of {total} would be reversed"
    if len(postings) == 1:
        opposites = [postings[0].opposite(amount)]
    else:
        opposites = [posting.opposite(posting.amount_minor) for posting in reversed(postings)]
    return _may_correct(unit, opposites), account, opposites


def _total(postings: Sequence[Posting]) -> int:
    return sum(posting.amount_minor for posting in postings)


def _reverse_hold(unit: UnitOfWork, command: Reverse, hold: HoldRecord) -> Decision:
    """Release it as a whole. What was paid out of it is reversed under the id of its posting."""
    account = unit.known_account(hold.account)
    if unit.is_reversed(hold.id):
        return Outcome.ALREADY_REVERSED, account
    outcome = may_end(hold)
    if outcome is OK and command.amount not in (None, hold.amount):
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
    number = original.receipt.log_index * POSTINGS_PER_ENTRY
    first, end = (
        bisect_left(unit.journal, bound, key=itemgetter(0)) for bound in (number, number + POSTINGS_PER_ENTRY)
    )
    here = [Posting(debit, credit, amount) for _, _, debit, credit, amount, *_ in unit.journal[first:end]]
    return here or unit.ledger.postings(original.receipt.log_index)


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
    banks_own = posting.debit_account in {CASH, WRITEOFF}
    return posting.credit_account if banks_own else posting.debit_account
