"""The client of the bank for asyncio: the operations of `Client`, awaited."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Collection, Iterable
from types import TracebackType
from typing import Any, Self, overload

from atm.client.async_sender import AsyncSender
from atm.client.attempt import Pause
from atm.client.base import ClientBase
from atm.client.client import NO_ACCOUNT
from atm.client.errors import ClientClosed
from atm.client.feed import POLL_S, Feed, Posted
from atm.client.node_events import ANSWER_S, EventCursor, NodeEvents, events_of
from atm.client.node_status import ClusterStatus, NodeStatus, ask_all
from atm.client.pages import following
from atm.client.receipt import Done, Receipt, Refusal
from atm.client.request_rules import READS, SUBMITTED
from atm.ledger.commands import Command, Page, Read


class AsyncClient(ClientBase):
    """A `Client` whose operations are awaited; for the tasks of one event loop.

    A task that is cancelled during a request leaves it done or not done: if it may be done, `on_unknown` is
    called with its id, as for every unknown outcome, and the same id can be asked again.
    """

    def _begin(self) -> None:
        self._sender = AsyncSender(self._retrying, self._credentials)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()

    @overload
    async def close(self) -> None: ...

    @overload
    async def close(self, account: str, *, request_id: str | None = None) -> Done | Refusal: ...

    async def close(
        self, account: str = NO_ACCOUNT, *, request_id: str | None = None
    ) -> Done | Refusal | None:
        """Close all connections; a request in another task ends at once.

        With an account, do as `close_account` instead.
        """
        if account is not NO_ACCOUNT:
            return await self.close_account(account, request_id=request_id)
        self.end()
        return None

    def end(self) -> None:
        """Close all connections, as `close` does: for what is no task, such as the handler of a signal."""
        self._sender.close()

    async def ask(self, request: Command | Read) -> Receipt:
        """Send a request object, such as one that is repeated under its id."""
        return await self._sender.send(self._checked(request))

    # -- many at once: a connection carries all of them, and their replies come in any order ----------

    async def submit(self, commands: Iterable[Command]) -> list[Receipt]:
        """Do up to 1,000 commands that do not depend on one another; return their receipts in their order.

        Each is done once by its own id, whatever becomes of the others. `timeout` and `patience` count from
        the last reply. Raise `Unfinished` if some are done, or may be, and not all have a receipt.
        """
        return await self._sender.send_all(self._together(commands, SUBMITTED))

    async def read_all(self, reads: Iterable[Read]) -> list[Receipt]:
        """Ask up to 1,000 requests that only read; return their receipts in their order, or raise a fault."""
        return await self._sender.send_all(self._together(reads, READS))

    async def rows(self, request: Page) -> AsyncIterator[Any]:
        """Yield the rows of this page and of all that follow it; raise `Refused`."""
        asked: Page | None = request
        while asked is not None:
            page = (await self.ask(asked)).check()
            for row in page.rows or ():
                yield row
            asked = following(asked, page)

    async def watch(
        self, from_index: int = 0, accounts: Collection[str] | None = None, *, after: Posted | None = None
    ) -> AsyncIterator[Posted]:
        """Yield postings in the order of the log, without end: from a log entry on, or those `after` one.

        With `accounts`, those that move money of one of them. What is raised ends it; go on `after` the last
        one that came, at any node: none is missing and none comes twice. `FeedBroken`: another journal's.
        """
        feed = Feed(from_index, accounts, after)
        while True:
            for posted in feed.take(await self.ask(feed.request())):
                yield posted
            if feed.caught_up:
                await self._sender.pause(Pause(POLL_S))

    async def status(self) -> list[NodeStatus]:
        """Return the status of every node, in the file's order, within about a second."""
        return list((await self.cluster_status()).nodes)

    async def node_events(
        self, node: str, after: EventCursor | None = None, *, answer_s: float = ANSWER_S
    ) -> NodeEvents:
        """Return what has happened in a node: all that it still knows, or what is new `after` a cursor.

        It takes `answer_s` at most. Raise `Unavailable` if it does not answer, `Rejected` if it is too old,
        `NotAllowed`, `UnknownNode`.
        """
        if self._sender.closed:
            raise ClientClosed
        asked = self._node(node)
        return await asyncio.to_thread(
            events_of, asked, after, answer_s=answer_s, credentials=self._credentials
        )

    async def cluster_status(self) -> ClusterStatus:
        """Return the status of every node, who leads, and whether the bank is available, within 2 seconds."""
        if self._sender.closed:
            raise ClientClosed
        return await asyncio.to_thread(ask_all, self._cluster, credentials=self._credentials)
