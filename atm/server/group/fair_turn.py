"""Which of the commands that wait are proposed next: some of each connection, so that none starves others."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

from atm.server.group.inbox import PendingRequest, ReplyChannel

SHARE = 16  # commands of one connection in a turn
SHARE_ALONE = 512  # of one that is the only one: a round of replication costs the same for all of them
ALONE_S = 1.0  # for so long no other connection had a command
FORWARDED_SHARE = 512  # of another server, which has many clients
SEEN_MAX = 4_096  # commands that are looked at for one turn


class FairTurns:
    """Whose turn it is; and since when one connection is alone."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._last: ReplyChannel | None = None  # of the last command; kept, or another could get its `id`
        self._shared_s = -math.inf  # when there was more than one

    def next_turn(
        self, waiting: Sequence[PendingRequest]
    ) -> tuple[list[PendingRequest], list[PendingRequest]]:
        """Return the commands whose turn it is, and the rest, both in the order of arrival."""
        connections = {id(pending.channel): pending.channel for pending in waiting[:SEEN_MAX]}
        share = SHARE_ALONE if self._is_alone(connections) else SHARE
        if len(waiting) <= share:
            return list(waiting), []
        counts = dict.fromkeys(connections, 0)
        turn: list[PendingRequest] = []
        rest: list[PendingRequest] = []
        for pending in waiting[:SEEN_MAX]:
            connection = id(pending.channel)
            count = counts[connection]
            if count < (FORWARDED_SHARE if pending.forwarded else share):
                counts[connection] = count + 1
                turn.append(pending)
            else:
                rest.append(pending)
        return turn, [*rest, *waiting[SEEN_MAX:]]

    def _is_alone(self, connections: Mapping[int, ReplyChannel]) -> bool:
        """Return whether these are one connection, and there was no other for some time."""
        if not connections:
            return False
        is_another = self._last is not None and id(self._last) not in connections
        if is_another or len(connections) > 1:
            self._shared_s = self._clock()
        self._last = next(iter(connections.values()))
        return self._clock() - self._shared_s >= ALONE_S
