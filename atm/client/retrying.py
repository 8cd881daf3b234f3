"""Sends a request to one server after another until it is answered, for threads (decisions: attempt.py)."""

from __future__ import annotations

from threading import Event

from atm.client.attempt import Attempt, CameOf, Pause, Retrying, Try
from atm.client.connection import Lost, NotSent, Pool
from atm.client.errors import ClientClosed, Interrupted
from atm.client.receipt import Receipt
from atm.ledger.commands import Command, Read
from atm.tls.credentials import Credentials
from atm.wire.client_messages import ClientReply


class RetryingSender:
    """Sends requests until one server answers each; safe to use from many threads."""

    def __init__(self, retrying: Retrying, credentials: Credentials | None) -> None:
        self._retrying = retrying
        self._pool = Pool(credentials, {node.client.pair: node.name for node in retrying.nodes.values()})
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
        if self.closed:
            raise ClientClosed
        attempt = Attempt(self._retrying, request)
        steps = attempt.steps()
        try:
            came: CameOf = None
            while True:
                step = steps.send(came)
                if isinstance(step, Pause):
                    self._closed.wait(step.seconds)
                    came = None
                else:
                    came = self._try(step, attempt)
        except StopIteration as end:
            receipt: Receipt = end.value
            return receipt
        except KeyboardInterrupt as interrupt:
            raise Interrupted(request.id, may_be_done=attempt.may_be_done or attempt.in_flight) from interrupt

    def _try(self, step: Try, attempt: Attempt) -> CameOf:
        """Ask one server once, and leave the connection in the pool or closed."""
        answer: ClientReply | None = None
        try:
            connection = self._pool.acquire(step.node.client.pair, step.connect_until)
        except NotSent as error:
            return error
        except ClientClosed:
            return None
        attempt.note_sending()
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
