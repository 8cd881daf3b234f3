"""Timers: what resets the election timer, heartbeats, how long an election takes, and the wall clock."""

from __future__ import annotations

from collections import Counter
from statistics import median

from atm.raft.messages import AppendEntries, HardState
from atm.raft.ready import Role
from tests.raft.network import ELECTION_TICKS_MAX, ELECTION_TICKS_MIN, HEARTBEAT_TICKS, Network
from tests.raft.single import (
    Single,
    append,
    messages_after_sync,
    vote_granted,
    vote_request,
)


def test_granting_a_vote_resets_the_election_timer() -> None:
    """A voter gives its candidate the time to win (a listed defect of the ancestors)."""
    for seed in range(20):
        network = Network("abc", down="bc", seed=seed)
        network.tick("a", ELECTION_TICKS_MIN - 1)
        network.inject("a", vote_request("b", 1))
        network.tick("a", ELECTION_TICKS_MIN - 1)
        assert network["a"].role is Role.FOLLOWER


def test_a_candidate_has_a_whole_timeout_to_be_elected() -> None:
    """However long its pre-votes took (section 5.2: the timer is reset when the election starts)."""
    a = Single()
    a.campaign(pre_vote=True)
    a.tick(ELECTION_TICKS_MIN - 1)
    a.receive(vote_granted("b", 1, pre_vote=True))
    a.tick(ELECTION_TICKS_MIN - 1)
    assert (a.raft.role, a.raft.term) == (Role.CANDIDATE, 1)


def test_refusing_a_vote_does_not_reset_the_election_timer() -> None:
    network = Network("abc", down="bc", logs={"a": (1,)}, hard_states={"a": HardState(term=1, voted_for="a")})
    for _ in range(ELECTION_TICKS_MAX):
        network.tick("a")
        network.inject("a", vote_request("b", 1, (1, 1)))
    assert network["a"].role is Role.PRE_CANDIDATE


def test_a_new_term_without_a_vote_does_not_reset_the_election_timer() -> None:
    """Otherwise a server that cannot win, but tries again and again, would keep others from campaigning."""
    network = Network("abc", down="bc", logs={"a": (1,)})
    for term in range(2, 2 + ELECTION_TICKS_MAX):
        network.inject("a", vote_request("b", term))
        network.tick("a")
        if network["a"].role is Role.PRE_CANDIDATE:
            return
    raise AssertionError("it never campaigned")


def test_a_leader_sends_a_heartbeat_in_each_interval() -> None:
    a = Single()
    a.lead()
    for _ in range(5):
        assert {out.to for out in a.tick(HEARTBEAT_TICKS) if isinstance(out.message, AppendEntries)} == {
            "b",
            "c",
        }


def test_a_deposed_leader_can_campaign_again() -> None:
    """Its election timer runs, even if no other server's does."""
    network = Network("abc")
    network.elect("a")
    network.step_down("a")
    network.elect("a")
    assert network["a"].term == 2


def test_a_lost_leader_is_replaced_in_bounded_time() -> None:
    """Scenario 16: split votes; the time to a new leader after losing one, over 200 seeds."""
    times_ticks, terms_used = [], []
    for seed in range(200):
        network = Network("abcde", seed=seed)
        network.pass_time(5_000, until=lambda n=network: n.leader() is not None, slow=True)  # type: ignore[misc]
        network.pass_time(seed % 17, slow=True)
        leader = network.leader()
        assert leader is not None
        term = network[leader].term
        network.crash(leader)
        ticks = network.pass_time(5_000, until=lambda n=network: n.leader() is not None, slow=True)  # type: ignore[misc]
        successor = network.leader()
        assert successor is not None
        times_ticks.append(ticks)
        terms_used.append(network[successor].term - term)
    times_ticks.sort()
    print(f"ticks to a new leader, by deciles: {times_ticks[::20]}, worst {times_ticks[-1]}")
    print(f"terms used: {sorted(Counter(terms_used).items())}")
    assert median(times_ticks) <= ELECTION_TICKS_MAX
    assert times_ticks[-1] <= 4 * ELECTION_TICKS_MAX
    assert max(terms_used) <= 3


def test_a_jump_of_the_wall_clock_changes_nothing_but_stamps() -> None:
    """Scenario 14: the wall clock jumps an hour either way: no election, and stamps still rise."""
    hour_us = 3_600_000_000
    network = Network("abc")
    term = network.elect("a")
    for now_us in (5 * hour_us, 4 * hour_us, 4 * hour_us, 9 * hour_us):
        network.now_us = now_us
        network.submit("a", b"x", b"y")
        network.pass_time(HEARTBEAT_TICKS)
    stamps = [entry.time_us for entry in network.servers["a"].applied]
    assert stamps == sorted(set(stamps))
    assert stamps[1] == 5 * hour_us
    assert stamps[-2] == 9 * hour_us
    assert (network.leader(), network["a"].term) == ("a", term)


def test_stamps_rise_across_leaders_whose_clocks_differ() -> None:
    network = Network("abc")
    network.elect("a")
    network.now_us = 9_000_000
    network.submit("a", b"x")
    network.deliver()
    network.elect("b")
    network.now_us = 1_000
    network.submit("b", b"y")
    network.pass_time(HEARTBEAT_TICKS)
    stamps = [entry.time_us for entry in network.servers["c"].applied]
    assert stamps == sorted(set(stamps))


def test_an_append_that_does_not_match_the_log_resets_the_election_timer() -> None:
    """The leader looks for the index where the logs agree, which may take several rounds."""
    a = Single(log=(1,))
    for _ in range(ELECTION_TICKS_MAX):
        assert not messages_after_sync(a.receive(append("b", 2, (9, 2))))[0].success
        a.tick()
        assert (a.raft.role, a.raft.leader) == (Role.FOLLOWER, "b")
