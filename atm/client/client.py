"""A teller's end of the bank: tries, tries again, and knows what each try may have done."""

from __future__ import annotations

import math
import os
import random
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event
from types import TracebackType
from typing import Self

from msgspec import Struct

from atm.client.connection import Connection, Lost, NotSent, Pool
from atm.client.errors import (
    ClientClosed,
    Interrupted,
    OutcomeUnknown,
    Rejected,
    Unavailable,
    UnknownNode,
)
from atm.client.node_status import NodeStatus, ask_all
from atm.client.request_rules import check_request
from atm.client.route import Route
from atm.config import Cluster, load
from atm.ledger.commands import Command, Credit, Debit, Open, Outcome, Query
from atm.wire.serializer import Answer, Fault, StatusAnswer, TellerAnswer, encode

CONNECT_TIMEOUT_S = 0.3  # the first try's; doubled with each try that gave no answer
ANSWER_TIMEOUT_S = 1.0  # likewise: a stopped server takes connections and never answers
TIMEOUT_GROWTH = 2.0
PAUSE_S = (0.02, 0.05)  # between rounds over the servers: an election takes 300 to 600 ms


class Receipt(Struct, frozen=True, kw_only=True):
    """The bank's decision; `outcome` compares equal to its text, such as "ok".

    `balance` (in the ledger) and `available` are in minor units, right after the decision, or None if
    there is no such account. `reference` is the decision's log index and `time_us` its time stamp
    (microseconds since 1970); both are 0 for a query.
    """

    request_id: str
    outcome: Outcome
    balance: int | None
    available: int | None
    reference: int
    time_us: int


def new_request_id() -> str:
    """Return an id that nobody else has; ids rise with time, so that ledgers insert them in order."""
    return f"{time.time_ns() // 1_000_000:012x}{secrets.token_hex(10)}"


class Client:
    """A teller's end of the bank; see the module's page.

    Each request is tried until `timeout` seconds have passed, at one server after another if need be.
    Once it may have been done, it is tried for `patience` seconds in all (`timeout` unless given), and
    `on_unknown` is called once with its id, from the thread that asked.
    """

    def __init__(
        self,
        cluster: Cluster | str | os.PathLike[str],
        node: str | None = None,
        timeout: float = 5.0,
        *,
        patience: float | None = None,
        on_unknown: Callable[[str], None] | None = None,
    ) -> None:
        """Raise `ConfigError` for a wrong file, `UnknownNode`, or `ValueError` for a wrong timeout."""
        self._cluster = cluster if isinstance(cluster, Cluster) else load(Path(cluster))
        if node is not None and node not in self._cluster.nodes:
            names = ", ".join(self._cluster.nodes)
            raise UnknownNode(f"{self._cluster.path} has no node {node}: the nodes are {names}")
        self._timeout_s = _checked_seconds(timeout)
        self._patience_s = max(self._timeout_s, 0 if patience is None else _checked_seconds(patience))
        self._on_unknown = on_unknown
        self._route = Route(list(self._cluster.nodes), node)
        self._pool = Pool()
        self._closed = Event()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close all connections; a request under way in another thread ends at once."""
        self._closed.set()
        self._pool.close()

    # -- the bank's operations ---------------------------------------------------------------------

    def open(self, account: str, *, request_id: str | None = None) -> Receipt:
        """Open an account: "ok", or "exists"."""
        return self.ask(Open(id=_id_or_new(request_id), account=account))

    def credit(self, account: str, amount: int, *, request_id: str | None = None) -> Receipt:
        """Pay `amount` minor units into an account: "ok", "no_such_account", "limit_exceeded"."""
        return self.ask(Credit(id=_id_or_new(request_id), account=account, amount=amount))

    def debit(self, account: str, amount: int, *, request_id: str | None = None) -> Receipt:
        """Pay `amount` minor units out of an account: "ok", "insufficient_funds", "no_such_account"."""
        return self.ask(Debit(id=_id_or_new(request_id), account=account, amount=amount))

    def query(self, account: str, *, request_id: str | None = None) -> Receipt:
        """Return the balance, with every change that was acknowledged before: "ok", "no_such_account"."""
        return self.ask(Query(id=_id_or_new(request_id), account=account))

    def ask(self, request: Command | Query) -> Receipt:
        """Send a request that was made before, such as one that is repeated under its id."""
        check_request(request)
        if self._closed.is_set():
            raise ClientClosed
        course = _Course(request.id, changes_something=not isinstance(request, Query))
        try:
            answer = self._ask_until_answered(encode(request), course)
        except KeyboardInterrupt as interrupt:
            raise Interrupted(request.id, may_be_done=course.may_be_done or course.in_flight) from interrupt
        return Receipt(
            request_id=request.id,
            outcome=answer.outcome,
            balance=answer.balance,
            available=answer.available,
            reference=answer.reference,
            time_us=answer.time_us,
        )

    def status(self) -> list[NodeStatus]:
        """Ask every node of the cluster how it is, in the file's order; takes about a second at most."""
        if self._closed.is_set():
            raise ClientClosed
        return ask_all(self._cluster, new_request_id())

    # -- trying and trying again -------------------------------------------------------------------

    def _ask_until_answered(self, payload: bytes, course: _Course) -> Answer:
        """Ask one server after another; a pause follows each refusal and each round over all of them."""
        node, tried = self._route.current, set[str]()
        while True:
            answer = self._try(node, payload, course)
            course.in_flight = False
            if isinstance(answer, Answer):
                self._route.answered(node, answer.leader)
                return answer
            if answer is not None and answer.outcome == "bad_request":
                raise self._end(course, Rejected(answer.message or "it gives no reason"))
            tried.add(node)
            round_is_over = len(tried) == len(self._cluster.nodes)
            if answer is not None or round_is_over:
                self._closed.wait(random.uniform(*PAUSE_S))
            if self._closed.is_set():
                raise self._end(course, ClientClosed())
            if self._deadline(course) <= time.monotonic():
                raise self._end(course, Unavailable())
            if round_is_over:
                tried = {node}
            node = self._route.other(tried, answer.leader if answer is not None else None)

    def _try(self, node: str, payload: bytes, course: _Course) -> Answer | Fault | None:
        """Ask one server once; return its answer, or None if none came, and note what that means."""
        started = time.monotonic()
        deadline, growth = self._deadline(course), TIMEOUT_GROWTH**course.silences
        connect_until = min(deadline, started + growth * CONNECT_TIMEOUT_S)
        answer_until = min(deadline, started + growth * ANSWER_TIMEOUT_S)
        try:
            connection = self._pool.take(self._cluster.nodes[node].client.pair, connect_until)
        except NotSent:
            course.silences += time.monotonic() >= connect_until
            self._route.failed(node)
            return None
        except ClientClosed as closed:
            raise self._end(course, closed) from None
        try:
            answer = self._exchange(connection, payload, course, answer_until)
        except NotSent:
            self._route.failed(node)
            return None
        except Lost:
            course.silences += 1
            self._route.failed(node)
            self._note_unknown(course)
            return None
        if isinstance(answer, Fault) and answer.outcome == "unknown":
            self._note_unknown(course)
        return answer

    def _exchange(
        self, connection: Connection, payload: bytes, course: _Course, until: float
    ) -> Answer | Fault:
        """Send and receive, and leave the connection in the pool or closed; raise `NotSent` or `Lost`."""
        answer: TellerAnswer | None = None
        course.in_flight = course.changes_something
        try:
            answer = connection.exchange(payload, course.request_id, until)
        finally:
            if answer is not None and answer.id:
                self._pool.give_back(connection)
            else:
                self._pool.discard(connection)
        if isinstance(answer, StatusAnswer):
            raise Lost("the server told its status, which was not asked for")
        return answer

    def _deadline(self, course: _Course) -> float:
        return course.started + (self._patience_s if course.may_be_done else self._timeout_s)

    def _note_unknown(self, course: _Course) -> None:
        if course.changes_something and not course.may_be_done:
            course.may_be_done = True
            if self._on_unknown is not None:
                self._on_unknown(course.request_id)

    def _end(self, course: _Course, certain: Exception) -> Exception:
        """Return what to raise when no receipt came: `certain` only if the request is not done."""
        return OutcomeUnknown(course.request_id) if course.may_be_done else certain


@dataclass
class _Course:
    """What is known of one request while it is tried."""

    request_id: str
    changes_something: bool  # a query does not, so its end is never unknown
    started: float = field(default_factory=time.monotonic)
    may_be_done: bool = False
    in_flight: bool = False  # a try is under way and may have arrived
    silences: int = 0  # tries that ran into their time limit or broke


def _id_or_new(request_id: str | None) -> str:
    return new_request_id() if request_id is None else request_id


def _checked_seconds(seconds: float) -> float:
    if not 0 < seconds < math.inf:
        raise ValueError(f"A timeout is a number of seconds above 0, not {seconds}")
    return seconds
