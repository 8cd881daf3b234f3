"""Events of the core as tests make them."""

from __future__ import annotations

from atm.raft import NodeId, Role
from atm.raft.events import Cause, RoleChanged


def change(
    before: Role,
    after: Role,
    cause: Cause,
    by: NodeId | None = None,
    *votes: NodeId,
    leader: NodeId | None = None,
    term: int = 4,
) -> RoleChanged:
    """Return a change of role from term 3 to `term`."""
    return RoleChanged(
        before=before, after=after, term_before=3, term=term, leader=leader, cause=cause, by=by, votes=votes
    )
