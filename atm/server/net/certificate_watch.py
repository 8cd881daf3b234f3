"""Has a server's certificate files read again when they change, and at a signal."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime

from atm.server.net.file_watch import FileWatch
from atm.server.net.report_limit import ReportLimit
from atm.tls.credentials import LOOK_EVERY_S, Credentials, TlsUnusable


class CertificateWatch(FileWatch):
    """A thread that looks at the files now and then. Connections that are open stay as they are."""

    def __init__(
        self,
        credentials: Credentials,
        reports: Sequence[ReportLimit],
        report: Callable[[str], None],
        *,
        look_every_s: float = LOOK_EVERY_S,
    ) -> None:
        super().__init__("certificates", look_every_s)
        self._credentials = credentials
        self._reports = reports
        self._report = report

    def look(self, *, asked: bool) -> None:
        try:
            if self._credentials.refresh(at_once=asked):
                ends = datetime.fromtimestamp(self._credentials.loaded.ends_s, UTC)
                self._report(f"the certificates were read again; this node's is valid until {ends:%Y-%m-%d}")
        except TlsUnusable as error:
            self._report(f"{error}. What was read before stays in use")
        for each in self._reports:
            each.flush()
