"""One thread that reads all connections, so that a small message needs no switch to another thread."""

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
    """What the reader needs of a connection."""

    sock: socket.socket

    @property
    def deadline_s(self) -> float | None:
        """When the unfinished frame must be complete, on the monotonic clock; None if there is none."""

    def receive(self, piece: bytes) -> bool:
        """Called with bytes that arrived, b"" at the end of the stream; return whether to go on reading."""

    def on_stall(self) -> None:
        """Called when the deadline has passed; nothing more is read."""

    def on_end(self) -> None:
        """Called when nothing more is read: the socket may be closed."""


class Dismissible(Source, Protocol):
    """A source that another may take the place of."""

    def on_dismissed(self) -> bool:
        """Called when its place is wanted; return whether to end it: False if it has ended already."""


class Reader:
    """Reads all added sources, each until its end.

    `after_round` is called each time all that had arrived is read. It and the sources are called in the
    reader's thread, and nothing is read until they return. If one raises, the reader stops for good and calls
    `on_failure`.
    """

    def __init__(self, after_round: Callable[[], None], on_failure: Callable[[BaseException], None]) -> None:
        self._after_round = after_round
        self._on_failure = on_failure
        self._selector = selectors.DefaultSelector()
        self._added: deque[Source] = deque()  # not registered yet
        self._dismissed: deque[Dismissible] = deque()
        self._unfinished: set[Source] = set()  # sources with a deadline
        self._stopping = False
        self._closed = False
        self._wake_socket, self._wakeup = socket.socketpair()
        self._wake_socket.setblocking(False)
        self._wakeup.setblocking(False)
        self._selector.register(self._wake_socket, selectors.EVENT_READ)
        self._thread = Thread(target=self._run, name="reader", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def add_source(self, source: Source) -> None:
        """Read this source, too; after `close`, its `on_end` is called at once. Any thread may call this."""
        self._added.append(source)
        self._wake()
        if self._closed:
            self._end_added()

    def dismiss(self, source: Dismissible) -> None:
        """Ask a source that was added before to end. Any thread may call this."""
        self._dismissed.append(source)
        self._wake()

    def close(self) -> None:
        """Stop reading, and call `on_end` of every source."""
        self._stopping = True
        if self._thread.ident is not None:
            self._wake()
            self._thread.join()
        for key in list(self._selector.get_map().values()):
            if key.data is not None:
                key.data.on_end()
        self._selector.close()
        self._wakeup.close()
        self._wake_socket.close()
        self._closed = True  # from now on `add_source` itself ends what is added
        self._end_added()

    def _wake(self) -> None:
        with contextlib.suppress(OSError):  # a wake-up is pending already, or the reader is closed
            self._wakeup.send(b"!")

    def _end_added(self) -> None:
        with contextlib.suppress(IndexError):  # two threads may do this at once
            while True:
                self._added.popleft().on_end()

    # -- the reader's thread -----------------------------------------------------------------------

    def _run(self) -> None:
        try:
            self._read_all()
        except BaseException as error:
            self._on_failure(error)

    def _read_all(self) -> None:
        while not self._stopping:
            is_woken = False
            for key, _ in self._selector.select(self._select_timeout_s()):
                if key.data is None:
                    is_woken = True  # the lists come last: who is dismissed may be among those to be read
                else:
                    self._read(key.data)
            if is_woken:
                self._look_at_the_lists()
            self._after_round()
            if self._unfinished:
                self._end_stalled()

    def _look_at_the_lists(self) -> None:
        with contextlib.suppress(BlockingIOError):
            self._wake_socket.recv(RECEIVE_BYTES)
        self._register_added()
        while self._dismissed:
            dismissed = self._dismissed.popleft()
            self._register_added()  # it was added before, maybe just now
            if dismissed.on_dismissed():
                self._end(dismissed)

    def _register_added(self) -> None:
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

    def _select_timeout_s(self) -> float | None:
        deadlines_s = [source.deadline_s for source in self._unfinished if source.deadline_s is not None]
        return max(0.0, min(deadlines_s) - time.monotonic()) if deadlines_s else None

    def _end_stalled(self) -> None:
        now_s = time.monotonic()
        for source in list(self._unfinished):
            if source.deadline_s is None:
                self._unfinished.discard(source)
            elif source.deadline_s <= now_s:
                source.on_stall()
                self._end(source)
