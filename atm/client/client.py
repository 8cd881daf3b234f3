"""The client of the bank for threads: each operation is tried until it is answered."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Self, cast, overload

from atm.client.attempt import Pause
from atm.client.base import ClientBase
from atm.client.errors import ClientClosed
from atm.client.feed import POLL_S, Feed, Posted
from atm.client.pages import pages
from atm.client.receipt import Done, Receipt, Refusal
from atm.client.request_rules import READS, SUBMITTED
from atm.client.retrying import RetryingSender
from atm.ledger.commands import Command, Page, Read

if TYPE_CHECKING:
    from atm.client.node_events import EventCursor, NodeEvents
    from atm.client.node_status import ClusterStatus, NodeStatus

NO_ACCOUNT: Final = cast("str", object())  # None would be a mistake, which must not close the client


class Client(ClientBase):
    """The client of the bank; see the package's docstring. `on_unknown` is called in the calling thread."""

    def _begin(self) -> None:
        self._sender = RetryingSender(self._retrying, self._credentials)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    @overload
    def close(self) -> None: ...

    @overload
    def close(self, account: str, *, request_id: str | None = None) -> Done | Refusal: ...

    def close(self, account: str = NO_ACCOUNT, *, request_id: str | None = None) -> Done | Refusal | None:
        """Close all connections; a request in another thread ends at once.

        With an account, do as `close_account` instead.
        """
        if account is not NO_ACCOUNT:
            return self.close_account(account, request_id=request_id)
        self._sender.close()
        return None

    def ask(self, request: Command | Read) -> Receipt:
        """Send a request object, such as one that is repeated under its id."""
        return self._sender.send(self._checked(request))

    # -- many at once: a connection carries all of them, and their replies come in any order ----------

    def submit(self, commands: Iterable[Command]) -> list[Receipt]:
        """Do up to 1,000 commands that do not depend on one another; return their receipts in their order.

        Each is done once by its own id, whatever becomes of the others. `timeout` and `patience` count from
        the last reply. Raise `Unfinished` if some are done, or may be, and not all have a receipt.
        """
        return self._sender.send_all(self._together(commands, SUBMITTED))

    def read_all(self, reads: Iterable[Read]) -> list[Receipt]:
        """Ask up to 1,000 requests that only read; return their receipts in their order, or raise a fault."""
        return self._sender.send_all(self._together(reads, READS))

    def rows(self, request: Page) -> Iterator[Any]:
        """Yield the rows of this page and of all that follow it; raise `Refused`."""
        for page in pages(self.ask, request):
            yield from page.check().rows or ()

    def watch(
        self, from_index: int = 0, accounts: Collection[str] | None = None, *, after: Posted | None = None
    ) -> Iterator[Posted]:
        """Yield postings in the order of the log, without end: from a log entry on, or those `after` one.

        With `accounts`, those that move money of one of them. What is raised ends it; go on `after` the last
        one that came, at any node: none is missing and none comes twice. `FeedBroken`: another journal's.
        """
        feed = Feed(from_index, accounts, after)
        while True:
            yield from feed.take(self.ask(feed.request()))
            if feed.caught_up:
                self._sender.pause(Pause(POLL_S))

    def status(self) -> list[NodeStatus]:
        """Return the status of every node, in the file's order, within about a second."""
        return list(self.cluster_status().nodes)

    def node_events(self, node: str, after: EventCursor | None = None) -> NodeEvents:
        """Return what has happened in a node: all that it still knows, or what is new `after` a cursor.

        Raise `Unavailable` if it does not answer, `Rejected` if it is too old, `NotAllowed`, `UnknownNode`.
        """
        if self._sender.closed:
            raise ClientClosed
        # Imported here as in `cluster_status`.
        from atm.client.node_events import events_of  # noqa: PLC0415

        return events_of(self._node(node), after, credentials=self._credentials)

    def cluster_status(self) -> ClusterStatus:
        """Return the status of every node, who leads, and whether the bank is available, within 2 seconds."""
        if self._sender.closed:
            raise ClientClosed
        # Imported here because few programs ask, and it loads dataclasses.
        from atm.client.node_status import ask_all  # noqa: PLC0415

        return ask_all(self._cluster, credentials=self._credentials)
