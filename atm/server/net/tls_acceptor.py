"""The TLS handshake of accepted connections, each in its own thread; how many at a time is bounded."""

from __future__ import annotations

import contextlib
import random
import socket
import time
from collections.abc import Callable, Iterator, Sequence
from threading import Lock

from atm.identity import Identity, NoIdentity
from atm.server.logger.logger import Logger
from atm.server.net.connection import linger
from atm.tls.credentials import Credentials
from atm.tls.errors import NotTls, TlsFailed
from atm.tls.tls_socket import HANDSHAKE_S, TlsSocket

HALF_OPEN_MAX = 512
LINES_MAX = 20  # a minute, about connections that were refused at each port
HALF_OPEN_BY_HOST_MAX = 256  # a program that connects anew on all its threads at once drops none of them

RefusalFrame = Callable[[str], bytes]  # what to send to one that is refused, for this reason
ReasonToRefuse = Callable[[Identity], str | None]


class HalfOpen:
    """The connections whose handshake is not done, oldest first.

    When there are too many, of one host or in all, one is dropped: the oldest that has said nothing, or else
    any one. An honest client speaks at once and is done within milliseconds, so strangers seldom push it out.
    """

    def __init__(self, total_max: int, by_host_max: int) -> None:
        self._total_max, self._by_host_max = total_max, by_host_max
        self._lock = Lock()  # guards _hosts
        self._hosts: dict[TlsSocket, str] = {}

    @contextlib.contextmanager
    def holding(self, tls: TlsSocket, host: str) -> Iterator[None]:
        """Count `tls` within the context; it may be shut down there."""
        with self._lock:
            of_host = [each for each, at in self._hosts.items() if at == host]
            if len(of_host) >= self._by_host_max:
                self._drop_one(of_host)
            if len(self._hosts) >= self._total_max:
                self._drop_one(list(self._hosts))
            self._hosts[tls] = host
        try:
            yield
        finally:
            with self._lock:
                self._hosts.pop(tls, None)

    def drop_all(self) -> None:
        """End all handshakes."""
        with self._lock:
            for tls in list(self._hosts):
                self._drop(tls)

    def _drop_one(self, candidates: Sequence[TlsSocket]) -> None:
        silent = next((tls for tls in candidates if tls.is_silent), None)
        self._drop(random.choice(candidates) if silent is None else silent)

    def _drop(self, tls: TlsSocket) -> None:
        """The lock is held, so the socket is not closed yet: its thread counts it out first."""
        del self._hosts[tls]
        with contextlib.suppress(OSError):
            tls.sock.shutdown(socket.SHUT_RDWR)


class TlsAcceptor:
    """Lets in whoever shows a certificate of the bank's that fits the port."""

    def __init__(
        self,
        credentials: Credentials,
        *,
        port: str,
        refusal_frame: RefusalFrame,
        reason_to_refuse: ReasonToRefuse,
        logger: Logger,
        handshake_s: float = HANDSHAKE_S,
        half_open_max: int = HALF_OPEN_MAX,
        half_open_by_host_max: int = HALF_OPEN_BY_HOST_MAX,
    ) -> None:
        """`port` says in lines which one it is, such as "the clients' port"."""
        self._credentials = credentials
        self._port = port
        self._refusal_frame = refusal_frame
        self._reason_to_refuse = reason_to_refuse
        self._logger = logger.about(port, LINES_MAX)
        self._handshake_s = handshake_s
        self._half_open = HalfOpen(half_open_max, half_open_by_host_max)

    def accept(self, sock: socket.socket) -> TlsSocket | None:
        """Return the encrypted connection; None after it was refused, reported, and told why."""
        host = str(sock.getpeername()[0])
        context = self._credentials.loaded.server
        assert context is not None, "a server's credentials"
        tls = TlsSocket(sock, context, server_side=True)
        with self._half_open.holding(tls, host):
            try:
                tls.handshake(time.monotonic() + self._handshake_s)
                why = self._refusal(tls)
                if why is None:
                    return tls
                tls.sendall(self._refusal_frame(f"TLS: {why}"))
            except NotTls as error:
                why = str(error)
                told = "this port speaks TLS only: add [tls] to cluster.ini (docs/security.md)"
                with contextlib.suppress(OSError):
                    sock.send(self._refusal_frame(told), socket.MSG_DONTWAIT)
            except TlsFailed as error:
                if not tls.begun:
                    return None  # nothing was said: a port scan, or a check whether the port is open
                why = str(error)
            except OSError:
                return None
            line = f"refused a connection to {self._port} from {host}: {why}"
            self._logger.warning("connection.refused", line, port=self._port, host=host, why=why)
            linger(sock)  # or what was sent last might not arrive
        return None

    def close(self) -> None:
        """End all handshakes."""
        self._half_open.drop_all()

    def _refusal(self, tls: TlsSocket) -> str | None:
        try:
            return self._reason_to_refuse(tls.identity)
        except NoIdentity as error:
            return f"its certificate {error}"
