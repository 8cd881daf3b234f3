"""The voter that every server has, whatever its role: what it promised, and to whom."""

from __future__ import annotations

from msgspec import Struct
from msgspec.structs import replace

from atm.raft.log import Log
from atm.raft.messages import NodeId, RequestVote


class Voter(Struct, frozen=True):
    """The term this server has reached and its vote in it; one value, so that no half of it is ever saved."""

    term: int
    voted_for: NodeId | None

    def grants(self, request: RequestVote, log: Log) -> bool:
        """Return whether `request`, of our term or a later one, may have our vote (Figure 2, RequestVote)."""
        free = request.term > self.term or self.voted_for in (None, request.sender)
        return free and log.up_to_date(request.last_log_term, request.last_log_index)

    def vote_for(self, candidate: NodeId) -> Voter:
        """Return the voter that has voted; a vote given in this term is never changed."""
        assert self.voted_for in (None, candidate)
        return replace(self, voted_for=candidate)

    def in_term(self, term: int) -> Voter:
        """Return the voter in `term`: a new term comes with a new vote, the same term keeps it."""
        assert term >= self.term
        return self if term == self.term else Voter(term, None)
