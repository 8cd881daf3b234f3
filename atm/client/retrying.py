"""Sends a request to one server after another until it is answered, and tracks whether it may be done."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from threading import Event

from atm.client.connection import Lost, NotSent, NotTrusted, Pool, ServerConnection
from atm.client.each_node import fault_of, told_by
from atm.client.errors import ClientClosed, Interrupted, NotAllowed, OutcomeUnknown, Rejected, Unavailable
from atm.client.reply_rules import answers
from atm.client.route import Route
from atm.config import NodeConfig
from atm.ledger.commands import Command, Read
from atm.tls.credentials import Credentials
from atm.wire.client_messages import ClientReply, ErrorReply, Reply
from atm.wire.codec import encode

CONNECT_TIMEOUT_S = 0.3  # the first try's; doubled with each try that gave no answer
ANSWER_TIMEOUT_S = 1.0  # likewise: a suspended server accepts connections and never answers
TIMEOUT_GROWTH = 2.0
PAUSE_S = (0.02, 0.05)  # between rounds over the servers: an election takes 300 to 600 ms


class RetryingSender:
    """Sends requests until one server answers each; safe to use from many threads.

    A request is tried for `timeout_s`; once it may have been done, for `patience_s` in all, and `on_unknown`
    is called once with its id, in the calling thread.
    """

    def __init__(
        self,
        nodes: Mapping[str, NodeConfig],
        route: Route,
        *,
        timeout_s: float,
        patience_s: float,
        on_unknown: Callable[[str], None] | None,
        credentials: Credentials | None = None,
    ) -> None:
        self._nodes = nodes
        self._route = route
        self._timeout_s = timeout_s
        self._patience_s = patience_s
        self._on_unknown = on_unknown
        self._pool = Pool(credentials, {node.client.pair: node.name for node in nodes.values()})
        self._closed = Event()

    @property
    def closed(self) -> bool:
        """Whether `close` was called."""
        return self._closed.is_set()

    def close(self) -> None:
        """Close all connections; a request in another thread ends at once."""
        self._closed.set()
        self._pool.close()

    def send(self, request: Command | Read) -> Reply:
        """Return the decision; raise `OutcomeUnknown`, `Interrupted`, or a fault that means not done."""
        if self.closed:
            raise ClientClosed
        attempt = _Attempt(request)
        try:
            return self._ask_until_answered(encode(request), attempt)
        except KeyboardInterrupt as interrupt:
            raise Interrupted(request.id, may_be_done=attempt.may_be_done or attempt.in_flight) from interrupt

    def _ask_until_answered(self, payload: bytes, attempt: _Attempt) -> Reply:
        """Ask one server after another; pause after each refusal and each round over all servers."""
        node, tried = self._route.current, set[str]()
        while True:
            answer = self._try(node, payload, attempt)
            attempt.in_flight = False
            if isinstance(answer, Reply):
                self._route.note_answer(node, answer.leader)
                return answer
            if answer is not None and answer.outcome == "bad_request":
                raise self._end(attempt, Rejected(answer.message or "no reason was given"))
            if answer is not None:
                attempt.told = told_by(answer)
            tried.add(node)
            round_is_over = len(tried) == len(self._nodes)
            if answer is not None or round_is_over:
                self._closed.wait(random.uniform(*PAUSE_S))
            if self._closed.is_set():
                raise self._end(attempt, ClientClosed())
            if self._deadline(attempt) <= time.monotonic():
                raise self._end(attempt, Unavailable(attempt.told) if attempt.told else attempt.fault)
            if len(attempt.distrust) == len(self._nodes):  # to ask again would not help
                raise self._end(attempt, attempt.fault)
            if round_is_over:
                tried = {node}
            node = self._route.next_node(tried, answer.leader if answer is not None else None)

    def _try(self, node: str, payload: bytes, attempt: _Attempt) -> Reply | ErrorReply | None:
        """Ask one server once; return its answer, None if none came; note what is known then."""
        started = time.monotonic()
        deadline, growth = self._deadline(attempt), TIMEOUT_GROWTH**attempt.timeouts
        connect_until = min(deadline, started + growth * CONNECT_TIMEOUT_S)
        answer_until = min(deadline, started + growth * ANSWER_TIMEOUT_S)
        try:
            connection = self._pool.acquire(self._nodes[node].client.pair, connect_until)
        except NotSent as error:
            attempt.note(node, error)
            attempt.timeouts += time.monotonic() >= connect_until
            self._route.note_failure(node)
            return None
        except ClientClosed as closed:
            raise self._end(attempt, closed) from None
        try:
            answer = self._exchange(connection, payload, attempt, answer_until)
            attempt.note(node, None)
        except NotSent as error:
            attempt.note(node, error)
            self._route.note_failure(node)
            return None
        except Lost:
            attempt.timeouts += 1
            self._route.note_failure(node)
            self._note_unknown(attempt)
            return None
        if isinstance(answer, ErrorReply) and answer.outcome == "unknown":
            self._note_unknown(attempt)
        return answer

    def _exchange(
        self, connection: ServerConnection, payload: bytes, attempt: _Attempt, until: float
    ) -> Reply | ErrorReply:
        """Send and receive, and leave the connection in the pool or closed; raise `NotSent` or `Lost`."""
        answer: ClientReply | None = None
        attempt.in_flight = attempt.changes_something
        try:
            answer = connection.exchange(payload, attempt.request_id, until)
        finally:
            if answer is not None and answer.id:
                self._pool.release(connection)
            else:
                self._pool.discard(connection)
        if not isinstance(answer, Reply | ErrorReply):
            raise Lost("the server sent a reply of another kind, which was not asked for")
        if isinstance(answer, Reply) and not answers(attempt.request, answer):
            raise Lost("the server sent a reply without what was asked for")
        return answer

    def _deadline(self, attempt: _Attempt) -> float:
        return attempt.started + (self._patience_s if attempt.may_be_done else self._timeout_s)

    def _note_unknown(self, attempt: _Attempt) -> None:
        if attempt.changes_something and not attempt.may_be_done:
            attempt.may_be_done = True
            if self._on_unknown is not None:
                self._on_unknown(attempt.request_id)

    def _end(self, attempt: _Attempt, certain: Exception) -> Exception:
        """Return the exception to raise without a receipt: `certain` if the request is certainly not done."""
        return OutcomeUnknown(attempt.request_id) if attempt.may_be_done else certain


@dataclass
class _Attempt:
    """What is known of one request while it is tried."""

    request: Command | Read
    started: float = field(default_factory=time.monotonic)
    may_be_done: bool = False
    in_flight: bool = False  # a try was sent and is not answered yet
    timeouts: int = 0  # tries that timed out or whose connection broke
    distrust: dict[str, NotTrusted] = field(default_factory=dict)  # by server, since its last other result
    told: str = ""  # by the last server that answered: why it takes no requests at present

    @property
    def request_id(self) -> str:
        """The id under which it is repeated."""
        return self.request.id

    @property
    def changes_something(self) -> bool:
        """False for a read, whose outcome is never unknown."""
        return not isinstance(self.request, Read)

    @property
    def fault(self) -> NotAllowed | Unavailable:
        """What to raise if it is certainly not done."""
        return fault_of(self.distrust)

    def note(self, node: str, error: NotSent | None) -> None:
        """Note that a try at `node` failed so, or failed otherwise or succeeded."""
        self.distrust.pop(node, None)
        if isinstance(error, NotTrusted):
            self.distrust[node] = error
