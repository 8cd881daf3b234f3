"""The term and the vote of a server, and the rule by which it votes."""

from __future__ import annotations

from msgspec import Struct
from msgspec.structs import replace

from atm.raft.log import Log
from atm.raft.messages import NodeId, RequestVote


class Voter(Struct, frozen=True):
    """currentTerm and votedFor of Figure 2, as one immutable value, so that they are saved together."""

    term: int
    voted_for: NodeId | None

    def grants(self, request: RequestVote, log: Log) -> bool:
        """Return whether to vote for `request`, of our term or a later one (Figure 2, RequestVote)."""
        free = request.term > self.term or self.voted_for in (None, request.sender)
        return free and log.up_to_date(request.last_log_term, request.last_log_index)

    def vote_for(self, candidate: NodeId) -> Voter:
        """Return the state after the vote; a vote given in this term is never changed."""
        assert self.voted_for in (None, candidate)
        return replace(self, voted_for=candidate)

    def in_term(self, term: int) -> Voter:
        """Return the state in `term`: the same term keeps the vote, a later one has none yet."""
        assert term >= self.term
        return self if term == self.term else Voter(term, None)
