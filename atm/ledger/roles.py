"""Roles that the log grants and revokes: they count beside those of a certificate, from their entry on.

An identity may do what its certificate's roles and the granted ones allow, without the revoked ones. Of a
grant and a revocation of the same role the last one counts.
"""

from __future__ import annotations

from collections.abc import Mapping

from msgspec import Struct

from atm.identity import CLIENT_ROLES, Role
from atm.ledger.commands import GrantRole, LoggedCommand, LoggedDeed, RevokeRole
from atm.permissions import bits_may, bits_of, names_of

ALL_ROLES = bits_of(CLIENT_ROLES)


class RoleChange(Struct, frozen=True, gc=False):
    """What the log says about the roles of `name`, as bits (`permissions.bits_of`), and since when."""

    name: str
    granted: int
    revoked: int
    log_index: int


def person(actor: str) -> str:
    """Return whose certificate an actor had: of a gateway, without its end user."""
    return actor.partition("/")[0]


def effective(name: str, certified: int, changes: Mapping[str, RoleChange]) -> int:
    """Return the roles of an identity whose certificate says `certified`."""
    change = changes.get(name)
    return certified if change is None else (certified | change.granted) & ~change.revoked


def allowed(logged: LoggedCommand | LoggedDeed, op: str, changes: Mapping[str, RoleChange]) -> bool:
    """Return whether the actor of a log entry may do this now; without a certificate, all."""
    if not logged.roles:
        return True
    name, _, end_user = logged.actor.partition("/")
    return bits_may(effective(name, logged.roles, changes), op, for_end_user=bool(end_user))


def held(logged: LoggedCommand | LoggedDeed, changes: Mapping[str, RoleChange]) -> str:
    """Return the names of the roles of a log entry's actor, with commas; nothing without a certificate."""
    return names_of(effective(person(logged.actor), logged.roles, changes)) if logged.roles else ""


def changed(command: GrantRole | RevokeRole, before: RoleChange | None, log_index: int) -> RoleChange:
    """Return what the log says about the identity after this command."""
    bits = ALL_ROLES if command.role is None else bits_of(frozenset({Role(command.role)}))
    granted, revoked = (0, 0) if before is None else (before.granted, before.revoked)
    if isinstance(command, GrantRole):
        return RoleChange(command.name, granted | bits, revoked & ~bits, log_index)
    return RoleChange(command.name, granted & ~bits, revoked | bits, log_index)
