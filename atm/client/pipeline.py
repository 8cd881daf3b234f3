"""Asks many requests at once, at one server after another, until each has its reply."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from threading import Event

from atm.client.bulk import Bulk
from atm.client.connection import Lost, NotSent, NotTrusted, Pool, ServerConnection
from atm.client.each_node import fault_of
from atm.client.errors import ClientClosed, Interrupted, Rejected, Unavailable, Unfinished
from atm.client.receipt import Receipt
from atm.client.retrying import ANSWER_TIMEOUT_S, CONNECT_TIMEOUT_S, PAUSE_S, TIMEOUT_GROWTH
from atm.client.route import Route
from atm.config import NodeConfig
from atm.ledger.commands import Command, Read
from atm.tls.credentials import Credentials

GROWN_MAX = 10  # how often the time that a server gets grows


class PipelinedSender:
    """Sends many requests on one connection at a time; safe to use from many threads.

    It gives up once no reply has come for `timeout_s`, or for `patience_s` if a request may be done;
    `on_unknown` is called once with the id of each that may be, in the calling thread.
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

    def close(self) -> None:
        """Close all connections; requests in another thread end at once."""
        self._closed.set()
        self._pool.close()

    def send_all(self, requests: Sequence[Command | Read]) -> list[Receipt]:
        """Return the receipts in the order of the requests, each of which has an id of its own.

        Raise `Unfinished`, `Interrupted`, or a fault that means that nothing is done.
        """
        if self._closed.is_set():
            raise ClientClosed
        run = _Run(Bulk(requests))
        try:
            self._ask_until_answered(run)
        except KeyboardInterrupt as interrupt:
            raise Interrupted(requests[0].id, may_be_done=run.bulk.may_be_done) from interrupt
        return [Receipt.of(run.bulk.replies[request.id]) for request in requests]

    def _ask_until_answered(self, run: _Run) -> None:
        """Ask one server after another, and the same one again as long as it replies to some."""
        bulk = run.bulk
        node, tried = self._route.current, set[str]()
        while self._try(node, run):
            tried = set() if run.had_replies else {*tried, node}
            round_is_over = len(tried) == len(self._nodes)
            if bulk.was_refused or round_is_over:
                self._closed.wait(random.uniform(*PAUSE_S))
            if self._closed.is_set():
                raise self._end(bulk, ClientClosed())
            if len(run.distrust) == len(self._nodes):  # to ask again would not help
                raise self._end(bulk, fault_of(run.distrust))
            if self._deadline_s(run) <= time.monotonic():
                raise self._end(bulk, Unavailable(bulk.told) if bulk.told else fault_of(run.distrust))
            if round_is_over:
                tried = {node}
            node = self._route.next_node(tried, bulk.leader) if tried else self._route.current
        if bulk.rejected:
            raise self._end(bulk, Rejected(next(iter(bulk.rejected.values()))))

    def _try(self, node: str, run: _Run) -> bool:
        """Ask one server for all that have no reply; return whether any still has none."""
        bulk = run.bulk
        replies_before, started_s = len(bulk.replies), time.monotonic()
        connect_until_s = min(self._deadline_s(run), started_s + run.growth * CONNECT_TIMEOUT_S)
        bulk.begin_try()
        nothing_taken = False
        fault: Exception | None = None
        try:
            connection = self._pool.acquire(self._nodes[node].client.pair, connect_until_s)
            self._exchange(connection, run)
        except NotSent as error:
            nothing_taken, fault = True, error
        except Lost as error:
            fault = error
        except ClientClosed:
            pass  # it is seen by who called
        run.had_replies = len(bulk.replies) > replies_before
        run.note(node, fault)
        if run.had_replies:
            self._route.note_answer(node, bulk.leader)
        if fault is not None:
            self._route.note_failure(node)
        for request_id in bulk.end_try(none_was_taken=nothing_taken):
            if self._on_unknown is not None:
                self._on_unknown(request_id)
        return bool(bulk.waiting)

    def _exchange(self, connection: ServerConnection, run: _Run) -> None:
        """Send and receive by turns; leave the connection in the pool or closed.

        Raise `NotSent` or `Lost`.
        """
        bulk, whole = run.bulk, False
        try:
            while bulk.is_trying:
                frames = bulk.next_frames()
                if frames:
                    _send(connection, frames, self._answer_until_s(run))
                had = len(bulk.replies)
                for payload in connection.receive(self._answer_until_s(run)):
                    bulk.take(connection.decoded(payload))
                if len(bulk.replies) > had:
                    run.progress_s = time.monotonic()
            whole = True
        finally:
            if whole:
                self._pool.release(connection)
            else:
                self._pool.discard(connection)

    def _answer_until_s(self, run: _Run) -> float:
        return min(self._deadline_s(run), time.monotonic() + run.growth * ANSWER_TIMEOUT_S)

    def _deadline_s(self, run: _Run) -> float:
        return run.progress_s + (self._patience_s if run.bulk.unknown else self._timeout_s)

    def _end(self, bulk: Bulk, certain: Exception) -> Exception:
        """Return the exception to raise: `certain` if no request is done."""
        if not bulk.changed_something:
            return certain
        receipts = {request_id: Receipt.of(reply) for request_id, reply in bulk.replies.items()}
        return Unfinished(receipts, tuple(bulk.unknown), bulk.not_done, str(certain))


@dataclass
class _Run:
    """What is known of one call while its requests are asked."""

    bulk: Bulk
    progress_s: float = field(default_factory=time.monotonic)  # when it began, or the last reply came
    timeouts: int = 0  # tries since then that got nothing
    had_replies: bool = False  # in the last try
    distrust: dict[str, NotTrusted] = field(default_factory=dict)  # by server, since its last other result

    @property
    def growth(self) -> float:
        """By which a server gets more time than at first."""
        return TIMEOUT_GROWTH ** min(self.timeouts, GROWN_MAX)

    def note(self, node: str, fault: Exception | None) -> None:
        """Note that the last try, at `node`, ended so."""
        self.distrust.pop(node, None)
        if isinstance(fault, NotTrusted):
            self.distrust[node] = fault
        self.timeouts = 0 if self.had_replies else self.timeouts + (fault is not None)


def _send(connection: ServerConnection, frames: bytes, until_s: float) -> None:
    """Send the frames; raise `Lost`: the first of them may have arrived."""
    try:
        connection.send(frames, until_s)
    except NotSent as error:
        raise Lost(str(error)) from error
