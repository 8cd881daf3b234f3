"""A proxy in front of the servers of this machine, by which links between them can be cut; for bin/run --web.

It listens where the other servers dial one, and passes all bytes on to where that one listens. Who dials is
in the hello that each connection begins with. While a link is cut nothing passes, and neither end is told: as
on a torn cable, what was sent waits.

Run as a program, this module is that proxy. It does what the lines of JSON on its standard input say, answers
each with a line, and ends with its starter, whose pipe its standard input is.
"""

from __future__ import annotations

import contextlib
import json
import socket
import socketserver
import sys
import threading
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from atm.config import Address, parse_address
from atm.server.net.connection import dial, resolve, tune
from atm.wire.codec import Malformed
from atm.wire.framing import FrameReader, FrameTooLarge
from atm.wire.peer_messages import decode_hello

HELD_S_MAX = 3.0  # as long as a server waits for an acknowledgement: then it takes the connection for lost
HELLO_S = 2.0
HELLO_BYTES_MAX = 4 * 1024
DIAL_S = 1.0
PIECE_BYTES = 64 * 1024
CONNECTIONS_MAX = 64  # to one server at a time; each has two threads
STOP_POLL_S = 0.05

Direction = tuple[str, str]  # the server that sends, the server that receives


class Cuts:
    """The directions in which nothing passes."""

    def __init__(self) -> None:
        self._cut: frozenset[Direction] = frozenset()
        self._changed = threading.Condition()

    def replace(self, cut: Iterable[Direction]) -> None:
        """Cut these directions, and no others."""
        with self._changed:
            self._cut = frozenset(cut)
            self._changed.notify_all()

    def may_pass(self, direction: Direction, within_s: float) -> bool:
        """Wait until the direction is not cut; return False if it still is after that time."""
        if direction not in self._cut:
            return True
        with self._changed:
            return self._changed.wait_for(lambda: direction not in self._cut, within_s)


class Entrance(socketserver.ThreadingTCPServer):
    """Where the others dial one server."""

    allow_reuse_address = True
    daemon_threads = True
    block_on_close = False
    request_queue_size = 128

    def __init__(self, node: str, listens: Address, server: Address, cuts: Cuts) -> None:
        """`server` is where the node itself listens. Raise `OSError` if `listens` is not to be had."""
        self._node = node
        self._server = server
        self._cuts = cuts
        self._lock = threading.Lock()  # guards _open and _closed
        self._open: set[socket.socket] = set()
        self._closed = False
        self._places = threading.BoundedSemaphore(CONNECTIONS_MAX)
        self.address_family, resolved = resolve(listens.host, listens.port)
        super().__init__(resolved, socketserver.BaseRequestHandler)
        threading.Thread(target=self.serve_forever, args=(STOP_POLL_S,), daemon=True).start()

    def close(self) -> None:
        """Listen no more, and end all connections: the server has ended."""
        with self._lock:
            self._closed = True
            ends = list(self._open)
        self.shutdown()
        self.server_close()
        for end in ends:
            _shut_down(end)

    # -- called by socketserver, in the thread of a connection ----------------------------------------------

    def finish_request(self, request: Any, client_address: Any) -> None:
        """Pass on what comes on a connection, and what comes back, until either end ends it."""
        if not self._places.acquire(blocking=False):
            return
        try:
            with self._counted(request), contextlib.suppress(OSError):
                tune(request)
                self._connect(request)
        finally:
            self._places.release()

    def _connect(self, dialler: socket.socket) -> None:
        peer, hello = read_hello(dialler)
        if not self._cuts.may_pass((peer, self._node), HELD_S_MAX):
            return
        with self._counted(dial(self._server, DIAL_S)) as server:
            server.sendall(hello)
            back = threading.Thread(
                target=self._pump, args=(server, dialler, (self._node, peer)), daemon=True
            )
            back.start()
            self._pump(dialler, server, (peer, self._node))
            back.join()

    def _pump(self, source: socket.socket, target: socket.socket, direction: Direction) -> None:
        piece = memoryview(bytearray(PIECE_BYTES))
        with contextlib.suppress(OSError):
            while size := source.recv_into(piece):
                if not self._cuts.may_pass(direction, HELD_S_MAX):
                    break
                target.sendall(piece[:size])
        _shut_down(source)
        _shut_down(target)

    @contextlib.contextmanager
    def _counted(self, end: socket.socket) -> Iterator[socket.socket]:
        """Close the socket at last; until then `close` shuts it down."""
        with end:
            with self._lock:
                if self._closed:
                    raise ConnectionAbortedError
                self._open.add(end)
            try:
                yield end
            finally:
                with self._lock:
                    self._open.discard(end)


def read_hello(dialler: socket.socket) -> tuple[str, bytes]:
    """Return the name of the server that dials, "" of a stranger, and what was read to know it."""
    dialler.settimeout(HELLO_S)
    reader = FrameReader(HELLO_BYTES_MAX)
    peer, read = "", b""
    with contextlib.suppress(TimeoutError, FrameTooLarge, Malformed):
        while not peer and (piece := dialler.recv(HELLO_BYTES_MAX)):
            read += piece
            for payload in reader.feed(piece):
                peer = decode_hello(payload).node
    dialler.settimeout(None)
    return peer, read


class Proxy:
    """The entrances of all servers, and what is cut."""

    def __init__(self) -> None:
        self._cuts = Cuts()
        self._entrances: dict[str, Entrance] = {}

    def answer(self, asked: Mapping[str, Any]) -> Mapping[str, str]:
        """Do what is asked; return why it could not be done, or nothing."""
        match asked["do"]:
            case "open":
                addresses = parse_address(asked["listens"]), parse_address(asked["server"])
                try:
                    self._entrances[asked["node"]] = Entrance(asked["node"], *addresses, self._cuts)
                except OSError as error:
                    return {"failed": error.strerror or str(error)}
            case "close":
                self._entrances.pop(asked["node"]).close()
            case "cut":
                self._cuts.replace((source, target) for source, target in asked["cuts"])
        return {}


def _shut_down(end: socket.socket) -> None:
    with contextlib.suppress(OSError):
        end.shutdown(socket.SHUT_RDWR)


def main() -> None:
    """Do what the lines on standard input say, until its end."""
    proxy = Proxy()
    for line in sys.stdin:
        print(json.dumps(proxy.answer(json.loads(line))), flush=True)


if __name__ == "__main__":
    main()
