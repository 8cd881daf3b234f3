"""The flight recorder: a ring of what happened in one node, noted as it is and decoded only when it is read.

To note something takes a microsecond or so: a tuple is put into a ring. What is rare (roles, votes, members,
peers, snapshots) has a ring of its own, as under load the other one turns over within a second.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from itertools import count
from typing import Any, Protocol, TypeAlias

from msgspec import Struct

from atm.raft import (
    AppendEntries,
    AppendEntriesResponse,
    Configuration,
    CoreEvent,
    InstallSnapshot,
    NodeId,
    Outgoing,
    RaftMessage,
    Ready,
    Rejection,
    RequestVote,
    RequestVoteResponse,
    Role,
    Snapshot,
)

RARE_MAX = 1_024
BUSY_MAX = 4_096
MESSAGES_MAX = 16  # of one iteration that are noted one by one; the rest is counted
REQUESTS_MAX = 8
TEXT_MAX = 500

# The number, the recorder's clock, what it is, and what `decoding` expects for that. Tuples, as they are the
# cheapest thing to make; what is in them must not be large or secret.
Note: TypeAlias = tuple[Any, ...]

STARTED, STOPPED, CORE, RECEIVED, SENT, SAVED, COMMITTED, APPLIED = range(8)
REQUESTS, REFUSED, READS, MEMBERS, PEER, TAKEN, INSTALLING, INSTALLED, REJECTED = range(8, 17)
BEGUN, LANE, WRITTEN, ANSWERED, ENGINE = range(17, 22)  # on PostgreSQL


class Request(Protocol):
    """What is noted of a client's request: what it is, by its class, and its id."""

    @property
    def id(self) -> str: ...


class Arrived(Protocol):
    """A request that has come in."""

    @property
    def request(self) -> Request: ...
    @property
    def forwarded(self) -> bool: ...


class Receipt(Protocol):
    """What is noted of a decided command."""

    @property
    def id(self) -> str: ...
    @property
    def outcome(self) -> Any: ...
    @property
    def log_index(self) -> int: ...


class SentEntries(Struct, frozen=True, gc=False):
    """An append, or the offer of a snapshot, without what is in it: that could be large, and is secret."""

    sender: NodeId
    term: int
    prev_index: int
    prev_term: int
    entries: int
    commit_index: int
    round: int


class Offered(Struct, frozen=True, gc=False):
    """The offer of a snapshot, without the members in it."""

    sender: NodeId
    term: int
    index: int
    last_term: int
    round: int


class Asked(Struct, frozen=True, gc=False):
    """A request for a vote, without the name of the disk."""

    sender: NodeId
    term: int
    last_index: int
    last_term: int
    pre_vote: bool


class FlightRecorder:
    """The recorder of `node`. All `on_` methods only within an iteration, or before the first one."""

    def __init__(
        self,
        node: NodeId,
        clock_ns: Callable[[], int],
        *,
        rare_max: int = RARE_MAX,
        busy_max: int = BUSY_MAX,
    ) -> None:
        """`clock_ns` rises and never goes back."""
        self.node = node
        self.clock_ns = clock_ns
        self.name = clock_ns() // 1000  # of this numbering
        self.rare: deque[Note] = deque(maxlen=rare_max)
        self.busy: deque[Note] = deque(maxlen=busy_max)
        self._number = count(1).__next__
        self._commit_index = 0
        self._configuration: tuple[int, Configuration] | None = None
        self._snapshot: Snapshot | None = None
        self._began_ns = 0  # the `Ready` that is performed

    # -- rare -----------------------------------------------------------------------------------------

    def on_started(
        self,
        term: int,
        last_index: int,
        commit_index: int,
        configuration: tuple[int, Configuration],
        snapshot: Snapshot | None,
        version: str,
    ) -> None:
        """The node begins with this state, read from its disk."""
        self._commit_index, self._configuration, self._snapshot = commit_index, configuration, snapshot
        self._note_rare(STARTED, term, last_index, commit_index, version)
        self._note_members(*configuration)

    def on_stopped(self, why: str) -> None:
        """The node ends. Also of another thread, when no iteration runs any more."""
        self._note_rare(STOPPED, why[:TEXT_MAX])

    def on_core_event(self, event: CoreEvent) -> None:
        """The core reports a change of role, or a vote."""
        self._note_rare(CORE, event)

    def on_rejection(self, rejection: Rejection) -> None:
        """The core has dropped a message. A peer may send any number of them."""
        self._note_busy(REJECTED, rejection.sender, rejection.violation, rejection.what[:TEXT_MAX])

    def on_peer(self, peer: NodeId, *, connected: bool) -> None:
        """A peer has connected, or its connection has ended."""
        self._note_rare(PEER, peer, connected)

    def on_members(self, configuration: tuple[int, Configuration]) -> None:
        """Note these members, which the core uses now, if they are others."""
        if configuration is not self._configuration:
            self._configuration = configuration
            self._note_members(*configuration)

    def on_snapshot(self, snapshot: Snapshot | None) -> None:
        """Note the newest snapshot of this node, if it is another one."""
        if snapshot is not self._snapshot and snapshot is not None:
            self._snapshot = snapshot
            self._note_rare(TAKEN, snapshot.index, snapshot.term)

    def _note_members(self, index: int, members: Configuration) -> None:
        voters = tuple(member.node for member in members if member.voter)
        learners = tuple(member.node for member in members if not member.voter)
        self._note_rare(MEMBERS, index, voters, learners)

    # -- in every iteration -----------------------------------------------------------------------------

    def on_messages(self, messages: Sequence[RaftMessage]) -> None:
        """These messages of other nodes are given to the core."""
        if messages:
            noted = [each if type(each) in _KEPT_WHOLE else _light(each) for each in messages[:MESSAGES_MAX]]
            self.busy.append((self._number(), self.clock_ns(), RECEIVED, len(messages), noted))

    def on_requests(self, requests: Sequence[Arrived]) -> None:
        """These requests of clients have arrived."""
        if requests:
            noted = [
                (type(each.request), each.request.id, each.forwarded) for each in requests[:REQUESTS_MAX]
            ]
            self.busy.append((self._number(), self.clock_ns(), REQUESTS, len(requests), noted))

    def on_ready(self, ready: Ready) -> None:
        """A `Ready` is about to be performed: its messages are sent, then its entries saved."""
        commit_index = ready.hard_state.commit_index
        if commit_index != self._commit_index:
            self._note_busy(COMMITTED, self._commit_index, commit_index)
            self._commit_index = commit_index
        if ready.install is not None:
            self._note_rare(INSTALLING, ready.install.index, ready.install.term, ready.leader)
        if ready.reset_log is not None:
            self._snapshot = ready.reset_log
            self._note_rare(INSTALLED, ready.reset_log.index, ready.reset_log.term)
        if ready.messages:
            self._note_sent(ready.messages)
        for catch_up in ready.catch_ups:
            append = catch_up.append
            read = _without_entries(append, catch_up.last_index - append.prev_log_index)
            self._note_busy(SENT, 1, [(catch_up.to, read)])
        self._began_ns = self.clock_ns()

    def on_saved(self, ready: Ready) -> None:
        """What `ready` promises is durable, and the promises are sent."""
        entries = ready.entries
        if entries:
            now_ns, last = self.clock_ns(), entries[-1]
            took_us = (now_ns - self._began_ns) // 1000
            self.busy.append(
                (self._number(), now_ns, SAVED, entries[0].index, last.index, last.term, took_us)
            )
        if ready.messages_after_sync:
            self._note_sent(ready.messages_after_sync)

    def on_applied(self, ready: Ready, receipts: Sequence[Receipt | None]) -> None:
        """The committed entries of `ready` are applied. A leader's own are answered."""
        committed = ready.committed
        answered: list[tuple[str, Any, int]] = []
        count = 0
        if ready.role is Role.LEADER and committed[-1].term == ready.hard_state.term:
            answers = [receipt for receipt in receipts[-REQUESTS_MAX:] if receipt is not None]
            answered = [(each.id, each.outcome, each.log_index) for each in answers]
            count = len(receipts)
        self._note_busy(APPLIED, committed[0].index, committed[-1].index, count, answered)

    def on_reads(self, ready: Ready) -> None:
        """The reads of `ready` were answered."""
        if ready.reads:
            self._note_busy(READS, len(ready.reads), ready.reads[-1].index)

    def on_refused(self, request_id: str, outcome: str, why: str) -> None:
        """A request was not done here, or nobody knows whether it is."""
        self._note_busy(REFUSED, request_id, outcome, why[:TEXT_MAX])

    def _note_sent(self, messages: Sequence[Outgoing]) -> None:
        noted: list[tuple[NodeId, object]] = []
        last: object = None
        light: object = None
        for each in messages[:MESSAGES_MAX]:
            if each.message is not last:  # a leader sends one message to all
                last, light = each.message, _light(each.message)
            noted.append((each.to, light))
        self.busy.append((self._number(), self.clock_ns(), SENT, len(messages), noted))

    def _note_rare(self, *what: object) -> None:
        self.rare.append((self._number(), self.clock_ns(), *what))

    def _note_busy(self, *what: object) -> None:
        self.busy.append((self._number(), self.clock_ns(), *what))

    # -- on PostgreSQL ----------------------------------------------------------------------------------

    def on_begun(self, nodes: Sequence[NodeId], version: str) -> None:
        """A node of a bank on PostgreSQL begins; these are all of them."""
        self._note_rare(BEGUN, version)
        self._note_rare(MEMBERS, 0, tuple(nodes), ())

    def on_lane(self, what: str, lane: int, epoch: int, holder: NodeId, index: int) -> None:
        """A lane was taken or lost here, or is seen to be `held`, `free` or `silent` elsewhere."""
        self._note_rare(LANE, what, lane, epoch, holder, index)

    def on_written(self, lane: int, first: int, last: int) -> None:
        """The commands of a lane from one number to another are in the database."""
        self._note_busy(WRITTEN, lane, first, last)

    def on_answers(self, answers: Sequence[tuple[str, str]], reads: int) -> None:
        """Commands, by their ids, were answered with these outcomes, and so many reads."""
        if answers:
            self._note_busy(ANSWERED, len(answers), answers[:REQUESTS_MAX])
        if reads:
            self._note_busy(READS, reads, None)

    def on_engine(self, text: str) -> None:
        """The database cannot be used, or can be again."""
        self._note_rare(ENGINE, text[:TEXT_MAX])

    # -- any thread -------------------------------------------------------------------------------------

    def notes(self) -> tuple[list[Note], int]:
        """Return what is kept, in order, and the number of the last one; 0 if there is none."""
        notes = sorted(_copied(self.rare) + _copied(self.busy), key=_number_of)
        return notes, notes[-1][0] if notes else 0


def _number_of(note: Note) -> int:
    number: int = note[0]
    return number


def _copied(ring: deque[Note]) -> list[Note]:
    """Return the ring's content; another thread may append meanwhile, which Python may notice."""
    while True:
        try:
            return list(ring)
        except RuntimeError:
            continue


_KEPT_WHOLE = frozenset({AppendEntriesResponse, RequestVoteResponse})


def _light(message: RaftMessage) -> object:
    """Return the message, or what may be kept of it: no entry, as it may be large and holds a request."""
    if type(message) is AppendEntries:
        entries = message.entries
        return _without_entries(message, len(entries)) if entries else message
    if type(message) is InstallSnapshot:
        snapshot = message.snapshot
        return Offered(message.sender, message.term, snapshot.index, snapshot.term, message.round)
    if type(message) is RequestVote:
        return Asked(
            message.sender, message.term, message.last_log_index, message.last_log_term, message.pre_vote
        )
    return message


def _without_entries(append: AppendEntries, entries: int) -> SentEntries:
    return SentEntries(
        append.sender,
        append.term,
        append.prev_log_index,
        append.prev_log_term,
        entries,
        append.leader_commit,
        append.round,
    )
