"""Who asks in the simulation, with which roles, and the table of who may do what, written out once more."""

from __future__ import annotations

from zlib import crc32

from msgspec import msgpack

from atm.identity import Role
from atm.ledger.commands import RoleName
from atm.permissions import bits_of

ADMINS = frozenset({"grant_role", "revoke_role", "set_approval_limit", "rotate_pepper"})
OPERATORS = frozenset(
    {"freeze", "unfreeze", "unlock", "reset_pin", "set_limit", "set_ceiling", "write_off", "close", "approve"}
)
ROLES: tuple[RoleName, ...] = (
    "admin",
    "auditor",
    "gateway",
    "operator",
    "teller",
)  # in the order of their bits
SERVERS = frozenset(
    {"add_member", "promote_member", "remove_member", "move_member", "replace_member", "transfer_leadership"}
    | {"snapshot", "backup_begin"}
)  # asked for by whom the simulation calls the administrator
PEOPLE = {"ann": 16, "otto": 24, "olga": 8, "ada": 1, "shop": 4, "audrey": 2}
END_USER = "eve"
UNNAMED = 60  # of 100 requests come from somebody without a certificate
BY_TWO = frozenset({"write_off", "reverse", "unlock", "reset_pin", "approve"})
FEW_UNNAMED = 20  # of those, so that some need a second person
WRONG = 97  # from here on from somebody who may not ask for it, perhaps

assert [bits_of(frozenset({Role(role)})) for role in ROLES] == [1, 2, 4, 8, 16]


def caller(server: str, payload: bytes) -> tuple[str, int]:
    """Return who sends this request to `server`, and the roles of the certificate."""
    op, fate = msgpack.decode(payload)["op"], crc32(payload) % 100
    if fate < (FEW_UNNAMED if op in BY_TWO else UNNAMED):
        return f"teller@{server}", 0
    if fate >= WRONG:
        name = "audrey"
    elif op in ADMINS | SERVERS:
        name = "ada"
    elif op in OPERATORS:
        name = ("otto", "olga")[fate % 2]
    else:
        name = ("ann", "otto", "shop")[fate % 3]
    return (f"{name}/{END_USER}" if name == "shop" else name), PEOPLE[name]


def may(actor: str, bits: int, op: str) -> bool:
    """Return whether who has these roles may do this command."""
    if op in ADMINS | SERVERS:
        return "/" not in actor and bool(bits & 1)
    if "/" in actor:
        return bool(bits & 4) and op not in OPERATORS
    return bool(bits & 8 if op in OPERATORS else bits & 24)


def names(bits: int) -> str:
    """Return the names of the roles with commas."""
    return ",".join(role for place, role in enumerate(ROLES) if bits >> place & 1)
