"""Sends requests to one server after another until they are answered, for threads.

What is decided is in attempt.py and pipeline.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from threading import Event
from typing import TYPE_CHECKING

from atm.client.attempt import Attempt, CameOf, Pause, Retrying, Try
from atm.client.connection import Lost, NotSent, Pool, ServerConnection
from atm.client.errors import ClientClosed
from atm.client.pipeline import Answer_co, Asking, PipelinedAttempt, TryMany
from atm.client.receipt import Receipt
from atm.ledger.commands import Command, Read
from atm.wire.client_messages import ClientReply

if TYPE_CHECKING:
    from atm.tls.credentials import Credentials


class RetryingSender:
    """Sends requests until one server answers each; safe to use from many threads."""

    def __init__(self, retrying: Retrying, credentials: Credentials | None) -> None:
        self._retrying = retrying
        self._pool = Pool(credentials)
        self._closed = Event()

    @property
    def closed(self) -> bool:
        """Whether `close` was called."""
        return self._retrying.closed

    def close(self) -> None:
        """Close all connections; a request in another thread ends at once."""
        self._retrying.closed = True
        self._closed.set()
        self._pool.close()

    def send(self, request: Command | Read) -> Receipt:
        """Return the decision; raise `OutcomeUnknown`, `Interrupted`, or a fault that means not done."""
        return self._carry_out(Attempt(self._retrying, request))

    def send_all(self, requests: Sequence[Command | Read]) -> list[Receipt]:
        """Return the receipts in the order of the requests, each of which has an id of its own.

        They go on one connection at a time. Raise `Unfinished`, `Interrupted`, or a fault that means that
        nothing is done.
        """
        return self._carry_out(PipelinedAttempt(self._retrying, requests))

    def _carry_out(self, asking: Asking[Answer_co]) -> Answer_co:
        if self.closed:
            raise ClientClosed
        steps, came = asking.steps(), None
        try:
            while True:
                came = self._came_of(steps.send(came))
        except StopIteration as end:
            answer: Answer_co = end.value
            return answer
        except KeyboardInterrupt as interrupt:
            raise asking.interrupted() from interrupt

    def _came_of(self, step: Try | TryMany | Pause) -> CameOf:
        if isinstance(step, Pause):
            self.pause(step)
            return None
        return self._try(step) if isinstance(step, Try) else self._try_many(step)

    def pause(self, pause: Pause) -> None:
        """Wait."""
        self._closed.wait(pause.seconds)

    def _try(self, step: Try) -> CameOf:
        """Ask one server once, and leave the connection in the pool or closed."""
        answer: ClientReply | None = None
        try:
            connection = self._pool.acquire(step.node, step.connect_until)
        except NotSent as error:
            return error
        except ClientClosed:
            return None
        step.on_sending()
        try:
            answer = connection.exchange(step.payload, step.request_id, step.answer_until)
        except (NotSent, Lost) as error:
            return error
        finally:
            if answer is not None and answer.id:
                self._pool.release(connection)
            else:
                self._pool.discard(connection)
        return answer

    def _try_many(self, step: TryMany) -> NotSent | Lost | None:
        """Send and receive by turns, and leave the connection in the pool or closed."""
        try:
            connection = self._pool.acquire(step.node, step.connect_until)
        except NotSent as error:
            return error
        except ClientClosed:
            return None
        whole = False
        try:
            while step.attempt.bulk.is_trying:
                _exchange_some(connection, step.attempt)
            whole = True
        except (NotSent, Lost) as error:
            return error
        finally:
            if whole:
                self._pool.release(connection)
            else:
                self._pool.discard(connection)
        return None


def _exchange_some(connection: ServerConnection, attempt: PipelinedAttempt) -> None:
    """Send what may be sent, and take what comes; raise `Lost` or `NotSent`."""
    frames = attempt.bulk.next_frames()
    if frames:
        try:
            connection.send(frames, attempt.answer_until_s())
        except NotSent as error:  # the first of them may have arrived
            raise Lost(str(error)) from error
    attempt.take(list(map(connection.decoded, connection.receive(attempt.answer_until_s()))))
