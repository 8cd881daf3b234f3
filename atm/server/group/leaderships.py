"""Counts leaders and the ends of this server's leaderships, from what the core reports."""

from __future__ import annotations

from collections.abc import Mapping

from atm.raft import NodeId, Role
from atm.raft.events import Cause, CoreEvent, LeaderLearned, RoleChanged

# Why a leader ceases to lead, and how the metric calls that.
STEP_DOWNS = {
    Cause.HANDED_OVER: "handed_over",
    Cause.NO_MAJORITY: "no_majority",
    Cause.HIGHER_TERM: "newer_term",
    Cause.REMOVED: "removed",
    Cause.DISK_LOST: "disk_lost",
}


class Leaderships:
    """Hears of each change, however short: what a tick finds may be over. Only within an iteration."""

    def __init__(self) -> None:
        self.leader_changes = 0
        self.step_downs: Mapping[str, int] = dict.fromkeys(STEP_DOWNS.values(), 0)  # never changed in place
        self._led: tuple[NodeId, int] | None = None  # the last leader, and its term

    def note(self, event: CoreEvent) -> None:
        """Count what this event of the core says."""
        if not isinstance(event, RoleChanged | LeaderLearned):
            return
        if event.leader is not None and self._led != (event.leader, event.term):
            self._led = event.leader, event.term
            self.leader_changes += 1
        if isinstance(event, RoleChanged) and event.before is Role.LEADER:
            cause = STEP_DOWNS[event.cause]
            self.step_downs = {**self.step_downs, cause: self.step_downs[cause] + 1}
