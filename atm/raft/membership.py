"""The members of a cluster, and what a majority is. Any two share a server: Raft's safety needs that."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Set
from typing import TypeAlias

from msgspec import DecodeError, Raw, Struct
from msgspec.msgpack import Decoder, Encoder

from atm.raft.errors import BadConfiguration
from atm.raft.messages import NodeId, Number


class Member(Struct, frozen=True, array_like=True):
    """One server of a configuration. A learner is sent the log; it neither votes nor counts.

    `peer` and `client` are its addresses, and `store` names its data folder: the caller's, Raft only compares
    `store`. An empty one stands for the folder that the server was first seen with. `since` is the index of
    the entry that made it a voter or a learner, with this store; `Raft.change_membership` sets it.
    """

    node: NodeId
    voter: bool
    peer: str = ""
    client: str = ""
    store: str = ""
    since: Number = 0


Configuration: TypeAlias = tuple[Member, ...]


class _Encoded(Struct, frozen=True, array_like=True):
    members: Configuration


_encode = Encoder().encode
_decoder: Decoder[_Encoded] = Decoder(_Encoded)


def encode_configuration(members: Configuration, reason: bytes = b"") -> bytes:
    """Return the data of a MEMBERSHIP entry: an array whose first element is the array of `members`.

    `reason`, if any, is an encoded second element, the caller's: Raft does not look at it.
    """
    return _encode((members, Raw(reason)) if reason else _Encoded(members))


def decode_configuration(data: bytes) -> Configuration:
    """Return the members in the data of a MEMBERSHIP entry; raise `BadConfiguration`.

    Elements after those that this release knows are ignored.
    """
    try:
        members = _decoder.decode(data).members
    except (DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise BadConfiguration(f"is no list of members: {error}") from error
    defect = defect_of(members)
    if defect is not None:
        raise BadConfiguration(defect)
    return members


class _Founding(Struct, frozen=True, array_like=True):
    cluster_id: str
    voters: tuple[NodeId, ...]


_founding_decoder: Decoder[_Founding] = Decoder(_Founding)


def decode_founders(data: bytes) -> Configuration:
    """Return the voters that a BOOTSTRAP entry names after its first element; none if it names no one."""
    try:
        voters = _founding_decoder.decode(data).voters
    except (DecodeError, UnicodeDecodeError, RecursionError):
        return ()
    founders = tuple(Member(node=node, voter=True) for node in voters)
    return () if defect_of(founders) else founders


def defect_of(members: Configuration) -> str | None:
    """Return why no cluster can have these members, or None."""
    if len({member.node for member in members}) < len(members):
        return "names a member twice"
    if not all(member.node for member in members):
        return "has a member without a name"
    return None if any(member.voter for member in members) else "has no voter"


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


class Membership:
    """The servers of a cluster, as one of them counts them; immutable.

    A majority is one of `voters`. `learners` are sent the log; they neither vote nor count.

    A server that is a voter *and* a learner has lost its disk, and may have lost a vote or an acknowledged
    entry with it. A majority is still more than half of all voters, but its votes and acknowledgements do
    not count. So of three voters with one such server, both others are needed.
    """

    __slots__ = ("learners", "majority", "members", "voters")

    def __init__(self, voters: Collection[NodeId], *, learners: Collection[NodeId] = ()) -> None:
        self.voters = tuple(voters)
        self.learners = frozenset(learners)
        # Ordered, because messages are sent in this order.
        self.members = tuple(dict.fromkeys((*voters, *sorted(learners))))
        self.majority = Majority.of(voters, learners)

    @classmethod
    def of(cls, configuration: Configuration, shown_stores: Mapping[NodeId, str]) -> Membership:
        """Return who counts in `configuration`, if the servers in `shown_stores` have shown these stores."""
        voters = [member.node for member in configuration if member.voter]
        learners = [
            member.node
            for member in configuration
            if not member.voter or shown_stores.get(member.node, member.store) != member.store
        ]
        return cls(voters, learners=learners)

    def is_member(self, node: NodeId) -> bool:
        return node in self.members

    def is_learner(self, node: NodeId) -> bool:
        """Return whether `node` is a member whose votes and acknowledgements do not count."""
        return node in self.learners

    def is_voter(self, node: NodeId) -> bool:
        """Return whether votes and acknowledgements of `node` count."""
        return node in self.voters and node not in self.learners

    def others(self, node: NodeId) -> tuple[NodeId, ...]:
        """Return all members but `node`."""
        return tuple(member for member in self.members if member != node)
