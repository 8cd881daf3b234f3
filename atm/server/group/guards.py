"""What a server watches besides its work, together with the others: equal ledgers, room on the disks, clocks.

Each server tells the others once a second how it is (`NodeReport`), and at once when another connects: a
leader must not stamp entries before it knows the clocks of those that elected it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Protocol

from atm.ledger.commands import LedgerReceipt
from atm.ledger.ledger import Record
from atm.raft import NodeId
from atm.server.group.clock_guard import ClockGuard
from atm.server.group.disk_guard import DiskGuard
from atm.server.group.ledger_comparison import ComparedLedger, LedgerComparison, Reporter
from atm.wire.peer_messages import NodeReport, PeerReport

REPORT_S = 1.0
LOOK_AT_CLOCK_S = 0.1

LEDGERS_DIFFER, DISK_LOW, NO_SPACE_FOR_CHANGES = "ledgers_differ", "disk_low", "no_space"
CLOCK_WRONG, CLOCKS_DIFFER = "clock_wrong", "clocks_differ"
ALARMS = (LEDGERS_DIFFER, DISK_LOW, NO_SPACE_FOR_CHANGES, CLOCK_WRONG, CLOCKS_DIFFER)

NO_SPACE = (
    "the disks of too many servers are nearly full: nothing is changed until there is room, and queries go on"
)


class Connected(Reporter, Protocol):
    """What the guards need of the outbound links."""

    def connected(self) -> Collection[NodeId]:
        """Return the servers that are connected."""


class Guards:
    """The guards of one server, and the `StateMachine` of perform.py. Only within an iteration."""

    def __init__(
        self,
        node: NodeId,
        ledger: ComparedLedger,
        links: Connected,
        comparison: LedgerComparison,
        disk: DiskGuard,
        clocks: ClockGuard,
        *,
        voters: Callable[[], Collection[NodeId]],
        clock: Callable[[], float],
        wall_clock_us: Callable[[], int],
        own_peppers: Callable[[], Sequence[str]] = tuple,
    ) -> None:
        """`own_peppers` are the names of the peppers in this server's file."""
        self._node, self._ledger, self._links = node, ledger, links
        self._comparison, self._disk, self._clocks = comparison, disk, clocks
        self._voters = voters
        self._clock = clock
        self._wall_clock_us = wall_clock_us
        self._report_at_s = self._look_at_s = -math.inf
        self._connected: frozenset[NodeId] = frozenset()
        self._low: set[NodeId] = set()  # other servers that are short of room
        self._own_peppers = own_peppers
        self._peppers: dict[NodeId, Sequence[str]] = {}  # of the other servers that are connected

    @property
    def alarms(self) -> list[str]:
        """Lines for people: what is wrong at present."""
        return [*self._comparison.alarms, *self._disk.alarms, *self._clocks.alarms]

    @property
    def alarm_kinds(self) -> frozenset[str]:
        """Which of `ALARMS` are raised at present."""
        raised = {
            LEDGERS_DIFFER: bool(self._comparison.alarms),
            DISK_LOW: self._disk.is_low,
            NO_SPACE_FOR_CHANGES: bool(self.no_space),
            CLOCK_WRONG: self._clocks.is_wrong,
            CLOCKS_DIFFER: bool(self._clocks.differing),
        }
        return frozenset(kind for kind, is_raised in raised.items() if is_raised)

    @property
    def clock_offset_us(self) -> int | None:
        """How far the own clock is ahead of the middle one of the others, None if none is known."""
        return self._clocks.offset_us

    def time_us(self) -> int:
        """Return the time of day: this machine's, but not too far ahead of the clocks of a majority."""
        wall_us, bound_us = self._wall_clock_us(), self._clocks.bound_us()
        return wall_us if bound_us is None else min(wall_us, bound_us)

    @property
    def peppers(self) -> Mapping[NodeId, Sequence[str]]:
        """The names of the peppers that the other servers know, as far as they are connected."""
        return self._peppers

    # -- advice to the run loop and the router -------------------------------------------------------------

    @property
    def abstains(self) -> bool:
        """Whether this server must not campaign."""
        return self._clocks.is_wrong

    @property
    def hands_over(self) -> bool:
        """Whether another server should lead, if one can."""
        return self._clocks.is_wrong or self._disk.is_low

    @property
    def unfit(self) -> Collection[NodeId]:
        """The other servers that should not lead."""
        others = (node for node in self._voters() if node != self._node)
        return {node for node in others if node in self._low or not self._clocks.is_right(node)}

    @property
    def no_space(self) -> str:
        """Why a leader must not take changes, in a line for people; "" if a majority has room."""
        voters = self._voters()
        low = {*self._low, *([self._node] if self._disk.is_low else ())} & set(voters)
        up = {self._node, *self._connected} & set(voters)
        return NO_SPACE if low and 2 * len(up - low) <= len(voters) < 2 * len(up) else ""

    # -- what the others say, and what is due ----------------------------------------------------------------

    def receive(self, reports: Sequence[PeerReport]) -> None:
        """Take what the other servers say about themselves, before anything that came later is applied."""
        for report in reports:
            if not isinstance(report, NodeReport):
                self._comparison.receive(report)
                continue
            self._clocks.note(report)
            (self._low.add if report.is_low else self._low.discard)(report.sender)
            self._peppers[report.sender] = report.peppers

    def decide(self, records: Sequence[Record]) -> list[LedgerReceipt | None]:
        """Apply in memory, and return the receipt of each."""
        return self._comparison.decide(records)

    def tick(self) -> None:
        """Do what is due; last in an iteration."""
        now_s = self._clock()
        if now_s >= self._look_at_s:
            self._look_at_s = now_s + LOOK_AT_CLOCK_S
            self._clocks.look()
        connected = frozenset(self._links.connected())
        if now_s >= self._report_at_s or connected - self._connected:
            self._report_at_s = now_s + REPORT_S
            self._disk.look()
            self._tell()
        for gone in self._connected - connected:
            self._peppers.pop(gone, None)
        self._connected = connected
        self._comparison.tick()

    def _tell(self) -> None:
        self._links.send_report(
            NodeReport(
                sender=self._node,
                time_us=max(0, self._wall_clock_us()),
                is_low=self._disk.is_low,
                free_bytes=self._disk.free_bytes,
                applied_index=self._ledger.decided_index,
                peppers=tuple(self._own_peppers()),
            )
        )
