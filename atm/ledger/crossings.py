"""Transfers between two lanes of one bank: reserved here, credited there, then paid out or released here.

Only a bank on PostgreSQL has lanes, each with books and a writer of its own (docs/postgresql.md). The steps:

    depart   in the payer's lane, by the customer's request: its amount is held, as an open transfer
    arrive   in the receiver's lane, under the same id: credited from the account `transit:`, or refused
    settle   in the payer's lane: what was held is paid to `transit:`, or released; the request has a receipt

Each step may be done again and changes nothing then. The writer of the payer's lane asks for the next step
until the last is done, and whoever takes that lane after it goes on. So there is no moment at which money is
lost or there twice: what `transit:` lacks over all lanes is what is held for transfers that have arrived.

A reversal of such a transfer goes the other way by the same steps, from the lane of who received. What the
transfer counted towards the payer's daily limit is given back when the reversal arrives: from then on it is
certain. No file, no clock.

If a reversal needs an approval, there are two requests, each with a receipt of its own that never changes:

    reverse  `needs_approval`, at once and for ever, whatever comes of the approval
    approve  none while the reversal is under way, which it carries out under its own id, as within a lane;
             then `ok`, or why the reversal was refused where it should arrive

Who approves, when, and whether the asker still may, is decided at the departure. The approval is used up when
the reversal is settled, so `already_approved` is only said of what is done, and what was refused can be
approved again. Until then, whoever would take back the same transfer, by an approval or not, is to ask again.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable

from msgspec import Struct
from msgspec.structs import replace

from atm.ledger.accounts import Account, PinNotHashed, exists, in_currency, may_move
from atm.ledger.approvals import approved, hold_back, use_up
from atm.ledger.commands import (
    AMOUNT_MINOR_MAX,
    BALANCE_MINOR_MAX,
    OK,
    OPEN_TRANSFER_US,
    Approve,
    Arrive,
    BanksOwn,
    LaneCommand,
    LedgerReceipt,
    LoggedCommand,
    NoteDeed,
    Outcome,
    Reverse,
    Settle,
    Transfer,
)
from atm.ledger.limits import Limits
from atm.ledger.own_accounts import transit_of
from atm.ledger.posting import Posting
from atm.ledger.requests import contents_of, details_of, named_in, remark_of, same_contents
from atm.ledger.reversals import ARRIVED, note_reversal, planned
from atm.ledger.roles import allowed, held
from atm.ledger.rules import decide
from atm.ledger.transfers import restore_limits
from atm.ledger.unit_of_work import TOMBSTONE, HoldRecord, IdempotencyRecord, UnitOfWork
from atm.ledger.withdrawals import all_there_is, may_pay, note_withdrawal, restore_limit


class OpenTransfer(Struct, frozen=True, kw_only=True, gc=False):
    """A transfer that has departed, of which is not known yet what came.

    `payer` has its account in this lane, `target` in another one. `amount` and `currency` are those of the
    account, also where all there was is transferred. `counted` is as in `Arrive`, and `roles` are the actor's
    at its departure, as a deed has them. `approval` is what carries the reversal out, under the same id.
    """

    command: Transfer | Reverse
    actor: str
    payer: str
    target: str
    amount: int
    currency: str | None
    counted: tuple[int, int] | None = None
    roles: str = ""
    approval: Approve | None = None

    @property
    def asked(self) -> Transfer | Reverse | Approve:
        """The request that gets a receipt once it is settled."""
        return self.command if self.approval is None else self.approval

    @property
    def arrival(self) -> Arrive:
        """What the receiver's lane is asked for."""
        command = self.command
        return Arrive(
            id=command.id,
            account=self.target,
            payer=self.payer,
            amount=self.amount,
            currency=self.currency,
            code=command.code,
            text=command.text,
            reverses=command.original if isinstance(command, Reverse) else None,
            counted=self.counted,
        )


class LaneEntry(Struct, frozen=True, gc=False):
    """A command between lanes, and the actor of the transfer; in place of a `LoggedCommand`."""

    actor: str
    command: LaneCommand


class OpenTransfers(dict[str, OpenTransfer]):
    """The open transfers of a lane, by their ids, and how much they are in each currency.

    `begun` and `ended` are what is to be written of them.
    """

    def __init__(self, found: Iterable[OpenTransfer] = ()) -> None:
        super().__init__()
        self.amounts: Counter[str | None] = Counter()
        self.begun: list[OpenTransfer] = []
        self.ended: list[str] = []
        for transfer in found:
            self._add(transfer)

    def _add(self, transfer: OpenTransfer) -> None:
        self[transfer.command.id] = transfer
        self.amounts[transfer.currency] += transfer.amount

    def begin(self, transfer: OpenTransfer) -> None:
        """Add one that has departed."""
        self._add(transfer)
        self.begun.append(transfer)

    def end(self, request_id: str) -> None:
        """Take out one that is settled."""
        transfer = self.pop(request_id)
        self.amounts[transfer.currency] -= transfer.amount
        self.ended.append(request_id)

    def concern(self, request_id: str) -> bool:
        """Return whether that request is an open transfer, or one of them reverses it."""
        if request_id in self:
            return True
        found = (each.command for each in self.values())
        return any(isinstance(each, Reverse) and each.original == request_id for each in found)

    def note_written(self) -> None:
        """Note that what was begun and ended is in the books."""
        self.begun, self.ended = [], []


def decide_in_lane(
    unit: UnitOfWork,
    transfers: OpenTransfers,
    is_here: Callable[[str], bool],
    log_index: int,
    time_us: int,
    logged: LoggedCommand | LaneEntry,
) -> LedgerReceipt | OpenTransfer | None:
    """Decide a command in one of several lanes: as `rules.decide`, and the three steps of transfers.

    `is_here` tells whether an account belongs to this lane, `transfers` are those that are open in it. An
    `OpenTransfer` has no receipt yet: it is settled by a `Settle`, once its `arrival` has a receipt.
    None as by `rules.decide`, and where what is to be reversed is an open transfer: to be asked again.
    """
    unit.log_index, unit.time_us, unit.actor = log_index, time_us, logged.actor
    if isinstance(logged, LaneEntry):
        if isinstance(logged.command, Arrive):
            return _arrive(unit, transfers, logged.command)
        return _settle(unit, transfers, logged.command)
    command = logged.command
    if transfers and not isinstance(command, BanksOwn | NoteDeed):
        opened = transfers.get(command.id)
        if opened is not None:
            if same_contents(contents_of(opened.asked), contents_of(command, unit.pepper.generation)):
                return opened
            return unit.receipt(command.id, Outcome.ID_REUSED, None)
    if isinstance(command, Transfer) and not is_here(command.target):
        return _depart(unit, transfers, logged, command)
    if isinstance(command, Reverse | Approve) and unit.records[command.id] is None:
        name = _to_be_reversed(unit, command)
        if name is not None and transfers.concern(name):
            return None
        original = None if name is None else unit.records[name]
        if original is not None and original.asked.op == ARRIVED:
            return _depart_back(unit, transfers, logged, command, original)
    return decide(unit, log_index, time_us, logged)


def _to_be_reversed(unit: UnitOfWork, command: Reverse | Approve) -> str | None:
    """Return the id of what the request takes back if it is carried out, None if that is nothing."""
    if isinstance(command, Reverse):
        return command.original
    waiting = unit.records[command.request]
    return named_in(waiting.asked, "original") if waiting and waiting.asked.op == "reverse" else None


def _depart(
    unit: UnitOfWork, transfers: OpenTransfers, logged: LoggedCommand, command: Transfer
) -> LedgerReceipt | OpenTransfer | None:
    """Hold what is to be transferred to another lane; or return the receipt, of a refusal or a repetition."""
    if unit.records[command.id] is not None or not allowed(logged, "transfer", unit.role_changes):
        return decide(unit, unit.log_index, unit.time_us, logged)
    payer = unit.accounts[command.account]
    amount = all_there_is(payer) if command.amount is None else command.amount
    try:
        outcome = _may_depart(unit, transfers, command, payer, amount)
    except PinNotHashed:
        return None
    if outcome is not OK or payer is None:
        receipt = unit.receipt(command.id, outcome, payer)
        unit.keep_record(IdempotencyRecord(contents_of(command), logged.actor, receipt))
        return receipt
    transfer = OpenTransfer(
        command=replace(command, pin=None),
        actor=logged.actor,
        payer=payer.name,
        target=command.target,
        amount=amount,
        currency=payer.currency,
        counted=None if payer.transfers_from is None else (unit.log_index, unit.time_us),
    )
    if transfer.counted is not None:
        note_withdrawal(unit, payer, amount)
    _begin(unit, transfers, transfer, payer)
    return transfer


def _depart_back(
    unit: UnitOfWork,
    transfers: OpenTransfers,
    logged: LoggedCommand,
    command: Reverse | Approve,
    original: IdempotencyRecord,
) -> LedgerReceipt | OpenTransfer | None:
    """Hold what is to be taken back of a transfer that arrived here; or return the receipt, as `_depart`.

    An approval takes back what was asked by somebody else, under its own id.
    """
    asked = contents_of(command)
    reversal = command if isinstance(command, Reverse) else approved(unit, command)
    if not isinstance(reversal, Reverse) or not allowed(logged, asked.op, unit.role_changes):
        return decide(unit, unit.log_index, unit.time_us, logged)
    outcome, account, opposites = planned(unit, reversal, original)
    amount = sum(posting.amount_minor for posting in opposites)
    if outcome is OK and account is not None:
        outcome = _may_leave(unit, transfers, account, amount)
    outcome, account = hold_back(unit, logged, asked.op) or (outcome, account)
    roles = held(logged, unit.role_changes)
    if outcome is not OK or account is None:
        receipt = unit.receipt(command.id, outcome, account)
        unit.keep_record(IdempotencyRecord(asked, logged.actor, receipt))
        unit.note_deed(logged, roles, asked, receipt)
        return receipt
    arrived = details_of(original.asked)
    transfer = OpenTransfer(
        command=reversal,
        actor=logged.actor,
        payer=account.name,
        target=str(arrived["payer"]),
        amount=amount,
        currency=account.currency,
        counted=tuple(arrived["counted"]) if "counted" in arrived else None,
        roles=roles,
        approval=command if isinstance(command, Approve) else None,
    )
    _begin(unit, transfers, transfer, account)
    return transfer


def _begin(unit: UnitOfWork, transfers: OpenTransfers, transfer: OpenTransfer, payer: Account) -> None:
    """Hold the amount of a transfer that departs."""
    payer.held += transfer.amount
    if payer.active_holds is not None:
        payer.active_holds += 1
    unit.change_account(payer)
    unit.change_hold(
        HoldRecord(
            id=transfer.command.id,
            account=payer.name,
            amount=transfer.amount,
            time_us=unit.time_us,
            expires_us=OPEN_TRANSFER_US,
        )
    )
    transfers.begin(transfer)


def _may_depart(
    unit: UnitOfWork,
    transfers: OpenTransfers,
    command: Transfer,
    payer: Account | None,
    amount: int,
) -> Outcome:
    """Return `OK`, or why the customer cannot transfer that to another lane."""
    outcome = may_pay(unit, payer, command.pin)
    if outcome is not OK or payer is None:
        return outcome
    if not command.all and in_currency(payer, command.currency) is not OK:
        return Outcome.CURRENCY_MISMATCH
    outcome = _may_leave(unit, transfers, payer, amount)
    if outcome is OK and payer.transfers_from is not None and payer.exceeds_limit(amount, unit.time_us):
        return Outcome.LIMIT_EXCEEDED
    return outcome


def _may_leave(unit: UnitOfWork, transfers: OpenTransfers, payer: Account, amount: int) -> Outcome:
    """Return `OK`, or why the amount cannot leave: whatever must not fail once the receiver has it."""
    if payer.available < amount:
        return Outcome.INSUFFICIENT_FUNDS
    leaves = transfers.amounts[payer.currency] + amount  # once all that is under way has arrived
    if amount > AMOUNT_MINOR_MAX or _transit(unit, payer.currency).balance + leaves > BALANCE_MINOR_MAX:
        return Outcome.LIMIT_EXCEEDED
    return OK


def _arrive(unit: UnitOfWork, transfers: OpenTransfers, command: Arrive) -> LedgerReceipt:
    """Credit the receiver, or refuse it for ever; return the receipt, the first one if it has arrived before.

    Who may transfer was decided where it departed. An id that is under way from here is in use.
    """
    asked = contents_of(command)
    receiver = unit.accounts[command.account]
    first = unit.records[command.id]
    if first is not None and (same_contents(first.asked, asked) or first.asked.op == TOMBSTONE):
        return first.receipt
    if first is not None or command.id in transfers:
        return unit.receipt(command.id, Outcome.ID_REUSED, receiver)
    is_correction = command.reverses is not None  # a frozen account can be corrected, whatever its ceiling
    outcome = exists(receiver) if is_correction else may_move(receiver)
    if outcome is OK and receiver is not None:
        outcome = in_currency(receiver, command.currency)
    if outcome is OK and receiver is not None:
        transit = _transit(unit, command.currency)
        limits = None if receiver.ceiling is None or is_correction else Limits(unit.time_us)
        posting = Posting(transit.name, receiver.name, command.amount)
        outcome = unit.move(command.id, [posting], limits=limits, remark=remark_of(command))
        if outcome is OK and is_correction and command.counted is not None:
            restore_limits(unit, [posting], *command.counted)
    receipt = unit.receipt(command.id, outcome, receiver)
    unit.keep_record(IdempotencyRecord(asked, unit.actor, receipt))
    return receipt


def _settle(unit: UnitOfWork, transfers: OpenTransfers, command: Settle) -> LedgerReceipt:
    """Pay what is held to the other lane, which has credited it, or release it; return the receipt."""
    transfer = transfers.get(command.id)
    if transfer is None:
        record = unit.records[command.id]
        assert record is not None, f"the transfer {command.id} never departed, and would be settled"
        return record.receipt
    transfers.end(command.id)
    unit.actor = transfer.actor
    carried_out, outcome = transfer.command, command.outcome
    payer, hold = unit.known_account(transfer.payer), unit.holds[command.id]
    assert hold is not None, f"nothing is held for the transfer {command.id}"
    assert hold.state == "active", f"what is held for the transfer {command.id} is {hold.state}"
    assert payer.held >= hold.amount, f"{payer.name} holds {payer.held}"
    payer.held -= hold.amount
    if payer.active_holds is not None:
        payer.active_holds -= 1
    unit.change_account(payer)
    unit.change_hold(hold)
    if outcome is OK:
        hold.state, hold.posted = "posted", hold.amount
        posting = Posting(payer.name, _transit(unit, transfer.currency).name, hold.amount)
        moved = unit.move(command.id, [posting], overdraft=True, remark=remark_of(carried_out))
        assert moved is OK, f"{command.id} has arrived, and cannot be paid out: {moved}"
        if payer.balance < 0:  # paid out meanwhile, late, over what was held
            unit.note_exception("overdrawn")
        if isinstance(carried_out, Reverse):
            note_reversal(unit, carried_out, hold.amount)
        elif carried_out.all:
            unit.details["moved"] = hold.amount
        if transfer.approval is not None:
            use_up(unit, transfer.approval)
    else:
        hold.state = "voided"
        if transfer.counted is not None and isinstance(carried_out, Transfer):
            restore_limit(unit, payer, hold.amount, hold.time_us)
    asked = contents_of(transfer.asked)
    receipt = unit.receipt(command.id, outcome, payer)
    unit.keep_record(IdempotencyRecord(asked, transfer.actor, receipt))
    if isinstance(carried_out, Reverse):
        unit.note_deed(LoggedCommand(transfer.actor, transfer.asked), transfer.roles, asked, receipt)
    return receipt


def _transit(unit: UnitOfWork, currency: str | None) -> Account:
    name = transit_of(currency)
    found = unit.accounts[name]
    if found is None:
        found = Account(name=name, state="banks_own", currency=currency)
        unit.add_account(found)
    return found
