"""Which lanes a server takes, so that each has a writer, and living servers have about as many each. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence

from msgspec import Struct


class LaneSeen(Struct, frozen=True):
    """A lane as the database has it: how often it was taken, by whom, and whether that server lives."""

    lane: int
    epoch: int
    applied: int
    holder: str
    is_alive: bool


def to_take(me: str, lanes: Sequence[LaneSeen], living: Collection[str]) -> list[int]:
    """Return the lanes that `me` takes now: those without a writer up to its share, or else one of another.

    That is from who has most, if it has two more at least: the writer it had is ended by the fence, and no
    moment passes without a writer. Lane 0, with what concerns the whole bank, is the last to be taken so.
    """
    share = -(-len(lanes) // max(1, len({*living, me})))
    mine = [each for each in lanes if each.holder == me]
    free = [each for each in lanes if each.holder != me and (each.holder == "" or not each.is_alive)]
    again = [each.lane for each in mine]  # after a restart; of no effect on those that it has
    if free:
        begin = sorted({*living, me}).index(me) * len(free) // len({*living, me})  # another's are others
        return again + [each.lane for each in (free[begin:] + free[:begin])[: max(0, share - len(mine))]]
    counts = Counter(each.holder for each in lanes)
    most = max(counts, key=lambda name: (counts[name], name))
    if counts[most] >= len(mine) + 2:
        again.append(max(each.lane for each in lanes if each.holder == most))
    return again
