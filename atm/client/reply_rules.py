"""Checks of what a server replies, before anybody relies on it."""

from __future__ import annotations

from atm.ledger.commands import (
    Accounts,
    Approvals,
    Command,
    Deeds,
    Exceptions,
    Holds,
    Login,
    Lookup,
    Outcome,
    Pepper,
    Query,
    Read,
    Roles,
    Statement,
)
from atm.wire.client_messages import Reply


def answers(request: Command | Read, reply: Reply) -> bool:  # noqa: C901 - a case for each kind
    """Return whether the reply, if it is `ok`, has what was asked for: one of another request does not."""
    if reply.outcome is not Outcome.OK:
        return True
    match request:
        case Query() | Login():
            return reply.balance is not None
        case Statement() | Exceptions():
            return reply.lines is not None and not isinstance(reply.next, str)
        case Accounts():
            return reply.accounts is not None and not isinstance(reply.next, int)
        case Holds():
            return reply.holds is not None and not isinstance(reply.next, int)
        case Roles():
            return reply.roles is not None and not isinstance(reply.next, int)
        case Deeds():
            return reply.deeds is not None and not isinstance(reply.next, str)
        case Approvals():
            return reply.approvals is not None and not isinstance(reply.next, str)
        case Pepper():
            return reply.pepper is not None
        case Lookup():
            return reply.asked is not None
        case _:
            return True
