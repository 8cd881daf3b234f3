"""Fetches a snapshot's file from the server that offers it, on a connection of its own."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable
from pathlib import Path
from threading import Event
from typing import Protocol

from atm.config import Address
from atm.raft.messages import NodeId, Snapshot
from atm.server.net.connection import Incoming, StalledFrame, Stream, set_receive_timeout
from atm.server.peers.handshake import Handshake, HandshakeRefused
from atm.tls.tls_socket import TlsSocket
from atm.wire.codec import Malformed, encode
from atm.wire.framing import FrameTooLarge, frame
from atm.wire.peer_messages import (
    CHUNK_BYTES_MAX,
    CHUNK_FRAME_BYTES_MAX,
    FETCH,
    AskForSnapshot,
    FetchSnapshot,
    SnapshotChunk,
    SnapshotGone,
    SnapshotThere,
    decode_fetched,
)

DIAL_S = 3.0
SILENCE_S = 10.0  # without a byte for so long, it connects again
MADE_S = 120.0  # until a server has made a snapshot that it was asked for
GIVE_UP_S = 30.0  # without progress for so long, the download has failed; the next one resumes
BACK_OFF_S_MIN, BACK_OFF_S_MAX = 0.1, 2.0
BYTES_PER_S = 32 * 1024 * 1024  # so that log and clients keep their share of network and disk
SYNC_BYTES = 4 * 1024 * 1024  # written between two syncs: a sync of more would hold up those of the log

assert SILENCE_S < GIVE_UP_S


class FetchFailed(Exception):
    """The file was not fetched; what has arrived of it stays. `str()` of it is one line for people."""


class Interrupted(Exception):
    """The caller does not want it any more."""


class Wanted(Protocol):
    """Which file is fetched."""

    @property
    def index(self) -> int: ...
    @property
    def size_bytes(self) -> int: ...
    @property
    def sha256(self) -> str: ...


class SnapshotFetcher:
    """Fetches into a file, and goes on from its end after any interruption. Used by one thread at a time."""

    def __init__(
        self,
        handshake: Handshake,
        address_of: Callable[[NodeId], Address | None],
        *,
        bytes_per_s: int = BYTES_PER_S,
        silence_s: float = SILENCE_S,
        give_up_s: float = GIVE_UP_S,
    ) -> None:
        self._handshake = handshake
        self._address_of = address_of
        self._bytes_per_s = bytes_per_s
        self._silence_s = silence_s
        self._give_up_s = give_up_s

    def fetch(self, wanted: Wanted, peer: NodeId, part: Path, stop: Event) -> None:
        """Append to `part` what it lacks of the file, durably; raise `FetchFailed` and `Interrupted`.

        Only the size is compared; the caller verifies the contents.
        """
        descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        try:
            file = _PartialFile(descriptor)
            if file.size > wanted.size_bytes:
                file.restart()
            self._fetch(wanted, peer, file, stop)
            file.sync()
        except _DiskFailed as error:
            raise FetchFailed(f"cannot write {part} ({error}): make room, or check the disk") from error
        finally:
            os.close(descriptor)

    def ask(self, peer: NodeId, at_least: int) -> Snapshot:
        """Return a snapshot of `peer`, of entry `at_least` or later, made if needed; raise `FetchFailed`."""
        try:
            with self._dial(peer) as sock:
                sock.sendall(frame(encode(AskForSnapshot(at_least=at_least))))
                incoming = Incoming(sock, CHUNK_FRAME_BYTES_MAX, partial_frame_s=self._silence_s)
                answer = _answer(sock, incoming, MADE_S)
        except (OSError, Malformed, FrameTooLarge, StalledFrame, HandshakeRefused) as error:
            raise FetchFailed(f"node {peer} gives no snapshot ({error})") from error
        if not isinstance(answer, SnapshotThere) or answer.snapshot.index < at_least:
            raise FetchFailed(f"node {peer} has no snapshot of entry {at_least} or later")
        return answer.snapshot

    def _fetch(self, wanted: Wanted, peer: NodeId, file: _PartialFile, stop: Event) -> None:
        back_off_s = BACK_OFF_S_MIN
        progress_s, size = time.monotonic(), file.size
        while file.size < wanted.size_bytes:
            try:
                self._fetch_on_one_connection(wanted, peer, file, stop)
            except (OSError, Malformed, FrameTooLarge, StalledFrame, HandshakeRefused) as error:
                if file.size > size:
                    back_off_s, progress_s, size = BACK_OFF_S_MIN, time.monotonic(), file.size
                if time.monotonic() - progress_s > self._give_up_s:
                    raise FetchFailed(
                        f"node {peer} sent nothing of snapshot {wanted.index} for {self._give_up_s:g} s "
                        f"({error}); {file.size} of {wanted.size_bytes} bytes have come, and stay"
                    ) from error
            if stop.wait(back_off_s):
                raise Interrupted
            back_off_s = min(2 * back_off_s, BACK_OFF_S_MAX)

    def _fetch_on_one_connection(self, wanted: Wanted, peer: NodeId, file: _PartialFile, stop: Event) -> None:
        with self._dial(peer) as sock:
            incoming = Incoming(sock, CHUNK_FRAME_BYTES_MAX, partial_frame_s=self._silence_s)
            begun_s, fetched = time.monotonic(), 0
            while file.size < wanted.size_bytes:
                data = self._next_chunk(sock, incoming, wanted, file.size)
                file.append(data)
                fetched += len(data)
                if stop.wait(max(0.0, begun_s + fetched / self._bytes_per_s - time.monotonic())):
                    raise Interrupted

    def _next_chunk(self, sock: Stream, incoming: Incoming, wanted: Wanted, offset: int) -> bytes:
        """Return the chunk at `offset`, which has some bytes and not too many."""
        sock.sendall(frame(encode(FetchSnapshot(index=wanted.index, sha256=wanted.sha256, offset=offset))))
        answer = _answer(sock, incoming, self._silence_s)
        if isinstance(answer, SnapshotGone):
            raise FetchFailed(f"snapshot {wanted.index} is not there any more: another one will be offered")
        if (
            not isinstance(answer, SnapshotChunk)
            or (wanted.index, offset) != (answer.index, answer.offset)
            or not 0 < len(answer.data) <= min(CHUNK_BYTES_MAX, wanted.size_bytes - offset)
        ):
            raise FetchFailed(f"the file of snapshot {wanted.index} is not as long as was said")
        return answer.data

    def _dial(self, peer: NodeId) -> socket.socket | TlsSocket:
        address = self._address_of(peer)
        if address is None:
            raise FetchFailed(f"the address of node {peer} is not known")
        sock = self._handshake.dial(peer, address, DIAL_S)
        try:
            self._handshake.say_hello(sock, peer, address, purpose=FETCH)
        except BaseException:
            sock.close()
            raise
        return sock


def _answer(
    sock: Stream, incoming: Incoming, silence_s: float
) -> SnapshotChunk | SnapshotThere | SnapshotGone:
    """Return the one answer to what was asked; raise `Malformed`, `StalledFrame` and `OSError`."""
    payloads: list[bytes] | None = []
    while not payloads:
        if not incoming.unfinished:
            set_receive_timeout(sock, silence_s)
        payloads = incoming.read()
        if payloads is None:
            raise Malformed("the connection ended")
    if len(payloads) > 1:
        raise Malformed("more came than was asked for")
    return decode_fetched(payloads[0])


class _DiskFailed(Exception):
    """The own disk, and not the connection."""


class _PartialFile:
    """The file that grows; synced every now and then, since one large sync would hold up those of the log."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self.size = os.fstat(descriptor).st_size
        self._unsynced = 0

    def append(self, data: bytes) -> None:
        """Write `data` at the end; raise `_DiskFailed`."""
        rest = memoryview(data)
        try:
            while rest:
                written = os.write(self._descriptor, rest)
                self.size += written
                rest = rest[written:]
        except OSError as error:
            raise _DiskFailed(error.strerror or error) from error
        self._unsynced += len(data)
        if self._unsynced >= SYNC_BYTES:
            self.sync()

    def restart(self) -> None:
        """Drop everything; raise `_DiskFailed`."""
        try:
            os.ftruncate(self._descriptor, 0)
        except OSError as error:
            raise _DiskFailed(error.strerror or error) from error
        self.size = 0

    def sync(self) -> None:
        """Make durable what was written; raise `_DiskFailed`."""
        try:
            os.fsync(self._descriptor)
        except OSError as error:
            raise _DiskFailed(error.strerror or error) from error
        self._unsynced = 0
