"""Who a connection belongs to: a name and its roles, as a certificate shows them; pure.

A certificate carries one URI for each role, in its subject alternative name: `atm:teller/ann`. Whoever holds
its key is `ann`, a teller. A server's certificate carries `atm:node/5000` and no other role.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from enum import StrEnum

from msgspec import Struct

NAME_CHARS_MAX = 32
URI_SCHEME = "atm:"

_URI = re.compile(rf"atm:([a-z]+)/([A-Za-z0-9_][A-Za-z0-9_.-]{{0,{NAME_CHARS_MAX - 1}}})")


class Role(StrEnum):
    """What an identity may be; docs/security.md has what each may do."""

    NODE = "node"
    TELLER = "teller"
    OPERATOR = "operator"
    AUDITOR = "auditor"
    GATEWAY = "gateway"
    ADMIN = "admin"


CLIENT_ROLES = frozenset(Role) - {Role.NODE}


class Identity(Struct, frozen=True):
    """A name and the roles of its certificate; frozen, so any thread may use it."""

    name: str
    roles: frozenset[Role]

    @property
    def is_node(self) -> bool:
        """Whether it is a server."""
        return Role.NODE in self.roles


# Actors that are no certificate's: who connects without TLS, and the bank itself.
RESERVED_NAMES = frozenset({"local", "bank"})

# Who connects without TLS, which is for the own machine: may do all that clients may.
LOCAL_IDENTITY = Identity("local", CLIENT_ROLES)


class NoIdentity(Exception):
    """A certificate names nobody of this bank; `str()` continues the line "the certificate ..."."""


def role_uri(role: Role, name: str) -> str:
    """Return the URI that a certificate carries for a role; raise `ValueError` if `name` is none."""
    uri = f"{URI_SCHEME}{role}/{name}"
    if _URI.fullmatch(uri) is None:
        raise ValueError(
            f"{name!r} is no name: 1 to {NAME_CHARS_MAX} letters, digits, '_', '.' and '-', not beginning "
            "with '.' or '-'"
        )
    return uri


def identity_of(uris: Iterable[str]) -> Identity:
    """Return whom these URIs of a verified certificate name; raise `NoIdentity`. Other URIs are ignored."""
    names: set[str] = set()
    roles: set[Role] = set()
    for uri in uris:
        if not uri.startswith(URI_SCHEME):
            continue
        match = _URI.fullmatch(uri)
        if match is None or match.group(1) not in set(Role):
            raise NoIdentity(f"names {uri[:80]!r}, which is no role of a bank")
        roles.add(Role(match.group(1)))
        names.add(match.group(2))
    if not names:
        raise NoIdentity(f"names nobody: it has no URI such as {URI_SCHEME}{Role.TELLER}/ann")
    if len(names) > 1:
        raise NoIdentity("names several people, and must name one")
    if names & RESERVED_NAMES and Role.NODE not in roles:
        raise NoIdentity(f"names {names.pop()!r}, which is no person's name here")
    if Role.NODE in roles and len(roles) > 1:
        raise NoIdentity("names a server that has another role, too")
    return Identity(names.pop(), frozenset(roles))
