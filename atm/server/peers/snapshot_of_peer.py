"""Takes over a snapshot of another server before this one starts: its own leads to a wrong ledger.

A ledger whose file rotted may have been copied into a snapshot before that was noticed. A ledger that is
rebuilt from it is wrong again, so the next one begins with what another server holds. A snapshot holds
committed entries only, so this gives up no promise; what the log has behind it stays.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from threading import Event

from msgspec.structs import replace

from atm.config import LEDGER_FILE, Cluster
from atm.ledger.snapshot import NotMade, state_of
from atm.raft.messages import NodeId, Snapshot
from atm.server.group.recovery import members_of
from atm.server.group.roster import Roster
from atm.server.peers.handshake import Handshake, own_hello
from atm.server.peers.snapshot_fetcher import FetchFailed, SnapshotFetcher
from atm.server.peers.snapshot_preparing import wrong_inside
from atm.server.security.peppers import read_peppers
from atm.storage.data_folder import DataFolder
from atm.storage.log_file import LogFile
from atm.storage.snapshots import SNAPSHOT_FOLDER, SnapshotStore, wrong_with
from atm.tls.of_cluster import node_credentials


def roster_of(cluster: Cluster, name: NodeId) -> Roster:
    """Return the members by a stopped node's ledger, if that can be read, or else by cluster.ini."""
    try:
        state = state_of(cluster.data_dir / name / LEDGER_FILE)
    except NotMade:
        return Roster(0, (), {}, cluster.nodes)
    return Roster(0, members_of(state), {}, cluster.nodes)


def peers_of(roster: Roster, name: NodeId) -> Iterator[NodeId]:
    """Yield the other servers, those with a vote first."""
    members = sorted(roster.members, key=lambda member: not member.voter)
    yield from (member.node for member in members if member.node != name)
    if not members:
        yield from (node for node in roster.listed if node != name)


def take_over_snapshot(cluster: Cluster, folder: DataFolder, roster: Roster, peer: NodeId) -> int:
    """Make a snapshot of `peer` the newest of the stopped node on `folder`, durably; return its index.

    Raises `FetchFailed`, and what opening the parts of a node raises.
    """
    peppers = read_peppers(cluster.pepper_file, may_make=lambda: False)
    snapshots = SnapshotStore(folder.path / SNAPSHOT_FOLDER)
    with closing(LogFile(folder.path, base=snapshots.base)) as log:
        handshake = Handshake(
            own_hello(cluster, folder, peppers.names[0]),
            roster,
            lambda: log.last_index,
            credentials=node_credentials(cluster, folder.owner.node),
            peppers=lambda: peppers.names,
        )
        fetcher = SnapshotFetcher(handshake, roster.announced)
        snapshot = fetcher.ask(peer, max(1, snapshots.base.index))
        part = snapshots.part(snapshot)
        fetcher.fetch(snapshot, peer, part, Event())
        _check(snapshot, part, folder.cluster_id)
        if snapshot.term > log.hard_state.term:  # a later leader committed it; no vote was given in that term
            log.save(replace(log.hard_state, term=snapshot.term, voted_for=None), [])
        if snapshot.index > snapshots.base.index:
            snapshots.adopt(snapshot, part, installed=True)
        else:
            snapshots.replace_newest(snapshot, part)
    return snapshot.index


def _check(snapshot: Snapshot, part: Path, cluster_id: str) -> None:
    """Raise `FetchFailed` if what was fetched is not what was said, or not of this cluster."""
    wrong = wrong_with(snapshot, part) or wrong_inside(snapshot, part)
    if wrong is None and snapshot.cluster_id != cluster_id:
        wrong = f"it belongs to cluster {snapshot.cluster_id[:32]!r}"
    if wrong is not None:
        part.unlink()
        raise FetchFailed(f"what was fetched is wrong: {wrong}")
