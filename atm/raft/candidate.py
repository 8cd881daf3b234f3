"""A candidate, and a pre-candidate, which first asks whether it would win (pre-vote, thesis 9.6)."""

from __future__ import annotations

from msgspec import Struct, field

from atm.raft.membership import Membership
from atm.raft.messages import NodeId
from atm.raft.ready import Role


class Candidate(Struct):
    """A candidate's own data: the term it campaigns for, and the servers that have granted their vote."""

    campaign_term: int
    pre_vote: bool
    votes: set[NodeId] = field(default_factory=set)

    @property
    def role(self) -> Role:
        return Role.PRE_CANDIDATE if self.pre_vote else Role.CANDIDATE

    def has_won(self, membership: Membership) -> bool:
        return membership.majority.has(self.votes)
