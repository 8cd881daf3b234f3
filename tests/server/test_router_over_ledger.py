"""The router over a real ledger: each kind of request is served, and a leader's command ends holds."""

from __future__ import annotations

from typing import get_args

import pytest
from msgspec.structs import replace

from atm.ledger.commands import (
    Accounts,
    Approvals,
    Command,
    Deeds,
    Exceptions,
    Find,
    Holds,
    Lookup,
    Pepper,
    Query,
    Read,
    Roles,
    RotatePepper,
    Statement,
    Watch,
)
from atm.raft.messages import ConfirmedRead
from atm.raft.ready import Role
from atm.server.group.inbox import Inputs
from atm.server.group.request_router import EXPIRE, EXPIRE_ALL
from atm.wire.codec import encode
from atm.wire.log_entries import command_data
from tests.server.test_request_router import Story
from tests.support.entries import command
from tests.support.server_parts import credit, query

COMMANDS: list[Command] = [
    command(f"x {line}")
    for line in (
        *("credit ann 5", "debit ann 5", "transfer ann bob 5", "batch ann bob 5, bob eve 5"),
        *("hold ann 5 60s", "raise_hold ann h1 5", "post h1 5", "post h1 5 more", "post h1 0", "void h1"),
        *("reverse c1 5", "write_off ann 5", "open ann"),
        *("freeze ann", "unfreeze ann", "close ann", "unlock ann", "reset_pin ann", "set_limit ann 5"),
        *("grant_role ann teller", "revoke_role ann *"),
        *("set_approval_limit write_off 5", "approve w1"),
        *("set_ceiling ann 5", "set_limit ann 5 transfers"),
        *("credit ann 5 code 7 for rent", "debit ann all", "transfer ann bob all"),
        *(f"set_pin ann {'ab' * 32}", f"login ann {'ab' * 32}"),
    )
]
READS: list[Read] = [
    Query(id="x", account="ann"),
    Query(id="x", account="ann", at_us=5),
    Statement(id="x", account="ann", limit=5, before=7),
    Lookup(id="x", request_id="c1"),
    Exceptions(id="x", limit=5),
    Find(id="x", code=7, text="rent", limit=5),
    Accounts(id="x", limit=5, after="ann"),
    Holds(id="x", account="main", limit=5),
    Roles(id="x", limit=5, after_name="ann"),
    Deeds(id="x", limit=5, before=7),
    Approvals(id="x", limit=5, before=7),
    Pepper(id="x"),
    Watch(id="x", after=7, limit=5),
]


@pytest.fixture
def story() -> Story:
    return Story()


def test_the_lists_here_know_every_kind_of_request() -> None:
    decided_first: set[object] = {RotatePepper}  # by the leader: test_pepper_keeper.py
    assert {type(each) for each in COMMANDS} | decided_first == set(get_args(Command))
    assert {type(each) for each in READS} == set(get_args(Read))


# -- every kind ------------------------------------------------------------------------------------


@pytest.mark.parametrize("request_", COMMANDS, ids=lambda request: type(request).__name__)
def test_every_kind_of_command_is_proposed_by_a_leader_and_answered_once_it_is_committed(
    story: Story, request_: Command
) -> None:
    story.parts.cluster = replace(story.parts.cluster, feature_level=request_.level_needed)
    story.ask(request_)
    assert story.core.proposed == [command_data("local", encode(request_))]
    assert (story.core.read_ids, story.client.answers) == ([], [])
    story.commit(11, 1, "x")
    assert story.client.outcomes == [("x", "ok")]


@pytest.mark.parametrize("request_", [*COMMANDS, *READS], ids=lambda request: type(request).__name__)
def test_every_kind_of_request_is_forwarded_to_the_leader_unchanged(
    story: Story, request_: Command | Read
) -> None:
    story.core.follow("n2", term=2)
    story.ask(request_)
    assert story.parts.forwarded == [("n2", 1000, encode(request_))]
    assert (story.core.proposed, story.core.read_ids) == ([], [])
    story.router.accept(Inputs(lost_links=["n2"]))
    unknown = "unavailable" if isinstance(request_, Read) else "unknown"
    assert story.client.outcomes == [("x", unknown)]


@pytest.mark.parametrize("request_", READS, ids=lambda request: type(request).__name__)
def test_every_kind_of_read_looks_into_the_ledger_only_once_the_leader_is_sure_to_lead(
    story: Story, request_: Read
) -> None:
    story.ask(request_)
    story.router.notice_changes()
    assert (story.core.proposed, story.core.read_ids) == ([], [1])
    assert (story.parts.events, story.client.answers) == ([], [])
    story.router.answer_reads([ConfirmedRead(1, 10)])
    assert story.parts.events == ["view x"]
    assert [answer["leader"] for answer in story.client.answers] == ["n1"]


@pytest.mark.parametrize("request_", READS, ids=lambda request: type(request).__name__)
def test_no_kind_of_read_is_answered_by_a_leader_that_is_none_any_more(story: Story, request_: Read) -> None:
    story.ask(request_)
    story.core.follow("n2", term=2)
    story.router.notice_changes()
    story.router.answer_reads([ConfirmedRead(1, 10)])
    assert story.client.outcomes == [("x", "unavailable")]
    assert story.parts.events == []


# -- holds that are due ----------------------------------------------------------------------------


def test_a_leader_ends_what_is_due_by_a_command_with_its_own_time(story: Story) -> None:
    story.parts.expiry_us = 100
    story.wall_us = 100
    story.ask()
    assert (story.core.proposed, story.core.stamps_us) == ([EXPIRE_ALL], [100])


@pytest.mark.parametrize(("level", "expected"), [(1, EXPIRE_ALL), (2, EXPIRE), (3, EXPIRE)])
def test_holds_end_in_pieces_once_every_server_knows_how(story: Story, level: int, expected: bytes) -> None:
    story.parts.cluster = replace(story.parts.cluster, feature_level=level)
    story.parts.expiry_us = story.wall_us = 100
    story.ask()
    assert story.core.proposed == [expected]


@pytest.mark.parametrize(("expiry_us", "wall_us"), [(None, 10**18), (100, 99), (100, 0)])
def test_nothing_is_ended_before_it_is_due(story: Story, expiry_us: int | None, wall_us: int) -> None:
    story.parts.expiry_us = expiry_us
    story.wall_us = wall_us
    story.ask()
    assert story.core.proposed == []


def test_a_follower_ends_nothing(story: Story) -> None:
    story.parts.expiry_us = 100
    story.wall_us = 200
    story.core.follow("n2", term=2)
    story.ask()
    story.core.follow(None, term=3)
    story.ask()
    assert (story.core.proposed, story.parts.forwarded) == ([], [])
    story.core.role = Story().core.role
    story.ask()
    assert story.core.proposed == [EXPIRE_ALL]


def test_what_is_due_is_not_ended_again_while_that_is_under_way(story: Story) -> None:
    """However long it takes, and whatever comes in: it is in this leader's log and is lost with it only."""
    story.parts.expiry_us = 100
    story.wall_us = 200
    for now_s in (0.0, 0.0, 0.01, 1.0, 60.0):
        story.now_s = now_s
        story.ask(credit(f"c{now_s}"))
    assert story.core.proposed.count(EXPIRE_ALL) == 1


@pytest.mark.parametrize("apart_ms", [1, 30, 200, 500, 900])
def test_a_hold_that_is_due_soon_after_another_ends_on_time(story: Story, apart_ms: int) -> None:
    first_us = 1_000_000
    second_us = first_us + 1000 * apart_ms
    story.parts.expiry_us = first_us
    story.wall_us = first_us
    story.ask()
    story.parts.applied_index, story.parts.expiry_us = 11, second_us
    story.now_s, story.wall_us = apart_ms / 1000 - 1e-6, second_us - 1
    story.ask()
    assert story.core.stamps_us == [first_us]
    story.now_s, story.wall_us = apart_ms / 1000, second_us
    story.ask()
    assert (story.core.proposed, story.core.stamps_us) == ([EXPIRE_ALL] * 2, [first_us, second_us])


def test_a_leader_of_another_term_ends_what_the_one_before_may_have_lost(story: Story) -> None:
    story.parts.expiry_us = 100
    story.wall_us = 200
    story.ask()
    story.core.follow("n2", term=2)
    story.ask()
    assert story.core.proposed == [EXPIRE_ALL]
    story.core.role, story.core.term = Role.LEADER, 3
    story.ask()
    story.ask()
    assert story.core.proposed == [EXPIRE_ALL] * 2


def test_what_is_still_due_once_an_end_of_holds_was_applied_is_ended_by_another(story: Story) -> None:
    story.parts.expiry_us = 100
    story.wall_us = 200
    story.ask()
    story.parts.applied_index = 10
    story.ask()
    story.parts.applied_index = 11
    story.ask()
    assert story.core.proposed == [EXPIRE_ALL] * 2
    story.parts.applied_index, story.parts.expiry_us = 12, None
    story.ask()
    assert story.core.proposed == [EXPIRE_ALL] * 2


def test_a_leader_whose_clock_is_behind_ends_nothing_early_and_in_the_end_all(story: Story) -> None:
    """It judges by its own clock: log time stands nearly still until that clock has caught up."""
    story.parts.expiry_us = 7_200_000_000
    for wall_us in (0, 3_600_000_000, 7_199_999_999):
        story.wall_us = wall_us
        story.ask()
    assert story.core.proposed == []
    story.wall_us = 7_200_000_000
    story.ask()
    assert story.core.proposed == [EXPIRE_ALL]


def test_a_leader_whose_clock_is_behind_the_log_judges_by_the_logs_time(story: Story) -> None:
    story.core.last_time_us = story.parts.expiry_us = 1_000_000
    story.wall_us = 5
    story.ask()
    assert story.core.stamps_us == [1_000_000]


def test_the_end_of_a_hold_does_not_shift_other_replies(story: Story) -> None:
    story.parts.expiry_us = 100
    story.wall_us = 200
    story.ask(credit("a"), query("q"))
    assert story.core.proposed == [EXPIRE_ALL, command_data("local", encode(credit("a")))]
    story.commit(12, 1, "a")
    assert story.client.outcomes == [("a", "ok")]
    assert len(story.core.read_ids) == 1


def test_the_end_of_a_hold_has_no_reply(story: Story) -> None:
    story.parts.expiry_us = 100
    story.wall_us = 200
    story.ask()
    story.commit(11, 1, "nobody")
    assert story.client.answers == []
