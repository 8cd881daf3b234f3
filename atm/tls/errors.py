"""Why there is no TLS connection. Apart from what makes one, which loads `ssl`: a client may need none."""

from __future__ import annotations


class TlsFailed(ConnectionError):
    """There is no TLS connection, or none any more; `str()` of it says why, of the other end."""


class NotTls(TlsFailed):
    """The other end does not speak TLS."""

    def __init__(self) -> None:
        super().__init__("it does not speak TLS")


class HandshakeEnded(TlsFailed):
    """The other end ended the connection within the handshake, or did not go on with it: it may be down."""


class Untrusted(TlsFailed):
    """The other end shows no certificate that can be trusted; nothing was sent to it."""


class CertificateRefused(TlsFailed):
    """The other end does not trust this end's certificate: it took nothing of what was sent."""
