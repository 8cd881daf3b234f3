"""One thread that waits for the bytes of all connections: a small message wakes no thread of its own."""

from __future__ import annotations

import contextlib
import selectors
import socket
import time
from collections import deque
from collections.abc import Callable
from threading import Thread
from typing import Protocol

from atm.server.net.connection import RECEIVE_BYTES


class Source(Protocol):
    """A connection that is read."""

    sock: socket.socket

    @property
    def deadline_s(self) -> float | None:
        """When what has begun to arrive must have arrived, on the monotonic clock; None if nothing has."""

    def receive(self, piece: bytes) -> bool:
        """Take bytes that arrived, none at the end of the stream; return whether to go on reading."""

    def on_stall(self) -> None:
        """Hear that the deadline has passed; nothing more is read."""

    def on_end(self) -> None:
        """Hear that nothing more is read: the socket may be closed."""


class Reader:
    """Reads all sources that were added, each until its end.

    `after_round` is called whenever all that had arrived is taken. It and the sources are called in the
    reader's thread; while they work, nothing is read. Should one of them raise, no more is ever read, and
    `failed` is told.
    """

    def __init__(self, after_round: Callable[[], None], failed: Callable[[BaseException], None]) -> None:
        self._after_round = after_round
        self._failed = failed
        self._selector = selectors.DefaultSelector()
        self._added: deque[Source] = deque()  # and not registered yet
        self._unfinished: set[Source] = set()  # what has a deadline
        self._stopping = False
        self._closed = False
        self._wake_socket, self._wakeup = socket.socketpair()
        self._wake_socket.setblocking(False)
        self._wakeup.setblocking(False)
        self._selector.register(self._wake_socket, selectors.EVENT_READ)
        self._thread = Thread(target=self._run, name="reader", daemon=True)

    def start(self) -> None:
        """Read from now on."""
        self._thread.start()

    def add(self, source: Source) -> None:
        """Read this one, too; after `close` it has ended at once. Any thread may call it."""
        self._added.append(source)
        self._ring()
        if self._closed:
            self._end_added()

    def close(self) -> None:
        """End all reading; every source is told."""
        self._stopping = True
        if self._thread.ident is not None:
            self._ring()
            self._thread.join()
        for key in list(self._selector.get_map().values()):
            if key.data is not None:
                key.data.on_end()
        self._selector.close()
        self._wakeup.close()
        self._wake_socket.close()
        self._closed = True  # from now on whoever adds sees to it himself
        self._end_added()

    def _ring(self) -> None:
        with contextlib.suppress(OSError):  # it rings already, or nobody is there to hear it
            self._wakeup.send(b"!")

    def _end_added(self) -> None:
        with contextlib.suppress(IndexError):  # two threads may be at it
            while True:
                self._added.popleft().on_end()

    # -- the reader's thread -----------------------------------------------------------------------

    def _run(self) -> None:
        try:
            self._read_all()
        except BaseException as error:
            self._failed(error)

    def _read_all(self) -> None:
        while not self._stopping:
            for key, _ in self._selector.select(self._patience_s()):
                if key.data is None:
                    self._register()
                else:
                    self._read(key.data)
            self._after_round()
            if self._unfinished:
                self._give_up_stalled()

    def _register(self) -> None:
        with contextlib.suppress(BlockingIOError):
            self._wake_socket.recv(RECEIVE_BYTES)
        while self._added:
            source = self._added.popleft()
            self._selector.register(source.sock, selectors.EVENT_READ, source)

    def _read(self, source: Source) -> None:
        try:
            piece = source.sock.recv(RECEIVE_BYTES, socket.MSG_DONTWAIT)
        except BlockingIOError:
            return
        except OSError:
            piece = b""
        if not source.receive(piece):
            self._end(source)
        elif source.deadline_s is not None:
            self._unfinished.add(source)

    def _end(self, source: Source) -> None:
        self._unfinished.discard(source)
        self._selector.unregister(source.sock)
        source.on_end()

    def _patience_s(self) -> float | None:
        deadlines_s = [source.deadline_s for source in self._unfinished if source.deadline_s is not None]
        return max(0.0, min(deadlines_s) - time.monotonic()) if deadlines_s else None

    def _give_up_stalled(self) -> None:
        now_s = time.monotonic()
        for source in list(self._unfinished):
            if source.deadline_s is None:
                self._unfinished.discard(source)
            elif source.deadline_s <= now_s:
                source.on_stall()
                self._end(source)
