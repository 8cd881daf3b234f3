"""Which of the commands that wait are proposed next: some of each connection, so that none starves others."""

from __future__ import annotations

from collections.abc import Sequence

from atm.server.group.inbox import PendingRequest

SHARE = 16  # commands of one connection in a turn
FORWARDED_SHARE = 512  # of another server, which has many clients
SEEN_MAX = 4_096  # commands that are looked at for one turn


def fair_turn(waiting: Sequence[PendingRequest]) -> tuple[list[PendingRequest], list[PendingRequest]]:
    """Return the commands whose turn it is, and the rest, both in the order of arrival."""
    if len(waiting) <= SHARE:
        return list(waiting), []
    counts: dict[int, int] = {}  # by connection
    turn: list[PendingRequest] = []
    rest: list[PendingRequest] = []
    for pending in waiting[:SEEN_MAX]:
        connection = id(pending.channel)
        count = counts.get(connection, 0)
        if count < (FORWARDED_SHARE if pending.forwarded else SHARE):
            counts[connection] = count + 1
            turn.append(pending)
        else:
            rest.append(pending)
    return turn, [*rest, *waiting[SEEN_MAX:]]
