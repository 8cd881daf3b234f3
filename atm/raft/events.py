"""What the core reports as it happens: changes of role and votes, each with its reason.

`Raft(on_event=…)` is called with each, at the moment of the change, in the order of the changes. All of them
are rare: nothing is reported for an append, a heartbeat, a commit or a read. The events are for people, and
for tests; no decision depends on them. The function must not call the core, and must not raise.

The values of the enums are part of files and of the wire (docs/events.md): they are never changed.
"""

from __future__ import annotations

from enum import Enum
from typing import TypeAlias

from msgspec import Struct

from atm.raft.messages import NodeId
from atm.raft.ready import Role


class Cause(Enum):
    """Why a server has entered a role, or a term; `by` names the server that the cause is about."""

    ELECTION_TIMEOUT = "election-timeout"  # no leader was heard for an election timeout; by: the last leader
    CAMPAIGN_TIMEOUT = "campaign-timeout"  # its campaign was not won within an election timeout
    NOT_CAMPAIGNING = "not-campaigning"  # as ELECTION_TIMEOUT, but it has no vote, or leaves it to others
    PRE_VOTE_WON = "pre-vote-won"  # a majority would grant its vote
    ELECTION_WON = "election-won"  # a majority has granted its vote
    ORDERED_TO_CAMPAIGN = "ordered-to-campaign"  # by: the leader, which hands over
    HIGHER_TERM = "higher-term"  # by: the sender of a message of a higher term
    HANDED_OVER = "handed-over"  # a leader finds the higher term of its successor; by: that one
    LEADER_FOUND = "leader-found"  # by: the leader of this term
    NO_MAJORITY = "no-majority"  # a leader had no answers of a majority for an election timeout
    REMOVED = "removed"  # a leader has committed that it has no vote any more
    DISK_LOST = "disk-lost"  # it has started with an empty disk, and so must not campaign


class VoteRefusal(Enum):
    """Why a vote, or a pre-vote, was refused. With more than one reason, the first of these is given."""

    LOWER_TERM = "lower-term"  # the candidate's term is over
    DISK_LOST = "disk-lost"  # the candidate may have lost a vote or entries with its disk: no answer
    LEADER_ACTIVE = "leader-active"  # a leader was heard within the shortest election timeout
    ALREADY_VOTED = "already-voted"  # for another, in this term
    LOG_BEHIND = "log-behind"  # the candidate's log ends before the voter's own (section 5.4.1)


class RoleChanged(Struct, frozen=True, kw_only=True, gc=False):
    """The role or the term has changed, or the leader is given up; `leader` is the one known afterwards.

    `votes` are the servers that have granted theirs, sorted, if that is the cause.
    """

    before: Role
    after: Role
    term_before: int
    term: int
    leader: NodeId | None
    cause: Cause
    by: NodeId | None = None
    votes: tuple[NodeId, ...] = ()
    last_index: int = 0  # the last entry of its log, and that one's term
    last_term: int = 0


class LeaderLearned(Struct, frozen=True, kw_only=True, gc=False):
    """A follower has heard the leader of its term for the first time."""

    term: int
    leader: NodeId


class VoteDecided(Struct, frozen=True, kw_only=True, gc=False):
    """This server has granted or refused `candidate` its vote, or (`pre_vote`) said what it would do.

    `term` is the one that the candidate campaigns for. `voted_for` is whom this server has voted for in its
    own term, `leader` whom it knows as the leader, both as they were when it decided.
    """

    candidate: NodeId
    term: int
    pre_vote: bool
    refusal: VoteRefusal | None  # None: granted
    own_term: int
    voted_for: NodeId | None
    leader: NodeId | None
    last_index: int  # the last entry of the candidate's log, and that one's term
    last_term: int
    own_last_index: int
    own_last_term: int

    @property
    def granted(self) -> bool:
        return self.refusal is None


class VoteReceived(Struct, frozen=True, kw_only=True, gc=False):
    """A campaigning server has received `voter`'s answer; `term` is the answer's.

    A granted vote is not `counted` if the voter is none, has lost its disk, or the campaign is another one by
    now. `votes` is how many the candidate has after it, of the `needed` ones.
    """

    voter: NodeId
    term: int
    pre_vote: bool
    granted: bool
    counted: bool
    votes: int
    needed: int


CoreEvent: TypeAlias = RoleChanged | LeaderLearned | VoteDecided | VoteReceived


def ignore(event: CoreEvent) -> None:
    """Report to nobody."""
