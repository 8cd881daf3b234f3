"""Compares this machine's clock with those of the other servers: a wrong one must not become the bank's time.

Log time is the leader's clock, and it never goes back. So the stamps of a leader are kept close to the clocks
of a majority, and a server whose own clock is wrong by what a majority says does not lead.

What another server's clock shows is known by its reports. They may come late, which makes the clock look
behind, never ahead; so of its last few reports the one that looks most ahead counts.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection
from statistics import median_low

from atm.raft import NodeId
from atm.server.logger.logger import Logger
from atm.wire.peer_messages import NodeReport

REPORTS_COUNTED = 3  # of each server
FORGOTTEN_AFTER_S = 30.0  # without a report, what a server's clock shows is not known any more


class ClockGuard:
    """The clocks, as one server sees them. Only within an iteration.

    All clocks are kept as what they are ahead of this machine's monotonic clock: that one is never set.
    """

    def __init__(
        self,
        node: NodeId,
        *,
        skew_us: int,
        voters: Callable[[], Collection[NodeId]],
        clock: Callable[[], float],
        wall_clock_us: Callable[[], int],
        logger: Logger,
    ) -> None:
        """`skew_us` is how far a clock may be from the others' and still count as right."""
        self._node = node
        self._skew_us = skew_us
        self._voters = voters
        self._clock = clock
        self._wall_clock_us = wall_clock_us
        self._logger = logger
        self._reported: dict[NodeId, deque[tuple[float, int]]] = {}  # when, and how far ahead
        self._bound_us: int | None = None
        self._own_us = self._ahead_us(wall_clock_us())
        self._differing: dict[NodeId, int] = {}  # from the own one, by more than the skew
        self.error_us: int | None = None  # of the own clock, if a majority says that it is wrong
        self.offset_us: int | None = None  # likewise, from the middle one of the others, if any is known

    @property
    def differing(self) -> Collection[NodeId]:
        """The servers whose clocks differ from the own one by more than the skew."""
        return self._differing

    @property
    def is_wrong(self) -> bool:
        """Whether the clocks of a majority agree with each other, and not with this machine's."""
        return self.error_us is not None

    @property
    def alarms(self) -> list[str]:
        if self.error_us is not None:
            return [
                f"this machine's clock is {_told(self.error_us)} those of a majority of the servers: this "
                "node does not lead until it is right. Set it, and let a time service (NTP) keep it"
            ]
        return [
            f"the clock of node {node} is {_told(differs_us)} that of this machine: set whichever is wrong"
            for node, differs_us in sorted(self._differing.items())
        ]

    def is_right(self, node: NodeId) -> bool:
        """Whether nothing is known against the clock of another server."""
        differs_us = self._differing.get(node, 0)
        return abs(differs_us - (-self.error_us if self.error_us is not None else 0)) <= self._skew_us

    def note(self, report: NodeReport) -> None:
        """Note what another server's clock shows."""
        reports = self._reported.setdefault(report.sender, deque(maxlen=REPORTS_COUNTED))
        reports.append((self._clock(), self._ahead_us(report.time_us)))

    def look(self) -> None:
        """Judge the clocks anew."""
        self._own_us = own_us = self._ahead_us(self._wall_clock_us())
        voters = self._voters()
        others = {node: ahead_us for node in voters if (ahead_us := self._clock_of(node)) is not None}
        others.pop(self._node, None)
        self.offset_us = own_us - median_low(others.values()) if others else None
        majority = len(voters) // 2 + 1
        clocks = sorted([*others.values(), own_us], reverse=True)
        self._bound_us = clocks[majority - 1] + self._skew_us if len(clocks) >= majority else None
        self._differing = {
            node: ahead_us - own_us
            for node, ahead_us in others.items()
            if abs(ahead_us - own_us) > self._skew_us
        }
        was_wrong, self.error_us = self.is_wrong, self._error_us(sorted(others.values()), majority)
        if self.is_wrong and not was_wrong:
            self._logger.error("clock.wrong", self.alarms[0], error_us=self.error_us)
        elif was_wrong and not self.is_wrong:
            self._logger.info("clock.right", "this machine's clock is right again: this node may lead")

    def bound_us(self) -> int | None:
        """Return the latest time that the clocks of a majority allow at this moment, None if not known."""
        return None if self._bound_us is None else self._bound_us + self._monotonic_us()

    def _error_us(self, others: list[int], majority: int) -> int | None:
        """Return how far the own clock is from a majority of others that agree with each other, if too far.

        The middle one of all clocks is never wrong: any majority of the others lies on both sides of it.
        """
        for first in range(len(others) - majority + 1):
            agreeing = others[first : first + majority]
            error_us = self._own_us - median_low(agreeing)
            if agreeing[-1] - agreeing[0] <= self._skew_us < abs(error_us):
                return error_us
        return None

    def _clock_of(self, node: NodeId) -> int | None:
        reports = self._reported.get(node)
        if not reports or self._clock() > reports[-1][0] + FORGOTTEN_AFTER_S:
            return None
        return max(ahead_us for _, ahead_us in reports)

    def _ahead_us(self, time_us: int) -> int:
        return time_us - self._monotonic_us()

    def _monotonic_us(self) -> int:
        return int(self._clock() * 1e6)


def _told(error_us: int) -> str:
    return f"{abs(error_us) / 1e6:.1f} s {'ahead of' if error_us > 0 else 'behind'}"
