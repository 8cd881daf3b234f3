"""A second person: what is above a limit that is set waits until somebody else approves it.

The limits are set in the log, for each kind of request. A request above its limit, from who has a
certificate, is stored and moves nothing. `Approve`, by another identity and within a day of log time, carries
it out by the rules as they are then, under the approval's own id.
"""

from __future__ import annotations

from msgspec.structs import replace

from atm.ledger.accounts import DAY_US, Account, exists, may_write_off
from atm.ledger.commands import (
    OK,
    Approve,
    Limited,
    LoggedCommand,
    Outcome,
    Reverse,
    WriteOff,
)
from atm.ledger.requests import asked_again
from atm.ledger.reversals import taken_back
from atm.ledger.roles import allowed, person
from atm.ledger.unit_of_work import ApprovalRecord, Decision, UnitOfWork

APPROVE_WITHIN_US = DAY_US  # of log time, since it was asked


def hold_back(unit: UnitOfWork, logged: LoggedCommand, op: str) -> Decision | None:
    """Store a request that is above the limit of its kind; return None if it is to be decided at once.

    Where nothing is at stake, since the request would be refused, the ordinary rules decide. A limit counts
    in the bank's first currency. In any other it is 0: no rate is known by which the two could be compared.
    """
    limit, command = unit.approval_limits.get(op), logged.command
    if limit is None or limit.amount is None or not logged.roles:
        return None
    assert isinstance(command, Limited), f"{op} has a limit"
    stake, account = _at_stake(unit, command)
    most = limit.amount if account is None or account.currency is None else 0
    if stake <= most:
        return None
    unit.change_approval(
        ApprovalRecord(
            request_id=command.id,
            asked_by=logged.actor,
            roles=logged.roles,
            asked_us=unit.time_us,
            stake=stake,
        )
    )
    return Outcome.NEEDS_APPROVAL, account


def _at_stake(unit: UnitOfWork, command: Limited) -> tuple[int, Account | None]:
    """Return the amount that is compared with the limit, 0 if there is none, and the account it is about."""
    if isinstance(command, Reverse):
        return taken_back(unit, command)
    account = unit.accounts[command.account]
    if isinstance(command, WriteOff):
        return (command.amount if may_write_off(account, command) is OK else 0), account
    return (account.balance if account is not None and exists(account) is OK else 0), account


def approved(unit: UnitOfWork, command: Approve) -> Limited | Outcome:
    """Return the request that this approval carries out, under the approval's id, or why it does not."""
    waiting = unit.approvals[command.request]
    if waiting is None:
        return Outcome.ORIGINAL_NOT_FOUND
    if waiting.approved_by is not None:
        return Outcome.ALREADY_APPROVED
    if unit.time_us - waiting.asked_us > APPROVE_WITHIN_US:
        return Outcome.APPROVAL_EXPIRED
    if person(unit.actor) == person(waiting.asked_by):
        return Outcome.NOT_ALLOWED
    first = unit.records[command.request]
    assert first is not None, f"{command.request} needs an approval and has no receipt"
    again = asked_again(first.asked, command.id)
    asker = LoggedCommand(waiting.asked_by, again, waiting.roles)
    return again if allowed(asker, first.asked.op, unit.role_changes) else Outcome.NOT_ALLOWED


def use_up(unit: UnitOfWork, command: Approve) -> None:
    """Note that the request was carried out by this approval, so that no other one does it again."""
    waiting = unit.approvals[command.request]
    assert waiting is not None, f"{command.id} approved nothing"
    unit.change_approval(replace(waiting, approved_by=command.id))
