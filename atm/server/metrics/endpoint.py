"""The port of /metrics, /livez and /readyz: plain HTTP, one request a connection.

Whatever comes here costs the bank little: connections are accepted no faster than `ACCEPTS_PER_S`, a request
is a line and a bounded head, and a connection ends after `REQUEST_S`. No answer waits for the run loop, its
lock or the disk.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Iterable, Sequence
from http import HTTPStatus
from typing import NamedTuple

from atm.config import Address
from atm.server.logger.logger import Logger
from atm.server.metrics.exposition import CONTENT_TYPE, exposition
from atm.server.metrics.health import Check, Health
from atm.server.metrics.node_metrics import NodeMetrics
from atm.server.net.connection import Connection, linger
from atm.server.net.listener import Listener
from atm.server.net.places import Places
from atm.tls.tls_socket import TlsSocket

CONNECTIONS_MAX = 32
REQUEST_S = 5.0  # for all of a request and its answer
HEAD_BYTES_MAX = 8 * 1024
ANSWER_BYTES_MAX = 1024 * 1024
ACCEPTS_PER_S = 100
METHODS = ("GET", "HEAD")
TEXT = "text/plain; charset=utf-8"


class Answer(NamedTuple):
    """An answer to a request."""

    status: HTTPStatus
    body: str
    content_type: str = TEXT


class MetricsEndpoint(Listener[Connection]):
    """Listens on a node's `metrics` address."""

    request_queue_size = 64

    def __init__(
        self,
        address: Address,
        health: Health,
        metrics: NodeMetrics,
        *,
        logger: Logger,
        verbose: bool = False,
        request_s: float = REQUEST_S,
    ) -> None:
        places = Places(CONNECTIONS_MAX, new_s_max=request_s)
        super().__init__(address, places=places, logger=logger, verbose=verbose)
        self._health = health
        self._metrics = metrics

    def close(self) -> None:
        """Stop accepting and drop every connection."""
        self.stop()
        self.drop_connections()

    def process_request(self, request: object, client_address: object) -> None:
        """Serve a connection, and then none for a moment: those of a flood wait in the kernel."""
        super().process_request(request, client_address)
        time.sleep(1 / ACCEPTS_PER_S)

    # -- a connection's own thread ---------------------------------------------------------------------

    def connect(self, sock: socket.socket | TlsSocket) -> Connection:
        return Connection(sock, ANSWER_BYTES_MAX, set())

    def serve(self, connection: Connection) -> None:
        """Answer one request; the place is lost, and the connection dropped, if that takes too long."""
        head = _receive_head(connection.sock)
        if head:
            connection.send(self._response(head))
            connection.wait_until_sent()
            linger(connection.sock)

    def _response(self, head: bytes) -> bytes:
        method, answer = self._answer_to(head)
        body = answer.body.encode()
        lines = [
            f"HTTP/1.1 {answer.status.value} {answer.status.phrase}",
            f"Content-Type: {answer.content_type}",
            f"Content-Length: {len(body)}",
            "Cache-Control: no-store",
            "X-Content-Type-Options: nosniff",
            "Connection: close",
        ]
        if answer.status is HTTPStatus.METHOD_NOT_ALLOWED:
            lines.append(f"Allow: {', '.join(METHODS)}")
        start = "\r\n".join([*lines, "", ""]).encode()
        return start if method == "HEAD" else start + body

    def _answer_to(self, head: bytes) -> tuple[str, Answer]:
        """Return the method and what is answered."""
        if not 0 <= head.find(b"\r\n\r\n") <= HEAD_BYTES_MAX:
            return "", Answer(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, "the request is too long\n")
        try:
            method, target, version = head.split(b"\r\n", 1)[0].decode("ascii").split(" ")
        except ValueError:  # also what is not ASCII
            return "", Answer(HTTPStatus.BAD_REQUEST, "this is no request of HTTP/1\n")
        if version not in ("HTTP/1.0", "HTTP/1.1"):
            return "", Answer(HTTPStatus.BAD_REQUEST, "this port speaks HTTP/1.1\n")
        if method not in METHODS:
            return method, Answer(HTTPStatus.METHOD_NOT_ALLOWED, "this port is only for reading\n")
        path, _, query = target.partition("?")
        verbose = "verbose" in query.split("&")
        match path:
            case "/metrics":
                return method, Answer(HTTPStatus.OK, exposition(self._metrics.collect()), CONTENT_TYPE)
            case "/livez":
                return method, verdict(self._health.alive(), verbose=verbose)
            case "/readyz":
                return method, verdict(self._health.ready(), verbose=verbose)
        return method, Answer(HTTPStatus.NOT_FOUND, "there are /metrics, /livez and /readyz\n")


def verdict(checks: Sequence[Check], *, verbose: bool) -> Answer:
    """Return 200 if all checks hold, else 503 and why, in one line; `verbose`: a line for each check."""
    faults = [check.fault for check in checks if check.fault]
    status = HTTPStatus.SERVICE_UNAVAILABLE if faults else HTTPStatus.OK
    lines: Iterable[str] = [faults[0] if faults else "ok"]
    if verbose:
        lines = [f"{check.name}: {check.fault or 'ok'}" for check in checks]
    return Answer(status, "".join(f"{line}\n" for line in lines))


def _receive_head(sock: socket.socket) -> bytes:
    """Return a request up to the empty line behind its head, or what is too long; b"" if it does not come."""
    head = b""
    while b"\r\n\r\n" not in head and len(head) <= HEAD_BYTES_MAX:
        piece = sock.recv(HEAD_BYTES_MAX)
        if not piece:
            return b""
        head += piece
    return head
