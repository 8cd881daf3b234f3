"""Compares this server's ledger with those of the others, again and again, and tells which one is wrong.

Each second the leader names the index of its log's last entry, and a piece of the ledger's rows. Every server
that gets there in applying hashes its ledger right then (atm/ledger/state_hash.py), and sends the hashes to
all others. A hash that a majority of the voters shows is right, as the ledger follows from the log alone.
So each server finds out by itself that it is the wrong one; then it rebuilds its ledger (`main.py`).

The leader's message is on its way before any entry behind that index, and links keep the order. So a server
that is connected and keeps up never misses the index; one that has applied more ignores it.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Hashable, Iterator, Mapping, Sequence
from typing import NamedTuple, Protocol

from atm.checkout import command_here
from atm.ledger.commands import LedgerReceipt
from atm.ledger.ledger import Record
from atm.ledger.state_hash import FIRST_ROW, RowsFrom, StateHash
from atm.raft import NodeId, Role
from atm.server.logger.logger import Logger
from atm.wire.peer_messages import CheckLedger, LedgerHash, PeerReport

COMPARE_S = 1.0
ROWS_AT_ONCE = 2000  # hashed in some 2 ms
INDEXES_KEPT_MAX = 64  # of each server: one may be so many comparisons behind
ALARM_S = 10.0  # at least; then until the two agree


class ComparingCore(Protocol):
    """What the comparison needs of `Raft`."""

    @property
    def role(self) -> Role: ...
    @property
    def term(self) -> int: ...
    @property
    def leader(self) -> NodeId | None: ...
    @property
    def last_index(self) -> int: ...


class ComparedLedger(Protocol):
    """What the comparison needs of the ledger."""

    @property
    def decided_index(self) -> int: ...
    def decide(self, records: Sequence[Record]) -> list[LedgerReceipt | None]: ...
    def state_hash(self, rows_from: RowsFrom, rows_max: int) -> StateHash: ...


class Reporter(Protocol):
    """What the guards need of the outbound links."""

    def send_report(self, report: PeerReport) -> None:
        """Send to all others that know such messages, at the next flush; it may be lost."""


class _Aspect(NamedTuple):
    """One of the hashes. Those of two servers are compared if `scope` is the same for both."""

    name: str
    scope: Callable[[LedgerHash], Hashable]
    value: Callable[[LedgerHash], bytes]


_ASPECTS = (
    _Aspect("its postings", lambda told: None, lambda told: told.journal),
    _Aspect("what it decided", lambda told: told.decided_from, lambda told: told.decisions),
    _Aspect("the rows of its file", lambda told: (told.rows_from, told.rows_max), lambda told: told.rows),
)


class _Alarm(NamedTuple):
    line: str
    raised_at_s: float  # the last time


class LedgerComparison:
    """The comparison, as seen by one server. Only within an iteration."""

    def __init__(
        self,
        node: NodeId,
        core: ComparingCore,
        ledger: ComparedLedger,
        links: Reporter,
        *,
        voters: Callable[[], Collection[NodeId]],
        clock: Callable[[], float],
        on_wrong: Callable[[str], None],
        logger: Logger,
    ) -> None:
        """`on_wrong` gets a line for people if this server's ledger is wrong, `logger` one about others."""
        self._node, self._core, self._ledger, self._links = node, core, ledger, links
        self._voters = voters
        self._clock = clock
        self._on_wrong, self._logger = on_wrong, logger
        self._asked_in_term = 0
        self._ask_at_s = -math.inf
        self._pending: CheckLedger | None = None  # named by the leader, and not reached yet
        self._rows_from = FIRST_ROW  # of the next piece
        self._compared_index = 0  # by this server, the newest
        self._told: dict[int, dict[NodeId, LedgerHash]] = {}  # by index
        self._alarms: dict[NodeId, _Alarm] = {}  # of this server: nobody knows which ledger is right

    @property
    def alarms(self) -> list[str]:
        """Lines for people: what is wrong at present."""
        return [alarm.line for alarm in self._alarms.values()]

    def tick(self) -> None:
        """Let a leader name the next index. To be called last in an iteration: all its entries are known."""
        if self._core.role is not Role.LEADER:
            return
        now_s = self._clock()
        if self._core.term == self._asked_in_term and now_s < self._ask_at_s:
            return
        self._asked_in_term, self._ask_at_s = self._core.term, now_s + COMPARE_S
        check = CheckLedger(
            sender=self._node,
            index=self._core.last_index,
            rows_from=self._rows_from,
            rows_max=ROWS_AT_ONCE,
        )
        self._links.send_report(check)
        self.receive(check)

    def receive(self, message: CheckLedger | LedgerHash) -> None:
        """Take what another server sent. To be called before anything that came later is applied."""
        if isinstance(message, LedgerHash):
            self._note(message)
            return
        self._compare_when_reached()  # or passed it, by a snapshot
        if message.sender == self._core.leader and self._pending is None:
            self._pending = message
            self._compare_when_reached()

    def decide(self, records: Sequence[Record]) -> list[LedgerReceipt | None]:
        """Apply in memory as `Ledger.decide` does, and stop over at the index that the leader named."""
        check = self._pending
        if check is None or not records or check.index >= records[-1][0]:
            receipts = self._ledger.decide(records)
            self._compare_when_reached()
            return receipts
        reached = max(0, check.index - records[0][0] + 1)
        receipts = self._ledger.decide(records[:reached]) if reached else []
        self._compare_when_reached()
        return receipts + self._ledger.decide(records[reached:])

    def _compare_when_reached(self) -> None:
        check = self._pending
        if check is None or self._ledger.decided_index < check.index:
            return
        self._pending = None
        if self._ledger.decided_index > check.index:
            return
        if self._compared_index in self._told:
            self._judge(self._compared_index, final=True)
        state = self._ledger.state_hash(check.rows_from, check.rows_max)
        self._rows_from = state.rows_to
        told = LedgerHash(
            sender=self._node,
            index=state.index,
            journal=state.journal,
            decided_from=state.decided_from,
            decisions=state.decisions,
            rows_from=state.rows_from,
            rows_max=state.rows_max,
            rows=state.rows,
        )
        self._links.send_report(told)
        self._compared_index = told.index
        self._note(told)

    # -- who is right --------------------------------------------------------------------------------------

    def _note(self, told: LedgerHash) -> None:
        self._told.setdefault(told.index, {})[told.sender] = told
        self._judge(told.index)
        if len(self._told) > INDEXES_KEPT_MAX:
            del self._told[min(self._told)]

    def _judge(self, index: int, *, final: bool = False) -> None:
        """Compare what was told about `index`; if that is `final`, no third server will say who is right."""
        by_sender = self._told[index]
        wrong: defaultdict[NodeId, list[str]] = defaultdict(list)
        for node, what in self._wrong(by_sender):
            wrong[node].append(what)
        for node, whats in wrong.items():
            if node or final:
                self._raise_alarm(node, index, " and ".join(whats))
        if not wrong:
            self._end_alarms(by_sender)

    def _wrong(self, by_sender: Mapping[NodeId, LedgerHash]) -> Iterator[tuple[NodeId, str]]:
        """Yield each server that a majority contradicts, and in what; "" if no majority says who is right."""
        voters = frozenset(self._voters())
        for aspect in _ASPECTS:
            for scope in {aspect.scope(told) for told in by_sender.values()}:
                values = {
                    node: aspect.value(told)
                    for node, told in by_sender.items()
                    if aspect.scope(told) == scope
                }
                if len(set(values.values())) == 1:
                    continue
                votes = Counter(value for node, value in values.items() if node in voters)
                right, count = votes.most_common(1)[0] if votes else (b"", 0)
                if 2 * count > len(voters):
                    yield from ((node, aspect.name) for node, value in values.items() if value != right)
                else:
                    yield "", aspect.name

    def _raise_alarm(self, node: NodeId, index: int, what: str) -> None:
        if node == self._node:
            self._on_wrong(f"its ledger differs from that of a majority as of entry {index} ({what})")
            return
        if node:
            line = f"the ledger of node {node} differs from that of a majority as of entry {index} ({what}): "
            line += "it stops serving and rebuilds it from the log"
        else:
            line = (
                f"two ledgers differ as of entry {index} ({what}), and without a third nobody knows which is "
            )
            line += f"wrong: start the other nodes; {command_here('ledger')} verify tells more"
        if node not in self._alarms:
            self._logger.error("ledger.differs", line, peer=node, index=index, what=what)
        self._alarms[node] = _Alarm(line, self._clock())

    def _end_alarms(self, by_sender: Mapping[NodeId, LedgerHash]) -> None:
        """End the alarm about each server that agrees again: its ledger was rebuilt."""
        if len(by_sender) > 1:
            for node in self._alarms.keys() & {*by_sender, ""}:
                if self._clock() >= self._alarms[node].raised_at_s + ALARM_S:
                    del self._alarms[node]
