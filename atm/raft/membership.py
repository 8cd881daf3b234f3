"""The members of a cluster, and what a majority is. Any two share a server: Raft's safety needs that."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Set

from msgspec import Struct

from atm.raft.messages import NodeId


class Majority(Struct, frozen=True):
    """At least `needed` of the servers in `counted`; answers of other servers do not count."""

    counted: frozenset[NodeId]
    needed: int

    @classmethod
    def of(cls, servers: Collection[NodeId], uncounted: Iterable[NodeId] = ()) -> Majority:
        """Return more than half of `servers`; those of `uncounted` are in the number, but do not count."""
        return cls(frozenset(servers).difference(uncounted), len(frozenset(servers)) // 2 + 1)

    def has(self, answered: Set[NodeId]) -> bool:
        """Return whether a majority is among the servers that `answered`."""
        return len(self.counted & answered) >= self.needed

    def reached(self, values: Mapping[NodeId, int]) -> int:
        """Return the highest value that a majority has reached, or 0 (Figure 2, leaders: commitIndex)."""
        ranked = sorted([values.get(node, 0) for node in self.counted], reverse=True)
        return ranked[self.needed - 1] if len(ranked) >= self.needed else 0


class JointMajority(Struct, frozen=True):
    """A majority of each of two sets, as between two configurations (section 6, joint consensus)."""

    old: Majority
    new: Majority

    def has(self, answered: Set[NodeId]) -> bool:
        return self.old.has(answered) and self.new.has(answered)

    def reached(self, values: Mapping[NodeId, int]) -> int:
        return min(self.old.reached(values), self.new.reached(values))


class Membership:
    """The servers of a cluster, as one of them sees it; immutable.

    A majority is one of `voters`; while the voters change, it also takes a majority of `old_voters`, those of
    the old configuration. `learners` are sent the log; they neither vote nor count.

    A server that is a voter *and* a learner has lost its disk, and may have lost a vote or an acknowledged
    entry with it. A majority is still more than half of all voters, but its votes and acknowledgements do
    not count. So of three voters with one such server, both others are needed.
    """

    __slots__ = ("learners", "majority", "members", "old_voters", "voters")

    def __init__(
        self,
        voters: Collection[NodeId],
        *,
        old_voters: Collection[NodeId] = (),
        learners: Collection[NodeId] = (),
    ) -> None:
        assert voters, "without a voter nothing is ever decided"
        self.voters = tuple(voters)
        self.old_voters = tuple(old_voters)
        self.learners = frozenset(learners)
        # Ordered, because messages are sent in this order.
        self.members = tuple(dict.fromkeys((*voters, *old_voters, *sorted(learners))))
        majority = Majority.of(voters, learners)
        self.majority: Majority | JointMajority = (
            JointMajority(Majority.of(old_voters, learners), majority) if old_voters else majority
        )

    def is_member(self, node: NodeId) -> bool:
        return node in self.members

    def is_learner(self, node: NodeId) -> bool:
        return node in self.learners

    def is_voter(self, node: NodeId) -> bool:
        """Return whether votes and acknowledgements of `node` count."""
        return node not in self.learners and (node in self.voters or node in self.old_voters)

    def others(self, node: NodeId) -> tuple[NodeId, ...]:
        """Return all members but `node`."""
        return tuple(member for member in self.members if member != node)

    def demoted(self, node: NodeId) -> Membership:
        """Return the membership in which the voter `node` has lost its disk: see above."""
        assert node in self.members
        return Membership(self.voters, old_voters=self.old_voters, learners=self.learners | {node})
