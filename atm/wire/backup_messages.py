"""Requests of a backup, and their replies: any server answers them, from its own files.

All that is given out is committed. The replies are longer than others: up to `BACKUP_FRAME_BYTES_MAX`.
"""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, Struct

from atm.ledger.commands import Request

BACKUP_DATA_BYTES_MAX = 512 * 1024  # in a reply, unless it is a single entry
BACKUP_FRAME_BYTES_MAX = 1024 * 1024

Number = Annotated[
    int, Meta(ge=0, le=2**62)
]  # as in atm/raft/messages.py: a client loads nothing of the core
Sha256 = Annotated[str, Meta(pattern=r"^[0-9a-f]{64}\Z")]


class BackupBegin(Request, frozen=True, kw_only=True, tag="backup_begin"):
    """Asks one server what it can give to a backup that holds everything up to `after_index`."""

    after_index: Number = 0


class BackupEntries(Request, frozen=True, kw_only=True, tag="backup_entries"):
    """Asks for the committed entries from `first` on, up to `last` or as many as fit a reply."""

    first: Number
    last: Number


class BackupChunk(Request, frozen=True, kw_only=True, tag="backup_chunk"):
    """Asks for the bytes of the offered snapshot from `offset` on."""

    index: Number
    sha256: Sha256
    offset: Number


class SnapshotOffer(Struct, frozen=True, kw_only=True):
    """A snapshot of the ledger: everything up to log entry `index`."""

    index: int
    term: int
    time_us: int
    size_bytes: int
    sha256: str
    chain_hash: str


class BackupOffer(Struct, frozen=True, kw_only=True):
    """What a server can give: the committed entries from `first_index` to `last_index`, and its snapshot.

    The server's ledger is at `last_index`, where `chain_hash` is the hash of its journal's last posting.
    Without a snapshot the log begins at 1. `pepper` names the first pepper, `current_pepper` the current one
    if that is another.
    """

    id: str
    outcome: str
    node: str
    release: str
    cluster: str
    feature_level: int
    nodes: tuple[str, ...]
    pepper: str
    first_index: int
    last_index: int
    chain_hash: str
    snapshot: SnapshotOffer | None = None
    current_pepper: str = ""


class BackupData(Struct, frozen=True, kw_only=True):
    """Bytes of the snapshot, or records of entries (atm/storage/entry_file.py); `end`: that was the last."""

    id: str
    outcome: str
    data: bytes
    end: bool


BackupRequest = BackupBegin | BackupEntries | BackupChunk
