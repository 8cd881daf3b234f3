"""The base of a node's two servers: bound to one address, with places and a set of all connections."""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import socketserver
import sys
import time
import traceback
from collections.abc import Collection
from functools import partial
from threading import BoundedSemaphore, Lock, Thread
from typing import Any, Generic, TypeVar

from atm.config import Address, NodeConfig, is_loopback
from atm.server.logger.logger import Logger
from atm.server.net.connection import Connection, linger, resolve
from atm.server.net.places import Place, Places, owner_of
from atm.server.net.tls_acceptor import TlsAcceptor
from atm.tls.tls_socket import TlsSocket

POLL_S = 0.1  # how soon a listener notices that it is to stop
OUT_OF_FILES = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})
LOOK_S = 1.0  # how often it is looked for connections that are idle
LINES_MAX = 5  # a minute, of each event that clients or strangers at one port cause
TELLING_MAX = 8  # connections without a place that are told so over TLS, at a time
OUT_OF_FILES_S = 0.05  # the pause after a connection that could not be accepted
CAUSES = {
    errno.EADDRINUSE: "another node or program uses this port. Stop that one, or change the port in the "
    "cluster.ini of every node",
    errno.EADDRNOTAVAIL: "this machine does not have that address. Start the node on its own machine, or "
    "correct the host in the cluster.ini of every node",
    errno.EACCES: "this user may not use that port. Choose one from 1024 on in the cluster.ini of every node",
}

C = TypeVar("C", bound=Connection)


class AddressUnavailable(Exception):
    """The port is taken, or the host is not this machine, or no other machine could reach it.

    `str()` of it is one line for people.
    """


def check_reachable(node: NodeConfig, others: Collection[NodeConfig]) -> None:
    """Raise `AddressUnavailable` if `node` would listen where servers on other machines cannot reach it.

    Many systems give a machine's own name the address 127.0.1.1 in its own /etc/hosts: then the server hears
    nobody, without any error.
    """
    host = (node.listen_peer or node.peer).host
    if is_loopback(host) or all(is_loopback(other.peer.host) for other in others):
        return
    try:
        _, (resolved, _) = resolve(host, 0)
    except OSError:
        return  # the listener says so
    if is_loopback(resolved) and any(other.peer.host != host for other in others):
        raise AddressUnavailable(
            f"the name {host} means {resolved} on this machine, where no other machine can connect: take it "
            f"out of the line of {resolved} in /etc/hosts, or give [node {node.name}] listen_client and "
            f"listen_peer, such as 0.0.0.0:{node.peer.port}"
        )


class Listener(socketserver.ThreadingTCPServer, Generic[C]):
    """A thread for each connection that finds a place; one that fails ends its own connection only.

    Subclasses say what a connection is, what its thread does, and what one without a place is told.
    """

    refusal = b""  # what is sent to a connection without a place
    silent_s = 0  # how long the kernel keeps a connection to itself until something comes on it
    allow_reuse_address = True
    daemon_threads = True
    block_on_close = False
    request_queue_size = 1024

    def __init__(
        self,
        address: Address,
        *,
        places: Places,
        logger: Logger,
        verbose: bool,
        acceptor: TlsAcceptor | None = None,
    ) -> None:
        """With an `acceptor`, connections are encrypted."""
        self._acceptor = acceptor
        self.places = places
        self._logger = logger
        self._limited = logger.about(f"the port of {address}", LINES_MAX)
        self._verbose = verbose
        self._lock = Lock()  # guards _connections and given_up
        self._connections: set[C] = set()
        self.given_up = 0  # connections that were dropped because their clients did not take what was sent
        self._started = False
        self._spare = -1
        self._next_look_s = 0.0
        self._telling = BoundedSemaphore(TELLING_MAX)
        self.turned_away = 0  # connections that found no place; counted by the accepting thread only
        try:
            self.address_family, resolved = resolve(address.host, address.port)
            super().__init__(resolved, socketserver.BaseRequestHandler)
        except OSError as error:
            cause = CAUSES.get(
                error.errno or 0, f"{error.strerror or error}. Check the address in cluster.ini"
            )
            raise AddressUnavailable(f"cannot listen on {address}: {cause}") from error
        self._spare = os.open(os.devnull, os.O_RDONLY)  # for a moment without any other descriptor

    @property
    def port(self) -> int:
        return int(self.server_address[1])

    @property
    def connection_count(self) -> int:
        """How many connections are open; any thread."""
        return len(self._connections)

    def server_activate(self) -> None:
        """Listen."""
        if self.silent_s and hasattr(socket, "TCP_DEFER_ACCEPT"):
            self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_DEFER_ACCEPT, self.silent_s)
        super().server_activate()

    def start(self) -> None:
        """Accept connections from now on, in a thread of its own."""
        self._started = True
        Thread(target=self.serve_forever, args=(POLL_S,), name=f"accept {self.port}", daemon=True).start()

    def stop(self) -> None:
        """Accept no more connections, and close the port."""
        if self._started:
            self.shutdown()
        self.server_close()

    def server_close(self) -> None:
        """Close the port, and the spare descriptor. A second call does nothing."""
        super().server_close()
        spare, self._spare = self._spare, -1
        if spare >= 0:
            os.close(spare)

    def drop_connections(self) -> None:
        """Drop every connection, which ends its thread."""
        if self._acceptor is not None:
            self._acceptor.close()
        with self._lock:
            connections = list(self._connections)
        for connection in connections:
            connection.drop()

    # -- for subclasses ------------------------------------------------------------------------------

    def connect(self, sock: socket.socket | TlsSocket) -> C:
        """Return the connection over an accepted socket; called in the connection's own thread."""
        raise NotImplementedError

    def serve(self, connection: C) -> None:
        """Serve the connection until its end; it is closed afterwards. Called in its own thread."""
        raise NotImplementedError

    def displace(self, connection: C) -> None:
        """End a connection that lost its place, soon; called by any thread."""
        connection.drop()

    # -- called by socketserver ----------------------------------------------------------------------
    # What it calls the client's address is here the connection's place, which names that address.

    def get_request(self) -> Any:
        """Accept a connection. Without a descriptor for it, make room, or else refuse it, and raise."""
        try:
            return super().get_request()
        except OSError as error:
            if error.errno in OUT_OF_FILES and not self.places.make_room():
                self._refuse_one()
                time.sleep(OUT_OF_FILES_S)
            raise

    def service_actions(self) -> None:
        """Look for idle connections now and then; called by the accepting thread, many times a second."""
        if time.monotonic() >= self._next_look_s:
            self._next_look_s = time.monotonic() + LOOK_S
            self.places.look()

    def process_request(self, request: Any, client_address: Any) -> None:
        """Give the connection a place and a thread, or refuse it; called by the accepting thread."""
        place = self.places.take(owner_of(client_address[0]))
        if place is not None:
            try:
                super().process_request(request, place)
                return
            except RuntimeError:  # no more threads
                place.leave()
        self._tell_no_place(owner_of(client_address[0]))
        self._turn_away(request)

    def finish_request(self, request: Any, client_address: Any) -> None:
        """Serve the connection; called in its own thread."""
        place: Place = client_address
        place.bind(partial(_shut_down, request))  # until there is a connection
        try:
            stream = request if self._acceptor is None else self._acceptor.accept(request)
            if stream is None:
                return
            connection = self.connect(stream)
            connection.place = place
            with self._lock:
                self._connections.add(connection)
            try:
                if place.bind(lambda: self.displace(connection), connection.activity):
                    self.serve(connection)
            finally:
                with self._lock:
                    self._connections.discard(connection)
                    self.given_up += connection.given_up
                place.unbind()
                connection.close()
        finally:
            place.unbind()

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """Serve the connection, and give its place back; called in its own thread."""
        try:
            super().process_request_thread(request, client_address)
        finally:
            client_address.leave()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Tell of an error of the program. A broken connection (OSError) is none."""
        error = sys.exception()
        if isinstance(error, OSError) or error is None:
            return
        self._logger.error(
            "connection.failed",
            f"internal error; closed the connection from {client_address}: {type(error).__name__}: {error}",
            owner=str(client_address),
        )
        if self._verbose:
            self._logger.error("connection.traceback", "".join(traceback.format_exception(error)))

    def _tell_no_place(self, owner: str) -> None:
        line = f"refused a connection of {owner} to port {self.port}: there are too many connections"
        self._limited.warning("connection.no_place", line, owner=owner, port=self.port)

    def _turn_away(self, sock: socket.socket) -> None:
        """Tell a connection that there is no place for it, and close it.

        Over TLS that takes a handshake, so a thread of its own; only so many are told at a time.
        """
        self.turned_away += 1
        if self._acceptor is None:
            self._say_no_place(sock)
        elif self.refusal and self._telling.acquire(blocking=False):
            try:
                Thread(target=self._say_no_place_encrypted, args=(sock, self._acceptor), daemon=True).start()
                return
            except RuntimeError:  # no more threads
                self._telling.release()
        self.shutdown_request(sock)

    def _say_no_place(self, sock: socket.socket) -> None:
        with contextlib.suppress(OSError):
            sock.send(self.refusal, socket.MSG_DONTWAIT)

    def _say_no_place_encrypted(self, sock: socket.socket, acceptor: TlsAcceptor) -> None:
        try:
            with contextlib.suppress(OSError):
                stream = acceptor.accept(sock)
                if stream is not None:
                    stream.sendall(self.refusal)
                    linger(sock)
        finally:
            self._telling.release()
            self.shutdown_request(sock)

    def _refuse_one(self) -> None:
        """Accept a connection by means of the spare descriptor, and refuse it, or it would wait for ever."""
        if self._spare < 0:
            return
        os.close(self._spare)
        self._spare = -1
        with contextlib.suppress(OSError):
            sock, _ = self.socket.accept()
            with sock:
                if self._acceptor is None:
                    self._say_no_place(sock)
        with contextlib.suppress(OSError):
            self._spare = os.open(os.devnull, os.O_RDONLY)


def _shut_down(sock: socket.socket) -> None:
    with contextlib.suppress(OSError):
        sock.shutdown(socket.SHUT_RDWR)
