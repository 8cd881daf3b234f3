"""Backups for tests: a node with a story in its log that gives it out, and bin/admin in this process."""

from __future__ import annotations

import socket
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from threading import Thread
from typing import Self

from atm.admin.main import main
from atm.config import Cluster, load
from atm.ledger.commands import Founding
from atm.ledger.ledger import Ledger
from atm.ledger.snapshot import make
from atm.raft.messages import Entry, EntryKind, HardState
from atm.server.clients.backup_reader import BackupReader
from atm.server.group.entry_validator import checked_record
from atm.server.group.kept_snapshots import snapshot_of
from atm.storage.data_folder import DataFolder
from atm.storage.log_file import LogFile
from atm.storage.snapshots import SNAPSHOT_FOLDER, SnapshotStore
from atm.wire.backup_messages import BackupRequest
from atm.wire.client_messages import ErrorReply, Status, StatusReply
from atm.wire.codec import encode
from atm.wire.framing import CLIENT_FRAME_BYTES_MAX, FrameReader, frame
from atm.wire.log_entries import command_data
from atm.wire.request_decoding import decode_client_request
from tests.support.entries import time_us
from tests.support.story import COMMANDS

CLUSTER = "c" * 32


def admin(*words: str | Path) -> int:
    """Run a command of bin/admin and return its exit code."""
    return main([str(word) for word in words])


def story_entries(cluster: str = CLUSTER, voters: tuple[str, ...] = ("n1",)) -> list[Entry]:
    """Return a log in which everything happens once, of terms 1 and 3; it begins with the founding."""
    founding = encode(Founding(cluster_id=cluster, voters=voters))
    entries = [Entry(index=1, term=1, time_us=time_us(1), kind=EntryKind.BOOTSTRAP, data=founding)]
    for index, (command, _) in enumerate(COMMANDS[1:], 2):
        kind = EntryKind.NOOP if command is None else EntryKind.COMMAND
        data = b"" if command is None else command_data("local", encode(command))
        term = 1 if index < 20 else 3
        entries.append(Entry(index=index, term=term, time_us=time_us(index), kind=kind, data=data))
    return entries


def replayed(entries: Sequence[Entry], path: Path) -> Path:
    """Make a ledger to which these entries were applied, and return its path."""
    with closing(Ledger(path)) as ledger:
        ledger.apply([checked_record(entry) for entry in entries])
    return path


class StoryNode:
    """Node n1 with a data folder of its own, which answers `status` and the requests of backups over TCP."""

    def __init__(
        self,
        folder: Path,
        entries: Sequence[Entry],
        *,
        segment_bytes_max: int = 400,
        pepper: str = "the-pepper",
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._listener = socket.create_server(("127.0.0.1", 0))
        port = self._listener.getsockname()[1]
        self.config = folder / "cluster.ini"
        self.config.write_text(f"[node n1]\nclient = 127.0.0.1:{port}\npeer = 127.0.0.1:1\n")
        self.cluster: Cluster = load(self.config)
        self.folder = self.cluster.data_dir / "n1"
        self.requests: list[str] = []  # the kinds of those that came in
        with closing(DataFolder(self.cluster, "n1")) as data_folder:
            data_folder.join(CLUSTER)
            data_folder.check_pepper(pepper, log_is_empty=True)
        self._log = LogFile(self.folder, segment_bytes_max=segment_bytes_max)
        self._ledger = Ledger(self.folder / "ledger.db")
        self.append(entries)

    def __enter__(self) -> Self:
        Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._log.close()
        self._ledger.close()

    def append(self, entries: Sequence[Entry], *, applied: bool = True) -> None:
        """Commit and apply more entries, each in a batch of its own; or only save them."""
        for entry in entries:
            self._log.save(HardState(term=entry.term, commit_index=entry.index - 1), [entry])
            if applied:
                self._ledger.apply([checked_record(entry)])

    def take_snapshot(self) -> int:
        """Take a snapshot of all that was applied, and cut the log behind it; return its index."""
        index = self._ledger.applied_index
        entry = self._log.read_entries(index, index, 1)[0]
        store = SnapshotStore(self.folder / SNAPSHOT_FOLDER)
        made = make(self.folder / "ledger.db", store.making)
        snapshot = snapshot_of(
            made, term=entry.term, time_us=entry.time_us, size_bytes=made.size_bytes, sha256=made.sha256
        )
        store.adopt(snapshot, store.making, installed=False)
        store.prune()
        self._log.set_base(store.base)
        self._log.cut(index + 1)
        return index

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        frames = FrameReader(CLIENT_FRAME_BYTES_MAX)
        with connection, closing(BackupReader(self.folder)) as reader:
            while piece := connection.recv(65536):
                for payload in list(frames.feed(piece)):
                    connection.sendall(frame(self._reply(reader, payload)))

    def _reply(self, reader: BackupReader, payload: bytes) -> bytes:
        request = decode_client_request(payload)
        self.requests.append(str(request.__struct_config__.tag))
        if isinstance(request, Status):
            return encode(self._status(request.id))
        if isinstance(request, BackupRequest):
            return encode(reader.reply(request))
        return encode(ErrorReply(id=request.id, outcome="bad_request"))

    def _status(self, request_id: str) -> StatusReply:
        applied = self._ledger.applied_index
        return StatusReply(
            id=request_id,
            outcome="ok",
            node="n1",
            role="leader",
            term=self._log.hard_state.term,
            leader="n1",
            commit_index=applied,
            applied_index=applied,
            last_index=applied,
            matched={},
            version="1.2.0",
            feature_level=1,
        )
