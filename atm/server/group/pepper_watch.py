"""Has a server's pepper file read again when it changes, and says when the current pepper is not in it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from atm.ledger.peppers import PepperState
from atm.server.logger.logger import Logger
from atm.server.net.file_watch import LOOK_EVERY_S, FileWatch, stamp_of
from atm.server.security.peppers import PepperRefused, Peppers, read_peppers
from atm.server.security.pins import PinSealer


class PepperWatch(FileWatch):
    """A thread that looks at the file now and then."""

    def __init__(
        self,
        path: Path,
        sealer: PinSealer,
        current: Callable[[], PepperState],
        logger: Logger,
        *,
        look_every_s: float = LOOK_EVERY_S,
    ) -> None:
        """`current` tells which pepper is current by this server's ledger."""
        super().__init__("pepper", look_every_s)
        self._path = path
        self._sealer = sealer
        self._current = current
        self._logger = logger
        self._stamp = stamp_of(path)
        self._lacking = ""  # as last told

    def look(self, *, asked: bool) -> None:
        stamp = stamp_of(self._path)
        if stamp != self._stamp or asked:
            self._stamp = stamp
            try:
                self._read()
            except PepperRefused as error:
                self._logger.error("pepper.unusable", f"{error}. What was read before stays in use")
        lacking = lack_of(self._path, self._sealer.peppers, self._current())
        if lacking and lacking != self._lacking:
            self._logger.error("pepper.lacking", lacking)
        self._lacking = lacking

    def _read(self) -> None:
        """Take what the file has now, if what is in use is in it; others may come and go."""
        before, now = self._sealer.peppers, read_peppers(self._path, may_make=lambda: False)
        if not now.begins_as(before) or not now.knows(self._current()):
            raise PepperRefused(f"the pepper {self._path} was changed and does not begin with those in use")
        if now.names != before.names:
            self._sealer.peppers = now
            count = f"{len(now.names)} line{'s' if len(now.names) > 1 else ''}"
            self._logger.info(
                "pepper.read",
                f"the pepper file was read again: it has {count}, the last is pepper {now.names[-1]}",
                last=now.names[-1],
            )


def lack_of(path: Path, peppers: Peppers, current: PepperState) -> str:
    """Return a line for people if the current pepper is not among these, else ""."""
    if peppers.knows(current):
        return ""
    return (
        f"the pepper {path} lacks the current one, {current.name}, so no PIN can be checked here: copy the "
        "file of another machine there"
    )
