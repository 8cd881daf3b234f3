"""Takes a backup from a bank that serves: from one of its nodes, what is new since the last piece.

A run that is interrupted at any point leaves the backup as it was; the next run goes on with what had
arrived. A piece counts once it is whole, synced and in `backup.json`.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

from msgspec import Struct
from msgspec.structs import replace

from atm.client import new_request_id
from atm.client.connection import Lost, NotSent, NotTrusted, ServerConnection
from atm.client.each_node import ask_each, fault_of
from atm.config import Cluster, NodeConfig
from atm.files import rename_durably, sha256_of
from atm.storage.backup_folder import (
    UNFINISHED_ENTRIES,
    UNFINISHED_SNAPSHOT,
    BackupFolder,
    BackupRefused,
    Manifest,
    Piece,
    snapshot_piece,
    with_piece,
)
from atm.storage.entry_file import (
    BEGINNING,
    BadRecord,
    EntryReader,
    Header,
    Position,
    decode_entries,
    encode_start,
    followed,
)
from atm.tls.credentials import Credentials
from atm.tls.of_cluster import client_credentials
from atm.wire.backup_messages import (
    BACKUP_FRAME_BYTES_MAX,
    BackupBegin,
    BackupChunk,
    BackupData,
    BackupEntries,
    BackupOffer,
    BackupRequest,
    SnapshotOffer,
)
from atm.wire.client_messages import AdminReply, ClientReply, ErrorReply, Status, StatusReply
from atm.wire.codec import encode

STATUS_S = 2.0
ANSWER_S = 30.0  # a node may have to read its whole log first
BEHIND_S = 10.0  # how long to wait for a node's ledger to hold what was committed when the backup began
BEHIND_POLL_S = 0.05
TRIES_AT_ONE_NODE = 3

Report = Callable[[str], None]


class NoBackup(Exception):
    """Nothing was taken; `str()` is one line for people."""


class _Again(Exception):
    """What the node had offered is not there any more; `str()` says what."""


class Taken(Struct, frozen=True, kw_only=True):
    """What a run has added, and from where."""

    node: str
    new_pieces: tuple[Piece, ...]
    manifest: Manifest
    missing: tuple[str, ...]  # nodes that did not answer
    confirmed: bool  # a majority answered, so nothing acknowledged before the run is missing


class Node:
    """A connection to one node for a backup. Raises `NotSent` and `Lost`."""

    def __init__(self, node: NodeConfig, connect_s: float, credentials: Credentials | None = None) -> None:
        self.name = node.name
        self._connection = ServerConnection(
            node.client.pair,
            time.monotonic() + connect_s,
            frame_bytes_max=BACKUP_FRAME_BYTES_MAX,
            credentials=credentials,
            node=node.name,
        )

    def close(self) -> None:
        self._connection.close()

    def begin(self, after_index: int) -> BackupOffer:
        """Return what the node can give; raise `_Again` if it cannot now, `NoBackup` if it never can."""
        reply = self._ask(BackupBegin(id=new_request_id(), after_index=after_index))
        if isinstance(reply, ErrorReply) and reply.outcome == "bad_request":
            raise NoBackup(
                f"node {self.name} is of a release that gives no backup: upgrade it to this one first"
            )
        if not isinstance(reply, BackupOffer):
            raise Lost("it answered another request")
        return reply

    def record(self) -> None:
        """Have it recorded that a backup begins, of which this server gives nothing; raise `_Again`."""
        reply = self._ask(BackupBegin(id=new_request_id()))
        if not isinstance(reply, AdminReply):
            raise Lost("it answered another request")

    def entries(self, first: int, last: int) -> BackupData:
        return self._data(BackupEntries(id=new_request_id(), first=first, last=last))

    def chunk(self, snapshot: SnapshotOffer, offset: int) -> BackupData:
        request = BackupChunk(
            id=new_request_id(), index=snapshot.index, sha256=snapshot.sha256, offset=offset
        )
        return self._data(request)

    def _data(self, request: BackupRequest) -> BackupData:
        reply = self._ask(request)
        if not isinstance(reply, BackupData):
            raise Lost("it answered another request")
        return reply

    def _ask(self, request: BackupRequest) -> ClientReply:
        reply = self._connection.exchange(encode(request), request.id, time.monotonic() + ANSWER_S)
        if isinstance(reply, ErrorReply) and reply.outcome != "bad_request":
            raise _Again(reply.message)
        return reply


def take(cluster: Cluster, folder: BackupFolder, now_us: int, report: Report) -> Taken:
    """Add to the backup all that was acknowledged before; raise `NoBackup`, `BackupRefused` and `OSError`."""
    credentials = client_credentials(cluster)
    distrust: dict[str, NotTrusted] = {}
    statuses = {
        name: answer
        for name, answer in ask_each(
            cluster.nodes.values(), Status(id=new_request_id()), STATUS_S, credentials, distrust
        ).items()
        if isinstance(answer, StatusReply) and answer.node == name
    }
    if not statuses and distrust:
        raise NoBackup(str(fault_of(distrust)))
    if not statuses:
        raise NoBackup("no node answered: is the bank running, and is this its cluster.ini?")
    goal = max(answer.commit_index for answer in statuses.values())
    reasons: list[str] = []
    # The node that has applied most, and rather a follower, which has less to do.
    order = sorted(statuses.values(), key=lambda each: (-each.applied_index, each.role == "leader"))
    for answer in order:
        taking = _Taking(folder, now_us, report)
        try:
            with closing(Node(cluster.nodes[answer.node], STATUS_S, credentials)) as node:
                taking.take_from(node, goal)
        except (NotSent, Lost, _Again, NoBackup) as error:
            reasons.append(f"{answer.node}: {error}")
            continue
        assert folder.manifest is not None
        return Taken(
            node=answer.node,
            new_pieces=tuple(taking.new_pieces),
            manifest=folder.manifest,
            missing=tuple(name for name in cluster.nodes if name not in statuses),
            confirmed=2 * len(statuses) > len(cluster.nodes),
        )
    raise NoBackup(f"no node could give a backup: {'; '.join(reasons)}")


def have_recorded(cluster: Cluster) -> str:
    """Have a server of a bank on PostgreSQL record who begins a backup; return why it did not, "" if it did.

    Raise `NotAllowed`.
    """
    credentials = client_credentials(cluster)
    why = "cluster.ini names no server"
    for config in cluster.nodes.values():
        try:
            with closing(Node(config, STATUS_S, credentials)) as node:
                node.record()
                return ""
        except (NotSent, Lost, _Again) as error:
            why = f"{config.name}: {error}"
    return why


class _Taking:
    """One run at one node."""

    def __init__(self, folder: BackupFolder, now_us: int, report: Report) -> None:
        self._folder = folder
        self._now_us = now_us
        self._report = report
        self.new_pieces: list[Piece] = []

    def take_from(self, node: Node, goal: int) -> None:
        """Take what is new, at least up to entry `goal`."""
        for left in reversed(range(TRIES_AT_ONE_NODE)):
            try:
                self._take(node, self._offer(node, goal))
                return
            except _Again:
                if not left:
                    raise

    def _offer(self, node: Node, goal: int) -> BackupOffer:
        """Wait until the node's ledger holds all up to `goal`."""
        deadline_s = time.monotonic() + BEHIND_S
        while True:
            offer = node.begin(self._manifest_end.index)
            if offer.last_index >= goal:
                return offer
            if time.monotonic() > deadline_s:
                raise _Again(f"its ledger is at entry {offer.last_index}, and {goal} is committed")
            time.sleep(BEHIND_POLL_S)

    @property
    def _manifest_end(self) -> Position:
        return self._folder.manifest.end if self._folder.manifest else BEGINNING

    def _take(self, node: Node, offer: BackupOffer) -> None:
        manifest = self._manifest(offer)
        last = manifest.end
        if offer.first_index > last.index + 1:
            snapshot = offer.snapshot
            if snapshot is None or snapshot.index + 1 < offer.first_index:
                raise NoBackup(
                    f"its log begins at entry {offer.first_index}, and it has no snapshot before that"
                )
            if last.index:
                self._report(
                    f"Entries {last.index + 1} to {snapshot.index - 1} are in no log any more: they can be "
                    "restored "
                    f"only as a whole, as of entry {snapshot.index}. More frequent backups avoid that"
                )
            piece = self._fetch_snapshot(node, snapshot)
            manifest, last = self._add(manifest, piece), piece.end
        if offer.last_index > last.index:
            self._add(manifest, self._fetch_entries(node, offer, last))
        elif not self.new_pieces:
            self._folder.write(manifest)
        self._folder.remove_unlisted()

    def _manifest(self, offer: BackupOffer) -> Manifest:
        """Return the manifest with what the bank says now; raise `BackupRefused` if it is another bank's."""
        old = self._folder.manifest
        if old is not None and old.cluster != offer.cluster:
            raise BackupRefused(
                f"{self._folder.path} holds a backup of cluster {old.cluster}, and the bank that answers "
                "is cluster "
                f"{offer.cluster}: name another folder for it"
            )
        told = {
            "release": offer.release,
            "cluster": offer.cluster,
            "feature_level": offer.feature_level,
            "nodes": offer.nodes,
            "pepper": offer.pepper,
            "current_pepper": offer.current_pepper,
            "made_us": self._now_us,
        }
        return replace(old, **told) if old is not None else Manifest(**told)  # type: ignore[arg-type]

    def _add(self, manifest: Manifest, piece: Piece) -> Manifest:
        manifest = with_piece(manifest, piece)
        self._folder.write(manifest)
        self.new_pieces.append(piece)
        return manifest

    # -- a snapshot ----------------------------------------------------------------------------------

    def _fetch_snapshot(self, node: Node, snapshot: SnapshotOffer) -> Piece:
        unfinished = self._folder.path / f"{UNFINISHED_SNAPSHOT}-{snapshot.sha256[:16]}"
        for other in self._folder.path.glob(f"{UNFINISHED_SNAPSHOT}-*"):
            if other != unfinished:
                other.unlink()
        with unfinished.open("ab") as file:
            offset = file.tell()
            while offset < snapshot.size_bytes:
                data = node.chunk(snapshot, offset).data
                if not data:
                    break
                file.write(data)
                offset += len(data)
            file.flush()
            os.fsync(file.fileno())
        if offset != snapshot.size_bytes or sha256_of(unfinished) != snapshot.sha256:
            unfinished.unlink()
            raise _Again("the snapshot arrived damaged")
        path = self._folder.path / f"snapshot-{snapshot.index}.db"
        rename_durably(unfinished, path)
        return snapshot_piece(
            path.name,
            size_bytes=snapshot.size_bytes,
            sha256=snapshot.sha256,
            at=Position(snapshot.index, snapshot.term, snapshot.time_us),
            chain_hash=snapshot.chain_hash,
        )

    # -- entries -------------------------------------------------------------------------------------

    def _fetch_entries(self, node: Node, offer: BackupOffer, after: Position) -> Piece:
        unfinished = self._folder.path / UNFINISHED_ENTRIES
        header = Header(cluster=offer.cluster, first_index=after.index + 1)
        last, first_time_us = _resume(unfinished, header, after, offer.last_index)
        with unfinished.open("ab") as file:
            while last.index < offer.last_index:
                reply = node.entries(last.index + 1, offer.last_index)
                try:
                    entries = decode_entries(reply.data)
                    for entry in entries:
                        last = followed(last, entry)
                        first_time_us = first_time_us or entry.time_us
                except BadRecord as error:
                    raise _Again(f"what it sent is damaged: {error}") from error
                if not entries or last.index > offer.last_index:
                    raise _Again("it did not send what was asked for")
                file.write(reply.data)
            file.flush()
            os.fsync(file.fileno())
        size_bytes, sha256 = unfinished.stat().st_size, sha256_of(unfinished)
        path = self._folder.path / f"entries-{header.first_index}-{last.index}.bin"
        rename_durably(unfinished, path)
        return Piece(
            kind="entries",
            file=path.name,
            size_bytes=size_bytes,
            sha256=sha256,
            first_index=header.first_index,
            last_index=last.index,
            last_term=last.term,
            first_time_us=first_time_us,
            last_time_us=last.time_us,
            chain_hash=offer.chain_hash,
        )


def _resume(path: Path, header: Header, after: Position, last_index: int) -> tuple[Position, int]:
    """Keep what an interrupted run has left and still fits; return its end and its first time stamp."""
    last, first_time_us, end = after, 0, 0
    try:
        with closing(EntryReader(path)) as reader:
            if reader.header == header:
                end = reader.end
                for entry in reader.entries():
                    last = followed(last, entry)
                    first_time_us = first_time_us or entry.time_us
                    end = reader.end
    except (BadRecord, FileNotFoundError):
        pass
    if not end or last.index > last_index:
        path.write_bytes(encode_start(header))
        return after, 0
    os.truncate(path, end)
    return last, first_time_us
