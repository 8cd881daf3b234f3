"""Says what the core dropped: at once, and then now and then for as long as it goes on."""

from __future__ import annotations

from collections.abc import Callable

from msgspec import Struct

from atm.raft.messages import NodeId
from atm.raft.rejection import Rejection, Violation

SAY_AGAIN_S = 10.0


class _Kind(Struct):
    said_at_s: float
    unsaid: int = 0


class RejectionReports:
    """One line for each peer and kind of lie in `SAY_AGAIN_S`. Within turns only."""

    def __init__(self, clock: Callable[[], float], report: Callable[[str], None]) -> None:
        self._clock = clock
        self._report = report
        self._kinds: dict[tuple[NodeId, Violation], _Kind] = {}  # as many as there are peers and lies

    def say(self, refusal: Rejection) -> None:
        """Report a refusal, unless one of its kind was reported just now: then count it for the next line."""
        key, now_s = (refusal.sender, refusal.violation), self._clock()
        kind = self._kinds.get(key)
        if kind is not None and now_s < kind.said_at_s + SAY_AGAIN_S:
            kind.unsaid += 1
            return
        more = f" (and {kind.unsaid} like it since the last line)" if kind is not None and kind.unsaid else ""
        self._kinds[key] = _Kind(now_s)
        self._report(f"dropped a message of node {refusal.sender}: {refusal.what}{more}")
