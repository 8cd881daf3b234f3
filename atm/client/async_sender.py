"""Sends requests to one server after another until they are answered, for asyncio.

What is decided is in attempt.py and pipeline.py. Connections are those of threads. To dial one (to find a
name's address, the TLS handshake) takes one of a few threads for its time; what is sent and received on it is
awaited.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING

from atm.client.attempt import Attempt, CameOf, Pause, Retrying, Try
from atm.client.connection import PIECE_BYTES, Lost, NotSent, Pool, ServerConnection, only_one
from atm.client.errors import ClientClosed
from atm.client.pipeline import Answer_co, Asking, PipelinedAttempt, TryMany
from atm.client.receipt import Receipt
from atm.config import NodeConfig
from atm.ledger.commands import Command, Read
from atm.wire.client_messages import ClientReply
from atm.wire.framing import frame

if TYPE_CHECKING:
    from atm.tls.credentials import Credentials

UNDER_WAY_MAX = 64  # requests of one client; the others wait, and their time has not begun
DIALLING_MAX = 8


class AsyncSender:
    """Sends requests until one server answers each; for the tasks of one event loop."""

    def __init__(self, retrying: Retrying, credentials: Credentials | None) -> None:
        self._retrying = retrying
        self._pool = Pool(credentials)
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
        return await self._carry_out(Attempt(self._retrying, request))

    async def send_all(self, requests: Sequence[Command | Read]) -> list[Receipt]:
        """Return the receipts in the order of the requests, each of which has an id of its own.

        They go on one connection at a time. Raise `Unfinished`, or a fault that means that nothing is done.
        """
        return await self._carry_out(PipelinedAttempt(self._retrying, requests))

    async def _carry_out(self, asking: Asking[Answer_co]) -> Answer_co:
        async with self._places:
            if self.closed:
                raise ClientClosed
            steps, came = asking.steps(), None
            try:
                while True:
                    came = await self._came_of(steps.send(came))
            except StopIteration as end:
                answer: Answer_co = end.value
                return answer
            except asyncio.CancelledError:
                asking.note_given_up()
                raise

    async def _came_of(self, step: Try | TryMany | Pause) -> CameOf:
        if isinstance(step, Pause):
            await self.pause(step)
            return None
        return await (self._try(step) if isinstance(step, Try) else self._try_many(step))

    async def pause(self, pause: Pause) -> None:
        """Wait."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(pause.seconds):
                await self._closed.wait()

    async def _try(self, step: Try) -> CameOf:
        """Ask one server once, and leave the connection in the pool or closed."""
        answer: ClientReply | None = None
        try:
            connection = self._pool.take(await self._connection(step.node, step.connect_until))
        except NotSent as error:
            return error
        except ClientClosed:
            return None
        step.on_sending()
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

    async def _try_many(self, step: TryMany) -> NotSent | Lost | None:
        """Send and receive by turns, and leave the connection in the pool or closed."""
        try:
            connection = self._pool.take(await self._connection(step.node, step.connect_until))
        except NotSent as error:
            return error
        except ClientClosed:
            return None
        whole = False
        try:
            while step.attempt.bulk.is_trying:
                await _exchange_some(connection, step.attempt)
            whole = True
        except (NotSent, Lost) as error:
            return error
        finally:
            if whole:
                self._pool.release(connection)
            else:
                self._pool.discard(connection)
        return None

    async def _connection(self, node: NodeConfig, until: float) -> ServerConnection:
        """Return an idle connection or a new one; raise `NotSent` or `ClientClosed`."""
        idle = self._pool.reuse(node)
        if idle is not None:
            return idle
        dial = self._dialling.submit(self._pool.connect, node, until)
        try:
            return await asyncio.wrap_future(dial)
        except asyncio.CancelledError:
            dial.add_done_callback(_close_unused)
            raise


async def _exchange(connection: ServerConnection, step: Try) -> ClientReply:
    """Do as `ServerConnection.exchange`."""
    await _send(connection, frame(step.payload), step.answer_until)
    return connection.answer_in(only_one(await _receive(connection, step.answer_until)), step.request_id)


async def _exchange_some(connection: ServerConnection, attempt: PipelinedAttempt) -> None:
    """Send what may be sent, and take what comes; raise `Lost` or `NotSent`."""
    frames = attempt.bulk.next_frames()
    if frames:
        try:
            await _send(connection, frames, attempt.answer_until_s())
        except NotSent as error:  # the first of them may have arrived
            raise Lost(str(error)) from error
    attempt.take(list(map(connection.decoded, await _receive(connection, attempt.answer_until_s()))))


async def _send(connection: ServerConnection, data: bytes, until: float) -> None:
    """Send all of it; raise `NotSent` if the end of it was not, `Lost` if that is not known."""
    try:
        async with asyncio.timeout_at(until):  # a loop's time is that of time.monotonic
            await _loop(connection).sock_sendall(connection.socket, connection.encrypted(data))
    except TimeoutError as error:  # all may have been sent just then
        raise Lost(str(error)) from error
    except OSError as error:
        raise NotSent(str(error)) from error


async def _receive(connection: ServerConnection, until: float) -> list[bytes]:
    """Wait for frames and return the payloads of those that have come, at least one; raise `Lost`."""
    payloads: list[bytes] = []
    try:
        async with asyncio.timeout_at(until):
            while not payloads:
                payloads = connection.payloads_in(
                    await _loop(connection).sock_recv(connection.socket, PIECE_BYTES)
                )
    except OSError as error:
        raise Lost(str(error)) from error
    return payloads


def _loop(connection: ServerConnection) -> asyncio.AbstractEventLoop:
    """Return the loop, which takes only sockets that never block."""
    connection.socket.setblocking(False)
    return asyncio.get_running_loop()


def _close_unused(dial: Future[ServerConnection]) -> None:
    """Close a connection that nobody waits for any more."""
    if not dial.cancelled() and dial.exception() is None:
        dial.result().close()
