"""Who takes part, and what a majority is: any two share a server, and all of Raft's safety rests on that."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Set

from msgspec import Struct

from atm.raft.messages import NodeId


class Majority(Struct, frozen=True):
    """At least `needed` of the servers in `counted`; the others of their set answer in vain."""

    counted: frozenset[NodeId]
    needed: int

    @classmethod
    def of(cls, servers: Collection[NodeId], uncounted: Iterable[NodeId] = ()) -> Majority:
        """Return more than half of `servers`, where those of `uncounted` are in the number only."""
        return cls(frozenset(servers).difference(uncounted), len(frozenset(servers)) // 2 + 1)

    def has(self, answered: Set[NodeId]) -> bool:
        """Return whether those who `answered` are a majority; whoever else is among them changes nothing."""
        return len(self.counted & answered) >= self.needed

    def reached(self, values: Mapping[NodeId, int]) -> int:
        """Return the highest value that a majority has reached, 0 if there is none (Figure 2, leaders)."""
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
    """The servers of a cluster, as one of them sees it; a value, never changed.

    `voters` make the majorities; while the voters change, so do those of the configuration that is left,
    `old_voters`, by themselves. `learners` are sent the log, and neither asked nor counted.

    A server that is a voter *and* a learner is one that lost its disk, and with it perhaps a promise: it
    goes on being one of the voters' number, but its votes and acknowledgements count for nothing. So
    three voters with one such need both others, as before.
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
        # In the order in which they were given, as all that is sent goes out in it.
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
        """Return the membership in which `node`, a voter, has lost its disk: see above."""
        assert node in self.members
        return Membership(self.voters, old_voters=self.old_voters, learners=self.learners | {node})
