"""Who may send which request: one row for each, by its `op`; pure. docs/security.md explains it.

The server that reads a request enforces it, the ledger's rules enforce it again with what the log says about
roles (atm/ledger/roles.py), and the teller program asks it which commands are for operators.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Final

from atm.identity import CLIENT_ROLES, Role

_TELLER: Final = frozenset({Role.TELLER, Role.OPERATOR, Role.GATEWAY})
_TELLER_READS: Final = _TELLER | {Role.AUDITOR}
_OPERATOR: Final = frozenset({Role.OPERATOR})
_OPERATOR_READS: Final = _OPERATOR | {Role.AUDITOR}
_AUDITOR: Final = frozenset({Role.AUDITOR})
_ADMIN: Final = frozenset({Role.ADMIN})
_ADMIN_READS: Final = _ADMIN | {Role.AUDITOR}

PERMITTED: Final = {
    # money
    "credit": _TELLER,
    "debit": _TELLER,
    "transfer": _TELLER,
    "batch": _TELLER,
    "hold": _TELLER,
    "raise_hold": _TELLER,
    "post": _TELLER,
    "void": _TELLER,
    "reverse": _TELLER,
    "write_off": _OPERATOR,
    # accounts
    "open": _TELLER,
    "set_pin": _TELLER,
    "login": _TELLER,
    "freeze": _OPERATOR,
    "unfreeze": _OPERATOR,
    "close": _OPERATOR,
    "unlock": _OPERATOR,
    "reset_pin": _OPERATOR,
    "set_limit": _OPERATOR,
    "set_ceiling": _OPERATOR,
    # roles
    "grant_role": _ADMIN,
    "revoke_role": _ADMIN,
    # a second person
    "set_approval_limit": _ADMIN,
    "approve": _OPERATOR,
    # the pepper
    "rotate_pepper": _ADMIN,
    # what only reads
    "query": _TELLER_READS,
    "statement": _TELLER_READS,
    "holds": _TELLER_READS,
    "lookup": _TELLER_READS,
    "exceptions": _OPERATOR_READS,
    "find": _OPERATOR_READS,
    "accounts": _OPERATOR_READS,
    "watch": _AUDITOR,
    "roles": _ADMIN_READS,
    "pepper": _ADMIN_READS,
    "deeds": _OPERATOR_READS | _ADMIN,
    "approvals": _OPERATOR_READS | _ADMIN,
    # about the servers
    "status": frozenset(Role),
    "verify": _AUDITOR,
    "events": _OPERATOR_READS | _ADMIN,
    "members": _ADMIN_READS,
    "add_member": _ADMIN,
    "promote_member": _ADMIN,
    "remove_member": _ADMIN,
    "move_member": _ADMIN,
    "replace_member": _ADMIN,
    "transfer_leadership": _ADMIN,
    "snapshot": _ADMIN,
    "backup_begin": _ADMIN,
    "backup_entries": _ADMIN,
    "backup_chunk": _ADMIN,
}

# What changes something and is no teller's: it is recorded as a deed, with who did it (atm/ledger/deeds.py).
DEEDS: Final = frozenset(
    op for op, roles in PERMITTED.items() if Role.AUDITOR not in roles and Role.TELLER not in roles
)

_BITS: Final = {role: 1 << place for place, role in enumerate(sorted(CLIENT_ROLES))}


@lru_cache(maxsize=64)
def bits_of(roles: frozenset[Role]) -> int:
    """Return the roles as the log has them: a bit for each of admin, auditor, gateway, operator, teller."""
    return sum(bit for role, bit in _BITS.items() if role in roles)


@lru_cache(maxsize=32)
def roles_of(bits: int) -> frozenset[Role]:
    """Return the roles that `bits_of` made these bits of."""
    return frozenset(role for role, bit in _BITS.items() if bits & bit)


def names_of(bits: int) -> str:
    """Return the names of the roles, with commas."""
    return ",".join(sorted(roles_of(bits)))


def bits_may(bits: int, op: str, *, for_end_user: bool) -> bool:
    """Do as `may`, for roles as the log has them."""
    return may(roles_of(bits), op, for_end_user=for_end_user)


@lru_cache(maxsize=1024)
def may(roles: frozenset[Role], op: str, *, for_end_user: bool = False) -> bool:
    """Return whether who has these roles may send a request `op`.

    A gateway's role counts only `for_end_user`, and then no other does: what it does is done for somebody.
    """
    permitted = PERMITTED[op]
    if for_end_user:
        return Role.GATEWAY in roles & permitted
    if op == "status":  # of which nobody is the customer
        return bool(roles & permitted)
    return bool((roles & permitted) - {Role.GATEWAY})


def requirement(op: str) -> str:
    """Return which roles may do it, in the words of "it needs ..."."""
    names = [str(role) for role in Role if role in PERMITTED[op] and role is not Role.GATEWAY]
    if Role.GATEWAY in PERMITTED[op]:
        names.append(f"{Role.GATEWAY} (for a named end user)")
    return f"the role {' or '.join([', '.join(names[:-1]), names[-1]] if len(names) > 1 else names)}"


def needed(op: str) -> str:
    """Return a line for people to whom it was refused."""
    return f"Not allowed: {op} needs {requirement(op)}"
