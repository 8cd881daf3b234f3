"""The bank's rules: how each command is decided. No file, no clock, no chance.

Start here to see why a command was declined: `decide` looks for an earlier receipt, and `_decision` names
the function of each command. What it changes is collected in the `UnitOfWork`.
"""

from __future__ import annotations

from typing import assert_never

from atm.ledger.accounts import PinNotHashed, exists, may_move
from atm.ledger.administration import decide_administration, decide_open, decide_pin
from atm.ledger.approvals import approved, hold_back, use_up
from atm.ledger.commands import (
    AMOUNT_MINOR_MAX,
    CASH,
    OK,
    WRITEOFF,
    ApprovalLimit,
    Approve,
    Batch,
    Close,
    Command,
    Contents,
    Credit,
    Debit,
    Expire,
    Freeze,
    GrantRole,
    Hold,
    LedgerReceipt,
    LoggedCommand,
    LoggedDeed,
    Login,
    NoteDeed,
    Open,
    Outcome,
    Post,
    RaiseHold,
    Reseal,
    ResetPin,
    Reverse,
    RevokeRole,
    RotatePepper,
    SetApprovalLimit,
    SetCeiling,
    SetLimit,
    SetPin,
    Transfer,
    Unfreeze,
    Unlock,
    Void,
    WriteOff,
)
from atm.ledger.holds import (
    decide_hold,
    decide_post,
    decide_raise,
    decide_void,
    expire_holds,
    is_same_post,
)
from atm.ledger.limits import Limits
from atm.ledger.posting import Posting
from atm.ledger.requests import contents_of, remark_of, same_contents
from atm.ledger.resealing import decide_rotation, reseal
from atm.ledger.reversals import decide_reverse
from atm.ledger.roles import allowed, changed, held
from atm.ledger.transfers import decide_batch, decide_transfer
from atm.ledger.unit_of_work import TOMBSTONE, Decision, IdempotencyRecord, UnitOfWork
from atm.ledger.withdrawals import all_there_is, may_withdraw, note_withdrawal
from atm.permissions import DEEDS
from atm.version import FEATURE_LEVEL_MAX

_WITH_NOTHING = (SetApprovalLimit, Post)  # whose amounts may be 0
DEEDS_LEVEL = 2  # the feature level from which on the ledger has the table `deed`


def decide(unit: UnitOfWork, log_index: int, time_us: int, logged: LoggedCommand) -> LedgerReceipt | None:
    """Decide the command of the log entry at `log_index`; return its receipt, None for the bank's own.

    A `NoteDeed` has a receipt that is not kept: what it records may begin if that says so.

    An id that has a receipt gets that receipt again, whatever is the case now. With other contents it is
    refused, nothing moves, and the first receipt stays, whichever actor asks.

    None, and no receipt is kept, if a PIN has to be compared that was not hashed, or for another pepper:
    since its server looked, a PIN was set or carried over, or a lock has ended. Whoever asks again under the
    same id gets a decision.
    """
    command = logged.command
    unit.log_index, unit.time_us, unit.actor = log_index, time_us, logged.actor
    if isinstance(command, Expire):
        expire_holds(unit, command.limit)
        return None
    if isinstance(command, Reseal):
        reseal(unit, command)
        return None
    if isinstance(command, NoteDeed):
        may = allowed(logged, command.deed, unit.role_changes)
        return _recorded(unit, logged, command, OK if may else Outcome.NOT_ALLOWED)
    asked = contents_of(command, unit.pepper.generation)
    assert asked.amount is None or type(asked.amount) is int, f"an amount is an int, not {asked.amount!r}"
    amount_min = 0 if isinstance(command, _WITH_NOTHING) else 1
    assert asked.amount is None or amount_min <= asked.amount <= AMOUNT_MINOR_MAX, (
        f"{asked.amount} is out of range"
    )
    is_deed = unit.feature_level >= DEEDS_LEVEL and asked.op in DEEDS
    roles = held(logged, unit.role_changes) if is_deed else ""
    first = unit.records[command.id]
    if first is not None:
        assert first.receipt.id == command.id, f"{command.id} led to the receipt of {first.receipt.id}"
        if same_contents(first.asked, asked) or first.asked.op == TOMBSTONE:
            return first.receipt
        if is_same_post(unit, first, asked):
            return first.receipt
        account = None if asked.account is None else unit.accounts[asked.account]
        receipt = unit.receipt(command.id, Outcome.ID_REUSED, account)
    else:
        try:
            if allowed(logged, asked.op, unit.role_changes):
                outcome, account = hold_back(unit, logged, asked.op) or _decision(unit, command)
            else:
                outcome, account = Outcome.NOT_ALLOWED, None
        except PinNotHashed:
            return None
        receipt = unit.receipt(command.id, outcome, account)
        unit.keep_record(IdempotencyRecord(asked, logged.actor, receipt))
    if is_deed:
        unit.note_deed(logged, roles, asked, receipt)
    return receipt


def record_change(unit: UnitOfWork, log_index: int, time_us: int, logged: LoggedDeed) -> None:
    """Record who asked for the change of the members that the entry at `log_index` makes.

    That is in use since it was appended, so it is done, whatever roles are left by now.
    """
    unit.log_index, unit.time_us, unit.actor = log_index, time_us, logged.actor
    _recorded(unit, logged, logged.command, OK)


def _recorded(
    unit: UnitOfWork, logged: LoggedCommand | LoggedDeed, note: NoteDeed, outcome: Outcome
) -> LedgerReceipt:
    if unit.feature_level < DEEDS_LEVEL:  # no sound leader's entry: there is no table for it
        return unit.receipt(note.id, Outcome.NOT_ALLOWED, None)
    receipt = unit.receipt(note.id, outcome, None)
    unit.note_deed(logged, held(logged, unit.role_changes), Contents(op=note.deed), receipt)
    return receipt


def _decision(unit: UnitOfWork, command: Command) -> Decision:  # noqa: C901, PLR0912 - a line for each kind
    if unit.feature_level < FEATURE_LEVEL_MAX and command.level <= unit.feature_level < command.level_needed:
        return Outcome.NOT_ALLOWED, None  # no sound leader's entry: release 1.1 knows no such field
    match command:
        case Credit():
            return _credit(unit, command)
        case Debit():
            return _debit(unit, command)
        case Transfer():
            return decide_transfer(unit, command)
        case Batch():
            return decide_batch(unit, command)
        case Hold():
            return decide_hold(unit, command)
        case RaiseHold():
            return decide_raise(unit, command)
        case Post():
            return decide_post(unit, command)
        case Void():
            return decide_void(unit, command)
        case Reverse():
            return decide_reverse(unit, command)
        case WriteOff():
            return _write_off(unit, command)
        case Open():
            return decide_open(unit, command)
        case SetPin() | Login():
            return decide_pin(unit, command)
        case GrantRole() | RevokeRole() | SetApprovalLimit() | Approve() | SetCeiling():
            if unit.feature_level < command.level:  # no sound leader's entry: there is no table for it
                return Outcome.NOT_ALLOWED, None
            return _of_level_2(unit, command)
        case RotatePepper():
            return decide_rotation(unit, command)
        case Freeze() | Unfreeze() | Close() | Unlock() | ResetPin() | SetLimit():
            return decide_administration(unit, command)
        case _:
            assert_never(command)


def _of_level_2(
    unit: UnitOfWork, command: GrantRole | RevokeRole | SetApprovalLimit | Approve | SetCeiling
) -> Decision:
    match command:
        case GrantRole() | RevokeRole():
            unit.change_roles(changed(command, unit.role_changes.get(command.name), unit.log_index))
            return OK, None
        case SetApprovalLimit():
            limit = ApprovalLimit(op=command.limited, amount=command.amount, log_index=unit.log_index)
            unit.change_limit(limit)
            return OK, None
        case Approve():
            return _approve(unit, command)
        case SetCeiling():
            return decide_administration(unit, command)
        case _:
            assert_never(command)


def _approve(unit: UnitOfWork, command: Approve) -> Decision:
    """Carry out what waits, by today's rules. Only if that is done the approval is used up."""
    carried_out = approved(unit, command)
    if isinstance(carried_out, Outcome):
        return carried_out, None
    outcome, account = _decision(unit, carried_out)
    if outcome is OK:
        use_up(unit, command)
    return outcome, account


def _credit(unit: UnitOfWork, command: Credit) -> Decision:
    account = unit.accounts[command.account]
    outcome = may_move(account)
    if outcome is OK and account is not None:
        limits = None if account.ceiling is None else Limits(unit.time_us)
        outcome = unit.move(
            command.id,
            [Posting(CASH, command.account, command.amount)],
            limits=limits,
            remark=remark_of(command),
        )
    return outcome, account


def _debit(unit: UnitOfWork, command: Debit) -> Decision:
    account = unit.accounts[command.account]
    amount = all_there_is(account) if command.amount is None else command.amount
    outcome = may_withdraw(unit, account, command.pin, amount)
    if outcome is OK and account is not None:
        if amount > AMOUNT_MINOR_MAX:
            return Outcome.LIMIT_EXCEEDED, account
        outcome = unit.move(command.id, [Posting(command.account, CASH, amount)], remark=remark_of(command))
        if outcome is OK:
            note_withdrawal(unit, account, amount)
            if command.all:
                unit.details["moved"] = amount
    return outcome, account


def _write_off(unit: UnitOfWork, command: WriteOff) -> Decision:
    account = unit.accounts[command.account]
    outcome = OK if command.account == CASH else exists(account)
    if outcome is OK:
        outcome = unit.move(
            command.id, [Posting(WRITEOFF, command.account, command.amount)], remark=remark_of(command)
        )
        if outcome is OK:
            unit.note_exception("written_off")
    return outcome, account
