"""What an administrator asks of the leader: changes of the members, and to hand leadership over.

Each is decided here, in a line for people; a change that is proposed takes effect by its log entry, which
says who asked for it. Every request may be repeated: what is the case already is `ok`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping
from typing import Protocol, assert_never

from msgspec import Struct
from msgspec.structs import replace

from atm.config import NODES_MAX, Address, NodeConfig, parse_address
from atm.ledger.ledger import ClusterState
from atm.raft import ChangeRefused, Configuration, Member, NodeId
from atm.wire.client_messages import (
    MEMBERS_MAX,
    AddMember,
    MemberChange,
    MoveMember,
    PromoteMember,
    RemoveMember,
    ReplaceMember,
    TransferLeadership,
)
from atm.wire.peer_messages import Hello

MEMBERS_LEVEL = 2  # the feature level from which on the log may name members
TRANSFER_PROTOCOL = 4
BEHIND_MAX = 1_000  # entries that a learner may lack when it is promoted
ANNOUNCE_AGAIN_S = 1.0


class ChangedCore(Protocol):
    """What an administrator's requests need of `Raft`."""

    @property
    def last_index(self) -> int: ...
    @property
    def configuration(self) -> tuple[int, Configuration]: ...

    def matched(self) -> dict[NodeId, int]: ...
    def has_lost_disk(self, node: NodeId) -> bool: ...
    def change_membership(self, members: Configuration, now_us: int, reason: bytes = b"") -> int: ...
    def successor(self, target: NodeId | None) -> NodeId: ...
    def transfer(self, target: NodeId | None) -> NodeId: ...


class Cluster(Protocol):
    """What they need of the ledger."""

    @property
    def cluster(self) -> ClusterState: ...
    @property
    def decided_index(self) -> int: ...


class Refused(Exception):
    """The request is refused and nothing was changed; `str()` of it is one line for people."""


class UnderWay(Exception):
    """Nothing can be said of the request yet; `str()` of it is one line for people."""


class Done(Struct, frozen=True):
    """It is so already, by the log entry `index`, or without one (0)."""

    message: str
    index: int = 0


class Proposed(Struct, frozen=True):
    """It is so once the entry at `index` is committed."""

    message: str
    index: int


class Handing(Struct, frozen=True):
    """Leadership is to be handed to `target`; it is so once that leads."""

    target: NodeId


class Planned(Struct, frozen=True):
    """A change that may be proposed: these members, and what to say then."""

    message: str
    members: Configuration


class Administration:
    """Decides an administrator's requests, on a leader only. Within an iteration, with the lock held."""

    def __init__(
        self,
        node: NodeId,
        core: ChangedCore,
        ledger: Cluster,
        reached: Callable[[NodeId], Address | None],
        listed: Mapping[NodeId, NodeConfig],
        first_store: Callable[[NodeId], str],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`reached` tells the address at which a peer is connected; `listed` are the nodes of cluster.ini.

        `first_store` tells the store id that a server was first seen with, empty if it was not seen.
        """
        self._first_store = first_store
        self._node = node
        self._core = core
        self._ledger = ledger
        self._reached = reached
        self._listed = listed
        self._clock = clock
        self._announce_not_before_s = 0.0
        self.hellos: dict[NodeId, Hello] = {}  # of the peers that are connected

    @property
    def _members(self) -> Configuration:
        return self._core.configuration[1]

    def decide(self, request: MemberChange, now_us: int, deed: bytes) -> Done | Proposed | Handing:
        """Do what is asked, or begin to; raise `Refused` or `UnderWay`. Handing over is left to the caller.

        `deed` says who asked for it, and what (`log_entries.deed_data`): it stands in the entry of a change.
        """
        try:
            if isinstance(request, TransferLeadership):
                return self._transfer(request.node)
            if self._ledger.cluster.feature_level < MEMBERS_LEVEL:
                raise Refused(
                    f"the cluster is at feature level {self._ledger.cluster.feature_level}, at which members "
                    "cannot change: run release 1.2 or newer on all nodes, and start those that are down"
                )
            self._check_decided()
            planned = self._change(request)
            if isinstance(planned, Done):
                return planned
            return Proposed(planned.message, self._core.change_membership(planned.members, now_us, deed))
        except ChangeRefused as error:
            raise Refused(str(error)) from error

    def _check_decided(self) -> None:
        """Say nothing while a change may be undone: neither that it is so already, nor that it is refused.

        It may be the one that is asked for: a client that got no answer asks again.
        """
        index = self._core.configuration[0]
        if index > self._ledger.decided_index:
            raise UnderWay(f"the change in entry {index} is under way: one at a time, try again")

    def _change(
        self, request: AddMember | PromoteMember | RemoveMember | MoveMember | ReplaceMember
    ) -> Done | Planned:
        match request:
            case AddMember():
                return self._add(request)
            case PromoteMember():
                return self._promote(self._member(request.node))
            case RemoveMember():
                return self._remove(request)
            case MoveMember():
                return self._move(self._member(request.node), request)
            case ReplaceMember():
                return self._replace(self._member(request.node))
            case _:
                assert_never(request)

    def _member(self, node: NodeId) -> Member:
        found = next((member for member in self._members if member.node == node), None)
        if found is None:
            names = ", ".join(member.node for member in self._members)
            raise Refused(f"node {node} is no member of the cluster, whose members are {names}")
        return found

    def _with(self, changed: Member) -> Configuration:
        """Return the members with this one in place of that of its name, or besides."""
        others = [member for member in self._members if member.node != changed.node]
        return tuple(sorted([*others, changed], key=lambda member: member.node))

    # -- the requests ------------------------------------------------------------------------------------

    def _check_named(self) -> None:
        """Refuse to add who could not tell which data folder of a voter was the first, and counts."""
        unnamed = ", ".join(member.node for member in self._members if member.voter and not member.store)
        if unnamed:
            raise Refused(
                f"the log does not say yet which data folder counts for {unnamed}, which was not connected "
                "to this leader: start it, or remove it"
            )

    def _add(self, request: AddMember) -> Done | Planned:
        peer, client = self._addresses(request)
        for member in self._members:
            if member.node != request.node:
                continue
            if (member.peer, member.client) == (peer, client):
                return Done(f"node {member.node} is a member already", member.since)
            raise Refused(
                f"node {member.node} is a member already, at {member.peer} and {member.client}: to change "
                f"its addresses, use move"
            )
        self._check_named()
        if len(self._members) >= MEMBERS_MAX:
            raise Refused(f"a cluster has at most {MEMBERS_MAX} members: remove one first")
        learner = Member(node=request.node, voter=False, peer=peer, client=client)
        message = f"node {request.node} is a learner: it gets the log, and has no vote until it is promoted"
        return Planned(message, self._with(learner))

    def _promote(self, member: Member) -> Done | Planned:
        if member.voter and not self._core.has_lost_disk(member.node):
            return Done(f"node {member.node} is a voter already", member.since)
        if member.voter:
            raise Refused(f"node {member.node} has lost its disk: replace it first")
        hello = self.hellos.get(member.node)
        if hello is None:
            raise Refused(f"node {member.node} is not connected: start it, or look why it cannot connect")
        if str(self._reached(member.node)) != member.peer:
            raise Refused(
                f"the leader does not reach node {member.node} at its announced address {member.peer}: "
                "correct that with move, or start the node there"
            )
        behind = self._core.last_index - self._core.matched().get(member.node, 0)
        if behind > BEHIND_MAX:
            raise Refused(f"node {member.node} still lacks {behind} log entries: wait until it has caught up")
        self._check_named()
        members = self._with(replace(member, voter=True, store=hello.store))
        voters = [each.node for each in members if each.voter]
        if len(voters) > NODES_MAX:
            raise Refused(f"a cluster has at most {NODES_MAX} voters: remove one first")
        self._check_living(voters, living={member.node})
        return Planned(f"node {member.node} is a voter", members)

    def _remove(self, request: RemoveMember) -> Done | Planned:
        removed_at = dict(self._ledger.cluster.removed).get(request.node, 0)
        if removed_at and all(member.node != request.node for member in self._members):
            return Done(f"node {request.node} was removed in log entry {removed_at}", removed_at)
        member = self._member(request.node)
        rest = tuple(each for each in self._members if each.node != request.node)
        voters = [each.node for each in rest if each.voter]
        if not voters:
            raise Refused(f"node {request.node} is the last voter: without it there is no bank")
        if member.voter and not request.yes:
            living = len(self._living(voters))
            raise Refused(
                f"without node {request.node} the cluster has {len(voters)} voters, of which {living} "
                f"answer, and {len(voters) // 2 + 1} must: say so (--yes) if that is meant"
            )
        return Planned(f"node {request.node} is removed", rest)

    def _move(self, member: Member, request: MoveMember) -> Done | Planned:
        peer, client = self._addresses(request)
        if (member.peer, member.client) == (peer, client):
            return Done(f"node {member.node} is at {peer} and {client} already", member.since)
        message = f"node {member.node} is announced at {peer} and {client}: start it there"
        return Planned(message, self._with(replace(member, peer=peer, client=client)))

    def _replace(self, member: Member) -> Done | Planned:
        hello = self.hellos.get(member.node)
        if member.node == self._node or (
            member.voter and hello and not self._core.has_lost_disk(member.node)
        ):
            raise Refused(f"node {member.node} has its data folder and its vote: there is nothing to replace")
        if hello is None:
            raise Refused(f"node {member.node} is not connected: start it with its new data folder first")
        if not member.voter and member.store == hello.store:
            return Done(f"node {member.node} is a learner already", member.since)
        self._check_named()
        learner = replace(member, voter=False, store=hello.store)
        message = (
            f"node {member.node} is a learner with its new data folder: promote it when it has caught up"
        )
        return Planned(message, self._with(learner))

    def _transfer(self, target: NodeId | None) -> Done | Handing:
        if target == self._node:
            return Done(f"node {target} leads already")
        if target is not None:
            self._member(target)
            if target in self.hellos and target not in self._able():
                raise Refused(
                    f"node {target} runs release {self.hellos[target].release}, which cannot take over"
                )
            return Handing(self._core.successor(target))
        return Handing(self._core.successor(self.best_successor()))

    def best_successor(self, unfit: Collection[NodeId] = ()) -> NodeId | None:
        """Return the voter, none of `unfit`, that has most of the log and can take over; None if none can."""
        matched = self._core.matched()
        voters = [member.node for member in self._members if member.voter and member.node in self._able()]
        able = [
            node
            for node in voters
            if node != self._node and node not in unfit and not self._core.has_lost_disk(node)
        ]
        return max(able, key=lambda node: matched.get(node, 0), default=None)

    def _able(self) -> Collection[NodeId]:
        return {node for node, hello in self.hellos.items() if hello.protocol_max >= TRANSFER_PROTOCOL}

    # -- who lives, and where ----------------------------------------------------------------------------

    def _living(self, voters: Collection[NodeId], living: Collection[NodeId] = ()) -> list[NodeId]:
        """Return those of `voters` that are connected both ways and have their promises; or in `living`."""
        return [
            node
            for node in voters
            if node in (self._node, *living)
            or (
                node in self.hellos and self._reached(node) is not None and not self._core.has_lost_disk(node)
            )
        ]

    def _check_living(self, voters: Collection[NodeId], living: Collection[NodeId]) -> None:
        alive = self._living(voters, living)
        if 2 * len(alive) <= len(voters):
            raise Refused(
                f"of the {len(voters)} voters then, only {', '.join(alive)} answer, and that is no majority: "
                "start the others first"
            )

    def _addresses(self, request: AddMember | MoveMember) -> tuple[str, str]:
        """Return the peer and the client address, as they are written in the log."""
        try:
            peer, client = str(parse_address(request.peer)), str(parse_address(request.client))
        except ValueError as error:
            raise Refused(str(error)) from error
        taken = {
            address: member.node
            for member in self._members
            if member.node != request.node
            for address in (member.peer, member.client)
            if address
        }
        for address in (peer, client):
            if address in taken:
                raise Refused(f"{address} is the address of node {taken[address]}")
        if peer == client:
            raise Refused(f"{peer} cannot be both: servers and tellers connect to different ports")
        return peer, client

    def announce(self, now_us: int) -> None:
        """Propose an entry with the members' addresses and the voters' stores, if the log lacks them.

        Of an address, a server's own word counts before that of cluster.ini. The store is the one that the
        server was first seen with: servers that join later see another one first, if that disk is lost.
        """
        complete = all(m.peer and (m.store or not m.voter) for m in self._members)
        if complete or self._ledger.cluster.feature_level < MEMBERS_LEVEL:
            return
        if self._clock() < self._announce_not_before_s:
            return
        self._announce_not_before_s = self._clock() + ANNOUNCE_AGAIN_S
        members = tuple(sorted(map(self._completed, self._members), key=lambda member: member.node))
        if set(members) == set(self._members):
            return
        try:
            self._core.change_membership(members, now_us)
        except ChangeRefused:
            return  # again later

    def _completed(self, member: Member) -> Member:
        if member.voter and not member.store:
            member = replace(member, store=self._first_store(member.node))
        hello, listed = self.hellos.get(member.node), self._listed.get(member.node)
        if member.peer:
            return member
        if hello is not None and hello.peer_address and hello.client_address:
            return replace(member, peer=hello.peer_address, client=hello.client_address)
        if listed is not None:
            return replace(member, peer=str(listed.peer), client=str(listed.client))
        return member
