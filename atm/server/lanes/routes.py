"""Which lanes a request is for, and what one answer several lanes give together. Pure.

A request that names an account goes to that account's lane, one about the whole bank to lane 0. One that
names another request goes where that was decided, which is looked up in all lanes first.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import reduce

from msgspec import Struct
from msgspec.structs import replace

from atm.lanes.share import lane_of
from atm.ledger.commands import (
    OK,
    PAGE_TEXTS_BYTES_MAX,
    Accounts,
    Approvals,
    Approve,
    Batch,
    Command,
    Deeds,
    Exceptions,
    Find,
    Lookup,
    Outcome,
    Pepper,
    Post,
    Query,
    Read,
    Reverse,
    Statement,
    Void,
    Watch,
)
from atm.ledger.lane_numbers import first_index, first_posting, lane_of_index, lane_of_posting
from atm.ledger.own_accounts import is_banks_own
from atm.ledger.requests import accounts_named, contents_of, same_contents
from atm.ledger.reversals import ARRIVED
from atm.ledger.unit_of_work import TOMBSTONE
from atm.wire.client_messages import QueuedRequest, Reply

HOME = 0  # the lane of what concerns the whole bank
NOT_FOUND = (Outcome.HOLD_NOT_FOUND, Outcome.ORIGINAL_NOT_FOUND)
APART = (
    "these accounts are kept in different lanes, and a batch is done in one: nothing was done. Send a single "
    "transfer for each leg"
)

NamesAnother = Post | Void | Reverse | Approve
FromLaterLanesToo = Exceptions | Find | Deeds | Approvals | Statement  # pages, the lanes in order


class ToLane(Struct, frozen=True):
    """One lane decides it."""

    lane: int


class ToAll(Struct, frozen=True):
    """All lanes answer `asked_of` it, and `merged` makes one answer of theirs."""


class AfterLookup(Struct, frozen=True):
    """It names the request `other`: `lane_named` tells where it goes, once both were looked up."""

    other: str


class NotTogether(Struct, frozen=True):
    """It is refused before anything is done."""

    why: str


Route = ToLane | ToAll | AfterLookup | NotTogether


def route(request: QueuedRequest, lanes: int) -> Route:
    """Return where a request goes in a bank of so many lanes."""
    match request:
        case Post() | Void():
            return AfterLookup(request.hold)
        case Reverse():
            return AfterLookup(request.original)
        case Approve():
            return AfterLookup(request.request)
        case Batch():
            found = {lane_of(name, lanes) for name in accounts_named(request)}
            return ToLane(found.pop()) if len(found) == 1 else NotTogether(APART)
        case Watch():
            return ToLane(min(lane_of_posting(request.after), lanes - 1))
        case Query() | Statement() if is_banks_own(request.account):
            return ToAll()
        case Exceptions() | Find() | Deeds() | Approvals() | Lookup() | Accounts() | Pepper():
            return ToAll()
        case _:
            return ToLane(_lane_of_account(getattr(request, "account", None), lanes))


def asked_of(request: QueuedRequest, lane: int, lanes: int) -> QueuedRequest:
    """Return what a lane is asked for a request that goes to all: one behind the cursor's, all it has."""
    if isinstance(request, FromLaterLanesToo) and lane > _first_lane(request, lanes):
        return replace(request, before=None)
    return request


def _lane_of_account(account: str | None, lanes: int) -> int:
    return HOME if account is None or is_banks_own(account) else lane_of(account, lanes)


def _first_lane(request: FromLaterLanesToo, lanes: int) -> int:
    """Return the lane that a page's cursor is in."""
    if request.before is None:
        return 0
    by_index = isinstance(request, Deeds | Approvals)
    lane = lane_of_index(request.before) if by_index else lane_of_posting(request.before)
    return min(lane, lanes - 1)


# -- where a request that names another one goes -------------------------------------------------------


def lane_named(
    request: Command, own: Mapping[int, Reply], other: Mapping[int, Reply], lanes: int
) -> int | None:
    """Return the lane that decides `request`, None: all of them do.

    `own` is what was decided in which lanes under its id, and `other` under the id that it names. Where
    neither tells a lane, the other request may still be under way to any: so each lane decides, and keeps
    that it knew no such request. Whatever comes later finds this, in whichever lane it comes.
    """
    asked = contents_of(request)
    # A reversal between lanes has a receipt under its id in the lane that got the money back, too.
    own = {lane: found for lane, found in own.items() if not _has_arrived(found)}
    decided = [
        lane
        for lane, found in own.items()
        if found.outcome not in NOT_FOUND or found.asked is None or not same_contents(found.asked, asked)
    ]
    if decided:
        return min(decided, key=lambda lane: (own[lane].outcome is not OK, lane))
    known = {lane: found for lane, found in other.items() if not _is_tombstone(found)}
    if known and not own:
        return kept_in(known, lanes, received=isinstance(request, Reverse))
    return None


def _is_tombstone(found: Reply) -> bool:
    """Return whether the id has no request yet, and whatever comes under it is declined."""
    return found.asked is not None and found.asked.op == TOMBSTONE


def _has_arrived(found: Reply) -> bool:
    """Return whether it is the receipt of what came from another lane."""
    return found.asked is not None and found.asked.op == ARRIVED


def kept_in(found: Mapping[int, Reply], lanes: int, *, received: bool = False) -> int:
    """Return the lane whose receipt is the customer's, of those that have one under an id.

    A transfer between lanes has one in the payer's, and one of what arrived in the other: with `received`
    that one is returned.
    """

    def rank(lane: int) -> tuple[bool, bool, bool, bool, int]:
        reply = found[lane]
        asked = reply.asked
        account = None if asked is None else asked.account
        return (
            _is_tombstone(reply),
            _has_arrived(reply) is not received,
            account is not None and _lane_of_account(account, lanes) != lane,
            reply.outcome in NOT_FOUND,
            lane,
        )

    return min(found, key=rank)


# -- one answer of several -----------------------------------------------------------------------------


def merged(request: Command | Read, replies: Mapping[int, Reply], lanes: int) -> Reply:
    """Return the answer to a request that went to these lanes, all of which have answered."""
    match request:
        case Lookup():
            found = {lane: reply for lane, reply in replies.items() if reply.asked is not None}
            return _looked_up(found, lanes) if found else _first(replies)
        case Accounts():
            return _accounts(replies, request.limit)
        case Pepper():
            return _pepper(replies)
        case Query():
            return _summed(_that_have_it(replies)) or _first(replies)
        case Statement() | Exceptions() | Find() | Deeds() | Approvals():
            return _page(request, replies, _first_lane(request, lanes))
        case _:
            return _decided(replies)


def _looked_up(found: Mapping[int, Reply], lanes: int) -> Reply:
    """Return the customer's receipt, with the reversals, of which the lane knows that it went to."""
    reply = own = found[kept_in(found, lanes)]
    for other in found.values():
        if other is not own and _has_arrived(other):
            reply = replace(reply, reversed_by=other.reversed_by, taken_back=other.taken_back)
    return reply


def _first(replies: Mapping[int, Reply]) -> Reply:
    return replies[min(replies)]


def _decided(replies: Mapping[int, Reply]) -> Reply:
    """Return the decision of the lane that knew what was named; each other one said that it did not."""

    def rank(lane: int) -> tuple[bool, bool, int]:
        outcome = replies[lane].outcome
        return outcome is not OK, outcome in NOT_FOUND, lane

    return replies[min(replies, key=rank)]


def _pepper(replies: Mapping[int, Reply]) -> Reply:
    """Return what lane 0 has, and how much all lanes still have to carry over."""
    home = replies[HOME]
    views = [reply.pepper for reply in replies.values()]
    if home.pepper is None or None in views:
        return next((reply for reply in replies.values() if reply.pepper is None), home)
    pending = [
        view
        for view in views
        if view is not None
        if view.carried_index is None or view.generation < home.pepper.generation
    ]
    carried = None if pending else home.pepper.carried_index
    older = sum(view.older for view in pending)
    return replace(home, pepper=replace(home.pepper, carried_index=carried, older=older))


def _that_have_it(replies: Mapping[int, Reply]) -> list[Reply]:
    """Return the answers of the lanes that have such an account: not each has one in every currency."""
    return [replies[lane] for lane in sorted(replies) if replies[lane].outcome is OK]


def _summed(replies: Sequence[Reply]) -> Reply | None:
    """Return the answer about an account of the bank's own, with the sum over the lanes."""
    if not replies:
        return None

    def add(one: Reply, another: Reply) -> Reply:
        return replace(
            one,
            balance=(one.balance or 0) + (another.balance or 0),
            available=None
            if one.available is None or another.available is None
            else one.available + another.available,
        )

    return reduce(add, replies)


def _accounts(replies: Mapping[int, Reply], limit: int) -> Reply:
    found = sorted(
        (account for reply in replies.values() for account in reply.accounts or ()),
        key=lambda account: account.account.encode(),
    )
    page = tuple(found[:limit])
    is_more = len(found) > limit or any(reply.next is not None for reply in replies.values())
    return replace(_first(replies), accounts=page, next=page[-1].account if is_more and page else None)


def _page(request: FromLaterLanesToo, replies: Mapping[int, Reply], first: int) -> Reply:
    """Return a page that goes through the lanes in order, each from its latest row to its first."""
    answered = {lane: reply for lane, reply in sorted(replies.items()) if reply.outcome is OK}
    if not answered:
        return _first(replies)
    rows: list[Struct] = []
    following: int | None = None
    left, texts_left = request.limit, PAGE_TEXTS_BYTES_MAX
    for lane, reply in answered.items():
        if lane < first:
            continue
        for row in reply.rows or ():
            texts_left -= _text_bytes(row)
            if left == 0 or texts_left < 0:
                following = _number(rows[-1]) if lane == _lane_of_row(rows[-1]) else _end_of(request, lane)
                return _page_of(request, answered, rows, following)
            left -= 1
            rows.append(row)
        if reply.next is not None:
            assert isinstance(reply.next, int)
            following = reply.next
            break
    return _page_of(request, answered, rows, following)


def _page_of(
    request: FromLaterLanesToo, replies: Mapping[int, Reply], rows: Sequence[Struct], following: int | None
) -> Reply:
    first = _first(replies)
    name = {Deeds: "deeds", Approvals: "approvals"}.get(type(request), "lines")
    page: Reply = replace(first, **{name: tuple(rows)}, next=following)
    if isinstance(request, Statement):
        total = _summed(list(replies.values()))
        assert total is not None
        page = replace(page, balance=total.balance, available=total.available)
    return page


def _text_bytes(row: Struct) -> int:
    text: str | None = getattr(row, "text", None)
    return 0 if text is None else len(text.encode())


def _number(row: Struct) -> int:
    for field in ("posting", "deed", "log_index"):
        number: int | None = getattr(row, field, None)
        if number is not None:
            return number
    raise AssertionError(f"{type(row).__name__} has no number")


def _lane_of_row(row: Struct) -> int:
    return lane_of_posting(_number(row)) if hasattr(row, "posting") else lane_of_index(_number(row))


def _end_of(request: FromLaterLanesToo, lane: int) -> int:
    """Return the cursor from which on a lane is shown from its latest row."""
    first = first_index if isinstance(request, Deeds | Approvals) else first_posting
    return first(lane + 1) - 1
