"""Votes (sections 5.2 and 5.4.1): given once a term, durable, counted once, and won by more than half."""

from __future__ import annotations

import pytest

from atm.raft.messages import HardState, RequestVote, RequestVoteResponse
from atm.raft.ready import Role
from tests.raft.network import EFFECTS, ELECTION_TICKS_MIN, HEARTBEAT_TICKS, Network
from tests.raft.single import (
    Single,
    append,
    appends,
    vote_granted,
    vote_refused,
    vote_request,
    votes,
)

SERVERS = "abcdefg"


def test_a_vote_outlives_a_crash() -> None:
    """Scenario 1: crash right after granting a vote; no second vote in that term."""
    a = Single()
    assert votes(a.receive(vote_request("b", 5))) == [("b", True)]
    a.restart()
    assert a.raft.term == 5
    assert votes(a.receive(vote_request("c", 5))) == [("c", False)]


def test_a_vote_is_on_the_disk_before_it_leaves() -> None:
    a = Single()
    a.server.crash_before = "save"
    assert votes(a.receive(vote_request("b", 5))) == []
    a.network.restart("a")
    assert votes(a.receive(vote_request("c", 5))) == [("c", True)]


def test_a_candidate_that_falls_back_keeps_its_vote() -> None:
    """Scenario 2: a candidate, and a leader, falls back to follower in the same term."""
    a = Single()
    a.campaign()
    assert a.server.store.hard_state == HardState(term=1, voted_for="a")
    a.receive(append("b", 1))
    assert a.raft.role is Role.FOLLOWER
    assert votes(a.receive(vote_request("c", 1, (1, 9)))) == [("c", False)]
    assert a.server.store.hard_state.voted_for == "a"


def test_a_leader_that_falls_back_keeps_its_vote() -> None:
    a = Single()
    a.lead()
    a.network.step_down("a")
    assert a.raft.term == 1
    assert votes(a.receive(vote_request("c", 1, (1, 9)))) == [("c", False)]


@pytest.mark.parametrize("effect", EFFECTS)
def test_term_and_vote_are_saved_as_one(effect: str) -> None:
    """Scenario 3: killed while saving a vote in a new term; never the new term with the old vote."""
    a = Single(term=3, voted_for="b")
    a.server.crash_before = effect
    a.receive(vote_request("c", 4))
    saved = a.server.store.hard_state
    assert (saved.term, saved.voted_for) in [(3, "b"), (4, "c")]


def test_a_new_term_forgets_the_vote_of_the_old() -> None:
    a = Single(term=3, voted_for="b")
    a.receive(append("c", 4))
    assert a.server.store.hard_state == HardState(term=4, voted_for=None)
    a.tick(ELECTION_TICKS_MIN)
    assert votes(a.receive(vote_request("b", 5))) == [("b", True)]


@pytest.mark.parametrize(
    "answers",
    [
        [vote_granted("b", 4), vote_granted("b", 4)],
        [vote_granted("b", 3), vote_granted("c", 2)],
        [vote_granted("x", 4), vote_granted("y", 4)],
        [vote_refused("b", 4), vote_refused("c", 4)],
        [vote_granted("b", 4, pre_vote=True), vote_granted("c", 4, pre_vote=True)],
        [vote_granted("b", 5, pre_vote=True), vote_granted("c", 5, pre_vote=True)],
        [vote_granted("a", 4), vote_granted("b", 4)],
    ],
    ids=["doubled", "older terms", "strangers", "refusals", "pre-votes", "next pre-votes", "its own name"],
)
def test_only_real_votes_of_members_in_this_term_count(answers: list[RequestVoteResponse]) -> None:
    """Scenario 5: a vote response that is doubled, of an older term, or from no member."""
    a = Single("abcde", term=3)
    a.campaign()
    assert a.raft.term == 4
    a.receive(*answers)
    assert a.raft.role is Role.CANDIDATE
    a.receive(vote_granted("b", 4), vote_granted("c", 4))
    assert a.raft.role is Role.LEADER


def test_the_same_candidate_is_granted_again() -> None:
    """Scenario 6: the response was lost and the candidate asks again, also after a restart of the voter."""
    a = Single()
    a.receive(vote_request("b", 5))
    assert votes(a.receive(vote_request("b", 5))) == [("b", True)]
    a.restart()
    assert votes(a.receive(vote_request("b", 5))) == [("b", True)]


@pytest.mark.parametrize("pre_vote", [False, True], ids=["vote", "pre-vote"])
@pytest.mark.parametrize("term", [2, 3, 4])
@pytest.mark.parametrize("index", [1, 2, 3])
def test_the_last_term_decides_then_the_last_index(term: int, index: int, pre_vote: bool) -> None:
    """Scenario 7: at least as up to date, all nine combinations; the voter ends with term 3 at index 2."""
    a = Single(log=(1, 3))
    granted = term > 3 or (term == 3 and index >= 2)
    assert votes(a.receive(vote_request("b", 9, (term, index), pre_vote=pre_vote))) == [("b", granted)]


@pytest.mark.parametrize(("size", "needed"), [(1, 1), (2, 2), (3, 2), (4, 3), (5, 3), (6, 4), (7, 4)])
def test_a_majority_is_more_than_half(size: int, needed: int) -> None:
    """Scenario 8: clusters of 1 to 7 servers, for elections and for commits."""
    names = SERVERS[:size]
    network = Network(names, down=names[needed:])
    network.pass_time(1000, until=lambda: network.leader() is not None)
    leader = network.leader()
    assert leader is not None
    network.submit(leader, b"x")
    network.pass_time(HEARTBEAT_TICKS)
    assert all(server.commands == [b"x"] for server in network.alive)
    if needed > 1:
        network.crash(next(name for name in names[:needed] if name != leader))
        network.submit(leader, b"y")
        network.pass_time(500)
        assert network.leader() is None
        assert all(b"y" not in server.commands for server in network.alive)


def test_one_server_less_than_a_majority_elects_no_leader() -> None:
    for size in range(2, 8):
        names = SERVERS[:size]
        network = Network(names, down=names[size // 2 :])
        network.pass_time(300)
        assert network.leader() is None
        assert all(server.core.term == 0 for server in network.alive)


def test_a_candidate_asks_all_for_the_next_term_with_its_last_entry() -> None:
    a = Single("abcde", log=(1, 3), term=6)
    requests = a.campaign()
    assert {out.to for out in requests} == set("bcde")
    assert {out.message for out in requests} == {
        RequestVote(sender="a", term=7, last_log_index=2, last_log_term=3, pre_vote=False)
    }
    assert a.server.store.hard_state == HardState(term=7, voted_for="a")


def test_a_candidate_whose_own_vote_is_not_saved_has_not_won() -> None:
    """The vote for itself is a promise like any other: it counts once it is on the disk."""
    a = Single()
    a.campaign(pre_vote=True)
    a.server.crash_before = "save"
    sent = a.receive(vote_granted("b", 1, pre_vote=True), vote_granted("b", 1))
    assert a.server.raft is None
    assert not appends(sent)
    a.network.restart("a")
    assert votes(a.receive(vote_request("c", 1))) == [("c", True)]
