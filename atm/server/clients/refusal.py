"""The reply to a request that its sender has no role for; atm/permissions.py says who may send which."""

from __future__ import annotations

from atm.identity import Role
from atm.ledger.commands import Command, Outcome, Read
from atm.permissions import may, needed
from atm.wire.client_messages import AdminChange, AdminReply, ClientRequest, Reply
from atm.wire.codec import encode


def refusal_of(request: ClientRequest, roles: frozenset[Role]) -> bytes | None:
    """Return the reply to a request that these roles do not allow, None if they do."""
    op = str(request.__struct_config__.tag)
    if may(roles, op, for_end_user=request.end_user is not None):
        return None
    if isinstance(request, Command | Read) and not isinstance(request, AdminChange):
        return encode(Reply(id=request.id, outcome=Outcome.NOT_ALLOWED))
    return encode(AdminReply(id=request.id, outcome="not_allowed", message=needed(op), index=0))
