"""One end of a TLS connection: a handshake within a time limit, then bytes encrypted and decrypted in memory.

Two threads on one `ssl.SSLSocket` disturb each other, and `select` does not see what it has decrypted. So TLS
works here on memory buffers alone, under a lock that is never held over I/O, and sockets are read and written
as without it: all that arrived is decrypted at once, and what is to be sent is encrypted once.
"""

from __future__ import annotations

import contextlib
import select
import socket
import ssl
import time
from threading import Lock
from types import TracebackType
from typing import Any, Self

from atm.checkout import command_here
from atm.identity import Identity, NoIdentity, identity_of
from atm.tls.errors import CertificateRefused, HandshakeEnded, NotTls, TlsFailed, Untrusted

HANDSHAKE_S = 5.0
RECORD_S = 10.0  # a record must arrive whole within this time of its first byte
RECORD_BYTES_MAX = 16 * 1024  # of plain text
HEADER_BYTES = 5
CONTENT_TYPES = range(20, 24)  # the first byte of each record of TLS; no plain frame begins so
MAJOR_VERSION = 3  # its second byte

_UNTRUSTED = {  # OpenSSL's codes of X509_V_ERR_...
    9: "its certificate is not valid yet: compare the clocks of both machines",
    10: f"its certificate has expired: renew it with {command_here('admin')} certs",
    18: "its certificate is of another CA",
    19: "its certificate is of another CA",
    20: "its certificate is of another CA",
    21: "its certificate is of another CA",
    26: "its certificate is not made for this end of a connection",
}
_REFUSED = {  # OpenSSL's names of the alerts with which the other end refuses a certificate
    "TLSV13_ALERT_CERTIFICATE_REQUIRED": "it wants a certificate",
    "TLSV1_ALERT_UNKNOWN_CA": "it does not know the CA of this certificate",
    "SSLV3_ALERT_CERTIFICATE_EXPIRED": "it says this certificate has expired: renew it, or compare clocks",
    "SSLV3_ALERT_BAD_CERTIFICATE": "it says that this certificate is damaged or of a wrong kind",
    "SSLV3_ALERT_UNSUPPORTED_CERTIFICATE": "this certificate is not made for this end of a connection",
    "SSLV3_ALERT_CERTIFICATE_UNKNOWN": "it does not accept this certificate",
    "SSLV3_ALERT_CERTIFICATE_REVOKED": "this certificate was revoked",
    "TLSV1_ALERT_ACCESS_DENIED": "it does not accept this certificate",
    "TLSV1_ALERT_DECRYPT_ERROR": "it does not accept this certificate",
}
_OTHERS = {
    "PEER_DID_NOT_RETURN_A_CERTIFICATE": "it shows no certificate",
    "UNSUPPORTED_PROTOCOL": "it does not speak TLS 1.3",
    "TLSV1_ALERT_PROTOCOL_VERSION": "it does not speak TLS 1.3",
}


class TlsSocket:
    """A connected socket and its encryption. Any thread may encrypt; one at a time decrypts.

    `recv`, `sendall`, `setsockopt` and `close` do what those of a blocking socket do, for plain text.
    """

    def __init__(self, sock: socket.socket, context: ssl.SSLContext, *, server_side: bool) -> None:
        self.sock = sock
        self.ended = False  # the other end sends nothing more
        self.begun = False  # whether anything has arrived
        self._lock = Lock()  # guards the next three; never held over I/O
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._object = context.wrap_bio(self._incoming, self._outgoing, server_side=server_side)

    # -- the handshake -----------------------------------------------------------------------------------

    def handshake(self, until_s: float) -> None:
        """Agree with the other end by `until_s` of the monotonic clock; raise `TlsFailed` and OSError.

        Nothing behind the handshake is read from the socket.
        """
        done = False
        while not done:
            error: ssl.SSLError | None = None
            with self._lock:
                try:
                    self._object.do_handshake()
                    done = True
                except ssl.SSLWantReadError:
                    pass
                except ssl.SSLError as failure:
                    error = failure
                flight = self._outgoing.read()
            if error is not None:
                with contextlib.suppress(OSError):
                    self._send_flight(flight, until_s)  # it tells the other end why
                raise _failure(error) from error
            self._send_flight(flight, until_s)
            if not done:
                record = self._receive_record(until_s)
                with self._lock:
                    self._incoming.write(record)

    @property
    def is_silent(self) -> bool:
        """Whether the other end has sent nothing so far; any thread may ask, while the socket is open."""
        if self.begun:
            return False
        poll = select.poll()
        poll.register(self.sock, select.POLLIN)
        return not poll.poll(0)

    @property
    def uris(self) -> list[str]:
        """The URIs of the other end's certificate, after the handshake."""
        certificate: dict[str, Any] = self._object.getpeercert() or {}
        return [value for kind, value in certificate.get("subjectAltName", ()) if kind == "URI"]

    @property
    def identity(self) -> Identity:
        """Whom the other end's certificate names; raises `NoIdentity`."""
        return identity_of(self.uris)

    def _receive_record(self, until_s: float) -> bytes:
        """Return one record, to its last byte and no further; raise `NotTls` if it is none."""
        header = self._receive_exactly(HEADER_BYTES, until_s)
        if header[0] not in CONTENT_TYPES or header[1] != MAJOR_VERSION:
            raise NotTls
        return header + self._receive_exactly(int.from_bytes(header[3:]), until_s)

    def _receive_exactly(self, size: int, until_s: float) -> bytes:
        received = bytearray()
        while len(received) < size:
            self._wait(select.POLLIN, until_s)
            with contextlib.suppress(BlockingIOError):
                piece = self.sock.recv(size - len(received), socket.MSG_DONTWAIT)
                if not piece:
                    raise HandshakeEnded("it ended the connection within the TLS handshake")
                self.begun = True
                received += piece
        return bytes(received)

    def _send_flight(self, flight: bytes, until_s: float) -> None:
        unsent = memoryview(flight)
        while unsent:
            self._wait(select.POLLOUT, until_s)
            with contextlib.suppress(BlockingIOError):
                unsent = unsent[self.sock.send(unsent, socket.MSG_DONTWAIT) :]

    def _wait(self, event: int, until_s: float) -> None:
        poll = select.poll()
        poll.register(self.sock, event)
        left_s = until_s - time.monotonic()
        if left_s <= 0 or not poll.poll(left_s * 1000):
            raise HandshakeEnded("it did not complete the TLS handshake in time")

    # -- after the handshake -----------------------------------------------------------------------------

    def encrypt(self, data: bytes | bytearray) -> bytes:
        """Return what to send for `data`, in the order of the calls; raise `TlsFailed`."""
        with self._lock:
            try:
                self._object.write(data)
            except ssl.SSLError as error:
                raise _failure(error) from error
            return self._outgoing.read()

    def decrypt(self, piece: bytes) -> bytes:
        """Return all that `piece`, read from the socket, completes; perhaps nothing. Raise `TlsFailed`.

        `ended` says whether anything can follow.
        """
        pieces: list[bytes] = []
        with self._lock:
            self._incoming.write(piece)
            try:
                # OpenSSL reads a record's header and body and no further, so nothing waits inside it but the
                # beginning of one.
                while not self.ended and (self._incoming.pending or self._object.pending()):
                    # A record decrypts to less than its bytes, and a large buffer takes time to allocate.
                    size = self._incoming.pending or RECORD_BYTES_MAX
                    data = self._object.read(min(size, RECORD_BYTES_MAX))
                    self.ended = not data
                    pieces.append(data)
            except ssl.SSLWantReadError:
                pass
            except ssl.SSLZeroReturnError:
                self.ended = True
            except ssl.SSLError as error:
                raise _failure(error) from error
        return b"".join(pieces)

    def recv(self, size: int) -> bytes:
        """Wait for bytes and return them, b"" at the end: from up to `size` of the socket's, so perhaps more.

        Raise BlockingIOError or TimeoutError as the socket does, or if a record stays unfinished.
        """
        began_s: float | None = None
        while not self.ended:
            piece = self.sock.recv(size)
            if not piece:
                self.ended = True
                break
            data = self.decrypt(piece)
            if data:
                return data
            began_s = time.monotonic() if began_s is None else began_s
            if time.monotonic() - began_s > RECORD_S:
                raise BlockingIOError("a record of TLS stayed unfinished")
        return b""

    def sendall(self, data: bytes) -> None:
        self.sock.sendall(self.encrypt(data))

    def setsockopt(self, level: int, option: int, value: int | bytes) -> None:
        self.sock.setsockopt(level, option, value)

    def close(self) -> None:
        self.sock.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def connect_tls(sock: socket.socket, context: ssl.SSLContext, node: str, until_s: float) -> TlsSocket:
    """Do the handshake with the server `node`; raise `Untrusted` if another one answers, and `TlsFailed`."""
    tls = TlsSocket(sock, context, server_side=False)
    tls.handshake(until_s)
    try:
        identity = tls.identity
    except NoIdentity as error:
        raise Untrusted(f"its certificate {error}") from error
    if not identity.is_node or identity.name != node:
        kind = "node" if identity.is_node else "person or program"
        raise Untrusted(f"its certificate is that of {kind} {identity.name}, not of node {node}")
    return tls


def _failure(error: ssl.SSLError) -> TlsFailed:
    """Return the same as a line for people."""
    if isinstance(error, ssl.SSLCertVerificationError):
        known = _UNTRUSTED.get(error.verify_code)
        return Untrusted(known or f"its certificate is not trusted: {error.verify_message}")
    reason = error.reason or ""
    if reason in _REFUSED:
        return CertificateRefused(_REFUSED[reason])
    if reason == "WRONG_VERSION_NUMBER":
        return NotTls()
    return TlsFailed(_OTHERS.get(reason) or f"TLS failed: {reason.lower().replace('_', ' ') or error}")
