"""Serves snapshots to the servers that fetch them: each on a connection, and in the thread, of its own."""

from __future__ import annotations

import os
import socket
import struct
import time
from collections.abc import Callable
from threading import Lock
from typing import Protocol

from atm.raft.messages import NodeId, Snapshot
from atm.server.logger.logger import Logger
from atm.server.net.connection import Connection, Incoming, StalledFrame, Stream, set_receive_timeout
from atm.wire.codec import encode
from atm.wire.framing import frame
from atm.wire.peer_messages import (
    CHUNK_BYTES_MAX,
    AskForSnapshot,
    FetchSnapshot,
    SnapshotChunk,
    SnapshotGone,
    SnapshotThere,
    decode_fetch,
)

REQUEST_BYTES_MAX = 1024
SEND_S = 10.0  # a follower that takes no byte for so long is given up; it comes back and resumes
IDLE_S = 60.0  # as is one that asks for nothing
FETCHED_S = 60.0  # for so long after the last chunk a snapshot counts as being fetched


class SnapshotFiles(Protocol):
    """What serving needs of the snapshot store. Any thread may use it."""

    @property
    def newest(self) -> Snapshot | None: ...

    def open(self, index: int, sha256: str) -> int | None:
        """Return a descriptor of this snapshot's file, for the caller to close, or None without that file."""


class SnapshotServer:
    """Answers those that fetch. A file that was opened stays readable, even if it is removed meanwhile."""

    def __init__(
        self, files: SnapshotFiles, logger: Logger, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._files = files
        self._logger = logger
        self._clock = clock
        self.make: Callable[[], object] = lambda: None  # makes a newer one, if it can; may take minutes
        self._lock = Lock()  # guards what follows
        self._fetched_s: dict[int, float] = {}  # by a snapshot's index: when a chunk was asked for last
        self._current: dict[NodeId, Connection] = {}  # the newest of each peer

    def being_fetched(self) -> set[int]:
        """Return the indexes of the snapshots from which a chunk was asked for just now. Any thread."""
        with self._lock:
            since_s = self._clock() - FETCHED_S
            self._fetched_s = {index: at for index, at in self._fetched_s.items() if at >= since_s}
            return set(self._fetched_s)

    def serve(self, connection: Connection, peer: NodeId) -> None:
        """Answer `peer` until the connection ends, or the peer stalls or connects once more.

        Raises `Malformed`, `FrameTooLarge`, `StalledFrame` and OSError.
        """
        with self._lock:
            before, self._current[peer] = self._current.get(peer), connection
        if before is not None:
            before.drop()
        opened = _Opened(self._files)
        try:
            self._serve(connection.stream, opened, peer)
        finally:
            opened.close()
            with self._lock:
                if self._current[peer] is connection:
                    del self._current[peer]

    def _serve(self, sock: Stream, opened: _Opened, peer: NodeId) -> None:
        set_send_timeout(sock, SEND_S)
        incoming = Incoming(sock, REQUEST_BYTES_MAX)
        while True:
            if not incoming.unfinished:
                set_receive_timeout(sock, IDLE_S)
            try:
                payloads = incoming.read()
            except StalledFrame:
                if incoming.unfinished:
                    raise
                return  # it asks for nothing any more
            if payloads is None:
                return
            for payload in payloads:
                request = decode_fetch(payload)
                if isinstance(request, AskForSnapshot):
                    sock.sendall(frame(encode(self._newest_since(request.at_least))))
                    continue
                with self._lock:
                    self._fetched_s[request.index] = self._clock()
                answer = opened.answer(request)
                sock.sendall(frame(encode(answer)))
                if isinstance(answer, SnapshotChunk) and answer.end:
                    line = f"sent the snapshot up to entry {request.index} to node {peer}"
                    self._logger.info("snapshot.sent", line, peer=peer, index=request.index)

    def _newest_since(self, index: int) -> SnapshotThere | SnapshotGone:
        newest = self._files.newest
        if newest is None or newest.index < index:
            self.make()
            newest = self._files.newest
        if newest is None or newest.index < index:
            return SnapshotGone(index=index)
        with self._lock:
            self._fetched_s[newest.index] = self._clock()
        return SnapshotThere(snapshot=newest)


class _Opened:
    """The file that a connection reads from, kept open between its requests."""

    def __init__(self, files: SnapshotFiles) -> None:
        self._files = files
        self._name: tuple[int, str] | None = None
        self._file: int | None = None

    def answer(self, request: FetchSnapshot) -> SnapshotChunk | SnapshotGone:
        if self._name != (request.index, request.sha256):
            self.close()
            self._file = self._files.open(request.index, request.sha256)
            self._name = request.index, request.sha256
        if self._file is None:
            self._name = None  # it may come to be there
            return SnapshotGone(index=request.index)
        data = os.pread(self._file, CHUNK_BYTES_MAX, request.offset)
        end = request.offset + len(data) >= os.fstat(self._file).st_size
        return SnapshotChunk(index=request.index, offset=request.offset, data=data, end=end)

    def close(self) -> None:
        if self._file is not None:
            os.close(self._file)
            self._file = None


def set_send_timeout(sock: Stream, seconds: float) -> None:
    """Make a blocking send raise BlockingIOError once the other end has taken nothing for so long."""
    timeval = struct.pack("@ll", *divmod(int(seconds * 1_000_000), 1_000_000))
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, timeval)
