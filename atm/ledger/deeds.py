"""The record of what operators and administrators did: a chain of its own, which nobody can change unseen.

Each command that is no teller's leaves a row, with its outcome, also when it was refused. So does what an
administrator asks of the servers: a change of the members by its own entry, the rest by a `NoteDeed` ahead
of it. As in the journal, the hash of a row covers it and, through the hash before it, all rows before it.
"""

from __future__ import annotations

import hashlib

from msgspec.json import encode

from atm.ledger.commands import (
    Approve,
    Command,
    GrantRole,
    NoteDeed,
    RevokeRole,
    RotatePepper,
    SetApprovalLimit,
)

# A deed as the table has it: log index, time stamp, actor, names of roles, op, target, amount, outcome,
# request id, hash.
DeedRow = tuple[int, int, str, str, str, str | None, int | None, str, str, bytes]
BACKUP_BEGUN = "backup_begin", "ok"  # op and outcome
DEED_COLUMNS = "deed, time_us, actor, roles, op, target, amount, outcome, request_id"


def target_of(command: Command | NoteDeed) -> str | None:
    """Return what it is about: an account, identity and role, a request or its kind, a pepper, a server."""
    match command:
        case NoteDeed():
            return command.target
        case GrantRole() | RevokeRole():
            return f"{command.name}/{command.role or '*'}"
        case SetApprovalLimit():
            return command.limited
        case Approve():
            return command.request
        case RotatePepper():
            return f"{command.generation}:{command.pepper}"
        case _:
            account: str | None = getattr(command, "account", None)
            return account


def deed_hash(previous_hash: bytes, *columns: str | int | None) -> bytes:
    """Return SHA-256 over the hash before (32 bytes) and the row's other columns, as a JSON array."""
    return hashlib.sha256(previous_hash + encode(columns)).digest()
