"""What a node's two servers have in common: quiet, bounded, bound to one address, all connections known."""

from __future__ import annotations

import socket
import socketserver
import sys
import traceback
from collections.abc import Callable
from threading import Lock, Thread
from typing import Any, Generic, TypeVar

from atm.config import Address
from atm.server.net.connection import Connection, resolve

POLL_S = 0.1  # how soon a listener notices that it is to stop

C = TypeVar("C", bound=Connection)


class AddressUnavailable(Exception):
    """Another program has the port, or the host is none of ours."""


class Listener(socketserver.ThreadingTCPServer, Generic[C]):
    """A thread for each connection, up to a limit; one that fails takes down its own connection only.

    What a connection is, what its thread does and what is said to one too many is its subclasses'.
    """

    allow_reuse_address = True
    daemon_threads = True
    block_on_close = False
    request_queue_size = 1024

    def __init__(
        self,
        address: Address,
        *,
        connections_max: int,
        report: Callable[[str], None],
        verbose: bool,
    ) -> None:
        self._connections_max = connections_max
        self._report = report
        self._verbose = verbose
        self._lock = Lock()  # guards _count and _connections
        self._count = 0
        self._connections: set[C] = set()
        self._started = False
        try:
            self.address_family, resolved = resolve(address.host, address.port)
            super().__init__(resolved, socketserver.BaseRequestHandler)
        except OSError as error:
            raise AddressUnavailable(
                f"cannot listen on {address}: {error.strerror or error}. Is another node or program using it?"
            ) from error

    @property
    def port(self) -> int:
        """The port that was bound."""
        return int(self.server_address[1])

    def start(self) -> None:
        """Accept connections from now on, in a thread of its own."""
        self._started = True
        Thread(target=self.serve_forever, args=(POLL_S,), name=f"accept {self.port}", daemon=True).start()

    def stop(self) -> None:
        """Accept no more, and give the port back."""
        if self._started:
            self.shutdown()
        self.server_close()

    def drop_connections(self) -> None:
        """Drop every connection, which ends its thread."""
        with self._lock:
            connections = list(self._connections)
        for connection in connections:
            connection.drop()

    # -- what the subclasses say ---------------------------------------------------------------------

    def connect(self, sock: socket.socket) -> C:
        """Return the connection that a socket is to become; called in its own thread."""
        raise NotImplementedError

    def serve(self, connection: C) -> None:
        """Serve the connection until its end, whereupon it is closed; called in its own thread."""
        raise NotImplementedError

    def refuse(self, sock: socket.socket) -> None:
        """Say a last word to a connection over the limit."""

    # -- what socketserver calls ---------------------------------------------------------------------

    def process_request(self, request: Any, client_address: Any) -> None:
        """Give the connection a thread, or refuse it; called by the accepting thread."""
        with self._lock:
            too_many = self._count >= self._connections_max
            self._count += not too_many
        if too_many:
            self.refuse(request)
            self.shutdown_request(request)
            return
        try:
            super().process_request(request, client_address)
        except RuntimeError:  # no more threads
            self._one_less()
            self.refuse(request)
            self.shutdown_request(request)

    def finish_request(self, request: Any, client_address: Any) -> None:
        """Serve the connection; called in its own thread."""
        connection = self.connect(request)
        with self._lock:
            self._connections.add(connection)
        try:
            self.serve(connection)
        finally:
            with self._lock:
                self._connections.discard(connection)
            connection.close()

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """Serve the connection and count it out; called in its own thread."""
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._one_less()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A connection that broke is none of our mistakes; anything else is, and gets a line."""
        error = sys.exception()
        if isinstance(error, OSError) or error is None:
            return
        self._report(f"a connection from {client_address} was given up: {type(error).__name__}: {error}")
        if self._verbose:
            self._report("".join(traceback.format_exception(error)))

    def _one_less(self) -> None:
        with self._lock:
            self._count -= 1
