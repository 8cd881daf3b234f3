"""One TCP connection: written without ever blocking, read frame by frame with a deadline."""

from __future__ import annotations

import contextlib
import select
import socket
import struct
import time
from collections.abc import Callable
from threading import Lock
from typing import Protocol

from atm.config import Address
from atm.server.net.places import Place
from atm.tls.errors import TlsFailed
from atm.tls.tls_socket import TlsSocket
from atm.wire.framing import FrameReader, FrameTooLarge

PARTIAL_FRAME_S = 10.0  # a frame must arrive whole within this time of its first byte
STALLED_OUTBOX_S = 10.0  # a connection whose peer reads nothing for so long, while data waits, is dropped
SEND_POLL_MS = 1_000
LINGER_S = 2.0
LINGER_BYTES_MAX = 64 * 1024 * 1024
RECEIVE_BYTES = 64 * 1024


class Stream(Protocol):
    """What is read and written in the thread of a connection: a socket, or one with its encryption."""

    def recv(self, size: int, /) -> bytes: ...
    def sendall(self, data: bytes, /) -> None: ...
    def setsockopt(self, level: int, option: int, value: int | bytes, /) -> None: ...
    def close(self) -> None: ...


class StalledFrame(Exception):
    """A frame began to arrive and did not end in time."""

    def __init__(self, partial_frame_s: float) -> None:
        super().__init__(f"timed out after {partial_frame_s:g} s waiting for the rest of a frame")


class FrameDeadline:
    """When the unfinished frame must be complete: a fixed time after its first byte."""

    def __init__(self, partial_frame_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        self.partial_frame_s = partial_frame_s
        self.at_s: float | None = None  # on `clock`; None while no frame is unfinished
        self.clock = clock

    def update(self, *, unfinished: bool, frame_ended: bool) -> None:
        """Note that bytes arrived: whether a frame is unfinished now, and whether one was completed."""
        if not unfinished:
            self.at_s = None
        elif frame_ended or self.at_s is None:
            self.at_s = self.clock() + self.partial_frame_s


def tune(sock: socket.socket, *, idle_s: int = 30, interval_s: int = 10, probes: int = 9) -> None:
    """Turn off Nagle's algorithm, and turn on keep-alives, which detect a dead machine at the other end.

    It is probed after `idle_s` without traffic, every `interval_s`, up to `probes` times.
    """
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    if hasattr(socket, "TCP_KEEPIDLE"):
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, idle_s)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, interval_s)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, probes)


def resolve(host: str, port: int) -> tuple[socket.AddressFamily, tuple[str, int]]:
    """Return one address for `host`, IPv4 if it has one; raise OSError if it has none."""
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except UnicodeError as error:
        raise OSError(f"{host} cannot be the name of a machine") from error
    found.sort(key=lambda info: info[0] != socket.AF_INET)
    family, _, _, _, address = found[0]
    return family, (str(address[0]), int(address[1]))


def dial(address: Address, within_s: float) -> socket.socket:
    """Return a tuned socket that is connected to `address`; its calls wait as long as they take.

    Raise `OSError` if it is not connected within that time.
    """
    family, resolved = resolve(address.host, address.port)
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.settimeout(within_s)
        sock.connect(resolved)
        sock.settimeout(None)
        tune(sock)
    except BaseException:
        sock.close()
        raise
    return sock


class Connection:
    """The writing side of a socket.

    Any thread may send. What the kernel does not accept at once waits in a bounded outbox and is tried
    again by `retry`; a connection whose outbox overflows or stalls is dropped. Only the thread that reads
    the socket closes it; any other thread drops it, which ends that reading.

    Over TLS, data is encrypted as it is sent, and the outbox holds what is encrypted.
    """

    def __init__(
        self, stream: socket.socket | TlsSocket, outbox_bytes_max: int, blocked: set[Connection]
    ) -> None:
        self.stream: Stream = stream
        self.tls = stream if isinstance(stream, TlsSocket) else None
        self.sock = stream.sock if isinstance(stream, TlsSocket) else stream
        self.place: Place | None = None  # at the listener that accepted it
        self._outbox_bytes_max = outbox_bytes_max
        self._blocked = blocked  # the owner's set of connections whose outbox is not empty
        self._lock = Lock()  # guards _outbox, _open and the life of sock; a send under it never blocks
        self._outbox = bytearray()
        self._open = True
        self.given_up = False  # it was dropped because its peer did not take what was sent
        self._progress_s = 0.0

    @property
    def open(self) -> bool:
        """Whether what is sent may still arrive."""
        return self._open

    def activity(self) -> int | None:
        """Return how many requests it has had, None while one is under way: it gives way to nobody then."""
        return None

    def send(self, data: bytes) -> None:
        """Send `data`, now or by a later `retry`; after a drop, discard it."""
        with self._lock:
            if not self._open:
                return
            if self.tls is not None:
                try:
                    data = self.tls.encrypt(data)
                except TlsFailed:
                    self._drop()
                    return
            if self._outbox:
                self._outbox += data
            else:
                sent = self._send(data)
                if sent == len(data):
                    return
                self._outbox += memoryview(data)[sent:]
                self._progress_s = time.monotonic()
                self._blocked.add(self)
            if len(self._outbox) > self._outbox_bytes_max:
                self.given_up = True
                self._drop()

    def retry(self) -> None:
        """Send more of the outbox."""
        with self._lock:
            if self._open and self._outbox:
                sent = self._send(self._outbox)
                now_s = time.monotonic()
                if sent:
                    del self._outbox[:sent]
                    self._progress_s = now_s
                elif now_s - self._progress_s > STALLED_OUTBOX_S:
                    self.given_up = True
                    self._drop()
            if not self._outbox or not self._open:
                self._blocked.discard(self)

    def wait_until_sent(self) -> None:
        """Return once the outbox is empty, or the connection has ended. Not within an iteration."""
        poll = select.poll()
        poll.register(self.sock, select.POLLOUT)
        while self._outbox and self._open:
            poll.poll(SEND_POLL_MS)
            self.retry()

    def drop(self) -> None:
        """End the connection: nothing more is sent, and its reading thread sees the end of the stream."""
        with self._lock:
            self._drop()

    def close(self) -> None:
        """Close the socket; only for the thread that reads it."""
        with self._lock:
            self._drop()
            self.sock.close()

    def linger(self) -> None:
        """Let what was sent last arrive; as the function."""
        linger(self.sock)

    def _send(self, data: bytes | bytearray) -> int:
        try:
            return self.sock.send(data, socket.MSG_DONTWAIT)
        except BlockingIOError:
            return 0
        except OSError:
            self._drop()
            return len(data)

    def _drop(self) -> None:
        if self._open:
            self._open = False
            self._outbox.clear()
            self._blocked.discard(self)
            with contextlib.suppress(OSError):
                self.sock.shutdown(socket.SHUT_RDWR)


def linger(sock: socket.socket) -> None:
    """Let what was sent last arrive: shut down writing, then discard input until the peer closes, too.

    Closing with unread input would reset the connection, and the peer might never see what was sent.
    Bounded by `LINGER_S` and `LINGER_BYTES_MAX`.
    """
    deadline_s = time.monotonic() + LINGER_S
    discarded = 0
    with contextlib.suppress(OSError):
        sock.shutdown(socket.SHUT_WR)
        while (left_s := deadline_s - time.monotonic()) > 0 and discarded < LINGER_BYTES_MAX:
            set_receive_timeout(sock, left_s)
            piece = sock.recv(RECEIVE_BYTES)
            if not piece:
                return
            discarded += len(piece)


class Incoming:
    """The reading side of a blocking socket: whole frames, with at most one unfinished one in memory.

    The time limit is the kernel's (SO_RCVTIMEO): a Python socket's timeout would also make sends block.
    """

    def __init__(
        self,
        sock: Stream,
        frame_bytes_max: int,
        *,
        partial_frame_s: float = PARTIAL_FRAME_S,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._sock = sock
        self._reader = FrameReader(frame_bytes_max)
        self._deadline = FrameDeadline(partial_frame_s, clock)
        self._too_large: FrameTooLarge | None = None

    @property
    def unfinished(self) -> bool:
        """Whether part of a frame has arrived that is not yet returned."""
        return self._reader.unfinished

    def read(self) -> list[bytes] | None:
        """Wait for bytes and return the payloads they completed, perhaps none; None at the end of the stream.

        Raises `FrameTooLarge` after the frames before it were returned, `StalledFrame`, and OSError.
        """
        if self._too_large is not None:
            raise self._too_large
        try:
            piece = self._sock.recv(RECEIVE_BYTES)
        except BlockingIOError:
            raise StalledFrame(self._deadline.partial_frame_s) from None
        if not piece:
            return None
        payloads: list[bytes] = []
        try:
            payloads.extend(self._reader.feed(piece))
        except FrameTooLarge as error:
            if not payloads:
                raise
            self._too_large = error
            return payloads
        was_unfinished = self._deadline.at_s is not None
        self._deadline.update(unfinished=self._reader.unfinished, frame_ended=bool(payloads))
        if self._deadline.at_s is not None:
            left_s = self._deadline.at_s - self._deadline.clock()
            if left_s <= 0:
                raise StalledFrame(self._deadline.partial_frame_s)
            set_receive_timeout(self._sock, left_s)
        elif was_unfinished:
            set_receive_timeout(self._sock, 0)
        return payloads


def set_receive_timeout(sock: Stream, seconds: float) -> None:
    """Make `recv` raise BlockingIOError after so long; 0 means never."""
    micros = max(1, int(seconds * 1_000_000)) if seconds else 0
    timeval = struct.pack("@ll", *divmod(micros, 1_000_000))
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, timeval)
