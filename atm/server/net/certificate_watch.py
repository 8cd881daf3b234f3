"""Has a server's certificate files read again when they change, and at a signal."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from threading import Event, Thread

from atm.server.net.report_limit import ReportLimit
from atm.tls.credentials import LOOK_EVERY_S, Credentials, TlsUnusable


class CertificateWatch:
    """A thread that looks at the files now and then. Connections that are open stay as they are."""

    def __init__(
        self,
        credentials: Credentials,
        reports: Sequence[ReportLimit],
        report: Callable[[str], None],
        *,
        look_every_s: float = LOOK_EVERY_S,
    ) -> None:
        self._credentials = credentials
        self._reports = reports
        self._report = report
        self._look_every_s = look_every_s
        self._asked = False
        self._stopping = False
        self._wake = Event()
        self._thread = Thread(target=self._run, name="certificates", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def read_again(self) -> None:
        """Have the files read at once; a signal handler may call it."""
        self._asked = True
        self._wake.set()

    def close(self) -> None:
        self._stopping = True
        self._wake.set()
        if self._thread.ident is not None:
            self._thread.join()

    def _run(self) -> None:
        while not self._stopping:
            self._wake.wait(self._look_every_s)
            self._wake.clear()
            asked, self._asked = self._asked, False
            try:
                if self._credentials.refresh(at_once=asked):
                    ends = datetime.fromtimestamp(self._credentials.loaded.ends_s, UTC)
                    self._report(
                        f"the certificates were read again; this node's is valid until {ends:%Y-%m-%d}"
                    )
            except TlsUnusable as error:
                self._report(f"{error}. What was read before stays in use")
            for each in self._reports:
                each.flush()
