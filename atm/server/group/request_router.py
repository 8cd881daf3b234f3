"""Routes clients' requests to the core, or to the leader, and sends each exactly one reply.

No sockets here: a reply goes to a `ReplyChannel`, and requests are forwarded through a `Forwarder`.
Everything is called only within an iteration.

This is one class on purpose. A request waits in one of four places: held back, proposed, in a round of reads,
or forwarded. Each event that ends a wait (a commit, a lost leadership, a new leader, a timeout, the node's
stop) must look in all four, and tell the client what is certain. The places are in pending_requests.py.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Collection, Iterable, Sequence
from typing import Protocol

from atm.ledger.commands import BANK, Expire, LedgerReceipt, LevelRaise, Read, ReadResult
from atm.ledger.ledger import ClusterState
from atm.raft import ConfirmedRead, Entry, EntryKind, NodeId, Role
from atm.server.group.inbox import WAKE_ON_ANYTHING, Inputs, PendingRequest, WakeThresholds
from atm.server.group.log_clock import LogClock
from atm.server.group.pending_requests import ForwardedRequests, Proposals, Reads
from atm.version import FEATURE_LEVEL_MAX, RELEASE
from atm.wire.client_messages import ErrorReply, Reply, StatusReply
from atm.wire.codec import encode
from atm.wire.log_entries import command_data

PROPOSALS_MAX = 20_000
READS_MAX = 20_000
FORWARDED_MAX = 10_000
FORWARD_TIMEOUT_S = 2.0  # if the leader has not replied by then, the outcome is unknown

EXPIRE_LIMIT = 500  # holds ended by one entry, which takes every server some 10 ms
EXPIRE_LIMIT_LEVEL = 2  # the feature level from which on an entry may say a limit
EXPIRE = command_data(BANK, encode(Expire(limit=EXPIRE_LIMIT)))
EXPIRE_ALL = command_data(BANK, encode(Expire()))  # for release 1.1
RAISE_AGAIN_S = 1.0  # if it was not applied by then

UNKNOWN = "it may or may not have been done: ask again with the same id"


class Core(Protocol):
    """What the router needs of `Raft`."""

    @property
    def role(self) -> Role: ...
    @property
    def term(self) -> int: ...
    @property
    def leader(self) -> NodeId | None: ...
    @property
    def last_index(self) -> int: ...
    @property
    def last_time_us(self) -> int: ...
    @property
    def commit_index(self) -> int: ...

    def propose(self, data: Sequence[bytes], now_us: int, kind: EntryKind = EntryKind.COMMAND) -> int: ...
    def read(self, read_id: int) -> None: ...
    def matched(self) -> dict[NodeId, int]: ...


class LedgerReads(Protocol):
    """What the router needs of the ledger: reads, and what is due. It changes nothing."""

    @property
    def applied_index(self) -> int: ...
    @property
    def next_expiry_us(self) -> int | None: ...
    @property
    def cluster(self) -> ClusterState: ...

    def views(self, requests: Sequence[Read]) -> list[ReadResult]: ...


class Forwarder(Protocol):
    """What the router needs of the outbound links."""

    def forward(self, to: NodeId, requests: Sequence[tuple[int, str, bytes]]) -> bool:
        """Forward (number, actor, request) tuples; return False, with nothing sent, if there is no link."""


class RequestRouter:
    """Sends exactly one reply to every request that came in, unless its connection is gone."""

    def __init__(
        self,
        node: NodeId,
        core: Core,
        ledger: LedgerReads,
        forwarder: Forwarder,
        *,
        first_number: int,
        peers: Collection[NodeId],
        feature_level_max: int = FEATURE_LEVEL_MAX,
        clock: Callable[[], float] = time.monotonic,
        wall_clock_us: Callable[[], int] = lambda: time.time_ns() // 1000,
        say: Callable[[str], None] | None = None,
        alarms: Callable[[], Sequence[str]] = tuple,
    ) -> None:
        self._node = node
        self._core = core
        self._ledger = ledger
        self._forwarder = forwarder
        self._clock = clock
        self._log_clock = LogClock(clock, wall_clock_us)
        self._say = say
        self._alarms = alarms
        self._proposals = Proposals()
        self._reads = Reads()
        self._held: list[PendingRequest] = []  # commands not proposed yet, see `accept`
        self._held_queries: list[PendingRequest] = []  # queries whose round of heartbeats has not begun yet
        self._forwarded = ForwardedRequests(first_number)
        self._redirected = 0  # not printed yet: `accept` runs under the lock, and printing is I/O
        self._newest_expire = (0, 0)  # the term and the index it was proposed at
        self._feature_levels = dict.fromkeys(peers, 0)  # 0: the peer is not connected
        self._feature_level_max = feature_level_max
        self._raise_not_before_s = -math.inf
        self._leading_term: int | None = None  # as last seen
        self._leader: NodeId | None = None  # as last seen

    # -- what came in ---------------------------------------------------------------------------------

    def accept(self, inputs: Inputs) -> None:
        """Propose, read or forward the requests of one iteration. The caller holds the lock.

        A leader holds commands back while more than their number are under way: a round of replication
        costs all servers the same for one command as for a hundred, so fewer, larger rounds carry more.
        It holds queries back likewise: each waits for a round of heartbeats.
        """
        self._deliver_replies(inputs.forward_replies)
        self._notice_leader()
        self._log_clock.observe(self._core.last_time_us)
        if self._leader in inputs.lost_links:
            self._end_forwarded(self._forwarded.pop_all(), "the link to the leader was lost")
        self._held += inputs.commands
        self._held_queries += inputs.queries
        for peer, level in inputs.feature_levels:
            self._feature_levels[peer] = level
        if self._core.role is Role.LEADER:
            self._end_due_holds()
            self._raise_feature_level()
            if self._held and len(self._held) >= len(self._proposals):
                self._propose(self._held)
                self._held = []
            if self._held_queries and len(self._held_queries) >= len(self._reads):
                self._read(self._held_queries)
                self._held_queries = []
        elif self._held or self._held_queries:
            self._forward(self._held + self._held_queries)
            self._held, self._held_queries = [], []
        for pending in inputs.statuses:
            pending.channel.reply(pending.number, encode(self._status(pending.request.id)))
        for channel, number, payload in inputs.refused:
            channel.reply(number, payload)

    def wake_thresholds(self) -> WakeThresholds:
        """Return how many requests must be queued before `accept` can do anything with them."""
        if self._core.role is not Role.LEADER:
            return WAKE_ON_ANYTHING
        return WakeThresholds(
            commands=max(0 if self._held else 1, len(self._proposals) - len(self._held)),
            queries=max(0 if self._held_queries else 1, len(self._reads) - len(self._held_queries)),
        )

    def _deliver_replies(self, forward_replies: Sequence[tuple[int, bytes]]) -> None:
        for number, payload in forward_replies:
            pending = self._forwarded.pop(number)
            if pending is not None:
                pending.channel.reply(pending.number, payload)

    def _propose(self, commands: Sequence[PendingRequest]) -> None:
        room = PROPOSALS_MAX - len(self._proposals)
        self._refuse(commands[room:], "busy", "too many commands are under way")
        commands = commands[:room]
        if commands:
            first_index = self._core.propose(
                [command_data(pending.actor, pending.payload) for pending in commands],
                self._log_clock.now_us(),
            )
            replaced = self._proposals.add(first_index, self._core.term, commands)
            self._refuse(replaced, "unknown", UNKNOWN)

    def _end_due_holds(self) -> None:
        """Propose the command that ends due holds, so that they end at the same index on every server.

        At most one is under way, and the next follows if more are due. It is only lost with the leadership.
        """
        due_us = self._ledger.next_expiry_us
        term, index = self._newest_expire
        if due_us is None or (term == self._core.term and index > self._ledger.applied_index):
            return
        now_us = self._log_clock.now_us()
        if due_us <= now_us:
            expire = EXPIRE if self._ledger.cluster.feature_level >= EXPIRE_LIMIT_LEVEL else EXPIRE_ALL
            self._newest_expire = (self._core.term, self._core.propose([expire], now_us))

    def _raise_feature_level(self) -> None:
        """Raise the cluster to the level that all members, learners too, have shown in their hellos."""
        level = min(self._feature_levels.values(), default=self._feature_level_max)
        level = min(level, self._feature_level_max)
        if level > self._ledger.cluster.feature_level and self._clock() >= self._raise_not_before_s:
            data = encode(LevelRaise(level))
            self._core.propose([data], self._log_clock.now_us(), EntryKind.FEATURE_LEVEL)
            self._raise_not_before_s = self._clock() + RAISE_AGAIN_S

    def _read(self, queries: Sequence[PendingRequest]) -> None:
        room = READS_MAX - len(self._reads)
        self._refuse(queries[room:], "busy", "too many queries are under way")
        if queries[:room]:
            self._core.read(self._reads.add(queries[:room]))

    def _forward(self, requests: Sequence[PendingRequest]) -> None:
        leader = self._core.leader
        mine = [pending for pending in requests if not pending.forwarded]
        if len(mine) < len(requests):
            strays = [pending for pending in requests if pending.forwarded]
            self._refuse(strays, "unavailable", f"node {self._node} does not lead")
        if leader is None:
            self._refuse(mine, "unavailable", "no leader is known at the moment")
            return
        room = FORWARDED_MAX - len(self._forwarded)
        self._refuse(mine[room:], "busy", "too many requests wait for the leader")
        numbered = self._forwarded.add(mine[:room], self._clock() + FORWARD_TIMEOUT_S)
        if not self._forwarder.forward(leader, numbered):
            for number, _, _ in numbered:
                self._forwarded.pop(number)
            self._refuse(mine[:room], "unavailable", "there is no link to the leader at the moment")
        else:
            self._redirected += len(numbered)

    def _status(self, request_id: str) -> StatusReply:
        core = self._core
        return StatusReply(
            id=request_id,
            outcome="ok",
            node=self._node,
            role=core.role.value,
            term=core.term,
            leader=core.leader,
            commit_index=core.commit_index,
            applied_index=self._ledger.applied_index,
            last_index=core.last_index,
            matched=core.matched(),
            version=RELEASE,
            feature_level=self._ledger.cluster.feature_level,
            alarms=tuple(self._alarms()),
        )

    # -- results (the `ResultSink` of perform.py) -------------------------------------------------------

    def on_committed(self, committed: Sequence[Entry], receipts: Sequence[LedgerReceipt | None]) -> None:
        """Reply to the requests that were proposed at these indexes: `unknown` if another entry is there."""
        if not len(self._proposals):
            return
        for entry, receipt in zip(committed, receipts, strict=True):
            found = self._proposals.pop(entry)
            if found is None:
                continue
            same_term, pending = found
            if same_term and receipt is not None:
                self._send(pending, receipt)
            else:
                self._refuse([pending], "unknown", UNKNOWN)

    def answer_reads(self, reads: Sequence[ConfirmedRead]) -> None:
        """Reply to these reads from the ledger as it is now."""
        for read in reads:
            queries = self._reads.pop(read.read_id)
            views = self._ledger.views(
                [pending.request for pending in queries if isinstance(pending.request, Read)]
            )
            for pending, view in zip(queries, views, strict=True):
                self._send(pending, view)

    def drop_reads(self, read_ids: Sequence[int]) -> None:
        """Refuse these reads: this node no longer leads."""
        for read_id in read_ids:
            self._refuse(self._reads.pop(read_id), "unavailable", "leadership was lost")

    def notice_changes(self) -> None:
        """End all waits for a leadership that has ended, here or elsewhere. The lock is not held."""
        leading_term = self._core.term if self._core.role is Role.LEADER else None
        if leading_term != self._leading_term:
            self._leading_term = leading_term
            self._refuse(self._proposals.pop_all_but(leading_term), "unknown", UNKNOWN)
            self._refuse(self._reads.pop_all(), "unavailable", "leadership was lost")
        self._notice_leader()
        if self._say is not None:
            for _ in range(self._redirected):
                self._say("Redirecting client request")
        self._redirected = 0

    def _notice_leader(self) -> None:
        if self._core.leader != self._leader:
            self._leader = self._core.leader
            self._end_forwarded(self._forwarded.pop_all(), "the leader changed")

    def expire_forwarded(self) -> None:
        """End the wait for replies of the leader that are overdue."""
        if len(self._forwarded):
            expired = self._forwarded.pop_expired(self._clock())
            self._end_forwarded(expired, "the leader did not answer in time")

    def close(self) -> None:
        """End all waits: this node stops."""
        self._refuse(self._proposals.pop_all_but(None), "unknown", UNKNOWN)
        waiting = [*self._held, *self._held_queries, *self._reads.pop_all()]
        self._refuse(waiting, "unavailable", "the node stops")
        self._held, self._held_queries = [], []
        self._end_forwarded(self._forwarded.pop_all(), "the node stops")

    # -- replies --------------------------------------------------------------------------------------

    def _send(self, pending: PendingRequest, decided: LedgerReceipt) -> None:
        pending.channel.reply(pending.number, encode(Reply.of(decided, leader=self._node)))
        if self._say is not None:
            self._say("Returning client request")

    def _end_forwarded(self, requests: Iterable[PendingRequest], why: str) -> None:
        for pending in requests:
            if isinstance(pending.request, Read):
                self._refuse([pending], "unavailable", why)
            else:
                self._refuse([pending], "unknown", f"{why}; {UNKNOWN}")

    def _refuse(self, requests: Iterable[PendingRequest], outcome: str, message: str) -> None:
        for pending in requests:
            fault = ErrorReply(
                id=pending.request.id, outcome=outcome, message=message, leader=self._core.leader
            )
            pending.channel.reply(pending.number, encode(fault))
