"""Requests without a reply yet: proposed here, reading here, or forwarded to the leader."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence

from atm.ledger.commands import Read
from atm.raft.messages import Entry, NodeId
from atm.server.group.inbox import PendingRequest
from atm.wire.peer_messages import ForwardedRequest

UNKNOWN = "it may or may not have been done: ask again with the same id"


def without_answer(pending: PendingRequest, why: str) -> tuple[str, str]:
    """Return the outcome and the message of a request that may be done, and whose answer will not come."""
    if isinstance(pending.request, Read):
        return "unavailable", why
    return "unknown", f"{why}; {UNKNOWN}"


class Proposals:
    """Commands in this node's log, found by the index *and* the term that each was proposed at.

    By the index alone, one client would get another's result when a later leader has replaced the entry.
    """

    def __init__(self) -> None:
        self._pending: dict[int, tuple[int, PendingRequest]] = {}  # by index, with the term

    def __len__(self) -> int:
        return len(self._pending)

    def add(self, first_index: int, term: int, commands: Iterable[PendingRequest]) -> list[PendingRequest]:
        """Remember commands proposed from `first_index` on; return those whose entries they replaced."""
        replaced = []
        for index, pending in enumerate(commands, first_index):
            before = self._pending.get(index)
            if before is not None:
                replaced.append(before[1])
            self._pending[index] = (term, pending)
        return replaced

    def pop(self, entry: Entry) -> tuple[bool, PendingRequest] | None:
        """Return whether a committed entry has the term that was proposed at its index, and that request."""
        found = self._pending.pop(entry.index, None)
        return None if found is None else (found[0] == entry.term, found[1])

    def pop_all_but(self, term: int | None) -> list[PendingRequest]:
        """Forget and return the requests that were proposed in another term than `term`."""
        gone = {index: pending for index, (at_term, pending) in self._pending.items() if at_term != term}
        for index in gone:
            del self._pending[index]
        return list(gone.values())


class Reads:
    """Queries that wait until the core has confirmed that this node leads; one id for each iteration."""

    def __init__(self) -> None:
        self._pending: dict[int, Sequence[PendingRequest]] = {}
        self._last_id = 0
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def add(self, queries: Sequence[PendingRequest]) -> int:
        """Remember the queries under a new id and return it."""
        self._last_id += 1
        self._pending[self._last_id] = queries
        self._count += len(queries)
        return self._last_id

    def pop(self, read_id: int) -> Sequence[PendingRequest]:
        """Forget and return the queries of this read."""
        queries = self._pending.pop(read_id, ())
        self._count -= len(queries)
        return queries

    def pop_all(self) -> list[PendingRequest]:
        """Forget and return all queries."""
        return [pending for read_id in list(self._pending) for pending in self.pop(read_id)]


class ForwardedRequests:
    """Requests forwarded to the leader, by number.

    Numbers are never used again, and `first_number` is random: a reply that was meant for an earlier process
    of this node matches no request.
    """

    def __init__(self, first_number: int) -> None:
        self._next_number = first_number
        # The oldest first, with their deadlines, and whom they were forwarded to.
        self._pending: dict[int, tuple[float, NodeId, PendingRequest]] = {}

    def __len__(self) -> int:
        return len(self._pending)

    def add(
        self, requests: Iterable[PendingRequest], to: NodeId, deadline_s: float
    ) -> list[ForwardedRequest]:
        """Remember the requests and return them as a `Forward` carries them."""
        numbered = []
        for number, pending in enumerate(requests, self._next_number):
            self._pending[number] = (deadline_s, to, pending)
            numbered.append((number, pending.actor, pending.roles, pending.payload))
        self._next_number += len(numbered)
        return numbered

    def pop(self, number: int) -> PendingRequest | None:
        """Forget and return the request with this number."""
        found = self._pending.pop(number, None)
        return None if found is None else found[2]

    def pop_expired(self, now_s: float) -> list[PendingRequest]:
        """Forget and return the requests whose deadlines have passed."""
        expired = []
        for number, (deadline_s, _, pending) in self._pending.items():
            if deadline_s > now_s:
                break
            expired.append((number, pending))
        for number, _ in expired:
            del self._pending[number]
        return [pending for _, pending in expired]

    def pop_of(self, nodes: Collection[NodeId]) -> list[PendingRequest]:
        """Forget and return the requests that were forwarded to these nodes."""
        gone = {number: pending for number, (_, to, pending) in self._pending.items() if to in nodes}
        for number in gone:
            del self._pending[number]
        return list(gone.values())

    def shorten(self, deadline_s: float) -> None:
        """Let no request wait any longer than until `deadline_s`."""
        self._pending = {
            number: (min(until_s, deadline_s), to, pending)
            for number, (until_s, to, pending) in self._pending.items()
        }

    def pop_all(self) -> list[PendingRequest]:
        """Forget and return all requests."""
        requests = [pending for _, _, pending in self._pending.values()]
        self._pending.clear()
        return requests
