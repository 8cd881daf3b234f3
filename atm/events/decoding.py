"""From the recorder's notes to events: what a node knew at each, and which votes and answers it rests on."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, assert_never

from msgspec import Struct

from atm.events.event import Event
from atm.events.recorder import (
    ANSWERED,
    APPLIED,
    BEGUN,
    COMMITTED,
    CORE,
    ENGINE,
    INSTALLED,
    INSTALLING,
    LANE,
    MEMBERS,
    PEER,
    READS,
    RECEIVED,
    REFUSED,
    REJECTED,
    REQUESTS,
    SAVED,
    SENT,
    STARTED,
    STOPPED,
    TAKEN,
    WRITTEN,
    Asked,
    FlightRecorder,
    Note,
    Offered,
    SentEntries,
)
from atm.raft import (
    AppendEntries,
    AppendEntriesResponse,
    CoreEvent,
    LeaderLearned,
    NodeId,
    RequestVoteResponse,
    RoleChanged,
    TimeoutNow,
    VoteDecided,
    VoteReceived,
)
from atm.raft import Role as RaftRole
from atm.raft.messages import InstallSnapshotResponse

CONTEXT_NOTES = 256  # decoded before the first that is wanted: the answers that a commit rests on


class Page(Struct, frozen=True, kw_only=True):
    """Events behind a cursor. The next page is `after` `next`; `missed` numbers before these were lost."""

    events: list[Event]
    next: int
    missed: int


def page_of(recorder: FlightRecorder, after: int = 0, limit: int | None = None) -> Page:
    """Return the events of the `limit` next numbers after `after`, or of all. Any thread may ask."""
    notes, newest = recorder.notes()
    if after > newest:  # another numbering: the node was started anew
        after = 0
    place = next((place for place, note in enumerate(notes) if note[0] > after), len(notes))
    wanted = notes[place:] if limit is None else notes[place : place + limit]
    if not wanted:
        return Page(events=[], next=max(after, newest), missed=max(0, newest - after))
    decoder = _Decoder(recorder.node)
    for note in notes[:place]:
        if note[2] in _FOLLOWED:
            decoder.follow(note)
    for note in notes[max(0, place - CONTEXT_NOTES) : place]:
        for _ in decoder.events(note):
            pass
    events = [event for note in wanted for event in decoder.events(note)]
    last = wanted[-1][0]
    return Page(events=events, next=last, missed=last - after - len(wanted))


class _Decoder:
    """Decodes notes in their order; knows the node's role and term, and what others have acknowledged."""

    def __init__(self, node: NodeId) -> None:
        self._node = node
        self._term = 0
        self._role = RaftRole.FOLLOWER
        self._leader: NodeId | None = None
        self._matched: dict[NodeId, int] = {}
        self._saved = 0
        self._lanes: dict[int, int] = {}  # those of this node, and since which epoch
        self._number = self._at_us = 0

    def follow(self, note: Note) -> None:
        """Take over role and term from a note, and no more."""
        if note[2] == LANE:
            self._follow_lane(*note[3:7])
            return
        if note[2] == STARTED:
            self._term, self._role, self._leader = note[3], RaftRole.FOLLOWER, None
            return
        core: CoreEvent = note[3]
        match core:
            case RoleChanged(after=role, term=term, leader=leader):
                self._role, self._term, self._leader = role, term, leader
                self._matched.clear()
            case LeaderLearned(leader=leader):
                self._leader = leader

    def _follow_lane(self, what: str, lane: int, epoch: int, holder: NodeId) -> None:
        """A node that has lanes leads; its term is the epoch of the last one."""
        self._lanes.pop(lane, None)
        if what == "taken":
            self._lanes[lane] = epoch
        self._role = RaftRole.LEADER if self._lanes else RaftRole.FOLLOWER
        self._term = epoch if what == "taken" or not self._lanes else [*self._lanes.values()][-1]
        self._leader = self._node if self._lanes else holder or None

    def events(self, note: Note) -> Iterator[Event]:
        """Yield what a note says."""
        self._number, at_ns, kind, *data = note
        self._at_us = at_ns // 1000
        if kind in _FOLLOWED:
            self.follow(note)
        yield from _DECODE[kind](self, *data)

    def event(self, kind: str, **fields: Any) -> Event:
        return Event(
            number=self._number,
            at_us=self._at_us,
            node=self._node,
            kind=kind,
            term=self._term,
            role=self._role.value,
            **fields,
        )

    # -- one for each kind of note ----------------------------------------------------------------------

    def started(self, term: int, last_index: int, commit_index: int, version: str) -> Iterator[Event]:
        self._saved = last_index
        yield self.event("started", last_index=last_index, commit_index=commit_index, version=version)

    def stopped(self, why: str) -> Iterator[Event]:
        yield self.event("stopped", text=why)

    def core(self, core: CoreEvent) -> Iterator[Event]:
        match core:
            case RoleChanged():
                yield self.event(
                    "role",
                    before=core.before.value,
                    leader=core.leader,
                    cause=core.cause.value,
                    by=core.by,
                    votes=core.votes or None,
                    last_index=core.last_index,
                    last_term=core.last_term,
                )
            case LeaderLearned():
                yield self.event("leader", leader=core.leader)
            case VoteDecided():
                yield self.event(
                    "vote",
                    candidate=core.candidate,
                    campaign_term=core.term,
                    pre_vote=core.pre_vote,
                    granted=core.granted,
                    why=None if core.refusal is None else core.refusal.value,
                    voted_for=core.voted_for,
                    leader=core.leader,
                    last_index=core.last_index,
                    last_term=core.last_term,
                    own_last_index=core.own_last_index,
                    own_last_term=core.own_last_term,
                )
            case VoteReceived():
                yield self.event(
                    "vote_received",
                    voter=core.voter,
                    message_term=core.term,
                    pre_vote=core.pre_vote,
                    granted=core.granted,
                    counted=core.counted,
                    count=core.votes,
                    needed=core.needed,
                )
            case _:
                assert_never(core)

    def received(self, count: int, messages: Sequence[object]) -> Iterator[Event]:
        for place, message in enumerate(messages):
            if isinstance(message, AppendEntriesResponse) and message.success:
                known = self._matched.get(message.sender, 0)
                self._matched[message.sender] = max(known, message.match_index)
            sender: NodeId = getattr(message, "sender", "")
            yield self.event(
                "received", peer=sender, **_fields_of(message), more=_more(count, messages, place)
            )

    def sent(self, count: int, messages: Sequence[tuple[NodeId, object]]) -> Iterator[Event]:
        for place, (to, message) in enumerate(messages):
            yield self.event("sent", peer=to, **_fields_of(message), more=_more(count, messages, place))

    def saved(self, first: int, last: int, term: int, took_us: int) -> Iterator[Event]:
        self._saved = last
        yield self.event("append", index=first, last_index=last, last_term=term, sync_us=took_us)

    def committed(self, before: int, index: int) -> Iterator[Event]:
        acknowledged = None
        if self._role is RaftRole.LEADER:
            others = [peer for peer, match in sorted(self._matched.items()) if match >= index]
            acknowledged = tuple(([self._node] if self._saved >= index else []) + others)
        yield self.event(
            "commit", index=before + 1, last_index=index, votes=acknowledged, leader=self._leader
        )

    def applied(
        self, first: int, last: int, count: int, answered: Sequence[tuple[str, Any, int]]
    ) -> Iterator[Event]:
        yield self.event("apply", index=first, last_index=last)
        for place, (request, outcome, index) in enumerate(answered):
            yield self.event(
                "answer",
                request=request,
                outcome=str(getattr(outcome, "value", outcome)),
                index=index,
                more=_more(count, answered, place),
            )

    def requests(self, count: int, requests: Sequence[tuple[type, str, bool]]) -> Iterator[Event]:
        for place, (kind, request, forwarded) in enumerate(requests):
            yield self.event(
                "request",
                op=str(kind.__struct_config__.tag),  # type: ignore[attr-defined]
                request=request,
                forwarded=forwarded or None,
                more=_more(count, requests, place),
            )

    def refused(self, request: str, outcome: str, why: str) -> Iterator[Event]:
        yield self.event("answer", request=request, outcome=outcome, text=why or None)

    def reads(self, count: int, index: int | None) -> Iterator[Event]:
        yield self.event("read", count=count, index=index)

    def members(self, index: int, voters: Sequence[str], learners: Sequence[str]) -> Iterator[Event]:
        yield self.event("membership", index=index, voters=tuple(voters), learners=tuple(learners) or None)

    def peer(self, peer: NodeId, connected: bool) -> Iterator[Event]:
        yield self.event("peer", peer=peer, what="connected" if connected else "lost")

    def taken(self, index: int, term: int) -> Iterator[Event]:
        yield self.event("snapshot", what="taken", index=index, last_term=term)

    def installing(self, index: int, term: int, leader: NodeId | None) -> Iterator[Event]:
        yield self.event("snapshot", what="wanted", index=index, last_term=term, peer=leader)

    def installed(self, index: int, term: int) -> Iterator[Event]:
        yield self.event("snapshot", what="installed", index=index, last_term=term)

    def rejected(self, sender: NodeId, violation: Any, what: str) -> Iterator[Event]:
        yield self.event("rejected", peer=sender, why=violation.name.lower(), text=what)

    def begun(self, version: str) -> Iterator[Event]:
        yield self.event("started", version=version, what="postgresql")

    def lane(self, what: str, lane: int, epoch: int, holder: NodeId, index: int) -> Iterator[Event]:
        yield self.event("lane", what=what, lane=lane, leader=holder or None, index=index)

    def written(self, lane: int, first: int, last: int) -> Iterator[Event]:
        yield self.event("written", lane=lane, index=first, last_index=last)

    def answered(self, count: int, answers: Sequence[tuple[str, str]]) -> Iterator[Event]:
        for place, (request, outcome) in enumerate(answers):
            more = _more(count, answers, place)
            yield self.event("answer", request=request, outcome=outcome, more=more)

    def engine(self, text: str) -> Iterator[Event]:
        yield self.event("engine", text=text)


_DECODE: dict[int, Any] = {
    STARTED: _Decoder.started,
    STOPPED: _Decoder.stopped,
    CORE: _Decoder.core,
    RECEIVED: _Decoder.received,
    SENT: _Decoder.sent,
    SAVED: _Decoder.saved,
    COMMITTED: _Decoder.committed,
    APPLIED: _Decoder.applied,
    REQUESTS: _Decoder.requests,
    REFUSED: _Decoder.refused,
    READS: _Decoder.reads,
    MEMBERS: _Decoder.members,
    PEER: _Decoder.peer,
    TAKEN: _Decoder.taken,
    INSTALLING: _Decoder.installing,
    INSTALLED: _Decoder.installed,
    REJECTED: _Decoder.rejected,
    BEGUN: _Decoder.begun,
    LANE: _Decoder.lane,
    WRITTEN: _Decoder.written,
    ANSWERED: _Decoder.answered,
    ENGINE: _Decoder.engine,
}
_FOLLOWED = frozenset({STARTED, CORE, LANE})  # they tell role and term


def _more(count: int, noted: Sequence[object], place: int) -> int | None:
    """Return, at the last of those that are noted one by one, how many were only counted."""
    return count - len(noted) or None if place == len(noted) - 1 else None


def _fields_of(message: object) -> dict[str, Any]:
    """Return what an event says of a message of Raft."""
    match message:
        case Asked():
            return {
                "message": "pre_vote_request" if message.pre_vote else "vote_request",
                "message_term": message.term,
                "last_index": message.last_index,
                "last_term": message.last_term,
            }
        case RequestVoteResponse():
            return {
                "message": "pre_vote_answer" if message.pre_vote else "vote_answer",
                "message_term": message.term,
                "granted": message.granted,
            }
        case SentEntries():
            return {
                "message": "append",
                "message_term": message.term,
                "prev_index": message.prev_index,
                "prev_term": message.prev_term,
                "entries": message.entries,
                "commit_index": message.commit_index,
                "round": message.round,
            }
        case AppendEntries():
            return {
                "message": "heartbeat",
                "message_term": message.term,
                "prev_index": message.prev_log_index,
                "prev_term": message.prev_log_term,
                "commit_index": message.leader_commit,
                "round": message.round,
            }
        case AppendEntriesResponse():
            return {
                "message": "append_answer",
                "message_term": message.term,
                "success": message.success,
                "match_index": message.match_index,
                "round": message.round,
            }
        case Offered():
            return {
                "message": "snapshot_offer",
                "message_term": message.term,
                "index": message.index,
                "last_term": message.last_term,
                "round": message.round,
            }
        case InstallSnapshotResponse():
            return {
                "message": "snapshot_answer",
                "message_term": message.term,
                "index": message.index,
                "success": message.installed,
                "round": message.round,
            }
        case TimeoutNow():
            return {"message": "campaign_now", "message_term": message.term}
        case _:
            raise AssertionError(f"no message of Raft: {type(message)}")
