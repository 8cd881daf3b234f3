"""A CA file, a certificate and its key, as the contexts of both ends; read again when they change."""

from __future__ import annotations

import contextlib
import os
import ssl
import time
from collections.abc import Callable
from pathlib import Path
from threading import Lock
from typing import Any

from msgspec import Struct

from atm.checkout import command_here
from atm.config import ConfigError, TlsFiles
from atm.identity import Identity, NoIdentity, identity_of

LOOK_EVERY_S = 2.0
FILE_BYTES_MAX = 1024 * 1024
KEY_MODE_FORBIDDEN = 0o037  # all but the owner, and a group that reads
HANDSHAKE_STEPS_MAX = 10

_CERTIFICATE, _KEY = b"-----BEGIN CERTIFICATE-----", b"PRIVATE KEY-----"
_Stamp = tuple[tuple[int, int, int], ...]


class TlsUnusable(ConfigError):
    """The files of a certificate cannot be used; `str()` of it is one line that says which and why."""


class Loaded(Struct, frozen=True):
    """What was read at one time. A client has no context of a server."""

    identity: Identity
    ends_s: float  # when the certificate expires, in seconds since 1970
    client: ssl.SSLContext
    server: ssl.SSLContext | None


class Credentials:
    """Who this end is, and whom it trusts. Any thread may use it."""

    def __init__(
        self, files: TlsFiles, *, node: str = "", clock: Callable[[], float] = time.monotonic
    ) -> None:
        """Read the certificate of the server `node`, or that of a client. Raise `TlsUnusable`."""
        self._files = files
        self._node = node
        self._clock = clock
        self._lock = Lock()  # guards the rest, also while files are read
        self._stamp = _stamp(files)
        self._looked_s = clock()
        self._loaded = load(files, node)

    @property
    def loaded(self) -> Loaded:
        """What is in use."""
        return self._loaded

    def refresh(self, *, at_once: bool = False) -> bool:
        """Read the files again if they have changed, or `at_once`; return whether others are in use now.

        Raise `TlsUnusable` once for each change that cannot be used; what was read before stays in use.
        """
        with self._lock:
            stamp = _stamp(self._files)
            if stamp == self._stamp and not at_once:
                return False
            self._stamp = stamp
            self._loaded = load(self._files, self._node)
            return True

    def for_dialling(self) -> ssl.SSLContext:
        """Return the context of the next outgoing connection; a client's files are looked at now and then."""
        if not self._node and self._clock() - self._looked_s > LOOK_EVERY_S:
            self._looked_s = self._clock()
            with contextlib.suppress(TlsUnusable):  # goes on with what it had; the next program is told
                self.refresh()
        return self._loaded.client


def load(files: TlsFiles, node: str = "") -> Loaded:
    """Read and check the files of the server `node`, or of a client; raise `TlsUnusable`."""
    _check_pem(files.ca, "ca", _CERTIFICATE)
    _check_pem(files.cert, "cert", _CERTIFICATE)
    _check_key(files.key)
    client, server = _context(files, server_side=False), _context(files, server_side=True)
    rehearsing = client if node else _context(files, server_side=False)
    if not node:  # its certificate is no server's, so the other end must not look at it
        rehearsing.verify_mode = ssl.CERT_NONE
    certificate = _as_others_see_it(files, rehearsing, server)
    try:
        identity = identity_of(
            value for kind, value in certificate.get("subjectAltName", ()) if kind == "URI"
        )
    except NoIdentity as error:
        raise TlsUnusable(f"the certificate {files.cert} {error}") from error
    if node and (not identity.is_node or identity.name != node):
        raise TlsUnusable(f"the certificate {files.cert} is that of {identity.name}, not of node {node}")
    if not node and identity.is_node:
        raise TlsUnusable(
            f"the certificate {files.cert} is a server's, that of node {identity.name}: people and programs "
            "need their own (docs/security.md)"
        )
    ends_s = float(ssl.cert_time_to_seconds(certificate["notAfter"]))
    return Loaded(identity, ends_s, client, server if node else None)


def _stamp(files: TlsFiles) -> _Stamp:
    """Return what changes when one of the files is replaced or written."""
    stamps = []
    for path in (files.ca, files.cert, files.key):
        try:
            found = os.stat(path)
            stamps.append((found.st_mtime_ns, found.st_ino, found.st_size))
        except OSError:
            stamps.append((0, 0, 0))
    return tuple(stamps)


def _check_pem(path: Path, what: str, marker: bytes) -> tuple[bytes, int]:
    """Return what the file has, and its mode."""
    try:
        with path.open("rb") as file:
            content = file.read(FILE_BYTES_MAX)
            mode = os.fstat(file.fileno()).st_mode & 0o777
    except OSError as error:
        raise TlsUnusable(f"the file of [tls] {what}, {path}, cannot be read: {error.strerror}") from error
    if marker not in content:
        raise TlsUnusable(f"the file of [tls] {what}, {path}, has no {what} in PEM format")
    return content, mode


def _check_key(path: Path) -> None:
    content, mode = _check_pem(path, "key", _KEY)
    if b"ENCRYPTED" in content:
        raise TlsUnusable(
            f"the key {path} is encrypted with a password, which nobody could type: keep it plain"
        )
    if mode & KEY_MODE_FORBIDDEN:
        raise TlsUnusable(f"others can read the key {path} (mode {mode:03o}): chmod 600 {path}")


def _context(files: TlsFiles, *, server_side: bool) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER if server_side else ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.check_hostname = False  # a server is known by its name in the bank, wherever it runs
    context.verify_mode = ssl.CERT_REQUIRED
    context.options |= ssl.OP_NO_TICKET | ssl.OP_NO_RENEGOTIATION | ssl.OP_NO_COMPRESSION
    if server_side:
        context.num_tickets = 0  # each connection shows its certificate anew, and is checked anew
    try:
        context.load_verify_locations(cafile=files.ca)
    except ssl.SSLError as error:
        raise TlsUnusable(f"the file of [tls] ca, {files.ca}, is damaged: {_reason(error)}") from error
    except OSError as error:
        raise TlsUnusable(f"{files.ca} cannot be read: {error.strerror}") from error
    try:
        context.load_cert_chain(files.cert, files.key, password=_no_password)
    except ssl.SSLError as error:
        if error.reason == "KEY_VALUES_MISMATCH":
            why = f"the key {files.key} is not that of the certificate {files.cert}"
        else:
            why = f"the certificate {files.cert} or its key {files.key} is damaged: {_reason(error)}"
        raise TlsUnusable(why) from error
    except OSError as error:
        raise TlsUnusable(f"{files.cert} or {files.key} cannot be read: {error.strerror}") from error
    return context


def _no_password() -> str:
    return ""


def _reason(error: ssl.SSLError) -> str:
    return (error.reason or str(error)).lower().replace("_", " ")


def _as_others_see_it(files: TlsFiles, client: ssl.SSLContext, server: ssl.SSLContext) -> dict[str, Any]:
    """Return the own certificate; raise `TlsUnusable` if others would not trust it.

    The standard library checks a certificate in a handshake only, so this is one, with itself.
    """
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    client_end = client.wrap_bio(to_client, to_server)
    server_end = server.wrap_bio(to_server, to_client, server_side=True)
    try:
        for _ in range(HANDSHAKE_STEPS_MAX):
            with contextlib.suppress(ssl.SSLWantReadError):
                client_end.do_handshake()
            with contextlib.suppress(ssl.SSLWantReadError):
                server_end.do_handshake()
                break
    except ssl.SSLCertVerificationError as error:
        why = {9: "is not valid yet", 10: "has expired", 26: "is not made for this end of a connection"}.get(
            error.verify_code, f"is not trusted by the CAs in {files.ca}: {error.verify_message}"
        )
        raise TlsUnusable(
            f"the certificate {files.cert} {why}: renew it with {command_here('admin')} certs"
        ) from error
    except ssl.SSLError as error:
        raise TlsUnusable(f"the certificate {files.cert} cannot be used: {_reason(error)}") from error
    return server_end.getpeercert() or {}
