"""The record of what operators and administrators did: a chain of its own, which nobody can change unseen.

Each command that is no teller's leaves a row, with its outcome, also when it was refused. As in the journal,
the hash of a row covers it and, through the hash before it, all rows before it.
"""

from __future__ import annotations

import hashlib

from msgspec.json import encode

from atm.ledger.commands import Command, GrantRole, RevokeRole, RotatePepper

# A deed as the table has it: log index, time stamp, actor, names of roles, op, target, amount, outcome,
# request id, hash.
DeedRow = tuple[int, int, str, str, str, str | None, int | None, str, str, bytes]
DEED_COLUMNS = "deed, time_us, actor, roles, op, target, amount, outcome, request_id"


def target_of(command: Command) -> str | None:
    """Return whom or what it is about: an account, an identity and its role, or a pepper."""
    if isinstance(command, GrantRole | RevokeRole):
        return f"{command.name}/{command.role or '*'}"
    if isinstance(command, RotatePepper):
        return f"{command.generation}:{command.pepper}"
    account: str | None = getattr(command, "account", None)
    return account


def deed_hash(previous_hash: bytes, *columns: str | int | None) -> bytes:
    """Return SHA-256 over the hash before (32 bytes) and the row's other columns, as a JSON array."""
    return hashlib.sha256(previous_hash + encode(columns)).digest()
