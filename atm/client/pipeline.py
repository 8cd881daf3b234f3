"""What to do next until each of many requests has its reply: as attempt.py, of which this takes the place."""

from __future__ import annotations

import random
import time
from collections.abc import Generator, Sequence
from typing import Protocol, TypeVar

from msgspec import Struct

from atm.client.attempt import (
    ANSWER_TIMEOUT_S,
    CONNECT_TIMEOUT_S,
    PAUSE_S,
    CameOf,
    Pause,
    Retrying,
    Try,
    growth_after,
    learn_members,
)
from atm.client.bulk import Bulk
from atm.client.connection import Lost, NotSent, NotTrusted
from atm.client.each_node import fault_of
from atm.client.errors import ClientClosed, Interrupted, Rejected, Unavailable, Unfinished
from atm.client.receipt import Receipt
from atm.config import NodeConfig
from atm.ledger.commands import Command, Read
from atm.wire.client_messages import ClientReply

Answer_co = TypeVar("Answer_co", covariant=True)


class PipelinedAttempt:
    """Requests, each with an id of its own, while they are tried.

    It gives up once no reply has come for `timeout_s`, or for `patience_s` if a request may be done;
    `on_unknown` is called once with the id of each that may be.
    """

    def __init__(self, retrying: Retrying, requests: Sequence[Command | Read]) -> None:
        self.retrying = retrying
        self.requests = requests
        self.bulk = Bulk(requests)
        self.progress_s = time.monotonic()  # when it began, or the last reply came
        self.timeouts = 0  # tries since then that got nothing
        self.had_replies = False  # in the last try
        self.distrust: dict[str, NotTrusted] = {}  # by server, since its last other result

    def steps(self) -> Generator[Try | TryMany | Pause, CameOf, list[Receipt]]:
        """Ask one server after another, and the same one again as long as it replies to some.

        Raise `Unfinished`, or a fault that means that nothing is done.
        """
        bulk, route = self.bulk, self.retrying.route
        yield from learn_members(route, self._deadline_s())
        node, tried = route.current, set[str]()
        while self._end_try(step := self._begin_try(node), (yield step)):
            tried = set() if self.had_replies else {*tried, node.name}
            round_is_over = tried.issuperset(route.nodes)
            if bulk.was_refused or round_is_over:
                yield Pause(random.uniform(*PAUSE_S))
            if self.retrying.closed:
                raise self._end(ClientClosed())
            if self.distrust.keys() >= route.nodes.keys():  # to ask again would not help
                raise self._end(fault_of(self.distrust))
            if self._deadline_s() <= time.monotonic():
                raise self._end(Unavailable(bulk.told) if bulk.told else fault_of(self.distrust))
            if round_is_over:
                tried = {node.name}
            node = route.next_node(tried, bulk.leader) if tried else route.current
        if bulk.rejected:
            raise self._end(Rejected(next(iter(bulk.rejected.values()))))
        return [bulk.replies[request.id] for request in self.requests]

    def answer_until_s(self) -> float:
        """Return until when something must be sent, or come."""
        return min(self._deadline_s(), time.monotonic() + growth_after(self.timeouts) * ANSWER_TIMEOUT_S)

    def take(self, answers: Sequence[ClientReply]) -> None:
        """Take what has come; raise `Lost` or `NotSent`."""
        had = len(self.bulk.replies)
        for answer in answers:
            self.bulk.take(answer)
        if len(self.bulk.replies) > had:
            self.progress_s = time.monotonic()

    def note_given_up(self) -> None:
        """Note that nobody waits for the answers any more."""
        self._tell_unknown(self.bulk.end_try())

    def interrupted(self) -> Interrupted:
        """Return what to raise at Ctrl-C."""
        return Interrupted(self.requests[0].id, may_be_done=self.bulk.may_be_done)

    def _begin_try(self, node: NodeConfig) -> TryMany:
        self.bulk.begin_try()
        until_s = min(self._deadline_s(), time.monotonic() + growth_after(self.timeouts) * CONNECT_TIMEOUT_S)
        return TryMany(self, node, until_s, len(self.bulk.replies))

    def _end_try(self, step: TryMany, came: CameOf) -> bool:
        """Note what is known after a try; return whether any request has no reply."""
        node, fault = step.node.name, came if isinstance(came, NotSent | Lost) else None
        self.had_replies = len(self.bulk.replies) > step.replies_before
        self.distrust.pop(node, None)
        if isinstance(fault, NotTrusted):
            self.distrust[node] = fault
        self.timeouts = 0 if self.had_replies else self.timeouts + (fault is not None)
        if self.had_replies:
            self.retrying.route.note_answer(node, self.bulk.leader)
        if fault is not None:
            self.retrying.route.note_failure(node)
        self._tell_unknown(self.bulk.end_try(none_was_taken=isinstance(fault, NotSent)))
        return bool(self.bulk.waiting)

    def _tell_unknown(self, request_ids: Sequence[str]) -> None:
        if self.retrying.on_unknown is not None:
            for request_id in request_ids:
                self.retrying.on_unknown(request_id)

    def _deadline_s(self) -> float:
        retrying = self.retrying
        return self.progress_s + (retrying.patience_s if self.bulk.unknown else retrying.timeout_s)

    def _end(self, certain: Exception) -> Exception:
        """Return the exception to raise: `certain` if no request is done."""
        bulk = self.bulk
        if not bulk.changed_something:
            return certain
        return Unfinished(bulk.replies, tuple(bulk.unknown), bulk.not_done, str(certain))


class TryMany(Struct, frozen=True):
    """Ask a server for all that have no reply: send and take by turns while the bulk `is_trying`."""

    attempt: PipelinedAttempt
    node: NodeConfig
    connect_until: float
    replies_before: int


class Asking(Protocol[Answer_co]):
    """What a sender carries out: an `Attempt` or a `PipelinedAttempt`."""

    def steps(self) -> Generator[Try | TryMany | Pause, CameOf, Answer_co]: ...
    def note_given_up(self) -> None: ...
    def interrupted(self) -> Interrupted: ...
