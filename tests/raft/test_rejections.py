"""What no server that follows the protocol sends is dropped and reported; nothing saved changes."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from atm.raft.messages import NUMBER_MAX, RaftMessage
from atm.raft.ready import Role
from atm.raft.rejection import Violation
from atm.raft.term_limit import REFUSAL_TICKS, TERM_JUMP_MAX, TERM_MAX, TERM_RISE_PER_TICK, TermRateLimit
from tests.raft.network import ELECTION_TICKS_MAX, ELECTION_TICKS_MIN, HEARTBEAT_TICKS, NOW_US, Network
from tests.raft.single import (
    Single,
    append,
    append_accepted,
    append_refused,
    appends,
    messages_after_sync,
    vote_granted,
    vote_refused,
    vote_request,
    votes,
)


def violation_of(a: Single, message: RaftMessage) -> Violation | None:
    """Return why `a` rejects a message; assert that a rejected one changed nothing and is not answered."""
    before = (a.raft.term, a.raft.voted_for, a.raft.role, a.raft.last_index, a.raft.commit_index)
    refusal = a.raft.step(message)
    if refusal is None:
        return None
    assert refusal.sender == message.sender
    assert before == (a.raft.term, a.raft.voted_for, a.raft.role, a.raft.last_index, a.raft.commit_index)
    assert a.receive() == []
    return refusal.violation


FAR = 1 + TERM_JUMP_MAX + 1
FAR_MESSAGES = (
    vote_request("b", FAR),
    vote_request("b", FAR, pre_vote=True),
    vote_granted("b", FAR),
    vote_granted("b", FAR, pre_vote=True),
    vote_refused("b", FAR),
    append("b", FAR),
    append_accepted("b", FAR, 0),
    append_refused("b", FAR, 0),
)


@pytest.mark.parametrize("message", FAR_MESSAGES, ids=lambda message: type(message).__name__)
@pytest.mark.parametrize("leads", [False, True])
def test_a_term_too_far_ahead_is_refused(message: RaftMessage, leads: bool) -> None:
    a = Single(term=0 if leads else 1)
    if leads:
        a.lead()
    assert a.raft.term == 1
    assert violation_of(a, message) is Violation.TERM
    assert violation_of(a, replace(message, term=NUMBER_MAX)) is Violation.TERM


def test_a_term_as_far_ahead_as_is_allowed_is_adopted_at_once() -> None:
    """A server that was away for years: 2^32 elections are more than there were."""
    a = Single(term=1)
    assert votes(a.receive(vote_request("b", 1 + TERM_JUMP_MAX))) == [("b", True)]
    assert a.raft.term == 1 + TERM_JUMP_MAX


def test_a_rise_uses_up_the_budget_and_time_refills_it() -> None:
    a = Single(term=0)
    a.receive(vote_request("b", TERM_JUMP_MAX))
    assert violation_of(a, vote_request("c", TERM_JUMP_MAX + 1)) is Violation.TERM
    a.tick()
    assert violation_of(a, vote_request("c", TERM_JUMP_MAX + TERM_RISE_PER_TICK + 1)) is Violation.TERM
    assert violation_of(a, vote_request("c", TERM_JUMP_MAX + TERM_RISE_PER_TICK)) is None
    assert a.raft.term == TERM_JUMP_MAX + TERM_RISE_PER_TICK


def test_the_budget_does_not_grow_above_its_start_while_nothing_is_refused() -> None:
    limit = TermRateLimit()
    for _ in range(5000):
        limit.tick()
    assert limit.budget == TERM_JUMP_MAX


def test_a_pre_vote_uses_no_budget() -> None:
    a = Single(term=0)
    for _ in range(3):
        assert violation_of(a, vote_request("b", TERM_JUMP_MAX, pre_vote=True)) is None
    assert a.raft.term == 0
    assert violation_of(a, vote_request("b", TERM_JUMP_MAX)) is None
    assert a.raft.term == TERM_JUMP_MAX


def test_servers_adopt_a_forged_term_in_the_time_that_it_took_to_raise_it() -> None:
    """One server's term was raised for ten minutes; it sends that term until the others adopt it."""
    ticks = 60_000
    far = TERM_JUMP_MAX + ticks * TERM_RISE_PER_TICK
    limit, waited = TermRateLimit(), 0
    while not limit.allows(far, far) and waited < 2 * ticks:
        if waited % (REFUSAL_TICKS // 2) == 0:
            limit.note_refusal()
        limit.tick()
        waited += 1
    assert waited == ticks


def test_the_budget_shrinks_again_once_nothing_is_refused() -> None:
    limit = TermRateLimit()
    limit.note_refusal()
    for _ in range(REFUSAL_TICKS):
        limit.tick()
    assert limit.budget == TERM_JUMP_MAX + REFUSAL_TICKS * TERM_RISE_PER_TICK
    limit.tick()
    assert limit.budget == TERM_JUMP_MAX


def test_no_message_raises_the_term_above_what_can_be_campaigned_from() -> None:
    a = Single(term=TERM_MAX - 1)
    assert violation_of(a, vote_request("b", TERM_MAX + 1)) is Violation.TERM
    assert violation_of(a, vote_request("b", TERM_MAX)) is None
    assert a.raft.term == TERM_MAX < NUMBER_MAX


def test_a_second_leader_of_the_term_is_refused_by_the_leader_and_by_a_follower_of_another() -> None:
    a = Single(term=0)
    a.lead()
    assert violation_of(a, append("b", 1)) is Violation.SECOND_LEADER
    assert a.raft.role is Role.LEADER
    b = Single(term=1)
    b.receive(append("b", 1))
    b.tick(ELECTION_TICKS_MIN - 1)
    assert violation_of(b, append("c", 1, (0, 0), (1,))) is Violation.SECOND_LEADER
    assert b.raft.leader == "b"
    b.tick(ELECTION_TICKS_MAX - ELECTION_TICKS_MIN + 1)
    assert b.raft.role is Role.PRE_CANDIDATE, "a rejected append does not reset the election timer"


def test_a_follower_of_the_wrong_leader_follows_the_right_one_within_an_election_timeout() -> None:
    a = Single(term=1)
    a.receive(append("b", 2))
    assert violation_of(a, append("c", 2)) is Violation.SECOND_LEADER
    a.tick(ELECTION_TICKS_MAX)
    (answer,) = messages_after_sync(a.receive(append("c", 2)))
    assert answer.success
    assert a.raft.leader == "c"


@pytest.mark.parametrize(
    "message",
    [
        replace(append("b", 2, (1, 1), (2,)), prev_log_term=0),
        append("b", 2, (0, 0), (3,)),
        append("b", 3, (0, 0), (2, 1)),
        replace(append("b", 2, (0, 0), (2, 2)), entries=append("b", 2, (1, 1), (2,)).entries),
        replace(append("b", 2), entries=(replace(append("b", 2, (0, 0), (2,)).entries[0], data=b"x" * 101),)),
    ],
    ids=["term of nothing", "term of later", "falling terms", "gap", "too large"],
)
def test_entries_that_no_leader_has_are_refused_before_their_term_is_adopted(message: RaftMessage) -> None:
    a = Single(term=1, entry_bytes_max=100)
    assert violation_of(a, message) is Violation.UNSOUND


@pytest.mark.parametrize(
    "answer", [append_accepted("b", 1, 9), append_refused("b", 1, 9), append_accepted("b", 1, 0, round=1)]
)
def test_an_answer_to_an_append_that_was_never_sent_is_refused(answer: RaftMessage) -> None:
    a = Single(term=0)
    a.lead()
    a.raft.read(1)
    assert violation_of(a, answer) is Violation.NEVER_SENT


def test_entries_that_fail_the_check_are_not_appended_and_not_answered() -> None:
    """If a majority rejects them, because the leader's clock or release differs, another is elected."""
    a = Single(log=(1,), term=1)
    a.raft._entry_check = lambda entries, last_time_us: f"no {entries[0].index} after {last_time_us}"
    stamp = a.raft.last_time_us
    a.receive(append("b", 1, (1, 1)))
    refusal = a.raft.step(append("b", 1, (1, 1), (1,), commit=2))
    assert refusal is not None
    assert (refusal.violation, refusal.what) == (Violation.ENTRY, f"no 2 after {stamp}")
    assert (a.raft.last_index, a.raft.commit_index) == (1, 0)
    for _ in range(ELECTION_TICKS_MAX):
        assert a.receive(append("b", 1, (1, 1))) == [], "an answer would make the leader send it again"
        a.tick()
        if a.raft.role is not Role.FOLLOWER:
            break
    assert a.raft.role is Role.PRE_CANDIDATE


def test_a_leader_whose_clock_is_ahead_of_a_majoritys_is_replaced_and_nothing_is_lost() -> None:
    network = Network("abc")
    network.elect("a")
    network.submit("a", b"before")
    network.pass_time(HEARTBEAT_TICKS)
    network.rejects_leader = True
    for name in "bc":
        network[name]._entry_check = lambda entries, last_us: (
            "ahead" if entries[-1].time_us >= 2 * NOW_US else None
        )
    network.now_us = 2 * NOW_US
    network.submit("a", b"stamped wrong")
    network.now_us = NOW_US
    others = [network["b"], network["c"]]
    network.pass_time(6 * ELECTION_TICKS_MAX, until=lambda: any(raft.role is Role.LEADER for raft in others))
    (leader,) = [raft for raft in others if raft.role is Role.LEADER]
    network.submit(leader.node_id, b"after")
    network.pass_time(2 * HEARTBEAT_TICKS)
    assert [server.commands for server in network.servers.values()] == [[b"before", b"after"]] * 3


def test_a_leader_is_followed_again_once_its_entries_pass_the_check() -> None:
    a = Single(log=(1,), term=1)
    a.raft._entry_check = lambda entries, last_time_us: "no"
    a.raft.step(append("b", 1, (1, 1), (1,)))
    a.raft._entry_check = lambda entries, last_time_us: None
    a.receive(append("b", 1, (1, 1), (1,)))
    for _ in range(2 * ELECTION_TICKS_MAX):
        a.receive(append("b", 1, (2, 1)))
        a.tick()
    assert a.raft.role is Role.FOLLOWER


def test_entries_that_the_log_has_are_not_checked_again() -> None:
    asked: list[list[int]] = []
    a = Single(log=(1, 1), term=1)
    a.raft._entry_check = lambda entries, last_time_us: asked.append([entry.index for entry in entries])
    a.receive(append("b", 1, (0, 0), (1, 1)))
    a.receive(append("b", 1, (1, 1), (1, 1)))
    a.receive(append("b", 1, (7, 1), (1,)))
    assert asked == [[3]]
    assert appends(a.sent()) == []
