"""Which lanes a request of each kind goes to, and what the answers of several lanes are together."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, get_args

import msgspec
import pytest
from msgspec.structs import replace

from atm.lanes.share import lane_of
from atm.ledger.commands import (
    Accounts,
    AccountState,
    Approve,
    Arrive,
    Batch,
    Command,
    Contents,
    Credit,
    Deed,
    Deeds,
    Find,
    Leg,
    Line,
    Lookup,
    NoteDeed,
    Outcome,
    Pepper,
    PepperView,
    Post,
    Query,
    Read,
    Reverse,
    Statement,
    Void,
    Watch,
)
from atm.ledger.lane_numbers import first_index, first_posting, in_lane, shown
from atm.ledger.requests import contents_of
from atm.server.lanes.routes import (
    AfterLookup,
    NotTogether,
    ToAll,
    ToLane,
    asked_of,
    lane_named,
    merged,
    route,
)
from atm.wire.client_messages import QueuedRequest, Reply

LANES = 4
IN = [
    next(name for name in (f"n{each}" for each in range(99)) if lane_of(name, LANES) == lane)
    for lane in range(4)
]
HERE, THERE = ToLane(2), IN[3]


def of(op: str, **fields: Any) -> Any:
    """Return a request of that kind, which need not be one that a client could send otherwise."""
    kinds = {
        kind.__struct_config__.tag: kind for kind in (*get_args(Command), *get_args(Read), NoteDeed, Arrive)
    }
    return msgspec.convert({"op": op, "id": "i", **fields}, kinds[op])


PAID = {"account": IN[2], "amount": 5}


@pytest.mark.parametrize(
    ("request_", "expected"),
    [
        *((of(op, **PAID), HERE) for op in ("credit", "debit", "write_off", "set_limit", "set_ceiling")),
        *((of(op, account=IN[2]), HERE) for op in ("open", "freeze", "unfreeze", "close")),
        *((of(op, account=IN[2]), HERE) for op in ("unlock", "reset_pin")),
        (of("transfer", target=THERE, **PAID), HERE),
        (of("hold", expires_ms=5, **PAID), HERE),
        (of("raise_hold", hold="h", **PAID), HERE),
        (of("set_pin", account=IN[2], pin="1234"), HERE),
        (of("login", account=IN[2], pin="1234"), HERE),
        (of("arrive", payer=THERE, **PAID), HERE),
        (of("query", account=IN[2]), HERE),
        (of("statement", account=IN[2]), HERE),
        (of("holds", account=IN[2]), HERE),
        *((of("write_off", account=own, amount=5), ToLane(0)) for own in ("cash", "cash:EUR", "writeoff")),
        (of("grant_role", name="ann", role="teller"), ToLane(0)),
        (of("revoke_role", name="ann"), ToLane(0)),
        (of("set_approval_limit", limited="reverse"), ToLane(0)),
        (of("rotate_pepper", generation=2, pepper="0" * 16), ToLane(0)),
        (of("note_deed", deed="snapshot", target="n1"), ToLane(0)),
        (of("roles"), ToLane(0)),
        (of("pepper"), ToAll()),
        (of("post", hold="h"), AfterLookup("h")),
        (of("void", hold="h"), AfterLookup("h")),
        (of("reverse", original="o"), AfterLookup("o")),
        (of("approve", request="r"), AfterLookup("r")),
        (of("lookup", request_id="r"), ToAll()),
        *((of(op), ToAll()) for op in ("accounts", "exceptions", "deeds", "approvals")),
        (of("find", code=1), ToAll()),
        *((of(op, account="cash"), ToAll()) for op in ("query", "statement")),
        *((of(op, account="writeoff:EUR"), ToAll()) for op in ("query", "statement")),
        *((of("watch", after=first_posting(lane) + 7), ToLane(lane)) for lane in range(LANES)),
        (of("watch", after=2**63 - 1), ToLane(LANES - 1)),
    ],
)  # fmt: skip
def test_each_kind_of_request_goes_where_it_belongs(request_: QueuedRequest, expected: object) -> None:
    assert route(request_, LANES) == expected


def test_every_kind_of_request_has_been_thought_of() -> None:
    """A new kind without an account goes to lane 0 unless somebody says otherwise: say it above, too."""
    marks = test_each_kind_of_request_goes_where_it_belongs.pytestmark  # type: ignore[attr-defined]
    tried = {type(request) for request, _ in marks[0].args[1]} | {Batch}
    assert tried == {*get_args(Command), *get_args(Read), NoteDeed, Arrive}


def test_a_batch_whose_accounts_are_in_several_lanes_is_refused() -> None:
    def legs(*pairs: tuple[str, str]) -> Batch:
        return Batch(id="b", legs=tuple(Leg(account=one, target=two, amount=1) for one, two in pairs))

    other = next(name for name in (f"m{each}" for each in range(99)) if lane_of(name, LANES) == 2)
    assert route(legs((IN[2], other), (other, IN[2])), LANES) == HERE
    for apart in (legs((IN[2], IN[3])), legs((IN[2], other), (other, IN[1]))):
        assert isinstance(route(apart, LANES), NotTogether)


# -- a request that names another one ------------------------------------------------------------------


def receipt(outcome: str = "ok", asked: Contents | None = None, **fields: Any) -> Reply:
    """Return what a `Lookup` finds."""
    return Reply(id="i", outcome=Outcome(outcome), asked=asked, **fields)


POST = Post(id="p", hold="h")
REVERSE = Reverse(id="r", original="o")
TRANSFER = Contents(op="transfer", account=IN[1], amount=5)
ARRIVAL = Contents(op="arrive", account=IN[3], amount=5)
BACK = receipt(asked=Contents(op="arrive", account=IN[1], amount=5))
TOMBSTONE = receipt("already_reversed", Contents(op="tombstone"))
NOT_THERE = receipt("hold_not_found", contents_of(POST))
UNDONE = receipt("original_not_found", contents_of(REVERSE))
Found = Mapping[int, Reply]


@pytest.mark.parametrize(
    ("asked", "own", "other", "lane"),
    [
        (POST, {}, {2: receipt(asked=Contents(op="hold", account=IN[2]))}, 2),
        (POST, {}, {}, None),
        (POST, {1: receipt(asked=contents_of(POST))}, {2: receipt(asked=TRANSFER)}, 1),
        (POST, {1: receipt("hold_expired", contents_of(POST))}, {}, 1),
        (POST, {0: NOT_THERE, 1: receipt(asked=contents_of(POST))}, {}, 1),
        (POST, {0: NOT_THERE}, {}, None),
        (POST, {0: NOT_THERE, 1: NOT_THERE}, {2: receipt(asked=TRANSFER)}, None),
        (POST, {3: receipt("hold_not_found", contents_of(Post(id="p", hold="another")))}, {}, 3),
        (POST, {3: receipt(asked=contents_of(Credit(id="p", account=IN[3], amount=1)))}, {}, 3),
        (REVERSE, {}, {1: receipt(asked=TRANSFER)}, 1),
        (REVERSE, {}, {1: receipt(asked=TRANSFER), 3: receipt(asked=ARRIVAL)}, 3),
        (REVERSE, {1: BACK}, {1: receipt(asked=TRANSFER), 3: receipt(asked=ARRIVAL)}, 3),
        (REVERSE, {1: BACK, 3: receipt(asked=contents_of(REVERSE))}, {3: receipt(asked=ARRIVAL)}, 3),
        (REVERSE, {}, {0: TOMBSTONE, 2: TOMBSTONE}, None),
        (REVERSE, {}, {0: TOMBSTONE, 1: receipt(asked=TRANSFER)}, 1),
        (REVERSE, {0: UNDONE, 2: UNDONE}, {0: TOMBSTONE, 2: TOMBSTONE}, None),
        (Void(id="v", hold="h"), {}, {3: receipt(asked=Contents(op="hold", account=IN[3]))}, 3),
        (Approve(id="a", request="w"), {}, {2: receipt("needs_approval", Contents(op="unlock"))}, 2),
    ],
)  # fmt: skip
def test_a_request_that_names_another_goes_where_either_was_decided_or_to_all_lanes(
    asked: Command, own: Found, other: Found, lane: int | None
) -> None:
    assert lane_named(asked, own, other, LANES) == lane


@pytest.mark.parametrize(
    ("answers", "lane"),
    [
        (["original_not_found", "ok", "original_not_found"], 1),
        (["original_not_found", "original_not_found", "exceeds_original"], 2),
        (["original_not_found", "already_reversed", "ok"], 2),
        (["original_not_found", "original_not_found", "original_not_found"], 0),
    ],
)
def test_of_what_all_lanes_decided_the_one_that_knew_it_counts(answers: list[str], lane: int) -> None:
    replies = {each: receipt(outcome, balance=each) for each, outcome in enumerate(answers)}
    assert merged(REVERSE, replies, LANES) is replies[lane]


def test_a_lookup_tells_what_was_decided_in_the_payers_lane() -> None:
    lookup = Lookup(id="i", request_id="t")
    nothing = receipt("original_not_found")
    here, there = receipt(asked=TRANSFER, log_index=5), receipt(asked=ARRIVAL, log_index=6)
    assert merged(lookup, {0: nothing, 1: here, 2: nothing, 3: there}, LANES) == here
    back = replace(there, reversed_by="r", taken_back=5)
    told = merged(lookup, {0: nothing, 1: here, 2: nothing, 3: back}, LANES)
    assert told == replace(here, reversed_by="r", taken_back=5), "which only the receiver's lane knows"
    assert merged(lookup, {0: TOMBSTONE, 1: here}, LANES) is here
    assert merged(lookup, {0: nothing, 1: TOMBSTONE}, LANES) is TOMBSTONE
    assert merged(lookup, {0: nothing, 1: nothing}, LANES) is nothing


# -- one answer of several -----------------------------------------------------------------------------


def test_accounts_are_merged_by_name_and_cut() -> None:
    def page(*names: str, following: str | None = None) -> Reply:
        rows = tuple(
            AccountState(account=name, balance=0, available=0, state="open", pin="none") for name in names
        )
        return receipt(accounts=rows, next=following)

    def names(limit: int, *pages: Reply) -> tuple[list[str], str | int | None]:
        found = merged(Accounts(id="i", limit=limit), dict(enumerate(pages)), LANES)
        return [each.account for each in found.accounts or ()], found.next

    assert names(3, page("b", "d"), page("C", "a", "e")) == (["C", "a", "b"], "b")
    assert names(5, page("b", "d"), page("a", "c")) == (["a", "b", "c", "d"], None)
    assert names(2, page("b", "d", following="d"), page("z")) == (["b", "d"], "d")
    assert names(2, page("a", "b", following="b"), page()) == (["a", "b"], "b")
    assert names(2, page(), page()) == ([], None)


def test_the_bank_s_own_account_is_the_sum_over_the_lanes_that_have_it() -> None:
    query = Query(id="i", account="cash:EUR")
    none = receipt("no_such_account")
    found = merged(
        query, {0: none, 1: receipt(balance=-5, available=-5), 2: receipt(balance=-7, available=-7)}, 3
    )
    assert (found.outcome, found.balance, found.available) == ("ok", -12, -12)
    past = merged(query, {0: receipt(balance=-5), 1: receipt(balance=2)}, 2)
    assert (past.balance, past.available) == (-3, None)
    assert merged(query, {0: none, 1: none}, 2) is none


def lines(lane: int, *numbers: int, following: int | None = None, text: str | None = None) -> Reply:
    """Return a page of one lane, with its own numbers, as it comes from there."""
    found = tuple(
        Line(
            posting=n,
            time_us=0,
            op="credit",
            request_id="r",
            account="a",
            other="b",
            amount=1,
            balance=1,
            text=text,
        )
        for n in numbers
    )
    return shown(lane, receipt(lines=found, next=following), LANES)


def numbers(found: Reply) -> list[tuple[int, int]]:
    """Return the lane and the number in it of each row."""
    return [divmod(line.posting, first_posting(1)) for line in found.lines or ()]


def test_a_page_goes_through_the_lanes_in_order_and_its_cursor_goes_on_where_it_ended() -> None:
    first = Find(id="i", code=1, limit=3)
    replies = {0: lines(0, 9, 8), 1: lines(1, 7, 3, 2), 2: lines(2), 3: lines(3, 9)}
    page = merged(first, replies, LANES)
    assert (numbers(page), page.next) == ([(0, 9), (0, 8), (1, 7)], first_posting(1) + 7)
    again = replace(first, before=page.next)
    assert [asked_of(again, lane, LANES) for lane in range(4)] == [again, again, first, first]
    replies = {0: lines(0, 9, 8), 1: lines(1, 3, 2), 2: lines(2), 3: lines(3, 9)}
    page = merged(again, replies, LANES)
    assert (numbers(page), page.next) == ([(1, 3), (1, 2), (3, 9)], None)


def test_a_page_that_ends_with_a_lane_goes_on_at_the_latest_of_the_next_that_has_any() -> None:
    request = Find(id="i", code=1, limit=2)
    page = merged(request, {0: lines(0, 9, 8), 1: lines(1), 2: lines(2, 4)}, 3)
    assert numbers(page) == [(0, 9), (0, 8)]
    assert isinstance(page.next, int)
    again = replace(request, before=page.next)
    in_2 = in_lane(2, asked_of(again, 2, 3))  # type: ignore[arg-type]
    assert isinstance(in_2, Find)
    assert in_2.before is not None
    assert in_2.before > 4
    page = merged(again, {0: lines(0, 9, 8), 1: lines(1), 2: lines(2, 4)}, 3)
    assert (numbers(page), page.next) == ([(2, 4)], None)


def test_a_lane_that_has_not_looked_at_all_yet_ends_the_page() -> None:
    request = Find(id="i", code=1, limit=5)
    page = merged(request, {0: lines(0, 9), 1: lines(1, 7, following=5), 2: lines(2, 4)}, 3)
    assert (numbers(page), page.next) == ([(0, 9), (1, 7)], first_posting(1) + 5)


def test_a_page_of_long_texts_fits_a_frame() -> None:
    text = "x" * 140
    request = Find(id="i", code=1, limit=100)
    page = merged(request, {lane: lines(lane, *range(60, 0, -1), text=text) for lane in range(2)}, 2)
    assert len(page.lines or ()) == 12 * 1024 // 140
    assert page.next == (page.lines or ())[-1].posting


def test_a_statement_of_the_bank_s_own_has_the_balance_of_all_lanes_on_every_page() -> None:
    request = Statement(id="i", account="cash", limit=5, before=first_posting(1) + 3)
    replies = {lane: replace(lines(lane, 2, 1), balance=-5, available=-5) for lane in range(3)}
    page = merged(request, replies, 3)
    assert (page.balance, page.available) == (-15, -15)
    assert numbers(page) == [(1, 2), (1, 1), (2, 2), (2, 1)]
    assert merged(request, {0: receipt("no_such_account")}, 1).outcome == "no_such_account"


def test_deeds_count_by_log_entries() -> None:
    def deeds(lane: int, *entries: int) -> Reply:
        found = tuple(
            Deed(deed=n, time_us=0, actor="a", roles="", op="freeze", outcome="ok", request_id="r")
            for n in entries
        )
        return shown(lane, receipt(deeds=found), LANES)

    page = merged(Deeds(id="i", limit=2), {0: deeds(0, 5), 1: deeds(1, 9, 3)}, 2)
    assert [deed.deed for deed in page.deeds or ()] == [5, first_index(1) + 9]
    assert page.next == first_index(1) + 9


@pytest.mark.parametrize(
    ("others", "carried", "older"),
    [
        ([(2, 30, 0), (2, 31, 0)], 9, 0),
        ([(2, 30, 0), (2, None, 4)], None, 4),
        ([(2, None, 3), (2, None, 4)], None, 7),
        ([(1, 0, 0), (2, 31, 0)], None, 0),  # a lane whose writer does not know it yet
    ],
)
def test_a_pepper_is_carried_over_once_it_is_in_every_lane(
    others: list[tuple[int, int | None, int]], carried: int | None, older: int
) -> None:
    def view(generation: int, carried_index: int | None, older: int) -> Reply:
        found = PepperView(
            generation=generation, name="x", log_index=5, carried_index=carried_index, older=older
        )
        return receipt(pepper=found)

    replies = {0: view(2, 9, 0), 1: view(*others[0]), 2: view(*others[1])}
    told = merged(Pepper(id="i"), replies, LANES).pepper
    assert told == PepperView(generation=2, name="x", log_index=5, carried_index=carried, older=older)
    assert merged(Pepper(id="i"), {0: receipt("not_allowed"), 1: view(2, 9, 0)}, 2).outcome == "not_allowed"


# -- numbers -------------------------------------------------------------------------------------------


def test_numbers_of_lane_0_are_as_they_are() -> None:
    reply = lines(0, 5, 4, following=4)
    assert shown(0, reply, LANES) is reply
    for request in (Watch(id="i", after=2**60), Find(id="i", code=1, before=2**60)):
        assert in_lane(0, request) is request


def test_what_a_lane_shows_is_taken_apart_again() -> None:
    assert shown(3, receipt(log_index=7), LANES).log_index == first_index(3) + 7
    assert shown(3, receipt(), LANES).log_index == 0
    assert shown(3, lines(3, 5), LANES).log_index == 0
    assert first_posting(3) == first_index(3) * 64
    for local in (0, 1, 2**40):
        watch, find = (
            Watch(id="i", after=first_posting(3) + local),
            Find(id="i", code=1, before=first_posting(3) + local),
        )
        deeds = Deeds(id="i", before=first_index(3) + local)
        assert [in_lane(3, watch), in_lane(3, find), in_lane(3, deeds)] == [
            Watch(id="i", after=local),
            Find(id="i", code=1, before=local),
            Deeds(id="i", before=local),
        ]
    assert in_lane(3, Find(id="i", code=1, before=5)) == Find(id="i", code=1, before=0)
    assert in_lane(3, Find(id="i", code=1)) == Find(id="i", code=1)
    assert in_lane(3, Watch(id="i", after=5)) == Watch(id="i", after=0)
