"""The loop of a server of a bank on PostgreSQL: requests to the lane's worker or its server, replies back.

No database here: workers have a thread each, and put what they answer into the inbox. As in the run loop of a
bank on Raft, one iteration runs at a time, by the loop's own thread or inline by the one that put something.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from threading import Lock, Thread
from typing import Protocol, cast

from msgspec.structs import replace

from atm.events.recorder import FlightRecorder
from atm.ledger.commands import OK, Command, Lookup, Read, RotatePepper
from atm.server.group.administration import Refused
from atm.server.group.inbox import WAKE_ON_ANYTHING, Inbox, Inputs, PendingRequest
from atm.server.group.pending_requests import ForwardedRequests, without_answer
from atm.server.group.pepper_keeper import check_rotation
from atm.server.lanes.gathering import Gathering
from atm.server.lanes.lane_worker import Answered, LaneWorker
from atm.server.lanes.not_here import NO_CHANGES
from atm.server.lanes.pepper_change import RotationReply
from atm.server.lanes.routes import (
    HOME,
    AfterLookup,
    NotTogether,
    ToAll,
    ToLane,
    asked_of,
    lane_named,
    merged,
    route,
)
from atm.server.metrics.counters import Counters
from atm.server.peers.links import Links
from atm.wire.client_messages import (
    AdminReply,
    ErrorReply,
    Members,
    MembersReply,
    QueuedRequest,
    Reply,
    StatusReply,
)
from atm.wire.codec import encode

TICK_S = 0.05
FORWARDED_MAX = 10_000
FORWARD_TIMEOUT_S = 5.0  # longer than a request waits for its lane there
GATHER_TIMEOUT_S = 2 * FORWARD_TIMEOUT_S  # no lane takes as long
GATHERED_MAX = 10_000
UNDONE = ("unavailable", "busy")  # outcomes of what was certainly not done
ANSWER_S = 1.0  # for how long a server that stops waits for answers


class Clients(Protocol):
    """The client port, as far as an iteration writes to it."""

    def flush(self) -> None: ...
    def retry(self) -> None: ...


class LaneLoop:
    """Sends exactly one reply to every request.

    All methods but `answer`, `run`, `stop` and `fail` are called within an iteration.
    """

    def __init__(
        self,
        node: str,
        *,
        inbox: Inbox,
        lock: Lock,
        links: Links,
        clients: Clients,
        workers: Mapping[int, LaneWorker],
        holder: Callable[[int], str | None],
        look: Callable[[], None],
        status: Callable[[str], StatusReply],
        known_peppers: Callable[[], Mapping[str, Sequence[str] | None]],
        first_number: int,
        counters: Counters,
        on_tick: Callable[[], None],
        recorder: FlightRecorder | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`holder` tells the server that has a lane, and `look` finds out anew who has which.

        `status` tells this server's status under a request's id, `known_peppers` which peppers each server of
        the bank knows, None of one that does not live.
        """
        self._node = node
        self._lock = lock  # guards _inbox; never held over I/O
        self._inbox = inbox
        self._links, self._clients = links, clients
        self._workers, self._holder, self._look = workers, holder, look
        self._lanes = len(workers)
        self._gatherings: dict[Gathering, PendingRequest] = {}  # the oldest first
        self._status, self._known_peppers = status, known_peppers
        self._counters = counters
        self._on_tick = on_tick
        self._recorder = recorder or FlightRecorder("", lambda: 0)
        self._clock = clock
        self._forwarded = ForwardedRequests(first_number)
        self._answered: deque[Sequence[Answered]] = deque()
        self._ticked_s = clock()
        self._stopping = self._draining = False
        self._failure: BaseException | None = None
        inbox.run_inline_with(self._run_inline)

    # -- any thread -----------------------------------------------------------------------------------

    def answer(self, answers: Sequence[Answered]) -> None:
        """Send replies, in an iteration."""
        self._answered.append(answers)
        self._inbox.put(
            Inputs(refused=[(each.pending.channel, each.pending.number, each.payload) for each in answers])
        )

    def to_lanes(self, requests: Iterable[tuple[int, PendingRequest]]) -> None:
        """Send each request to that lane, here or at another server, in an iteration."""
        inputs = Inputs()
        for lane, pending in requests:
            inputs.add_request(replace(pending, lane=lane))
        self._inbox.put(inputs)

    def stop(self) -> None:
        """Let `run` end soon; a signal handler may call it."""
        self._stopping = True

    def fail(self, error: BaseException) -> None:
        """Called when a required thread has died: `run` raises `error` within a tick."""
        self._failure = error

    @property
    def waiting(self) -> int:
        """How many requests have no reply yet."""
        return len(self._forwarded) + sum(worker.waiting for worker in self._workers.values())

    # -- the loop's thread ------------------------------------------------------------------------------

    def run(self, before_end: Callable[[], None]) -> None:
        """Run iterations until `stop`, then `before_end`, and until what it answered is sent."""
        while not self._stopping:
            self._iterate_and_sleep()
        self._draining = True
        ending = Thread(target=before_end, name="ending")  # what it waits for may be on its way here
        ending.start()
        while ending.is_alive():
            self._iterate_and_sleep()
        deadline_s = self._clock() + ANSWER_S
        while self._clock() < deadline_s and len(self._forwarded):
            self._iterate_and_sleep()
        self._end_forwarded(self._forwarded.pop_all(), "the node stops")
        self.iterate()
        self._end_gatherings(list(self._gatherings), "the node stops")
        self.iterate()

    def _iterate_and_sleep(self) -> None:
        self.iterate()
        self._inbox.sleep(max(0.0, self._ticked_s + TICK_S - self._clock()))
        if self._failure is not None:
            raise self._failure

    def _run_inline(self) -> None:
        more = True
        try:
            self.iterate()
            more = False
        except BaseException as error:
            self._failure = error
        self._inbox.end_inline(WAKE_ON_ANYTHING, more=more)

    def iterate(self) -> None:
        """Route what came in, send what was answered."""
        with self._lock:
            inputs = self._inbox.drain()
        for requests in (inputs.commands, inputs.queries, inputs.changes):
            self._recorder.on_requests(requests)
        self._deliver(inputs)
        self._route([*inputs.commands, *inputs.queries])
        for pending in inputs.changes:
            self._change(pending)
        for pending in inputs.statuses:
            pending.channel.reply(pending.number, encode(self._view(pending)))
        if self._clock() >= self._ticked_s + TICK_S:
            self._ticked_s = self._clock()
            self._end_forwarded(
                self._forwarded.pop_expired(self._clock()), "the lane's server did not answer in time"
            )
            self._end_gatherings(
                [each for each in self._gatherings if each.deadline_s < self._clock()],
                "not all lanes answered in time",
            )
            self._links.retry()
            self._clients.retry()
            self._on_tick()
        self._links.flush()
        self._clients.flush()

    def _deliver(self, inputs: Inputs) -> None:
        for channel, number, payload in inputs.refused:
            channel.reply(number, payload)
        while self._answered:
            self._count(self._answered.popleft())
        for number, payload in inputs.forward_replies:
            pending = self._forwarded.pop(number)
            if pending is not None:
                pending.channel.reply(pending.number, payload)
        if inputs.lost_links:
            self._end_forwarded(
                self._forwarded.pop_of(inputs.lost_links), "the link to the lane's server was lost"
            )

    def _route(self, requests: Sequence[PendingRequest]) -> None:
        by_lane: dict[int, list[PendingRequest]] = {}
        if self._draining:  # but what this server itself asks is finished
            new = [each for each in requests if each.lane is None or each.forwarded]
            self._refuse(new, "unavailable", "the node stops")
            requests = [each for each in requests if each.lane is not None and not each.forwarded]
        for pending in requests:
            lane = HOME if self._lanes == 1 else pending.lane
            if lane is None:
                lane = self._begin(pending)
            if lane is not None:
                by_lane.setdefault(lane, []).append(pending)
        for lane, some in by_lane.items():
            if lane not in self._workers:
                self._refuse(some, "bad_request", f"there is no lane {lane}")
            elif self._workers[lane].mine:
                self._refuse(self._workers[lane].put(some), "busy", "too many requests are under way")
            else:
                self._forward(lane, some)

    def _change(self, pending: PendingRequest) -> None:
        """Have lane 0, if it is here, make a pepper current; refuse any other change of the servers."""
        request = pending.request
        outcome, told, index = "refused", NO_CHANGES, 0
        if isinstance(request, RotatePepper):
            if not self._workers[HOME].mine:
                self._refuse([pending], "unavailable", f"node {self._node} does not have lane {HOME}")
                return
            try:
                done = check_rotation(request, self._workers[HOME].pepper, self._known_peppers())
            except Refused as error:
                told = str(error)
            else:
                if done is None:
                    rotation = replace(pending, channel=RotationReply(pending, request), number=0)
                    self._refuse(
                        self._workers[HOME].put([rotation]), "busy", "too many requests are under way"
                    )
                    return
                outcome, told, index = "ok", done.message, done.index
        reply = AdminReply(id=request.id, outcome=outcome, message=told, index=index)
        pending.channel.reply(pending.number, encode(reply))

    # -- requests for several lanes ---------------------------------------------------------------------

    def _begin(self, pending: PendingRequest) -> int | None:
        """Return the lane that a client's request is for; None: it is on its way, or refused."""
        match route(pending.request, self._lanes):
            case ToLane(lane=lane):
                return lane
            case ToAll():
                self._ask_all(pending)
            case AfterLookup(other=other):
                self._look_up(pending, other)
            case NotTogether(why=why):
                self._refuse([pending], "bad_request", why)
        return None

    def _ask_all(self, pending: PendingRequest) -> None:
        """Let all lanes answer, and make one answer of theirs."""
        gathering = Gathering(self._lanes, self._merge, self._clock() + GATHER_TIMEOUT_S)
        asked = [asked_of(pending.request, lane, self._lanes) for lane in range(self._lanes)]
        self._gather(pending, gathering, list(enumerate(asked)))

    def _look_up(self, pending: PendingRequest, other: str) -> None:
        """Find the lanes that know a request's id, or that of the one that it names; then send it there."""
        lanes, request_id = self._lanes, pending.request.id
        gathering = Gathering(2 * lanes, self._go_on, self._clock() + GATHER_TIMEOUT_S)
        own = Lookup(id=request_id, request_id=request_id)
        another = Lookup(id=request_id, request_id=other)
        self._gather(pending, gathering, [(lane, asked) for asked in (own, another) for lane in range(lanes)])

    def _gather(
        self, pending: PendingRequest, gathering: Gathering, asked: Sequence[tuple[int, QueuedRequest]]
    ) -> None:
        """Ask lanes in the request's stead."""
        if len(self._gatherings) >= GATHERED_MAX:
            self._refuse([pending], "busy", "too many requests wait for several lanes")
            return
        self._gatherings[gathering] = pending
        payloads = {id(request): encode(request) for _, request in asked}
        self._route(
            [
                replace(
                    pending,
                    channel=gathering,
                    number=number,
                    request=request,
                    payload=payloads[id(request)],
                    lane=lane,
                    arrived_s=0.0,
                )
                for number, (lane, request) in enumerate(asked)
            ]
        )

    def _merge(self, gathering: Gathering) -> None:
        pending = self._gatherings.pop(gathering)
        request = cast(Command | Read, pending.request)
        replies, faults = gathering.replies(), gathering.faults()
        answer = merged(request, replies, self._lanes) if replies and not faults else None
        if answer is None and not isinstance(request, Read):
            done = [reply for reply in replies.values() if reply.outcome is OK]
            answer = done[0] if done else None
        if answer is not None:
            self._end(pending, answer)
        elif not isinstance(request, Read) and (
            replies or any(fault.outcome not in UNDONE for fault in faults)
        ):
            self._refuse([pending], *without_answer(pending, faults[0].message))
        else:
            self._refuse([pending], "unavailable", faults[0].message)

    def _go_on(self, gathering: Gathering) -> None:
        """Send a request on, once its own id and the one that it names were looked up in all lanes."""
        pending, lanes = self._gatherings.pop(gathering), self._lanes
        faults, replies = gathering.faults(), gathering.replies()
        if faults:
            self._refuse([pending], "unavailable", faults[0].message)
            return
        found = {number: reply for number, reply in replies.items() if reply.asked is not None}
        own = {number: reply for number, reply in found.items() if number < lanes}
        other = {number - lanes: reply for number, reply in found.items() if number >= lanes}
        lane = lane_named(cast(Command, pending.request), own, other, lanes)
        if lane is None:
            self._ask_all(pending)
        else:
            self._route([replace(pending, lane=lane)])

    def _end(self, pending: PendingRequest, answer: Reply) -> None:
        pending.channel.reply(pending.number, encode(answer))
        if pending.arrived_s:
            self._counters.request_seconds.observe(self._clock() - pending.arrived_s)

    def _end_gatherings(self, gatherings: Sequence[Gathering], why: str) -> None:
        for gathering in gatherings:
            pending = self._gatherings.pop(gathering, None)
            if pending is not None:
                gathering.give_up()
                self._refuse([pending], *without_answer(pending, why))

    def _forward(self, lane: int, requests: Sequence[PendingRequest]) -> None:
        holder = self._holder(lane)
        strays = [pending for pending in requests if pending.forwarded]
        self._refuse(strays, "unavailable", f"node {self._node} does not have lane {lane}")
        own = [pending for pending in requests if not pending.forwarded]
        if holder is None or holder == self._node:
            self._look()
            self._refuse(own, "unavailable", f"no server has lane {lane} at the moment")
            return
        room = max(0, FORWARDED_MAX - len(self._forwarded))
        self._refuse(own[room:], "busy", "too many requests wait for another server")
        if not own[:room]:
            return
        numbered = self._forwarded.add(own[:room], holder, self._clock() + FORWARD_TIMEOUT_S)
        if self._links.forward(holder, numbered, lane):
            self._counters.forwarded += len(numbered)
            return
        for number, *_ in numbered:
            self._forwarded.pop(number)
        self._refuse(own[:room], "unavailable", f"there is no link to node {holder} at the moment")

    def _view(self, pending: PendingRequest) -> StatusReply | MembersReply:
        status = self._status(pending.request.id)
        if isinstance(pending.request, Members):
            return MembersReply(id=status.id, outcome="ok", index=0, members=status.members or ())
        return status

    # -- replies ----------------------------------------------------------------------------------------

    def _end_forwarded(self, requests: Iterable[PendingRequest], why: str) -> None:
        for pending in requests:
            self._refuse([pending], *without_answer(pending, why))

    def _refuse(self, requests: Iterable[PendingRequest], outcome: str, message: str) -> None:
        for pending in requests:
            fault = ErrorReply(
                id=pending.request.id, outcome=outcome, message=message, leader=self._holder(0)
            )
            pending.channel.reply(pending.number, encode(fault))
            self._recorder.on_refused(pending.request.id, outcome, message)
            self._counters.decided.count(type(pending.request), outcome)

    def _count(self, answers: Sequence[Answered]) -> None:
        """Count and time what was answered; a request that was forwarded has no time of arrival here."""
        now_s, counters = self._clock(), self._counters
        told = [(each.pending.request.id, each.outcome) for each in answers if not _reads(each)]
        self._recorder.on_answers(told, len(answers) - len(told))
        counters.decided.done([type(each.pending.request) for each in answers if each.outcome == OK])
        for each in answers:
            if each.outcome != OK:
                counters.decided.count(type(each.pending.request), each.outcome)
        arrived = [each.pending.arrived_s for each in answers if each.pending.arrived_s]
        counters.request_seconds.observe_all([now_s - arrived_s for arrived_s in arrived])


def _reads(answered: Answered) -> bool:
    return isinstance(answered.pending.request, Read)
