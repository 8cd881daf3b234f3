"""Holds: an amount is reserved, and later posted (paid out), voided (released), or it expires.

From feature level 2 on an active hold can be raised, and paid out in several parts: each posting but the
last leaves the rest held.
"""

from __future__ import annotations

from typing import Any, assert_never

from atm.ledger.accounts import Account, in_currency
from atm.ledger.commands import (
    ACTIVE_HOLDS_MAX,
    AMOUNT_MINOR_MAX,
    OK,
    OPEN_TRANSFER_US,
    Contents,
    Hold,
    Outcome,
    Post,
    RaiseHold,
    Void,
)
from atm.ledger.posting import Posting
from atm.ledger.requests import details_of, named_in, remark_of
from atm.ledger.unit_of_work import (
    Decision,
    HoldRecord,
    HoldState,
    IdempotencyRecord,
    RaisedHold,
    UnitOfWork,
)
from atm.ledger.withdrawals import may_withdraw, note_withdrawal, restore_limit

ACTIVE_HOLDS_LEVEL = 2  # the feature level from which on that is so
PARTS_LEVEL = 2  # likewise, from which on a hold can be raised and paid out in parts


def decide_hold(unit: UnitOfWork, command: Hold) -> Decision:
    """Reserve an amount under the same rules as a debit."""
    account = unit.accounts[command.account]
    outcome = may_withdraw(unit, account, command, command.amount)
    if outcome is OK and account is not None:
        if unit.feature_level >= ACTIVE_HOLDS_LEVEL and count_active(unit, account) >= ACTIVE_HOLDS_MAX:
            return Outcome.LIMIT_EXCEEDED, account
        if account.active_holds is not None:
            account.active_holds += 1
        account.held += command.amount
        assert account.held <= account.balance, f"{account.name} would hold more than it has"
        unit.change_account(account)
        note_withdrawal(unit, account, command.amount)
        unit.change_hold(
            HoldRecord(
                id=command.id,
                account=command.account,
                amount=command.amount,
                time_us=unit.time_us,
                expires_us=unit.time_us + command.expires_ms * 1000,
            )
        )
    return outcome, account


def decide_raise(unit: UnitOfWork, command: RaiseHold) -> Decision:
    """Reserve more for an active hold, under the same rules as a debit."""
    if unit.feature_level < command.level:  # no sound leader's entry
        return Outcome.NOT_ALLOWED, None
    hold = find_hold(unit, command.hold)
    if hold is None or hold.account != command.account:
        return Outcome.HOLD_NOT_FOUND, None
    account = unit.known_account(hold.account)
    outcome = may_end(hold)
    if outcome is OK:
        outcome = may_withdraw(unit, account, command, command.amount)
    if outcome is OK and hold.amount + command.amount > AMOUNT_MINOR_MAX:
        outcome = Outcome.LIMIT_EXCEEDED
    if outcome is OK:
        counted_us, counted = _counted(unit, hold)
        together = counted if account.counts(counted_us, unit.time_us) else 0
        unit.change_raised_hold(
            RaisedHold(hold=hold.id, counted_us=unit.time_us, counted=together + command.amount)
        )
        note_withdrawal(unit, account, command.amount)
        account.held += command.amount
        assert account.held <= account.balance, f"{account.name} would hold more than it has"
        unit.change_account(account)
        hold.amount += command.amount
        unit.change_hold(hold)
    return outcome, account


def decide_post(unit: UnitOfWork, command: Post) -> Decision:
    """Pay out a hold. The cash has left the machine, so an obstacle is an exception and no refusal."""
    if command.amount == 0:
        return _void(unit, command.hold)
    hold = find_hold(unit, command.hold)
    if hold is None:
        return Outcome.HOLD_NOT_FOUND, None
    account = unit.known_account(hold.account)
    outcome = may_end(hold)
    if outcome not in {OK, Outcome.HOLD_EXPIRED}:
        return outcome, account
    amount = hold.left if command.amount is None else command.amount
    declined = _may_pay_part(account, hold, command)
    if declined is not OK:
        return declined, account
    late = outcome is Outcome.HOLD_EXPIRED
    payer, remark = account.writeoff if account.state == "closed" else hold.account, remark_of(command)
    outcome = unit.move(command.id, [Posting(payer, account.cash, amount)], overdraft=True, remark=remark)
    if outcome is not OK:
        return outcome, account
    _note_payment(unit, account, hold, amount, late=late, final=command.final)
    if payer != hold.account:
        unit.note_exception("written_off")
    elif account.balance < 0:
        unit.note_exception("overdrawn")
    elif late:
        unit.note_exception("late")
    return OK, account


def _note_payment(
    unit: UnitOfWork, account: Account, hold: HoldRecord, amount: int, *, late: bool, final: bool
) -> None:
    """Note that `amount` of the hold left, `late` if nothing was held any more; the last payment ends it."""
    left = hold.left
    ends = final or amount == left
    if not late:
        _release(unit, account, hold, left if ends else amount, ends=ends)
        if ends:
            _restore_limit(unit, account, hold, left - amount)
    else:
        _count_again(unit, account, hold, amount)
    hold.posted += amount
    if ends:
        hold.state = "posted"
    unit.change_hold(hold)


def is_same_post(unit: UnitOfWork, first: IdempotencyRecord, asked: Contents) -> bool:
    """Return whether they differ only in that one spells out the amount: all that was left of the hold.

    What is spelled out is in the account's currency; without an amount none has to be said.
    """
    if (
        unit.feature_level < PARTS_LEVEL
        or asked.op != "post"
        or first.asked.op != "post"
        or _but_currency(first.asked) != _but_currency(asked)
        or first.receipt.outcome is not OK
        or None not in (first.asked.amount, asked.amount)
    ):
        return False
    hold = find_hold(unit, named_in(asked, "hold"))
    assert hold is not None, f"{first.receipt.id} paid out what was never held"
    paid = sum(posting.amount_minor for posting in unit.postings(first.receipt.log_index))
    all_of_it = (paid, unit.known_account(hold.account).currency)
    return hold.left == 0 and all(
        said.amount is None or (said.amount, details_of(said).get("currency")) == all_of_it
        for said in (first.asked, asked)
    )


def _but_currency(asked: Contents) -> dict[str, Any]:
    return {name: value for name, value in details_of(asked).items() if name != "currency"}


def _may_pay_part(account: Account, hold: HoldRecord, command: Post) -> Outcome:
    """Return `OK`, or why the amount that is said cannot be paid out of the hold; the whole always can."""
    if command.amount is None:
        return OK
    outcome = in_currency(account, command.currency)
    return Outcome.EXCEEDS_HOLD if outcome is OK and command.amount > hold.left else outcome


def decide_void(unit: UnitOfWork, command: Void) -> Decision:
    """Release what is held: no cash has left."""
    return _void(unit, command.hold)


def _void(unit: UnitOfWork, hold_id: str) -> Decision:
    hold = find_hold(unit, hold_id)
    if hold is None:
        return Outcome.HOLD_NOT_FOUND, None
    account = unit.known_account(hold.account)
    outcome = may_end(hold)
    if outcome is OK:
        end_hold(unit, account, hold, "voided")
    return outcome, account


def expire_holds(unit: UnitOfWork, limit: int | None) -> None:
    """End the holds that are due by log time, or the `limit` of them that were due first.

    One entry that ended tens of thousands would stop every server at the same time, and for longer than a
    leader may be silent.
    """
    due = sorted(_due_holds(unit, limit), key=_due_order)[:limit]
    for hold in due:
        end_hold(unit, unit.known_account(hold.account), hold, "expired")
    if due:
        unit.expired_to = _due_order(due[-1])


def _due_holds(unit: UnitOfWork, limit: int | None) -> list[HoldRecord]:
    """Return active holds that are due, among them the first `limit`: what this unit changed counts."""
    changed = unit.changed_holds
    due = [hold for hold in changed.values() if hold.state == "active" and hold.expires_us <= unit.time_us]
    after, unchanged = unit.expired_to, 0
    while True:
        rows = unit.ledger.holds_due(unit.time_us, after, limit)
        new = [hold for hold in rows if hold.id not in changed]
        due += new
        unchanged += len(new)
        if limit is None or len(rows) < limit or unchanged >= limit:
            return due
        after = _due_order(rows[-1])


def _due_order(hold: HoldRecord) -> tuple[int, str]:
    return hold.expires_us, hold.id


def count_active(unit: UnitOfWork, account: Account) -> int:
    """Return how many active holds the account has, or some number above `ACTIVE_HOLDS_MAX` if it has more.

    It is kept with the account if it is exact, so that most holds need no query.
    """
    if account.active_holds is not None:
        return account.active_holds
    changed = [hold for hold in unit.changed_holds.values() if hold.account == account.name]
    exact_max = ACTIVE_HOLDS_MAX + len(changed)
    count = stored = unit.ledger.active_holds(account.name, exact_max + 1)
    for hold in changed:
        before = unit.ledger.hold(hold.id)
        count += (hold.state == "active") - (before is not None and before.state == "active")
    if stored <= exact_max:
        account.active_holds = count
    return count


def find_hold(unit: UnitOfWork, hold_id: str) -> HoldRecord | None:
    """Return the hold of the request with this id, None if there is none: what a transfer holds is none."""
    hold = unit.holds[hold_id]
    if hold is not None and hold.expires_us == OPEN_TRANSFER_US:
        return None
    if hold is not None:
        assert hold.id == hold_id, f"{hold_id} led to the hold {hold.id}"
        assert 0 <= hold.posted <= hold.amount, f"{hold.posted} of {hold.amount} was paid out of {hold.id}"
        assert hold.posted > 0 or hold.state != "posted", f"{hold.id} is {hold.state}: {hold.posted}"
    return hold


def may_end(hold: HoldRecord) -> Outcome:
    """Return `OK` for an active hold, or how it ended."""
    match hold.state:
        case "active":
            return OK
        case "posted":
            return Outcome.HOLD_ALREADY_POSTED
        case "voided":
            return Outcome.HOLD_ALREADY_VOIDED
        case "expired":
            return Outcome.HOLD_EXPIRED
        case _:
            assert_never(hold.state)


def end_hold(unit: UnitOfWork, account: Account, hold: HoldRecord, state: HoldState) -> None:
    """Release what is left of an active hold without a payment."""
    _release(unit, account, hold, hold.left, ends=True)
    _restore_limit(unit, account, hold, hold.left)
    hold.state = state
    unit.change_hold(hold)


def _release(unit: UnitOfWork, account: Account, hold: HoldRecord, amount: int, *, ends: bool) -> None:
    assert hold.state == "active", f"{hold.id} is {hold.state}, and would be released"
    assert account.state != "closed", f"{account.name} is closed, and {hold.id} is active"
    account.held -= amount
    assert account.held >= 0, f"{account.name} would hold {account.held}"
    if ends and account.active_holds is not None:
        account.active_holds -= 1
        assert account.active_holds >= 0, f"{account.name} would have {account.active_holds} active holds"
    unit.change_account(account)


# -- the daily limit: payments take what was reserved first, so what is left is what was reserved last --


def _counted(unit: UnitOfWork, hold: HoldRecord) -> tuple[int, int]:
    """Return how much of the hold began to count towards the daily limit last, and when."""
    raised = unit.raised_holds[hold.id] if unit.feature_level >= PARTS_LEVEL else None
    return (hold.time_us, hold.amount) if raised is None else (raised.counted_us, raised.counted)


def _restore_limit(unit: UnitOfWork, account: Account, hold: HoldRecord, rest: int) -> None:
    """Take back what was counted of the `rest` that is released."""
    if account.daily_limit is not None:
        counted_us, counted = _counted(unit, hold)
        restore_limit(unit, account, min(rest, counted), counted_us)


def _count_again(unit: UnitOfWork, account: Account, hold: HoldRecord, amount: int) -> None:
    """Count what is paid out late: it was given back when the hold ended."""
    if account.daily_limit is not None:
        counted_us, counted = _counted(unit, hold)
        if account.counts(counted_us, unit.time_us):
            note_withdrawal(unit, account, max(0, amount - max(0, hold.left - counted)))
