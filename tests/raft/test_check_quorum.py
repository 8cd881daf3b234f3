"""Check-quorum (thesis 6.2): a leader that no majority answers steps down, also when links fail one way."""

from __future__ import annotations

import pytest

from atm.raft.ready import Role
from tests.raft.network import ELECTION_TICKS_MAX, HEARTBEAT_TICKS, Network
from tests.raft.single import Single, append


def test_a_leader_that_no_majority_answers_steps_down() -> None:
    """Scenario 15: check-quorum; it stops answering reads, and drops those that wait."""
    network = Network("abcde")
    term = network.elect("a")
    network.isolate("a", "b")
    network.read("a", 1)
    network.pass_time(2 * ELECTION_TICKS_MAX)
    assert network["a"].role is not Role.LEADER
    assert (network["a"].term, network["a"].leader) == (term, None)
    assert network.servers["a"].reads == []
    assert network.servers["a"].dropped_reads == [1]


def test_a_leader_that_a_bare_majority_answers_stays() -> None:
    network = Network("abcde")
    term = network.elect("a")
    network.isolate("a", "b", "c")
    network.pass_time(1000)
    assert (network.leader(), network["a"].term) == ("a", term)


@pytest.mark.parametrize("link", ["ab", "ba", "ac", "ca", "bc", "cb"])
def test_one_link_that_fails_one_way_costs_at_most_one_election(link: str) -> None:
    """Scenario 12: a link that fails in one direction only; progress afterwards."""
    network = Network("abc")
    term = network.elect("a")
    network.cut_one_way(link[0], link[1])
    network.pass_time(600)
    leader = network.leader()
    assert leader is not None
    assert network[leader].term <= term + 1
    index = network.submit(leader, b"x")
    network.pass_time(HEARTBEAT_TICKS)
    assert network[leader].commit_index >= index


@pytest.mark.parametrize("direction", ["out", "in"])
def test_a_leader_that_is_cut_off_one_way_is_replaced(direction: str) -> None:
    network = Network("abcde")
    term = network.elect("a")
    for other in "bcde":
        network.cut_one_way(*(("a", other) if direction == "out" else (other, "a")))
    network.pass_time(1000)
    leader = network.leader()
    assert leader not in (None, "a")
    assert leader is not None
    assert network["a"].role is not Role.LEADER
    assert network[leader].term <= term + 2
    index = network.submit(leader, b"x")
    network.pass_time(HEARTBEAT_TICKS)
    assert network[leader].commit_index >= index


def test_a_new_leader_has_a_whole_timeout_to_get_answers() -> None:
    """However far the timer of its last leadership had run."""
    a = Single()
    a.lead()
    a.tick(ELECTION_TICKS_MAX - 1)
    a.receive(append("b", 2))
    a.lead()
    a.tick(ELECTION_TICKS_MAX - 1)
    assert a.raft.role is Role.LEADER
    a.tick()
    assert a.raft.role is Role.FOLLOWER
