"""Whether a server lives and is ready, judged by what its run loop published last: no lock, no disk."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

STALE_S = 0.75  # a run loop that has not turned for longer does not serve; with its timers, told within 1 s
BEHIND_S = 1.0  # how old the ledger of a server may be that is ready
HEARTBEATS_MISSED_MAX = 3
HUNG_S = 60.0  # a run loop that has not turned for so long, with no sync under way, will not turn again


def silent_s_max(heartbeat_s: float) -> float:
    """Return for how long a leader may be silent: as short as its heartbeats allow."""
    return max(STALE_S, HEARTBEATS_MISSED_MAX * heartbeat_s)


class Published(NamedTuple):
    """What the run loop says of itself after each tick; never changed, so any thread may read it.

    Times are seconds of the monotonic clock. `level_s` is when the ledger last held all that the leader had
    committed by then, `heard_s` when the leader of the term was heard.
    """

    at_s: float
    role: str
    term: int
    leader: str | None
    voter: bool
    heard_s: float
    level_s: float
    installing: bool  # it fetches a snapshot
    commit_index: int
    applied_index: int
    last_index: int
    snapshot_index: int
    matched: Mapping[str, int]  # on a leader, by peer
    connected: frozenset[str]
    members: frozenset[str]  # without this server
    waiting: int  # requests without a reply
    leader_changes: int
    step_downs: Mapping[str, int]  # by cause
    alarms: Mapping[str, bool]  # by kind
    last_backup_us: int | None  # when the last backup of the bank was begun, by the log's time
    clock_offset_us: int | None  # from the clocks of the other servers, if any is known


class Check(NamedTuple):
    """One condition, and why it does not hold; "" if it holds."""

    name: str
    fault: str


class Health:
    """The verdicts of /livez and /readyz. Any thread may ask."""

    def __init__(
        self,
        *,
        silent_s_max: float,
        clock: Callable[[], float],
        sync_began_s: Callable[[], float | None] = lambda: None,
    ) -> None:
        """`silent_s_max`: a leader is taken for gone after so long without a message of it.

        `sync_began_s` tells since when a sync of the log has been under way, None without one.
        """
        self._silent_s_max = silent_s_max
        self._clock = clock
        self._sync_began_s = sync_began_s
        self.published: Published | None = None  # None while the server starts
        self.stopping = False

    @property
    def idle_s(self) -> float:
        """For how long the run loop has not turned; 0 while the server starts."""
        return 0.0 if self.published is None else max(0.0, self._clock() - self.published.at_s)

    def alive(self) -> list[Check]:
        """Return what a restart might repair: never the disk, and never the lack of a leader.

        A start, which may read a whole log, is no fault. Nor is a sync that hangs: a restart would hang, too.
        """
        hung = self.idle_s > HUNG_S and self._sync_began_s() is None
        fault = f"the run loop has not turned for {self.idle_s:.0f} s: restart this node"
        return [Check("run_loop", fault if hung else "")]

    def ready(self) -> list[Check]:
        """Return what keeps this server from serving at this moment."""
        seen = self.published
        if seen is None:
            return [Check("started", "the node starts")]
        now_s = self._clock()
        return [
            Check("started", ""),
            Check("not_stopping", "the node stops" if self.stopping else ""),
            Check("run_loop", self._stale()),
            Check("leader", self._leaderless(seen, now_s)),
            Check("ledger", _behind(seen, now_s)),
        ]

    def _stale(self) -> str:
        idle_s, began_s = self.idle_s, self._sync_began_s()
        if idle_s <= STALE_S:
            return ""
        why = ": it waits for its disk" if began_s is not None else ""
        return f"the run loop has not turned for {idle_s:.1f} s{why}"

    def _leaderless(self, seen: Published, now_s: float) -> str:
        if seen.leader is None:
            return f"no leader is known in term {seen.term}"
        if seen.role != "leader" and now_s - seen.heard_s > self._silent_s_max:
            return f"the leader, node {seen.leader}, has not been heard for {now_s - seen.heard_s:.1f} s"
        return ""


def _behind(seen: Published, now_s: float) -> str:
    if seen.installing:
        return "the ledger is behind: a snapshot is being fetched"
    if now_s - seen.level_s > BEHIND_S:
        return f"the ledger is behind: it is applied up to entry {seen.applied_index}"
    return ""
