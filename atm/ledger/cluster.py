"""What the log says about the cluster itself: its id, its feature level and its members."""

from __future__ import annotations

import apsw
import msgspec
from msgspec import Struct
from msgspec.structs import replace

from atm.ledger.commands import Founding, LedgerEntry, LevelRaise, Member, MembershipChange
from atm.ledger.rows import Unreadable

MEMBERS_LEVEL = 2  # the feature level from which on the ledger has the tables `member` and `removed`

CLUSTER = "select id, voters, feature_level from cluster"
SET_CLUSTER = "update cluster set id = ?, voters = ?, feature_level = ?"
MEMBERS = "select node, voter, peer, client, store, since from member order by node"
REMOVED = "select node, log_index from removed order by node"


class ClusterState(Struct, frozen=True, kw_only=True):
    """What the log says about the cluster itself; `id` and `voters` are empty before its first entry.

    `members` and `removed` (name and log index) are in the order of the names, and empty below
    `MEMBERS_LEVEL`.
    """

    id: str
    voters: tuple[str, ...]
    feature_level: int
    members: tuple[Member, ...] = ()
    removed: tuple[tuple[str, int], ...] = ()

    def after(self, log_index: int, entry: LedgerEntry | None) -> ClusterState:
        """Return the state after the entry at `log_index`.

        Only the first founding counts; the feature level never falls; below theirs, members are not known.
        """
        match entry:
            case Founding() if not self.id:
                return replace(self, id=entry.cluster_id, voters=entry.voters)
            case LevelRaise() if entry.level > self.feature_level:
                return self._at_level(entry.level)
            case MembershipChange() if self.feature_level >= MEMBERS_LEVEL:
                return self._with_members(log_index, entry.members)
            case _:
                return self

    def _at_level(self, level: int) -> ClusterState:
        raised = replace(self, feature_level=level)
        if self.members or level < MEMBERS_LEVEL:
            return raised
        founders = (Member(node=node, voter=True, peer="", client="") for node in sorted(self.voters))
        return replace(raised, members=tuple(founders))

    def _with_members(self, log_index: int, members: tuple[Member, ...]) -> ClusterState:
        """Replace the members; those that are none any more are noted."""
        names = {member.node for member in members}
        gone = dict(self.removed) | {m.node: log_index for m in self.members if m.node not in names}
        now = tuple(sorted(members, key=lambda member: member.node))
        return replace(
            self,
            voters=tuple(member.node for member in now if member.voter),
            members=now,
            removed=tuple(sorted((node, index) for node, index in gone.items() if node not in names)),
        )


def read_cluster(cursor: apsw.Cursor, *, with_members: bool) -> ClusterState:
    """Return the state as it was written; `with_members` if the ledger has the tables for it."""
    [(cluster_id, voters, level)] = cursor.execute(CLUSTER).fetchall()
    try:
        fields = {
            "id": cluster_id,
            "voters": msgspec.json.decode(str(voters)),
            "feature_level": level,
            "members": [(node, bool(voter), *rest) for node, voter, *rest in cursor.execute(MEMBERS)]
            if with_members
            else (),
            "removed": list(cursor.execute(REMOVED)) if with_members else (),
        }
        return msgspec.convert(fields, ClusterState)
    except msgspec.DecodeError as error:  # or a ValidationError, which is one
        raise Unreadable(f"a cluster that cannot be read ({error})") from error


def write_cluster(cursor: apsw.Cursor, cluster: ClusterState) -> None:
    """Write the state, in the caller's transaction; the ledger has the tables for its members, if any."""
    voters = msgspec.json.encode(cluster.voters).decode()
    cursor.execute(SET_CLUSTER, (cluster.id, voters, cluster.feature_level))
    if cluster.feature_level < MEMBERS_LEVEL:
        return
    cursor.execute("delete from member")
    cursor.execute("delete from removed")
    rows = [(m.node, m.voter, m.peer, m.client, m.store, m.since) for m in cluster.members]
    if rows:
        cursor.executemany("insert into member values (?, ?, ?, ?, ?, ?)", rows)
    if cluster.removed:
        cursor.executemany("insert into removed values (?, ?)", cluster.removed)
