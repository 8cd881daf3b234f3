"""Terms (section 5.1): a higher one is adopted, a lower one is answered; senders that are dropped."""

from __future__ import annotations

import pytest

from atm.raft.ready import Role
from tests.raft.network import Network
from tests.raft.single import (
    Single,
    append,
    append_accepted,
    append_refused,
    messages_after_sync,
    vote_granted,
    vote_refused,
    vote_request,
    votes,
)
from tests.support.store import entries_of_terms


def test_terms_never_go_back_when_all_servers_restart() -> None:
    """Scenario 4: all servers restart at once."""
    network = Network("abcde")
    for name in "abc":
        network.elect(name)
    before = {name: network[name].term for name in "abcde"}
    network.crash(*"abcde")
    network.restart(*"abcde")
    assert {name: network[name].term for name in "abcde"} == before
    network.pass_time(500, until=lambda: network.leader() is not None)
    assert max(network[name].term for name in "abcde") > max(before.values())


@pytest.mark.parametrize("role", [Role.CANDIDATE, Role.LEADER])
def test_a_higher_term_makes_a_follower_that_handles_the_message(role: Role) -> None:
    """Scenario 13: a higher term reaches a candidate or leader; it steps down and answers as follower."""

    def server() -> Single:
        a = Single()
        a.lead() if role is Role.LEADER else a.campaign()
        assert a.raft.role is role
        return a

    a = server()
    assert votes(a.receive(vote_request("b", 9, (9, 9), transfer=True))) == [("b", True)]
    assert (a.raft.role, a.raft.term) == (Role.FOLLOWER, 9)

    a = server()
    (answer,) = messages_after_sync(a.receive(append("b", 9, (0, 0), (9,))))
    assert answer.success
    assert (a.raft.role, a.raft.leader) == (Role.FOLLOWER, "b")

    a = server()
    a.receive(vote_refused("b", 9), append_refused("c", 10, 1))
    assert (a.raft.role, a.raft.term, a.raft.leader) == (Role.FOLLOWER, 10, None)


def test_a_message_of_an_older_term_is_answered_with_the_newer_and_not_obeyed() -> None:
    a = Single(log=(1, 2), term=5)
    assert votes(a.receive(vote_request("b", 4, (9, 9)))) == [("b", False)]
    (answer,) = messages_after_sync(a.receive(append("b", 4, (2, 2), (4,), commit=3)))
    assert not answer.success
    assert answer.term == 5
    assert a.server.log_terms == [1, 2]
    assert (a.raft.commit_index, a.raft.leader) == (0, None)


def test_a_candidate_follows_the_leader_of_its_own_term() -> None:
    a = Single()
    a.campaign()
    (answer,) = messages_after_sync(a.receive(append("b", 1, (0, 0), (1,))))
    assert answer.success
    assert (a.raft.role, a.raft.leader, a.raft.term) == (Role.FOLLOWER, "b", 1)


def test_answers_of_a_server_that_is_no_member_count_for_nothing_and_stop_nothing() -> None:
    a = Single()
    a.campaign()
    a.receive(vote_granted("x", 1))
    assert a.raft.role is Role.CANDIDATE
    a.receive(vote_granted("b", 1))
    assert a.raft.role is Role.LEADER
    a.receive(append_accepted("x", 1, 1))
    assert (a.raft.commit_index, a.raft.matched()) == (0, {"b": 0, "c": 0})
    a.receive(append_accepted("b", 1, 1))
    assert a.raft.commit_index == 1


def test_two_cores_in_one_process_share_nothing() -> None:
    """The ancestors kept a leader's bookkeeping on the class."""
    one, other = Single(), Single()
    one.lead()
    one.propose(b"x")
    assert other.raft.role is Role.FOLLOWER
    assert other.raft.matched() == {}
    other.lead()
    one.receive(append_accepted("b", 1, 2))
    assert one.raft.matched()["b"] == 2
    assert other.raft.matched()["b"] == 0


def test_a_hand_made_log_is_what_it_says() -> None:
    """The harness itself: entries are numbered from 1 and carry the terms that were asked for."""
    assert [(e.index, e.term) for e in entries_of_terms(1, 1, 4)] == [(1, 1), (2, 1), (3, 4)]
