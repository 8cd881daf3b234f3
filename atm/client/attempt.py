"""What to do next until a request is answered, and whether it may be done: decisions, and no socket.

`Attempt.steps` yields what is to be tried, and is sent what came of it; it ends with the receipt or raises.
Threads (retrying.py) and asyncio (async_client.py) carry the steps out.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Generator

from msgspec import Struct, field

from atm.client.connection import Lost, NotSent, NotTrusted
from atm.client.each_node import fault_of, told_by
from atm.client.errors import ClientClosed, Interrupted, NotAllowed, OutcomeUnknown, Rejected, Unavailable
from atm.client.members import members_index, nodes_of
from atm.client.receipt import Receipt, new_request_id, receipt_of
from atm.client.route import Route
from atm.config import NodeConfig
from atm.ledger.commands import Command, Read
from atm.wire.client_messages import ClientReply, ErrorReply, Reply, Status, StatusReply
from atm.wire.codec import Malformed, encode

CONNECT_TIMEOUT_S = 0.3  # the first try's; doubled with each try that gave no answer
ANSWER_TIMEOUT_S = 1.0  # likewise: a suspended server accepts connections and never answers
TIMEOUT_GROWTH = 2.0
GROWN_MAX = 10  # times
PAUSE_S = (0.02, 0.05)  # between rounds over the servers: an election takes 300 to 600 ms


def growth_after(timeouts: int) -> float:
    """Return by which a server gets more time than at first."""
    return TIMEOUT_GROWTH ** min(timeouts, GROWN_MAX)


def note_nothing() -> None:
    """Do nothing: what changes nothing is never done without an answer."""


class Try(Struct, frozen=True):
    """Ask a server once; `on_sending` is called just before. The times are those of `time.monotonic`."""

    node: NodeConfig
    payload: bytes
    request_id: str
    connect_until: float
    answer_until: float
    on_sending: Callable[[], None] = note_nothing


class Pause(Struct, frozen=True):
    """Wait, or until the client is closed."""

    seconds: float


CameOf = ClientReply | NotSent | Lost | None  # None of a pause, or if the client is closed


class Retrying(Struct):
    """What the requests of one client have in common.

    A request is tried for `timeout_s`; once it may have been done, for `patience_s` in all, and `on_unknown`
    is called once with its id.
    """

    route: Route
    timeout_s: float
    patience_s: float
    on_unknown: Callable[[str], None] | None
    closed: bool = False


class Attempt(Struct):
    """One request while it is tried."""

    retrying: Retrying
    request: Command | Read
    started: float = field(default_factory=time.monotonic)
    may_be_done: bool = False
    in_flight: bool = False  # a try was sent and is not answered yet
    timeouts: int = 0  # tries that timed out or whose connection broke
    distrust: dict[str, NotTrusted] = field(default_factory=dict)  # by server, since its last other result
    told: str = ""  # by the last server that answered: why it takes no requests at present

    def steps(self) -> Generator[Try | Pause, CameOf, Receipt]:
        """Ask one server after another; pause after each refusal and each round over all servers.

        Raise `OutcomeUnknown`, or a fault that means not done.
        """
        payload, route = encode(self.request), self.retrying.route
        yield from learn_members(route, self._deadline())
        node, tried = route.current, set[str]()
        while True:
            step = self._try(node, payload)
            answer = self._judged(step, (yield step))
            self.in_flight = False
            if isinstance(answer, Receipt):
                return answer
            if answer is not None and answer.outcome == "bad_request":
                raise self._end(Rejected(answer.message or "no reason was given"))
            if answer is not None:
                self.told = told_by(answer)
            tried.add(node.name)
            round_is_over = tried.issuperset(route.nodes)
            if answer is not None or round_is_over:
                yield Pause(random.uniform(*PAUSE_S))
            if self.retrying.closed:
                raise self._end(ClientClosed())
            if self._deadline() <= time.monotonic():
                raise self._end(Unavailable(self.told) if self.told else self._fault())
            if self.distrust.keys() >= route.nodes.keys():  # to ask again would not help
                raise self._end(self._fault())
            if round_is_over:
                tried = {node.name}
            node = route.next_node(tried, answer.leader if answer is not None else None)

    def note_sending(self) -> None:
        """Note that the request is handed to a server now: until the next step it may be done."""
        self.in_flight = self._changes_something

    def note_given_up(self) -> None:
        """Note that nobody waits for the answer any more."""
        if self.in_flight:
            self._note_unknown()

    def interrupted(self) -> Interrupted:
        """Return what to raise at Ctrl-C."""
        return Interrupted(self.request.id, may_be_done=self.may_be_done or self.in_flight)

    def _try(self, node: NodeConfig, payload: bytes) -> Try:
        deadline, growth = self._deadline(), growth_after(self.timeouts)
        started = time.monotonic()
        return Try(
            node,
            payload,
            self.request.id,
            connect_until=min(deadline, started + growth * CONNECT_TIMEOUT_S),
            answer_until=min(deadline, started + growth * ANSWER_TIMEOUT_S),
            on_sending=self.note_sending,
        )

    def _judged(self, step: Try, came: CameOf) -> Receipt | ErrorReply | None:
        """Return the answer that came from a server, None if none did; note what is known then."""
        route, node = self.retrying.route, step.node.name
        if isinstance(came, Reply):
            try:
                receipt = receipt_of(self.request, came)
            except Malformed as error:
                came = Lost(str(error))
            else:
                self.distrust.pop(node, None)
                route.note_answer(node, came.leader)
                return receipt
        if isinstance(came, ErrorReply):
            self.distrust.pop(node, None)
            if came.outcome == "unknown":
                self._note_unknown()
            return came
        if came is None:
            return None
        route.note_failure(node)
        if isinstance(came, NotSent):
            self.distrust.pop(node, None)
            if isinstance(came, NotTrusted):
                self.distrust[node] = came
            self.timeouts += time.monotonic() >= step.connect_until
        else:  # no answer, or one of another kind, for which nobody asked
            self.timeouts += 1
            self._note_unknown()
        return None

    def _deadline(self) -> float:
        retrying = self.retrying
        return self.started + (retrying.patience_s if self.may_be_done else retrying.timeout_s)

    @property
    def _changes_something(self) -> bool:
        """False for a read, whose outcome is never unknown."""
        return not isinstance(self.request, Read)

    def _note_unknown(self) -> None:
        if self._changes_something and not self.may_be_done:
            self.may_be_done = True
            if self.retrying.on_unknown is not None:
                self.retrying.on_unknown(self.request.id)

    def _fault(self) -> NotAllowed | Unavailable:
        """Return what to raise if it is certainly not done."""
        return fault_of(self.distrust)

    def _end(self, certain: Exception) -> Exception:
        """Return the exception to raise without a receipt: `certain` if the request is certainly not done."""
        return OutcomeUnknown(self.request.id) if self.may_be_done else certain


def learn_members(route: Route, deadline: float) -> Generator[Try, CameOf, None]:
    """Ask the server that is asked first who the members are, if that is due: before a request is sent.

    Servers are replaced and moved while a client runs; it was told only where they were at its start.
    """
    if not route.members_are_due():
        return
    node, request = route.current, Status(id=new_request_id())
    now = time.monotonic()
    came = yield Try(
        node,
        encode(request),
        request.id,
        connect_until=min(deadline, now + CONNECT_TIMEOUT_S),
        answer_until=min(deadline, now + ANSWER_TIMEOUT_S),
    )
    if isinstance(came, NotSent | Lost):
        route.note_failure(node.name)
    elif isinstance(came, StatusReply):
        route.note_members(members_index(came), nodes_of(came.members or ()))
