"""Has a server's certificate files read again when they change, and at a signal."""

from __future__ import annotations

from datetime import UTC, datetime

from atm.server.logger.logger import Logger
from atm.server.net.file_watch import FileWatch
from atm.tls.credentials import LOOK_EVERY_S, Credentials, TlsUnusable


class CertificateWatch(FileWatch):
    """A thread that looks at the files now and then. Connections that are open stay as they are."""

    def __init__(
        self,
        credentials: Credentials,
        logger: Logger,
        *,
        look_every_s: float = LOOK_EVERY_S,
    ) -> None:
        super().__init__("certificates", look_every_s)
        self._credentials = credentials
        self._logger = logger

    def look(self, *, asked: bool) -> None:
        try:
            if self._credentials.refresh(at_once=asked):
                ends = datetime.fromtimestamp(self._credentials.loaded.ends_s, UTC)
                self._logger.info(
                    "certificates.read",
                    f"the certificates were read again; this node's is valid until {ends:%Y-%m-%d}",
                    until=f"{ends:%Y-%m-%d}",
                )
        except TlsUnusable as error:
            self._logger.error("certificates.unusable", f"{error}. What was read before stays in use")
