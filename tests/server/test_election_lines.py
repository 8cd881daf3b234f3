"""An election in lines: who campaigned, who voted for whom, who did not, and why."""

from __future__ import annotations

import logging

import pytest

from atm.raft import Role
from atm.raft.events import (
    Cause,
    CoreEvent,
    LeaderLearned,
    VoteDecided,
    VoteReceived,
    VoteRefusal,
)
from atm.server.group.election_lines import ElectionLines
from atm.server.logger.logger import Collected, Logger
from tests.support.collecting import collecting
from tests.support.core_events import change

VOTERS = ("n1", "n2", "n3", "n4", "n5")


def told(*events: CoreEvent) -> list[str]:
    """Return the lines of n2, of all levels but debug."""
    lines: list[str] = []
    elections = ElectionLines(collecting(lines, level=logging.INFO), "n2", lambda: VOTERS)
    for event in events:
        elections.tell(event)
    return lines


def decided(refusal: VoteRefusal | None, *, pre_vote: bool = False) -> VoteDecided:
    return VoteDecided(
        candidate="n1",
        term=4,
        pre_vote=pre_vote,
        refusal=refusal,
        own_term=5,
        voted_for="n3",
        leader="n4",
        last_index=7,
        last_term=2,
        own_last_index=9,
        own_last_term=3,
    )


def answer(voter: str, *, granted: bool) -> VoteReceived:
    return VoteReceived(
        voter=voter, term=4, pre_vote=False, granted=granted, counted=granted, votes=2, needed=3
    )


def test_an_election_that_is_won_tells_who_voted_and_who_did_not() -> None:
    assert told(
        change(Role.FOLLOWER, Role.PRE_CANDIDATE, Cause.ELECTION_TIMEOUT, "n1"),
        change(Role.PRE_CANDIDATE, Role.CANDIDATE, Cause.PRE_VOTE_WON, None, "n2", "n3", "n4"),
        answer("n3", granted=True),
        answer("n5", granted=False),
        answer("n4", granted=True),
        change(Role.CANDIDATE, Role.LEADER, Cause.ELECTION_WON, None, "n2", "n3", "n4"),
    ) == [
        "asks who would vote for it in term 5: heard nothing of the leader, node n1, for an election timeout",
        "campaigns for term 4: node n2, node n3 and node n4 would vote for it",
        "leads term 4: elected by node n2, node n3 and node n4; node n5 refused; "
        "node n1 did not answer in time",
    ]


def test_who_refused_in_an_earlier_campaign_has_not_refused_in_this_one() -> None:
    assert told(
        answer("n5", granted=False),
        change(Role.PRE_CANDIDATE, Role.CANDIDATE, Cause.ORDERED_TO_CAMPAIGN, "n1"),
        change(Role.CANDIDATE, Role.LEADER, Cause.ELECTION_WON, None, "n1", "n2", "n3", "n4"),
    )[-1].endswith("and node n4; node n5 did not answer in time")


@pytest.mark.parametrize(
    ("refusal", "why"),
    [
        (VoteRefusal.LOWER_TERM, "this node is in term 5"),
        (VoteRefusal.DISK_LOST, "its data folder is not the one whose votes count"),
        (VoteRefusal.LEADER_ACTIVE, "node n4 leads, and was heard just now"),
        (VoteRefusal.ALREADY_VOTED, "this node has voted for node n3 in that term"),
        (
            VoteRefusal.LOG_BEHIND,
            "its log ends at entry 7 of term 2, behind the own one, which ends at 9 of term 3",
        ),
    ],
)
def test_a_vote_that_is_refused_is_told_with_why(refusal: VoteRefusal, why: str) -> None:
    assert told(decided(refusal)) == [f"did not vote for node n1 in term 4: {why}"]
    assert told(decided(refusal, pre_vote=True)) == [f"would not vote for node n1 in term 4: {why}"]


def test_a_vote_is_told_and_one_that_is_only_promised_is_not() -> None:
    assert told(decided(None)) == ["voted for node n1 in term 4: its log ends at entry 7, the own one at 9"]
    assert told(decided(None, pre_vote=True)) == []


@pytest.mark.parametrize(
    ("cause", "why", "level"),
    [
        (Cause.HIGHER_TERM, "node n3 is in term 4", logging.WARNING),
        (Cause.NO_MAJORITY, "no majority has answered for an election timeout", logging.WARNING),
        (Cause.HANDED_OVER, "node n3 has taken over in term 4", logging.INFO),
        (Cause.REMOVED, "it has no vote any more", logging.INFO),
    ],
)
def test_a_leader_that_steps_down_tells_why_and_warns_unless_that_was_wanted(
    cause: Cause, why: str, level: int
) -> None:
    found: list[tuple[int, str, str]] = []
    logger = Logger(Collected(lambda record: found.append((record.levelno, record.event, record.msg))))
    ElectionLines(logger, "n2", lambda: VOTERS).tell(change(Role.LEADER, Role.FOLLOWER, cause, "n3"))
    assert found == [(level, "leader.stepped_down", f"leads term 3 no more: {why}")]


def test_every_cause_of_every_role_has_a_line() -> None:
    for cause in Cause:
        for after in Role:
            assert len(told(change(Role.CANDIDATE, after, cause, "n3"))) == 1


def test_a_follower_tells_whom_it_follows_and_a_candidate_why_it_gave_up() -> None:
    assert told(
        LeaderLearned(term=4, leader="n3"),
        change(Role.CANDIDATE, Role.FOLLOWER, Cause.LEADER_FOUND, "n3"),
        change(Role.FOLLOWER, Role.FOLLOWER, Cause.HIGHER_TERM, "n3"),
        change(Role.FOLLOWER, Role.FOLLOWER, Cause.NOT_CAMPAIGNING),
    ) == [
        "follows node n3, the leader of term 4",
        "campaigns no more: node n3 leads term 4",
        "heard nothing of a leader for an election timeout, and does not campaign",
    ]
