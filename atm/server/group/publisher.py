"""Publishes after each tick how the core and the ledger are, so that /metrics and /readyz take no lock."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Protocol

from atm.raft import AppendEntries, Configuration, InstallSnapshot, NodeId, RaftMessage, Role, Snapshot
from atm.server.group.guards import ALARMS
from atm.server.group.leaderships import Leaderships
from atm.server.metrics.health import Health, Published

PEPPER_MISSING = "pepper_missing"  # an alarm
LOOK_S = 1.0  # how often it is asked for alarms


class PublishedCore(Protocol):
    """What is published of `Raft`."""

    @property
    def node_id(self) -> NodeId: ...
    @property
    def role(self) -> Role: ...
    @property
    def term(self) -> int: ...
    @property
    def leader(self) -> NodeId | None: ...
    @property
    def commit_index(self) -> int: ...
    @property
    def last_index(self) -> int: ...
    @property
    def installing(self) -> Snapshot | None: ...
    @property
    def configuration(self) -> tuple[int, Configuration]: ...
    def matched(self) -> dict[NodeId, int]: ...


class AppliedLedger(Protocol):
    """What is published of the ledger."""

    @property
    def applied_index(self) -> int: ...
    @property
    def last_backup_us(self) -> int | None: ...


class Connected(Protocol):
    """What is published of the links."""

    def connected(self) -> Collection[NodeId]:
        """Return the servers that are connected."""


class Watched(Protocol):
    """What is published of the guards."""

    @property
    def alarm_kinds(self) -> frozenset[str]: ...
    @property
    def clock_offset_us(self) -> int | None: ...


class Publisher:
    """Follows one server's core. Only within an iteration; `heed` under the lock."""

    def __init__(
        self,
        health: Health,
        core: PublishedCore,
        ledger: AppliedLedger,
        links: Connected,
        guards: Watched,
        leaderships: Leaderships,
        *,
        has_vote: Callable[[], bool],
        snapshot_index: Callable[[], int],
        waiting: Callable[[], int],
        lacks_pepper: Callable[[], bool],
        clock: Callable[[], float],
    ) -> None:
        self._health, self._core, self._ledger, self._links = health, core, ledger, links
        self._has_vote, self._snapshot_index, self._waiting = has_vote, snapshot_index, waiting
        self._guards, self._lacks_pepper = guards, lacks_pepper
        self._leaderships = leaderships
        self._alarms: Mapping[str, bool] = {}
        self._look_at_s = -math.inf
        self._clock = clock
        self._leader_commit = 0  # as the leader said last
        self._heard_s = self._level_s = -math.inf
        self._mark, self._mark_s = 0, -math.inf  # the leader had committed this at that time

    def heed(self, messages: Sequence[RaftMessage]) -> None:
        """Note what the leader says that it has committed, after these messages were stepped."""
        core = self._core
        if not messages or core.role is Role.LEADER:
            return
        for message in reversed(messages):
            if message.sender == core.leader and message.term == core.term:
                if isinstance(message, AppendEntries):
                    self._leader_commit, self._heard_s = message.leader_commit, self._clock()
                    return
                if isinstance(message, InstallSnapshot):
                    self._leader_commit = max(self._leader_commit, message.snapshot.index)
                    self._heard_s = self._clock()
                    return

    def tick(self) -> None:
        """Publish; once an iteration, after the ledger was written if that was due."""
        core, now_s = self._core, self._clock()
        if core.role is Role.LEADER:
            self._leader_commit, self._heard_s = core.commit_index, now_s
        applied_index = self._ledger.applied_index
        self._note_level(applied_index, now_s)
        self._look_at_alarms(now_s)
        self._health.published = Published(
            at_s=now_s,
            role=core.role.value,
            term=core.term,
            leader=core.leader,
            voter=self._has_vote(),
            heard_s=self._heard_s,
            level_s=self._level_s,
            installing=core.installing is not None,
            commit_index=core.commit_index,
            applied_index=applied_index,
            last_index=core.last_index,
            snapshot_index=self._snapshot_index(),
            matched=core.matched(),
            connected=frozenset(self._links.connected()),
            members=frozenset(m.node for m in core.configuration[1] if m.node != core.node_id),
            waiting=self._waiting(),
            leader_changes=self._leaderships.leader_changes,
            step_downs=self._leaderships.step_downs,
            alarms=self._alarms,
            last_backup_us=self._ledger.last_backup_us,
            clock_offset_us=self._guards.clock_offset_us,
        )

    def _note_level(self, applied_index: int, now_s: float) -> None:
        """Note until when the ledger holds all that the leader had committed.

        Under load it never holds everything, so it is compared with what was committed at an earlier time.
        Without a leader nobody knows what is committed.
        """
        if self._core.leader is None:
            now_s = self._level_s = self._mark_s = -math.inf
        if applied_index >= self._leader_commit:
            self._level_s = now_s
        elif applied_index >= self._mark:
            self._level_s = self._mark_s
        else:
            return
        self._mark, self._mark_s = self._leader_commit, now_s

    def _look_at_alarms(self, now_s: float) -> None:
        if now_s >= self._look_at_s:
            self._look_at_s = now_s + LOOK_S
            raised = self._guards.alarm_kinds
            self._alarms = {kind: kind in raised for kind in ALARMS} | {PEPPER_MISSING: self._lacks_pepper()}
