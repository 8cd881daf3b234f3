"""Reads a node's files for a backup, in a process of its own, so that the run loop is not slowed down.

`python -m atm.server.clients.backup_reader FOLDER`, where FOLDER is the node's. The node's interpreter only
carries the bytes: frames with requests of backup_messages.py come in on standard input, frames with their
replies go out on standard output. The process ends when its input does.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import BinaryIO

import msgspec

from atm.config import LEDGER_FILE
from atm.ledger.audit.read_only import DamagedLedger, NoLedger, open_read_only
from atm.ledger.snapshot import LedgerState, NotMade, read_state
from atm.raft.messages import Entry, Snapshot
from atm.storage.data_folder import NODE_FILE, Owner
from atm.storage.entry_file import encode_entries
from atm.storage.log_recovery import LogOfAnotherRelease
from atm.storage.read_only_log import ReadOnlyLog
from atm.storage.snapshots import SNAPSHOT_FOLDER, newest_in
from atm.version import RELEASE
from atm.wire.backup_messages import (
    BACKUP_DATA_BYTES_MAX,
    BackupBegin,
    BackupChunk,
    BackupData,
    BackupEntries,
    BackupOffer,
    BackupRequest,
    SnapshotOffer,
)
from atm.wire.client_messages import ErrorReply
from atm.wire.codec import encode
from atm.wire.framing import CLIENT_FRAME_BYTES_MAX, FrameReader, frame
from atm.wire.request_decoding import decode_client_request

NICE = 10
INPUT_BYTES = 64 * 1024


class BackupReader:
    """Answers the requests of one backup, in their order."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._log: ReadOnlyLog | None = None
        self._snapshot: tuple[Snapshot, BinaryIO] | None = None  # offered; open, so that it stays readable
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
        except (NoLedger, DamagedLedger, NotMade, LogOfAnotherRelease) as error:
            return _unavailable(request, str(error))
        except OSError as error:
            return _unavailable(
                request, f"cannot read {error.filename or 'the log'}: {error.strerror or error}"
            )

    def _begin(self, request: BackupBegin) -> BackupOffer | ErrorReply:
        owner = msgspec.json.decode((self._folder / NODE_FILE).read_bytes(), type=Owner)
        state = _ledger_state(self._folder / LEDGER_FILE)
        if not state.cluster_id:
            return _unavailable(request, f"node {owner.node} has applied no entry yet")
        if state.index < request.after_index:
            return _unavailable(
                request,
                f"node {owner.node} has applied the log up to entry {state.index} only, and the "
                "backup holds "
                f"{request.after_index}",
            )
        self._log = log = ReadOnlyLog(self._folder, after=request.after_index)
        self._last_index, self._next_index = state.index, 0
        snapshot = self._open_snapshot()
        first_index = log.first_index
        if not len(log) and snapshot is not None:  # nothing was written since it was installed
            first_index = snapshot.index + 1
        if max(log.last_index, first_index - 1) < state.index:
            return _unavailable(request, log.damage or f"the log of node {owner.node} does not read that far")
        return BackupOffer(
            id=request.id,
            outcome="ok",
            node=owner.node,
            release=RELEASE,
            cluster=state.cluster_id,
            feature_level=state.feature_level,
            nodes=state.voters,
            pepper=owner.pepper or "",
            first_index=first_index,
            last_index=state.index,
            chain_hash=state.chain_hash,
            snapshot=_offered(snapshot),
            current_pepper=state.pepper,
        )

    def close(self) -> None:
        """Close the snapshot's file, if one was offered."""
        if self._snapshot is not None:
            self._snapshot[1].close()
            self._snapshot = None

    def _open_snapshot(self) -> Snapshot | None:
        self.close()
        with contextlib.suppress(FileNotFoundError):  # it has just been replaced by a newer one
            found = newest_in(self._folder / SNAPSHOT_FOLDER)
            if found is not None:
                snapshot, path = found
                self._snapshot = snapshot, path.open("rb")
                return snapshot
        return None

    def _entries(self, request: BackupEntries) -> BackupData | ErrorReply:
        log, last = self._log, min(request.last, self._last_index)
        if log is None or not log.first_index <= request.first <= last:
            return _unavailable(request, "nothing of that was offered: begin again")
        if request.first != self._next_index:
            self._following = log.entries(request.first, self._last_index)
            self._next_index = request.first
        data = bytearray()
        for entry in self._following:
            data += encode_entries([entry])
            self._next_index = entry.index + 1
            if entry.index >= last or len(data) >= BACKUP_DATA_BYTES_MAX:
                break
        return BackupData(id=request.id, outcome="ok", data=bytes(data), end=self._next_index > last)

    def _chunk(self, request: BackupChunk) -> BackupData | ErrorReply:
        if self._snapshot is None or self._snapshot[0].sha256 != request.sha256:
            return _unavailable(request, "there is no such snapshot (any more): begin again")
        snapshot, file = self._snapshot
        data = os.pread(file.fileno(), BACKUP_DATA_BYTES_MAX, request.offset)
        end = request.offset + len(data) >= snapshot.size_bytes
        return BackupData(id=request.id, outcome="ok", data=data, end=end)


def _offered(snapshot: Snapshot | None) -> SnapshotOffer | None:
    if snapshot is None:
        return None
    names = SnapshotOffer.__struct_fields__
    return SnapshotOffer(**{name: getattr(snapshot, name) for name in names})


def _ledger_state(path: Path) -> LedgerState:
    with open_read_only(path) as cursor:
        return read_state(cursor.connection)


def _unavailable(request: BackupRequest, message: str) -> ErrorReply:
    return ErrorReply(id=request.id, outcome="unavailable", message=message)


def main(argv: Sequence[str]) -> int:
    """Answer requests until standard input ends."""
    os.nice(NICE)
    frames = FrameReader(CLIENT_FRAME_BYTES_MAX)
    with closing(BackupReader(Path(argv[0]))) as reader:
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
