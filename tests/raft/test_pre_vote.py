"""Pre-vote (thesis 9.6): a server that cannot win does not disturb."""

from __future__ import annotations

from atm.raft.messages import HardState, TimeoutNow
from atm.raft.raft import ABSTENTIONS_MAX
from atm.raft.ready import Role
from tests.raft.network import ELECTION_TICKS_MAX, ELECTION_TICKS_MIN, Network
from tests.raft.single import (
    Single,
    append,
    vote_granted,
    vote_refused,
    vote_request,
    votes,
)


def test_a_server_that_was_cut_off_does_not_disturb() -> None:
    """Scenario 9: pre-vote; it comes back, the term does not rise, the leader stays."""
    network = Network("abcde")
    term = network.elect("a")
    network.isolate("e")
    network.pass_time(1000)
    assert network["e"].role is Role.PRE_CANDIDATE
    assert network["e"].term == term
    network.submit("a", b"x")
    network.heal()
    network.pass_time(200)
    assert (network.leader(), network["a"].term) == ("a", term)
    assert network.converged()


def test_pre_votes_count_once_and_only_for_the_term_asked() -> None:
    a = Single("abcde", term=3)
    a.campaign(pre_vote=True)
    a.receive(
        vote_granted("b", 4, pre_vote=True),
        vote_granted("b", 4, pre_vote=True),
        vote_granted("c", 3, pre_vote=True),
    )
    a.receive(vote_granted("x", 4, pre_vote=True), vote_refused("e", 3, pre_vote=True))
    assert a.raft.role is Role.PRE_CANDIDATE
    assert a.raft.term == 3
    a.receive(vote_granted("c", 4, pre_vote=True))
    assert a.raft.role is Role.CANDIDATE


def test_a_voter_of_a_lower_term_takes_part() -> None:
    """Scenario 10: pre-vote; a voter that still has a lower term; the cluster elects."""
    network = Network("abc", hard_states={"a": HardState(term=7), "b": HardState(term=2)}, down="c")
    network.elect("a")
    assert network["b"].term == network["a"].term == 8


def test_a_pre_vote_promises_nothing() -> None:
    a = Single(term=3)
    assert votes(a.receive(vote_request("b", 4, pre_vote=True))) == [("b", True)]
    assert votes(a.receive(vote_request("c", 4, pre_vote=True))) == [("c", True)]
    assert (a.raft.term, a.server.store.hard_state) == (3, HardState(term=3))


def test_a_long_log_with_a_low_term_wins() -> None:
    """Scenario 11: one server with a high term and a short log, another with a low term and a long one."""
    for seed in range(20):
        network = Network(
            "abc", logs={"a": (1,), "b": (1, 2, 2)}, hard_states={"a": HardState(term=10)}, down="c"
        )
        network.pass_time(1000, until=lambda network=network: network.leader() is not None)  # type: ignore[misc]
        assert network.leader() == "b", seed
        network.pass_time(20)
        assert network.servers["a"].log_terms[:3] == [1, 2, 2]


def test_a_follower_with_an_active_leader_refuses_pre_votes() -> None:
    a = Single()
    a.receive(append("b", 1))
    assert votes(a.receive(vote_request("c", 2, (1, 9), pre_vote=True))) == [("c", False)]
    a.tick(ELECTION_TICKS_MIN)
    a.sent()
    assert votes(a.receive(vote_request("c", 2, (1, 9), pre_vote=True))) == [("c", True)]


def test_a_server_that_abstains_leaves_campaigns_to_others_and_votes() -> None:
    network = Network("abc")
    network.elect("a")
    network["b"].abstain(abstains=True)
    for _ in range(5):
        leader = network.leader()
        assert leader is not None
        network.crash(leader)
        network.pass_time(20 * ELECTION_TICKS_MIN, until=lambda: network.leader() is not None)
        assert network.leader() in ("a", "c")
        network.restart(leader)
        network.pass_time(5 * ELECTION_TICKS_MIN)


def test_a_server_that_abstains_does_not_take_over_either() -> None:
    a = Single(term=3)
    a.receive(append("b", 3))
    a.raft.abstain(abstains=True)
    assert a.receive(TimeoutNow(sender="b", term=3)) == []
    assert a.raft.role is Role.FOLLOWER
    a.raft.abstain(abstains=False)
    a.receive(TimeoutNow(sender="b", term=3))
    assert a.raft.role is Role.CANDIDATE


def test_a_server_that_abstains_campaigns_at_last_if_nobody_else_can_win() -> None:
    """It may be the only one that has the newest entries."""
    network = Network("abc", logs={"a": (1, 1), "b": (1,)}, down="c")
    network["a"].abstain(abstains=True)
    ticks = 0
    while network.leader() is None:
        network.pass_time(1)
        ticks += 1
        assert ticks < 40 * ELECTION_TICKS_MAX
    assert network.leader() == "a"
    assert ticks > ABSTENTIONS_MAX * ELECTION_TICKS_MIN


def test_abstentions_are_counted_anew_once_there_was_a_leader() -> None:
    a = Single(term=3)
    a.raft.abstain(abstains=True)
    for _ in range(3):
        a.receive(append("b", 3))
        a.tick(ABSTENTIONS_MAX * ELECTION_TICKS_MIN)
        assert a.raft.role is Role.FOLLOWER
