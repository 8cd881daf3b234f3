"""What a node gives to backups: requests go to a process that reads the node's files (backup_reader.py)."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable
from pathlib import Path
from threading import Lock

from atm.server.group.one_process import start_process
from atm.wire.backup_messages import BACKUP_FRAME_BYTES_MAX, BackupBegin, BackupRequest
from atm.wire.client_messages import AdminReply, ErrorReply
from atm.wire.codec import encode
from atm.wire.framing import FrameReader, frame

IDLE_S_MAX = 30.0  # then another backup may begin here
OUTPUT_BYTES = 128 * 1024


class _Reader:
    """The process and the owner that it works for. It ends with its input, so also if the node is killed."""

    def __init__(self, owner: object, folder: Path) -> None:
        self.owner = owner
        self.used_s = 0.0
        self.begins = False  # a backup has begun, and nothing was given to it yet
        self.process = start_process("-P", "-m", "atm.server.clients.backup_reader", str(folder))
        self._frames = FrameReader(BACKUP_FRAME_BYTES_MAX)
        self._using_pipes = Lock()

    def exchange(self, payload: bytes) -> bytes | None:
        """Return the reply to a request, or None if the process has ended."""
        stdin, stdout = self.process.stdin, self.process.stdout
        assert stdin is not None
        assert stdout is not None
        with self._using_pipes, contextlib.suppress(OSError, ValueError):  # ValueError: a pipe is closed
            stdin.write(frame(payload))
            stdin.flush()
            while piece := os.read(stdout.fileno(), OUTPUT_BYTES):
                for reply in list(self._frames.feed(piece)):
                    return reply
        return None

    def end(self) -> None:
        self.process.kill()
        with self._using_pipes, contextlib.suppress(OSError), self.process:
            pass  # which closes the pipes and waits


Refusal = ErrorReply | AdminReply
Record = Callable[[BackupBegin], Refusal | None]  # that a backup begins; returns why it must not


class BackupSource:
    """Serves one backup at a time. Any thread may call `reply`, and blocks until its files are read."""

    def __init__(self, folder: Path, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._folder = folder
        self._clock = clock
        self._lock = Lock()  # guards _reader and _closed; never held while files are read
        self._reader: _Reader | None = None
        self._closed = False

    def reply(self, owner: object, request: BackupRequest, record: Record = lambda request: None) -> bytes:
        """Return the encoded reply; `owner` is the connection that the request came on.

        `record` is called once for each backup, before anything is read for it: also for the next one on the
        same connection.
        """
        with self._lock:
            refusal = self._admit(owner, request)
            reader = self._reader
            if refusal is not None or reader is None:
                return encode(refusal)
            reader.used_s = self._clock()
        if isinstance(request, BackupBegin) and not reader.begins:
            not_recorded = record(request)
            if not_recorded is not None:
                self.release(owner)
                return encode(not_recorded)
        reader.begins = isinstance(request, BackupBegin)
        payload = reader.exchange(encode(request))
        if payload is None:
            self.release(owner)
            return encode(_refused(request, "unavailable", "the files could not be read on: begin again"))
        reader.used_s = self._clock()
        return payload

    def release(self, owner: object) -> None:
        """End the backup of `owner`, if it has one."""
        with self._lock:
            reader = self._reader
            if reader is None or reader.owner is not owner:
                return
            self._reader = None
        reader.end()

    def close(self) -> None:
        """End the backup that is under way, and begin no other."""
        with self._lock:
            self._closed = True
            reader, self._reader = self._reader, None
        if reader is not None:
            reader.end()

    def _admit(self, owner: object, request: BackupRequest) -> ErrorReply | None:
        """Give `owner` a reader, or return why not. The caller holds the lock."""
        if self._closed:
            return _refused(request, "unavailable", "the node is stopping")
        reader = self._reader
        if reader is not None and reader.owner is owner:
            return None
        if not isinstance(request, BackupBegin):
            return _refused(request, "unavailable", "no backup has begun on this connection: begin again")
        if reader is not None:
            if self._clock() - reader.used_s < IDLE_S_MAX:
                return _refused(request, "busy", "another backup is being taken from this node")
            reader.end()
        self._reader = _Reader(owner, self._folder)
        return None


def _refused(request: BackupRequest, outcome: str, message: str) -> ErrorReply:
    return ErrorReply(id=request.id, outcome=outcome, message=message)
