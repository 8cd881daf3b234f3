"""Reads a node's files for a backup, in a process of its own, so that the run loop is not slowed down.

`python -m atm.server.clients.backup_reader FOLDER`, where FOLDER is the node's. The node's interpreter only
carries the bytes: frames with requests of backup_messages.py come in on standard input, frames with their
replies go out on standard output. The process ends when its input does.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec
from msgspec import Struct

from atm.config import LEDGER_FILE
from atm.ledger.audit.read_only import DamagedLedger, NoLedger, open_read_only
from atm.raft.messages import Entry
from atm.storage.data_folder import NODE_FILE, Owner
from atm.storage.entry_file import encode_entries
from atm.storage.log_source import EntryMissing, LogSource
from atm.version import RELEASE
from atm.wire.backup_messages import (
    BACKUP_DATA_BYTES_MAX,
    BackupBegin,
    BackupChunk,
    BackupData,
    BackupEntries,
    BackupOffer,
    BackupRequest,
)
from atm.wire.client_messages import ErrorReply, decode_client_request
from atm.wire.codec import encode
from atm.wire.framing import CLIENT_FRAME_BYTES_MAX, FrameReader, frame

NICE = 10
INPUT_BYTES = 64 * 1024

STATE = "select log_index, id, voters, feature_level from applied, cluster"
LAST_HASH = "select hash from journal order by posting desc limit 1"


class _LedgerState(Struct, frozen=True, kw_only=True):
    applied_index: int
    cluster: str
    nodes: tuple[str, ...]
    feature_level: int
    chain_hash: str


class BackupReader:
    """Answers the requests of one backup, in their order."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._source: LogSource | None = None
        self._last_index = 0  # that was offered
        self._next_index = 0  # of the first entry that `_following` yields
        self._following: Iterator[Entry] = iter(())

    def reply(self, request: BackupRequest) -> BackupOffer | BackupData | ErrorReply:
        """Return what was asked for, or why not."""
        try:
            match request:
                case BackupBegin():
                    return self._begin(request)
                case BackupEntries():
                    return self._entries(request)
                case BackupChunk():
                    return self._chunk(request)
        except (EntryMissing, NoLedger, DamagedLedger) as error:
            return _unavailable(request, str(error))
        except OSError as error:
            return _unavailable(request, f"cannot read {error.filename}: {error.strerror or error}")

    def _begin(self, request: BackupBegin) -> BackupOffer | ErrorReply:
        owner = msgspec.json.decode((self._folder / NODE_FILE).read_bytes(), type=Owner)
        state = _ledger_state(self._folder / LEDGER_FILE)
        if not state.cluster:
            return _unavailable(request, f"node {owner.node} has applied no entry yet")
        if state.applied_index < request.after_index:
            return _unavailable(
                request,
                f"node {owner.node} has applied the log up to entry {state.applied_index} only, and the "
                "backup holds "
                f"{request.after_index}",
            )
        self._source = LogSource(self._folder, request.after_index + 1)
        self._last_index, self._next_index = state.applied_index, 0
        return BackupOffer(
            id=request.id,
            outcome="ok",
            node=owner.node,
            release=RELEASE,
            cluster=state.cluster,
            feature_level=state.feature_level,
            nodes=state.nodes,
            pepper=owner.pepper or "",
            first_index=self._source.first_index,
            last_index=state.applied_index,
            chain_hash=state.chain_hash,
        )

    def _entries(self, request: BackupEntries) -> BackupData | ErrorReply:
        last = min(request.last, self._last_index)
        if self._source is None or request.first > last:
            return _unavailable(request, "nothing of that was offered: begin again")
        if request.first != self._next_index:
            self._following = self._source.entries(request.first, self._last_index)
            self._next_index = request.first
        data = bytearray()
        for entry in self._following:
            data += encode_entries([entry])
            self._next_index = entry.index + 1
            if entry.index >= last or len(data) >= BACKUP_DATA_BYTES_MAX:
                break
        return BackupData(id=request.id, outcome="ok", data=bytes(data), end=self._next_index > last)

    def _chunk(self, request: BackupChunk) -> BackupData | ErrorReply:
        return _unavailable(request, "there is no such snapshot (any more): begin again")


def _ledger_state(path: Path) -> _LedgerState:
    with open_read_only(path) as cursor:
        [(applied_index, cluster, voters, level)] = cursor.execute(STATE).fetchall()
        last_hash = cursor.execute(LAST_HASH).get
    return msgspec.convert(
        {
            "applied_index": applied_index,
            "cluster": cluster,
            "nodes": msgspec.json.decode(str(voters)),
            "feature_level": level,
            "chain_hash": bytes(last_hash).hex() if isinstance(last_hash, bytes) else bytes(32).hex(),
        },
        _LedgerState,
    )


def _unavailable(request: BackupRequest, message: str) -> ErrorReply:
    return ErrorReply(id=request.id, outcome="unavailable", message=message)


def main(argv: Sequence[str]) -> int:
    """Answer requests until standard input ends."""
    os.nice(NICE)
    reader, frames = BackupReader(Path(argv[0])), FrameReader(CLIENT_FRAME_BYTES_MAX)
    while piece := os.read(0, INPUT_BYTES):
        for payload in list(frames.feed(piece)):
            request = decode_client_request(payload)
            assert isinstance(request, BackupRequest)
            _write(frame(encode(reader.reply(request))))
    return 0


def _write(data: bytes) -> None:
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(1, rest) :]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
