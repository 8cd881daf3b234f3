"""The members of the cluster, and where each is found: from the log, completed by cluster.ini."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from msgspec import Struct

from atm.config import Address, NodeConfig, parse_address
from atm.raft import Configuration, Member, NodeId


class Roster(Struct, frozen=True):
    """What this node knows of the cluster's servers; replaced as a whole when that changes.

    `members` are those of the newest configuration in this node's log, which entry `index` names; `removed`
    those that were members (by name, with the index of the entry that removed them), and `listed` those of
    cluster.ini.
    """

    index: int
    members: Configuration
    removed: Mapping[NodeId, int]
    listed: Mapping[NodeId, NodeConfig]

    def member(self, node: NodeId) -> Member | None:
        """Return the member of that name, or None."""
        return next((member for member in self.members if member.node == node), None)

    def member_at(self, node: NodeId) -> int:
        """Return `index` if `node` is a member by that entry, else 0."""
        return 0 if self.member(node) is None else self.index

    def removed_at(self, node: NodeId, member_at: int = 0) -> int:
        """Return the index of the entry that removed `node`, 0 if it is a member or never was one.

        0 also if it is a member by a later entry, `member_at`, of its own log: this node may lack that one.
        """
        at = 0 if self.member(node) is not None else self.removed.get(node, 0)
        return at if at >= member_at else 0

    def store(self, node: NodeId) -> str:
        """Return the data folder whose promises the log counts, empty if it names none."""
        member = self.member(node)
        return "" if member is None else member.store

    def announced(self, node: NodeId) -> Address | None:
        """Return the address at which servers shall find `node`: the log's, or else that of cluster.ini."""
        return next(self._addresses(node), None)

    def places(self, node: NodeId, shown: str = "") -> tuple[Address, ...]:
        """Return all addresses at which `node` may be found, the announced one first.

        `shown` is what it says itself. Another server there is noticed, as each says its name.
        """
        shown_address = _parsed(shown)
        found = [*self._addresses(node), *([shown_address] if shown_address else [])]
        return tuple(dict.fromkeys(found))

    def _addresses(self, node: NodeId) -> Iterator[Address]:
        member = self.member(node)
        address = _parsed(member.peer) if member is not None else None
        if address is not None:
            yield address
        if node in self.listed:
            yield self.listed[node].peer

    def differences(self) -> list[str]:
        """Return a line for each difference between cluster.ini and the log."""
        names = {member.node for member in self.members}
        lines = [
            f"cluster.ini lists node {node}, which is no member of this cluster: "
            + (f"it was removed in log entry {at}" if (at := self.removed_at(node)) else "add it first")
            for node in self.listed
            if node not in names
        ]
        for member in self.members:
            listed = self.listed.get(member.node)
            if listed is None:
                lines.append(f"cluster.ini does not list node {member.node}, a member of this cluster")
                continue
            for key, said in (("peer", member.peer), ("client", member.client)):
                here = str(getattr(listed, key))
                if said and said != here:
                    lines.append(
                        f"cluster.ini gives node {member.node} the {key} address {here}, and the log says "
                        f"{said}: the log counts. Correct the file, or move the node there"
                    )
        return lines


def _parsed(text: str) -> Address | None:
    try:
        return parse_address(text)
    except ValueError:
        return None
