"""Reports the messages that the core rejected: the first at once, further ones of its kind at intervals."""

from __future__ import annotations

from collections.abc import Callable

from msgspec import Struct

from atm.raft.messages import NodeId
from atm.raft.rejection import Rejection, Violation

REPORT_AGAIN_S = 10.0


class _Kind(Struct):
    reported_at_s: float
    unreported: int = 0


class RejectionReports:
    """One line per peer and kind of violation in `REPORT_AGAIN_S`. Only within an iteration."""

    def __init__(self, clock: Callable[[], float], report: Callable[[str], None]) -> None:
        self._clock = clock
        self._report = report
        self._kinds: dict[tuple[NodeId, Violation], _Kind] = {}  # bounded by peers times violations

    def report(self, rejection: Rejection) -> None:
        """Report a rejection; if its kind was reported just now, count it in the next line instead."""
        key, now_s = (rejection.sender, rejection.violation), self._clock()
        kind = self._kinds.get(key)
        if kind is not None and now_s < kind.reported_at_s + REPORT_AGAIN_S:
            kind.unreported += 1
            return
        more = (
            f" (and {kind.unreported} like it since the last line)"
            if kind is not None and kind.unreported
            else ""
        )
        self._kinds[key] = _Kind(now_s)
        self._report(f"dropped a message of node {rejection.sender}: {rejection.what}{more}")
