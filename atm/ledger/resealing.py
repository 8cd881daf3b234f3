"""A newer pepper is made current, and what the books hold of older seals is carried over to it.

The leader makes the seals, since the rules have no secret. It says an account and its new seal, never the
old one: that would put a seal into the log that who knows the old pepper can try PINs on. It need not say
it. A PIN is only ever set for the current generation, so a seal of an older one is still that which the
leader read.
"""

from __future__ import annotations

from atm.ledger.commands import OK, Outcome, Reseal, RotatePepper
from atm.ledger.peppers import PepperState, generation_of
from atm.ledger.requests import holds_older_pin, without_pin
from atm.ledger.unit_of_work import Decision, UnitOfWork


def decide_rotation(unit: UnitOfWork, command: RotatePepper) -> Decision:
    """Make the pepper current. No sound leader proposes an older one, or another of the same generation."""
    current = unit.pepper
    if (command.generation, command.pepper) == (current.generation, current.name):
        return OK, None
    if unit.feature_level < command.level or command.generation <= current.generation:
        return Outcome.NOT_ALLOWED, None
    unit.change_pepper(PepperState(command.generation, command.pepper, unit.log_index, None))
    return OK, None


def reseal(unit: UnitOfWork, command: Reseal) -> None:
    """Carry over what is still of an older generation; an entry that comes late changes nothing else."""
    current = unit.pepper
    if command.generation > current.generation:  # no sound leader's
        return
    for name, seal in command.seals:
        account = unit.accounts[name]
        if account is None or account.pin is None:
            continue
        if generation_of(account.pin) < command.generation == generation_of(seal):
            account.pin = seal
            unit.change_account(account)
    for request_id in command.receipts:
        record = unit.records[request_id]
        if record is None or record.asked.op != "set_pin" or record.asked.details is None:
            continue
        if holds_older_pin(record.asked.details, command.generation):
            unit.change_asked(record, without_pin(record.asked))
    if command.done and command.generation == current.generation and current.carried_index is None:
        carried = PepperState(current.generation, current.name, current.log_index, unit.log_index)
        unit.change_pepper(carried)
