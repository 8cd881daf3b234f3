"""What the two socketserver servers of a node have in common: quiet, bounded, bound to one address."""

from __future__ import annotations

import socket
import socketserver
import sys
import traceback
from collections.abc import Callable
from threading import Lock, Thread
from typing import Any

from atm.config import Address
from atm.server.net.connection import resolve

POLL_S = 0.1  # how soon a listener notices that it is to stop


class AddressUnavailable(Exception):
    """Another program has the port, or the host is none of ours."""


class Listener(socketserver.ThreadingTCPServer):
    """A thread for each connection, up to a limit; a failing handler takes down its own connection only."""

    allow_reuse_address = True
    daemon_threads = True
    block_on_close = False
    request_queue_size = 1024

    def __init__(
        self,
        address: Address,
        handler: Callable[[Any, Any, Listener], socketserver.BaseRequestHandler],
        *,
        connections_max: int,
        report: Callable[[str], None],
        verbose: bool,
    ) -> None:
        self._connections_max = connections_max
        self._report = report
        self._verbose = verbose
        self._count_lock = Lock()  # guards _count
        self._count = 0
        self._started = False
        try:
            self.address_family, resolved = resolve(address.host, address.port)
            super().__init__(resolved, handler)
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

    def refuse(self, sock: socket.socket) -> None:
        """Say a last word to a connection over the limit."""

    def process_request(self, request: Any, client_address: Any) -> None:
        """Give the connection a thread, or refuse it; called by the accepting thread."""
        with self._count_lock:
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

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """Run the handler; called in the connection's thread."""
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
        with self._count_lock:
            self._count -= 1
