"""The numbers of a bank of several lanes, as clients see them: a lane's are behind those of the one before.

A lane counts its log entries and its postings from the beginning, as a ledger does. To clients the number of
a lane is added in front of them, so that each number stands for one posting of the whole bank; those of lane
0 are as they are. All are below 2^53, which every program can read.
"""

from __future__ import annotations

from typing import TypeVar

from msgspec import Struct
from msgspec.structs import replace

from atm.config import LANES_MAX
from atm.ledger.commands import (
    BALANCE_MINOR_MAX,
    LEGS_MAX,
    Approvals,
    Deeds,
    Exceptions,
    Find,
    Read,
    ReadResult,
    Statement,
    Watch,
)

INDEX_BITS = 38  # of the log entries of one lane
POSTING_BITS = INDEX_BITS + 6

assert 1 << (POSTING_BITS - INDEX_BITS) == LEGS_MAX, "a posting's number divided by LEGS_MAX is its log entry"
assert LANES_MAX << POSTING_BITS <= BALANCE_MINOR_MAX

AnyResult = TypeVar("AnyResult", bound=ReadResult)
Row = TypeVar("Row", bound=Struct)


def first_posting(lane: int) -> int:
    """Return the number before all postings of a lane."""
    return lane << POSTING_BITS


def first_index(lane: int) -> int:
    """Return the number before all log entries of a lane."""
    return lane << INDEX_BITS


def lane_of_posting(number: int) -> int:
    """Return the lane that the posting of that number is in."""
    return number >> POSTING_BITS


def lane_of_index(number: int) -> int:
    """Return the lane that the log entry of that number is in."""
    return number >> INDEX_BITS


def shown(lane: int, result: AnyResult, lanes: int) -> AnyResult:
    """Return what one of so many lanes answers, with its numbers as clients see them."""
    if lanes > 1 and result.postings is not None:
        result = replace(result, lanes=lanes)
    if lane == 0:
        return result
    index, posting = first_index(lane), first_posting(lane)
    if result.rows is None:
        return replace(result, log_index=result.log_index + index) if result.log_index else result
    by_index = result.deeds is not None or result.approvals is not None
    following = result.next
    if isinstance(following, int):
        following += index if by_index else posting
    return replace(
        result,
        next=following,
        lines=_renumbered(result.lines, "posting", posting),
        postings=_renumbered(result.postings, "posting", posting),
        deeds=_renumbered(result.deeds, "deed", index),
        approvals=_renumbered(result.approvals, "log_index", index),
    )


def in_lane(lane: int, request: Read) -> Read:
    """Return a request as the lane understands it: its cursor is a number of that lane, or before all."""
    if lane == 0:
        return request
    match request:
        case Statement() | Exceptions() | Find() if request.before is not None:
            return replace(request, before=max(0, request.before - first_posting(lane)))
        case Deeds() | Approvals() if request.before is not None:
            return replace(request, before=max(0, request.before - first_index(lane)))
        case Watch():
            return replace(request, after=max(0, request.after - first_posting(lane)))
        case _:
            return request


def _renumbered(rows: tuple[Row, ...] | None, field: str, by: int) -> tuple[Row, ...] | None:
    if rows is None:
        return None
    return tuple(replace(row, **{field: getattr(row, field) + by}) for row in rows)
