"""Sends a request to one server after another until it is answered, for asyncio (decisions: attempt.py).

Connections are those of threads. To dial one (to find a name's address, the TLS handshake) takes one of a few
threads for its time; what is sent and received on it is awaited.
"""

from __future__ import annotations

import asyncio
import contextlib
from concurrent.futures import Future, ThreadPoolExecutor

from atm.client.attempt import Attempt, CameOf, Pause, Retrying, Try
from atm.client.connection import PIECE_BYTES, Lost, NotSent, Pool, ServerConnection
from atm.client.errors import ClientClosed
from atm.client.receipt import Receipt
from atm.ledger.commands import Command, Read
from atm.tls.credentials import Credentials
from atm.wire.client_messages import ClientReply
from atm.wire.framing import frame

UNDER_WAY_MAX = 64  # requests of one client; the others wait, and their time has not begun
DIALLING_MAX = 8


class AsyncSender:
    """Sends requests until one server answers each; for the tasks of one event loop."""

    def __init__(self, retrying: Retrying, credentials: Credentials | None) -> None:
        self._retrying = retrying
        self._pool = Pool(credentials, {node.client.pair: node.name for node in retrying.nodes.values()})
        self._dialling = ThreadPoolExecutor(DIALLING_MAX, thread_name_prefix="dial")
        self._places = asyncio.Semaphore(UNDER_WAY_MAX)
        self._closed = asyncio.Event()

    @property
    def closed(self) -> bool:
        """Whether `close` was called."""
        return self._retrying.closed

    def close(self) -> None:
        """Close all connections; a request in another task ends at once."""
        self._retrying.closed = True
        self._closed.set()
        self._pool.close()
        self._dialling.shutdown(wait=False)

    async def send(self, request: Command | Read) -> Receipt:
        """Return the decision; raise `OutcomeUnknown`, or a fault that means not done."""
        async with self._places:
            if self.closed:
                raise ClientClosed
            attempt = Attempt(self._retrying, request)
            steps = attempt.steps()
            try:
                came: CameOf = None
                while True:
                    step = steps.send(came)
                    if isinstance(step, Pause):
                        await self._pause(step)
                        came = None
                    else:
                        came = await self._try(step, attempt)
            except StopIteration as end:
                receipt: Receipt = end.value
                return receipt
            except asyncio.CancelledError:
                attempt.note_given_up()
                raise

    async def _pause(self, pause: Pause) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(pause.seconds):
                await self._closed.wait()

    async def _try(self, step: Try, attempt: Attempt) -> CameOf:
        """Ask one server once, and leave the connection in the pool or closed."""
        answer: ClientReply | None = None
        try:
            connection = self._pool.take(await self._connection(step))
        except NotSent as error:
            return error
        except ClientClosed:
            return None
        attempt.note_sending()
        try:
            answer = await _exchange(connection, step)
        except (NotSent, Lost) as error:
            return error
        finally:
            if answer is not None and answer.id:
                self._pool.release(connection)
            else:
                self._pool.discard(connection)
        return answer

    async def _connection(self, step: Try) -> ServerConnection:
        pair = step.node.client.pair
        idle = self._pool.reuse(pair)
        if idle is not None:
            return idle
        dial = self._dialling.submit(self._pool.connect, pair, step.connect_until)
        try:
            return await asyncio.wrap_future(dial)
        except asyncio.CancelledError:
            dial.add_done_callback(_close_unused)
            raise


async def _exchange(connection: ServerConnection, step: Try) -> ClientReply:
    """Do as `ServerConnection.exchange`."""
    loop, sock = asyncio.get_running_loop(), connection.socket
    sock.setblocking(False)
    try:
        async with asyncio.timeout_at(step.answer_until):  # a loop's time is the monotonic clock
            try:
                await loop.sock_sendall(sock, connection.encrypted(frame(step.payload)))
            except OSError as error:  # a time-out is none here: all may be sent when it comes
                raise NotSent(str(error)) from error
            received: bytes | None = None
            while received is None:
                received = connection.payload_in(await loop.sock_recv(sock, PIECE_BYTES))
    except OSError as error:
        raise Lost(str(error)) from error
    return connection.answer_in(received, step.request_id)


def _close_unused(dial: Future[ServerConnection]) -> None:
    """Close a connection that nobody waits for any more."""
    if not dial.cancelled() and dial.exception() is None:
        dial.result().close()
