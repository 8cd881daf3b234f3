"""Routes clients' requests to the core, or to the leader, and sends each exactly one reply.

No sockets here: a reply goes to a `ReplyChannel`, and requests are forwarded through a `Forwarder`.
Everything is called only within an iteration.

This is one class on purpose. A request waits in one of four places: held back, proposed, in a round of reads,
or forwarded. Each event that ends a wait (a commit, a lost leadership, a new leader, a timeout, the node's
stop) must look in all four, and tell the client what is certain. The places are in pending_requests.py. What
an administrator asks is decided in administration.py, and waits for its entry or for the next leader. To hand
leadership over it waits for both: first for the entry that records who asked for it.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Protocol, cast

from atm.config import Address, NodeConfig
from atm.ledger.commands import (
    BANK,
    OK,
    Expire,
    LedgerReceipt,
    LevelRaise,
    NoteDeed,
    NotedOp,
    Outcome,
    Read,
    ReadResult,
    RotatePepper,
)
from atm.ledger.ledger import ClusterState
from atm.ledger.roles import ALL_ROLES, RoleChange, effective
from atm.permissions import bits_may, needed
from atm.raft import ChangeRefused, ConfirmedRead, Entry, EntryKind, NodeId, Role
from atm.server.group.administration import (
    Administration,
    ChangedCore,
    Done,
    Handing,
    Proposed,
    Refused,
    UnderWay,
)
from atm.server.group.fair_turn import FairTurns
from atm.server.group.inbox import WAKE_ON_ANYTHING, Inputs, PendingRequest, WakeThresholds
from atm.server.group.log_clock import LogClock
from atm.server.group.pending_requests import UNKNOWN, ForwardedRequests, Proposals, Reads, without_answer
from atm.server.group.pepper_keeper import PepperKeeper
from atm.server.metrics.counters import Counters
from atm.version import FEATURE_LEVEL_MAX, RELEASE
from atm.wire.client_messages import (
    UPGRADING,
    AdminChange,
    AdminReply,
    ErrorReply,
    Members,
    MembersReply,
    MemberView,
    Reply,
    StatusReply,
)
from atm.wire.codec import encode
from atm.wire.log_entries import command_data, deed_data
from atm.wire.peer_messages import ForwardedRequest

PROPOSALS_MAX = 20_000
READS_MAX = 20_000
FORWARDED_MAX = 10_000
FORWARD_TIMEOUT_S = 2.0  # if the leader has not replied by then, the outcome is unknown
HAND_OVER_S = 1.0  # for how long requests wait for the leader that leadership was handed to
HAND_OVER_AGAIN_S = 2.0  # until a leader that should not lead tries again to find another
OLD_LEADER_S = 0.5  # likewise for one that does not lead any more: one that handed over still replies

EXPIRE_LIMIT = 500  # holds ended by one entry, which takes every server some 10 ms
EXPIRE_LIMIT_LEVEL = 2  # the feature level from which on an entry may say a limit
EXPIRE = command_data(BANK, encode(Expire(limit=EXPIRE_LIMIT)))
EXPIRE_ALL = command_data(BANK, encode(Expire()))  # for release 1.1
ROLES_LEVEL = 2  # the feature level from which on a command's entry says its actor's roles
RAISE_AGAIN_S = 1.0  # if it was not applied by then


class Core(ChangedCore, Protocol):
    """What the router needs of `Raft`."""

    @property
    def role(self) -> Role: ...
    @property
    def term(self) -> int: ...
    @property
    def leader(self) -> NodeId | None: ...
    @property
    def last_time_us(self) -> int: ...
    @property
    def commit_index(self) -> int: ...
    @property
    def transferring(self) -> NodeId | None: ...

    def propose(self, data: Sequence[bytes], now_us: int, kind: EntryKind = EntryKind.COMMAND) -> int: ...
    def read(self, read_id: int) -> None: ...


class LedgerReads(Protocol):
    """What the router needs of the ledger: reads, and what is due. It changes nothing."""

    @property
    def applied_index(self) -> int: ...
    @property
    def decided_index(self) -> int: ...
    @property
    def next_expiry_us(self) -> int | None: ...
    @property
    def cluster(self) -> ClusterState: ...
    @property
    def role_changes(self) -> Mapping[str, RoleChange]: ...

    def views(self, requests: Sequence[Read], now_us: int) -> list[ReadResult]: ...


class Forwarder(Protocol):
    """What the router needs of the outbound links."""

    def forward(self, to: NodeId, requests: Sequence[ForwardedRequest]) -> bool:
        """Forward requests; return False, with nothing sent, if there is no link."""

    def reached(self, node: NodeId) -> Address | None:
        """Return the address at which a peer is connected, None if it is not."""


class Advice(Protocol):
    """What the router needs of the guards."""

    @property
    def hands_over(self) -> bool: ...
    @property
    def unfit(self) -> Collection[NodeId]: ...
    @property
    def no_space(self) -> str: ...


class RequestRouter:
    """Sends exactly one reply to every request that came in, unless its connection is gone."""

    def __init__(
        self,
        node: NodeId,
        core: Core,
        ledger: LedgerReads,
        forwarder: Forwarder,
        advice: Advice,
        keeper: PepperKeeper,
        *,
        first_number: int,
        listed: Mapping[NodeId, NodeConfig],
        first_store: Callable[[NodeId], str] = lambda node: "",
        feature_level_max: int = FEATURE_LEVEL_MAX,
        clock: Callable[[], float] = time.monotonic,
        wall_clock_us: Callable[[], int] = lambda: time.time_ns() // 1000,
        say: Callable[[str], None] | None = None,
        extend_status: Callable[[StatusReply], StatusReply] = lambda status: status,
        on_refused: Callable[[str, str, str], None] = lambda request_id, outcome, message: None,
        counters: Counters | None = None,
    ) -> None:
        """`listed` are the nodes of cluster.ini; `extend_status` completes a status with what others know."""
        self._node = node
        self._core = core
        self._ledger = ledger
        self._forwarder = forwarder
        self._advice = advice
        self._keeper = keeper
        self._clock = clock
        self._log_clock = LogClock(clock, wall_clock_us)
        self._say = say
        self._proposals = Proposals()
        self._reads = Reads()
        self._held: list[PendingRequest] = []  # commands not proposed yet, see `accept`
        self._turns = FairTurns(clock)
        self._turn = 0  # how many of these would be proposed next
        self._held_changes: list[PendingRequest] = []  # an administrator's
        self._draining = False  # the node stops: nothing new is taken
        self._held_queries: list[PendingRequest] = []  # queries whose round of heartbeats has not begun yet
        self._forwarded = ForwardedRequests(first_number)
        self._redirected = 0  # not printed yet: `accept` runs under the lock, and printing is I/O
        self._newest_expire = (0, 0)  # the term and the index it was proposed at
        self._administration = Administration(
            node, core, ledger, forwarder.reached, listed, first_store, clock
        )
        # By index, with the term, and what follows from the entry.
        self._changes: dict[int, tuple[int, PendingRequest, AdminReply | Handing]] = {}
        self._noted: list[tuple[NodeId, PendingRequest]] = []  # leadership may be handed over: it is recorded
        self._handing: list[tuple[NodeId, PendingRequest]] = []  # to whom leadership is being handed
        self._hands_over_until_s = 0.0  # until then, requests wait for the leader that was handed to; 0: none
        self._hand_over_not_before_s = -math.inf
        self._extend_status = extend_status
        self._on_refused = on_refused
        self._counters = counters or Counters()
        self._done: list[PendingRequest] = []  # in this iteration, with the outcome `ok`
        self._timed: list[PendingRequest] = []  # answered in it otherwise: not counted any more
        self._feature_level_max = feature_level_max
        self._raise_not_before_s = -math.inf
        self._leading_term: int | None = None  # as last seen
        self._leader: NodeId | None = None  # as last seen

    # -- what came in ---------------------------------------------------------------------------------

    def accept(self, inputs: Inputs) -> None:
        """Propose, read or forward the requests of one iteration. The caller holds the lock.

        A leader holds commands back while more than their number are under way: a round of replication
        costs all servers the same for one command as for a hundred, so fewer, larger rounds carry more.
        Of one connection it proposes no more than its share at a time, or the others would wait for it.
        It holds queries back likewise: each waits for a round of heartbeats.
        """
        self._deliver_replies(inputs.forward_replies)
        self._notice_leader()
        self._log_clock.observe(self._core.last_time_us)
        self._end_forwarded(self._forwarded.pop_of(inputs.lost_links), "the link to the leader was lost")
        if self._draining:
            new = [*inputs.commands, *inputs.queries, *inputs.changes]
            self._refuse(new, "unavailable", "the node stops")
        else:
            self._held += inputs.commands
            self._held_queries += inputs.queries
            self._held_changes += inputs.changes
        for peer, hello in inputs.hellos:
            if hello is None:
                self._administration.hellos.pop(peer, None)
            else:
                self._administration.hellos[peer] = hello
        if self._core.role is Role.LEADER:
            self._lead()
        else:
            self._follow()
        for pending in inputs.statuses:
            pending.channel.reply(pending.number, encode(self._view(pending)))
            self._done.append(pending)
        for channel, number, payload in inputs.refused:
            channel.reply(number, payload)

    def _follow(self) -> None:
        noted, self._noted = self._noted, []
        self._refuse([pending for _, pending in noted], "unavailable", "leadership was lost")
        if (self._held or self._held_queries or self._held_changes) and not (
            self._core.leader is None and self._handed_over  # it is not known yet to whom
        ):
            self._forward(self._held + self._held_queries + self._held_changes)
            self._held, self._held_queries, self._held_changes = [], [], []

    def _lead(self) -> None:
        noted, self._noted = self._noted, []
        for target, pending in noted:
            self._hand_over_to(target, pending)
        for pending in self._held_changes:
            self._administer(pending)
        self._held_changes = []
        if self._core.transferring is not None:
            return  # commands are held back, and then forwarded
        self._hands_over_until_s = 0.0
        if self._advice.hands_over and self._clock() >= self._hand_over_not_before_s:
            self._hand_over_not_before_s = self._clock() + HAND_OVER_AGAIN_S
            if self.hand_over():
                return
        self._end_due_holds()
        self._raise_feature_level()
        if not self._advice.no_space:
            self._keeper.propose(self._log_clock.now_us())
        self._administration.announce(self._log_clock.now_us())
        turn, rest = self._turns.next_turn(self._held)
        if turn and len(turn) >= len(self._proposals):
            self._propose(turn)
            self._held = rest
            turn, _ = self._turns.next_turn(rest)
        self._turn = len(turn)
        if self._held_queries and len(self._held_queries) >= len(self._reads):
            self._read(self._held_queries)
            self._held_queries = []

    def wake_thresholds(self) -> WakeThresholds:
        """Return how many requests must be queued before `accept` can do anything with them."""
        if self._core.role is not Role.LEADER:
            return WAKE_ON_ANYTHING
        return WakeThresholds(
            commands=max(0 if self._held else 1, len(self._proposals) - self._turn),
            queries=max(0 if self._held_queries else 1, len(self._reads) - len(self._held_queries)),
        )

    def _deliver_replies(self, forward_replies: Sequence[tuple[int, bytes]]) -> None:
        for number, payload in forward_replies:
            pending = self._forwarded.pop(number)
            if pending is not None:  # the leader has counted it
                pending.channel.reply(pending.number, payload)
                self._timed.append(pending)

    def _propose(self, commands: Sequence[PendingRequest]) -> None:
        no_space = self._advice.no_space
        if no_space:  # a deed is recorded all the same: a snapshot makes room
            refused = [each for each in commands if not isinstance(each.request, NoteDeed)]
            self._refuse(refused, "no_space", no_space)
            commands = [each for each in commands if isinstance(each.request, NoteDeed)]
        level = self._ledger.cluster.feature_level
        if level < FEATURE_LEVEL_MAX:
            early = [each for each in commands if each.request.level_needed > level]
            self._refuse(early, "unavailable", UPGRADING)
            commands = [each for each in commands if each.request.level_needed <= level]
        room = PROPOSALS_MAX - len(self._proposals)
        self._refuse(commands[room:], "busy", "too many commands are under way")
        commands = commands[:room]
        if commands:
            logged = ALL_ROLES if level >= ROLES_LEVEL else 0  # which roles may stand in the log
            first_index = self._core.propose(
                [command_data(each.actor, each.payload, each.roles & logged) for each in commands],
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
        hellos = self._administration.hellos
        others = [member.node for member in self._core.configuration[1] if member.node != self._node]
        levels = [hellos[node].feature_level if node in hellos else 0 for node in others]
        level = min([*levels, self._feature_level_max])
        if level > self._ledger.cluster.feature_level and self._clock() >= self._raise_not_before_s:
            data = encode(LevelRaise(level))
            self._core.propose([data], self._log_clock.now_us(), EntryKind.FEATURE_LEVEL)
            self._raise_not_before_s = self._clock() + RAISE_AGAIN_S

    def _read(self, queries: Sequence[PendingRequest]) -> None:
        room = READS_MAX - len(self._reads)
        self._refuse(queries[room:], "busy", "too many queries are under way")
        if queries[:room]:
            self._core.read(self._reads.add(queries[:room]))

    # -- an administrator's requests ----------------------------------------------------------------------

    def hand_over(self) -> bool:
        """Begin to hand leadership to the best successor; return whether that is under way."""
        if self._core.role is not Role.LEADER:
            return False
        successor = self._administration.best_successor(self._advice.unfit)
        if successor is None:
            return False
        try:
            self._core.transfer(successor)
        except ChangeRefused:
            return False
        self._note_handing()
        return True

    def _note_handing(self) -> None:
        self._hands_over_until_s = self._clock() + HAND_OVER_S

    def drain(self) -> None:
        """Take no new requests from now on: this node stops once those that it has are answered."""
        self._draining = True

    @property
    def waiting_count(self) -> int:
        """How many requests of the bank have no reply yet."""
        held = len(self._held) + len(self._held_queries)
        return held + len(self._proposals) + len(self._reads) + len(self._forwarded)

    @property
    def waiting(self) -> bool:
        """Whether any request here has no reply yet."""
        return bool(
            self._held
            or self._held_queries
            or self._held_changes
            or len(self._proposals)
            or len(self._reads)
            or len(self._forwarded)
            or self._changes
            or self._noted
            or self._handing
        )

    def _administer(self, pending: PendingRequest) -> None:
        """Decide a request, and reply now or when it is done."""
        request = pending.request
        assert isinstance(request, AdminChange)
        op = _tag_of(pending)
        roles = effective(pending.actor, pending.roles, self._ledger.role_changes)
        if pending.roles and not bits_may(roles, op, for_end_user=False):
            self._not_done(pending, "not_allowed", needed(op))
            return
        try:
            decision: Done | Proposed | Handing
            if isinstance(request, RotatePepper):
                decision = self._keeper.check_rotation(request) or self._rotate(pending, request)
            else:
                deed = _deed_of(pending, request.node or "")
                decision = self._administration.decide(request, self._log_clock.now_us(), deed)
        except Refused as error:
            self._not_done(pending, "refused", str(error))
            return
        except UnderWay as error:
            self._refuse([pending], "busy", str(error))
            return
        if isinstance(decision, Handing):
            self._record_handing(decision, pending)
            return
        done = AdminReply(id=request.id, outcome="ok", message=decision.message, index=decision.index)
        if isinstance(decision, Done):
            self._answer(pending, done)
        else:
            self._changes[decision.index] = self._core.term, pending, done

    def _record_handing(self, handing: Handing, pending: PendingRequest) -> None:
        """Have it recorded first who hands over; not if this is under way, or no entry can say it yet."""
        level = self._ledger.cluster.feature_level
        if level < NoteDeed.level or self._core.transferring is not None:
            self._hand_over_to(handing.target, pending)
            return
        index = self._core.propose([_deed_of(pending, handing.target)], self._log_clock.now_us())
        self._changes[index] = self._core.term, pending, handing

    def _hand_over_to(self, target: NodeId, pending: PendingRequest) -> None:
        """Begin to hand leadership over; the reply waits until `target` leads, or does not."""
        try:
            self._core.transfer(target)
        except ChangeRefused as error:
            self._not_done(pending, "refused", str(error))
            return
        self._note_handing()
        self._handing.append((target, pending))

    def _rotate(self, pending: PendingRequest, request: RotatePepper) -> Proposed:
        """Propose the entry that makes the pepper current: a command, so that it is recorded as a deed."""
        if self._advice.no_space:
            raise Refused(self._advice.no_space)
        if self._core.transferring is not None:
            raise Refused(f"leadership is being handed to {self._core.transferring}: try again")
        data = command_data(pending.actor, pending.payload, pending.roles)
        index = self._core.propose([data], self._log_clock.now_us())
        return Proposed(f"pepper {request.pepper} is current: the stored PINs are being carried over", index)

    def _answer(self, pending: PendingRequest, answer: AdminReply) -> None:
        pending.channel.reply(pending.number, encode(answer))
        self._count(pending, answer.outcome)

    def _not_done(self, pending: PendingRequest, outcome: str, message: str) -> None:
        self._answer(pending, AdminReply(id=pending.request.id, outcome=outcome, message=message, index=0))

    def _end_changes(self, committed: Sequence[Entry], receipts: Sequence[LedgerReceipt | None]) -> None:
        for entry, receipt in zip(committed, receipts, strict=True):
            found = self._changes.pop(entry.index, None)
            if found is None:
                continue
            term, pending, then = found
            if entry.term != term:
                self._refuse([pending], "unknown", UNKNOWN)
            elif receipt is not None and receipt.outcome is not OK:
                self._not_done(pending, *_refusal(pending, receipt.outcome))
            elif isinstance(then, Handing):
                self._noted.append((then.target, pending))  # the core is not to be called here
            else:
                self._answer(pending, then)

    def _end_handing(self) -> None:
        """Reply to those who wait for a new leader, once there is one or the attempt is given up."""
        if not self._handing or self._core.transferring is not None or self._core.leader is None:
            return
        leader, handing, self._handing = self._core.leader, self._handing, []
        for target, pending in handing:
            if leader == target:
                message = f"node {leader} leads, in term {self._core.term}"
                outcome = "ok"
            else:
                message, outcome = f"node {target} did not take over in time: node {leader} leads", "refused"
            self._answer(
                pending, AdminReply(id=pending.request.id, outcome=outcome, message=message, index=0)
            )

    def _forward(self, requests: Sequence[PendingRequest]) -> None:
        leader = self._core.leader
        mine = [pending for pending in requests if self._handed_over or not pending.forwarded]
        if len(mine) < len(requests):
            strays = [pending for pending in requests if pending.forwarded]
            self._refuse(strays, "unavailable", f"node {self._node} does not lead")
        if leader is None:
            self._refuse(mine, "unavailable", "no leader is known at the moment")
            return
        room = FORWARDED_MAX - len(self._forwarded)
        self._refuse(mine[room:], "busy", "too many requests wait for the leader")
        numbered = self._forwarded.add(mine[:room], leader, self._clock() + FORWARD_TIMEOUT_S)
        if not self._forwarder.forward(leader, numbered):
            for number, *_ in numbered:
                self._forwarded.pop(number)
            self._refuse(mine[:room], "unavailable", "there is no link to the leader at the moment")
        else:
            self._redirected += len(numbered)
            self._counters.forwarded += len(numbered)

    def _view(self, pending: PendingRequest) -> StatusReply | MembersReply:
        request_id = pending.request.id
        if isinstance(pending.request, Members):
            index = self._ledger.decided_index  # of which `cluster` is, in memory before it is written
            return MembersReply(id=request_id, outcome="ok", index=index, members=self._member_views())
        return self._extend_status(self._status(request_id))

    def _member_views(self) -> tuple[MemberView, ...]:
        """Return the members as decided; below feature level 2 the log knows only their names."""
        cluster = self._ledger.cluster
        return tuple(
            MemberView(node=m.node, voter=m.voter, peer=m.peer, client=m.client, since=m.since)
            for m in cluster.members
        ) or tuple(
            MemberView(node=node, voter=True, peer="", client="", since=0) for node in sorted(cluster.voters)
        )

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
            cluster=self._ledger.cluster.id or None,
            members=self._member_views() or None,
            members_index=self._ledger.decided_index,
        )

    # -- results (the `ResultSink` of perform.py) -------------------------------------------------------

    def on_committed(self, committed: Sequence[Entry], receipts: Sequence[LedgerReceipt | None]) -> None:
        """Reply to the requests that were proposed at these indexes: `unknown` if another entry is there."""
        if self._changes:
            self._end_changes(committed, receipts)
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
                [pending.request for pending in queries if isinstance(pending.request, Read)],
                self._log_clock.now_us(),
            )
            for pending, view in zip(queries, views, strict=True):
                self._send(pending, view)

    def drop_reads(self, read_ids: Sequence[int]) -> None:
        """Refuse these reads, as this node no longer leads; or let the leader that it handed to answer."""
        for read_id in read_ids:
            if self._handed_over:
                self._held_queries += self._reads.pop(read_id)
                continue
            self._refuse(self._reads.pop(read_id), "unavailable", "leadership was lost")

    def notice_changes(self) -> None:
        """End all waits for a leadership that has ended, here or elsewhere. The lock is not held.

        After handing over, what was proposed is in the new leader's log, and what was not is forwarded to it.
        """
        leading_term = self._core.term if self._core.role is Role.LEADER else None
        if leading_term != self._leading_term:
            self._leading_term = leading_term
            if self._handed_over:
                self._held_queries += self._reads.pop_all()
            else:
                self._end_led(leading_term)
        self._notice_leader()
        self._end_handing()
        if self._say is not None:
            for _ in range(self._redirected):
                self._say("Redirecting client request")
        self._redirected = 0
        self._note_answered()

    @property
    def _handed_over(self) -> bool:
        """Whether leadership was handed over a moment ago: then the next leader answers what waits here."""
        return self._clock() < self._hands_over_until_s

    def _end_led(self, leading_term: int | None) -> None:
        """End the waits of all terms but this one, which this node leads."""
        self._refuse(self._proposals.pop_all_but(leading_term), "unknown", UNKNOWN)
        self._refuse(self._reads.pop_all(), "unavailable", "leadership was lost")
        lost = [index for index, (term, _, _) in self._changes.items() if term != leading_term]
        self._refuse([self._changes.pop(index)[1] for index in lost], "unknown", UNKNOWN)

    def _notice_leader(self) -> None:
        if self._core.leader != self._leader:
            self._leader = self._core.leader
            self._forwarded.shorten(self._clock() + OLD_LEADER_S)

    def expire(self) -> None:
        """End the waits that are overdue: for replies of the leader, and for the end of a handing over."""
        if len(self._forwarded):
            expired = self._forwarded.pop_expired(self._clock())
            self._end_forwarded(expired, "the leader did not answer in time")
        if self._hands_over_until_s and not self._handed_over and self._core.transferring is None:
            self._hands_over_until_s = 0.0
            self._end_led(self._leading_term)
            handing, self._handing = self._handing, []
            self._refuse([pending for _, pending in handing], "unknown", UNKNOWN)

    def close(self) -> None:
        """End all waits: this node stops."""
        self._refuse(self._proposals.pop_all_but(None), "unknown", UNKNOWN)
        waiting = [*self._held, *self._held_queries, *self._held_changes, *self._reads.pop_all()]
        self._refuse(waiting, "unavailable", "the node stops")
        self._held, self._held_queries, self._held_changes = [], [], []
        self._end_forwarded(self._forwarded.pop_all(), "the node stops")
        self._refuse([pending for _, pending in self._noted], "unavailable", "the node stops")
        changing = [pending for _, pending, _ in self._changes.values()]
        self._refuse(changing + [pending for _, pending in self._handing], "unknown", UNKNOWN)
        self._changes, self._noted, self._handing = {}, [], []
        self._note_answered()

    # -- replies --------------------------------------------------------------------------------------

    def _send(self, pending: PendingRequest, decided: LedgerReceipt) -> None:
        pending.channel.reply(pending.number, encode(Reply.of(decided, leader=self._node)))
        if decided.outcome is OK:
            self._done.append(pending)
        else:
            self._count(pending, decided.outcome)
        if self._say is not None:
            self._say("Returning client request")

    def _end_forwarded(self, requests: Iterable[PendingRequest], why: str) -> None:
        for pending in requests:
            self._refuse([pending], *without_answer(pending, why))

    def _refuse(self, requests: Iterable[PendingRequest], outcome: str, message: str) -> None:
        for pending in requests:
            fault = ErrorReply(
                id=pending.request.id, outcome=outcome, message=message, leader=self._core.leader
            )
            pending.channel.reply(pending.number, encode(fault))
            self._on_refused(fault.id, outcome, message)
            self._count(pending, outcome)

    def _count(self, pending: PendingRequest, outcome: str) -> None:
        """Count a request that ends here. One that was forwarded is counted by the leader that decided it."""
        self._counters.decided.count(type(pending.request), outcome)
        self._timed.append(pending)

    def _note_answered(self) -> None:
        """Count and time what was answered in this iteration, all at once: that takes half as long.

        Only who is a client of this server has the time of arrival.
        """
        if not self._done and not self._timed:
            return
        now_s = self._clock()
        self._counters.decided.done([type(pending.request) for pending in self._done])
        answered = self._done + self._timed
        self._counters.request_seconds.observe_all(
            [now_s - pending.arrived_s for pending in answered if pending.arrived_s]
        )
        self._done, self._timed = [], []


def _op_of(pending: PendingRequest) -> NotedOp:
    return cast(NotedOp, _tag_of(pending))


def _tag_of(pending: PendingRequest) -> str:
    return str(pending.request.__struct_config__.tag)


def _deed_of(pending: PendingRequest, target: NodeId) -> bytes:
    """Return what the log says of an administrator's request."""
    return deed_data(pending.actor, pending.roles, pending.request.id, _op_of(pending), target)


def _refusal(pending: PendingRequest, outcome: Outcome) -> tuple[str, str]:
    """Return outcome and message for what the rules refused after all."""
    if outcome is Outcome.NOT_ALLOWED:
        return "not_allowed", needed(_tag_of(pending))
    return "refused", f"the bank says {outcome}"
