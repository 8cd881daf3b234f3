"""Elections: sections 5.2 and 5.4.1 of the paper, pre-vote and check-quorum of the thesis."""

from __future__ import annotations

from collections import Counter
from statistics import median

import pytest

from atm.raft.messages import AppendEntries, HardState, RaftMessage, RequestVote, RequestVoteResponse
from atm.raft.ready import Role
from tests.raft.network import EFFECTS, ELECTION_TICKS_MAX, ELECTION_TICKS_MIN, HEARTBEAT_TICKS, Network
from tests.raft.single import (
    Single,
    acknowledge,
    append,
    appends,
    ask,
    grant,
    messages_after_sync,
    refuse,
    reject,
    votes,
)
from tests.support.store import entries_of_terms

SERVERS = "abcdefg"


# -- votes (5.2, 5.4.1) ------------------------------------------------------------------------------


def test_a_vote_outlives_a_crash() -> None:
    """Scenario 1: crash right after granting a vote; no second vote in that term."""
    a = Single()
    assert votes(a.receive(ask("b", 5))) == [("b", True)]
    a.restart()
    assert a.raft.term == 5
    assert votes(a.receive(ask("c", 5))) == [("c", False)]


def test_a_vote_is_on_the_disk_before_it_leaves() -> None:
    a = Single()
    a.server.crash_before = "save"
    assert votes(a.receive(ask("b", 5))) == []
    a.network.restart("a")
    assert votes(a.receive(ask("c", 5))) == [("c", True)]


def test_a_candidate_that_falls_back_keeps_its_vote() -> None:
    """Scenario 2: a candidate, and a leader, falls back to follower in the same term."""
    a = Single()
    a.campaign()
    assert a.server.store.hard_state == HardState(term=1, voted_for="a")
    a.receive(append("b", 1))
    assert a.raft.role is Role.FOLLOWER
    assert votes(a.receive(ask("c", 1, (1, 9)))) == [("c", False)]
    assert a.server.store.hard_state.voted_for == "a"


def test_a_leader_that_falls_back_keeps_its_vote() -> None:
    a = Single()
    a.lead()
    a.network.step_down("a")
    assert a.raft.term == 1
    assert votes(a.receive(ask("c", 1, (1, 9)))) == [("c", False)]


@pytest.mark.parametrize("effect", EFFECTS)
def test_term_and_vote_are_saved_as_one(effect: str) -> None:
    """Scenario 3: killed while saving a vote in a new term; never the new term with the old vote."""
    a = Single(term=3, voted_for="b")
    a.server.crash_before = effect
    a.receive(ask("c", 4))
    saved = a.server.store.hard_state
    assert (saved.term, saved.voted_for) in [(3, "b"), (4, "c")]


def test_a_new_term_forgets_the_vote_of_the_old() -> None:
    a = Single(term=3, voted_for="b")
    a.receive(append("c", 4))
    assert a.server.store.hard_state == HardState(term=4, voted_for=None)
    assert votes(a.receive(ask("b", 5))) == [("b", True)]


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


@pytest.mark.parametrize(
    "answers",
    [
        [grant("b", 4), grant("b", 4)],
        [grant("b", 3), grant("c", 2)],
        [grant("x", 4), grant("y", 4)],
        [refuse("b", 4), refuse("c", 4)],
        [grant("b", 4, pre_vote=True), grant("c", 4, pre_vote=True)],
        [grant("b", 5, pre_vote=True), grant("c", 5, pre_vote=True)],
        [grant("a", 4), grant("b", 4)],
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
    a.receive(grant("b", 4), grant("c", 4))
    assert a.raft.role is Role.LEADER


def test_pre_votes_count_once_and_only_for_the_term_asked() -> None:
    a = Single("abcde", term=3)
    a.campaign(pre_vote=True)
    a.receive(grant("b", 4, pre_vote=True), grant("b", 4, pre_vote=True), grant("c", 3, pre_vote=True))
    a.receive(grant("x", 4, pre_vote=True), refuse("e", 3, pre_vote=True))
    assert a.raft.role is Role.PRE_CANDIDATE
    assert a.raft.term == 3
    a.receive(grant("c", 4, pre_vote=True))
    assert a.raft.role is Role.CANDIDATE


def test_the_same_candidate_is_granted_again() -> None:
    """Scenario 6: the response was lost and the candidate asks again, also after a restart of the voter."""
    a = Single()
    a.receive(ask("b", 5))
    assert votes(a.receive(ask("b", 5))) == [("b", True)]
    a.restart()
    assert votes(a.receive(ask("b", 5))) == [("b", True)]


@pytest.mark.parametrize("pre_vote", [False, True], ids=["vote", "pre-vote"])
@pytest.mark.parametrize("term", [2, 3, 4])
@pytest.mark.parametrize("index", [1, 2, 3])
def test_the_last_term_decides_then_the_last_index(term: int, index: int, pre_vote: bool) -> None:
    """Scenario 7: at least as up to date, all nine combinations; the voter ends with term 3 at index 2."""
    a = Single(log=(1, 3))
    granted = term > 3 or (term == 3 and index >= 2)
    assert votes(a.receive(ask("b", 9, (term, index), pre_vote=pre_vote))) == [("b", granted)]


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


def test_one_server_less_than_a_majority_elects_nobody() -> None:
    for size in range(2, 8):
        names = SERVERS[:size]
        network = Network(names, down=names[size // 2 :])
        network.pass_time(300)
        assert network.leader() is None
        assert all(server.core.term == 0 for server in network.alive)


def test_granting_a_vote_resets_the_election_timer() -> None:
    """A voter gives its candidate the time to win (a listed defect of the ancestors)."""
    for seed in range(20):
        network = Network("abc", down="bc", seed=seed)
        network.tick("a", ELECTION_TICKS_MIN - 1)
        network.post("a", ask("b", 1))
        network.tick("a", ELECTION_TICKS_MIN - 1)
        assert network["a"].role is Role.FOLLOWER


def test_refusing_a_vote_does_not_reset_the_election_timer() -> None:
    network = Network("abc", down="bc", logs={"a": (1,)}, hard_states={"a": HardState(term=1, voted_for="a")})
    for _ in range(ELECTION_TICKS_MAX):
        network.tick("a")
        network.post("a", ask("b", 1, (1, 1)))
    assert network["a"].role is Role.PRE_CANDIDATE


def test_an_append_that_does_not_fit_the_log_is_a_sign_of_a_leader() -> None:
    """The leader looks for where the logs agree, which may take as long as it will."""
    a = Single(log=(1,))
    for _ in range(ELECTION_TICKS_MAX):
        assert not messages_after_sync(a.receive(append("b", 2, (9, 2))))[0].success
        a.tick()
        assert (a.raft.role, a.raft.leader) == (Role.FOLLOWER, "b")


def test_a_new_term_without_a_vote_does_not_reset_the_election_timer() -> None:
    """Else a server that cannot win, and tries again and again, would keep all others from trying."""
    network = Network("abc", down="bc", logs={"a": (1,)})
    for term in range(2, 2 + ELECTION_TICKS_MAX):
        network.post("a", ask("b", term))
        network.tick("a")
        if network["a"].role is Role.PRE_CANDIDATE:
            return
    raise AssertionError("it never campaigned")


# -- pre-vote (thesis 9.6) ---------------------------------------------------------------------------


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


def test_a_voter_of_a_lower_term_takes_part() -> None:
    """Scenario 10: pre-vote; a voter that still has a lower term; the cluster elects."""
    network = Network("abc", hard_states={"a": HardState(term=7), "b": HardState(term=2)}, down="c")
    network.elect("a")
    assert network["b"].term == network["a"].term == 8


def test_a_pre_vote_promises_nothing() -> None:
    a = Single(term=3)
    assert votes(a.receive(ask("b", 4, pre_vote=True))) == [("b", True)]
    assert votes(a.receive(ask("c", 4, pre_vote=True))) == [("c", True)]
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


def test_a_follower_that_hears_its_leader_refuses_pre_votes() -> None:
    a = Single()
    a.receive(append("b", 1))
    assert votes(a.receive(ask("c", 2, (1, 9), pre_vote=True))) == [("c", False)]
    a.tick(ELECTION_TICKS_MIN)
    a.sent()
    assert votes(a.receive(ask("c", 2, (1, 9), pre_vote=True))) == [("c", True)]


# -- broken links ------------------------------------------------------------------------------------


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


# -- terms (5.1) -------------------------------------------------------------------------------------


@pytest.mark.parametrize("role", [Role.CANDIDATE, Role.LEADER])
def test_a_higher_term_makes_a_follower_that_handles_the_message(role: Role) -> None:
    """Scenario 13: a higher term reaches a candidate or leader; it steps down and answers as follower."""

    def server() -> Single:
        a = Single()
        a.lead() if role is Role.LEADER else a.campaign()
        assert a.raft.role is role
        return a

    a = server()
    assert votes(a.receive(ask("b", 9, (9, 9)))) == [("b", True)]
    assert (a.raft.role, a.raft.term) == (Role.FOLLOWER, 9)

    a = server()
    (answer,) = messages_after_sync(a.receive(append("b", 9, (0, 0), (9,))))
    assert answer.success
    assert (a.raft.role, a.raft.leader) == (Role.FOLLOWER, "b")

    a = server()
    a.receive(refuse("b", 9), reject("c", 10, 1))
    assert (a.raft.role, a.raft.term, a.raft.leader) == (Role.FOLLOWER, 10, None)


def test_an_older_term_is_told_of_the_newer_and_not_obeyed() -> None:
    a = Single(log=(1, 2), term=5)
    assert votes(a.receive(ask("b", 4, (9, 9)))) == [("b", False)]
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


def test_a_stranger_is_not_heard() -> None:
    a = Single(log=(1,), term=1)
    strange: list[RaftMessage] = [
        ask("x", 9, (9, 9)),
        append("x", 9, (1, 1), (9,), commit=2),
        grant("x", 9),
        acknowledge("x", 9, 4),
    ]
    assert a.receive(*strange) == []
    assert a.raft.term == 1
    assert a.server.log_terms == [1]
    assert votes(a.receive(ask("b", 2, (1, 1)))) == [("b", True)]


# -- time --------------------------------------------------------------------------------------------


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


def test_a_leader_that_hears_no_majority_steps_down() -> None:
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


def test_a_new_leader_has_a_whole_timeout_to_be_heard() -> None:
    """However far the timer of its last leadership had come."""
    a = Single()
    a.lead()
    a.tick(ELECTION_TICKS_MAX - 1)
    a.receive(append("b", 2))
    a.lead()
    a.tick(ELECTION_TICKS_MAX - 1)
    assert a.raft.role is Role.LEADER
    a.tick()
    assert a.raft.role is Role.FOLLOWER


def test_a_leader_that_hears_a_bare_majority_stays() -> None:
    network = Network("abcde")
    term = network.elect("a")
    network.isolate("a", "b", "c")
    network.pass_time(1000)
    assert (network.leader(), network["a"].term) == ("a", term)


def test_a_leader_sends_a_heartbeat_in_each_interval() -> None:
    a = Single()
    a.lead()
    for _ in range(5):
        assert {out.to for out in a.tick(HEARTBEAT_TICKS) if isinstance(out.message, AppendEntries)} == {
            "b",
            "c",
        }


def test_a_deposed_leader_can_campaign_again() -> None:
    """Its election timer runs, even if nobody else's does."""
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


# -- the candidate's own campaign --------------------------------------------------------------------


def test_a_candidate_asks_all_for_the_next_term_with_its_last_entry() -> None:
    a = Single("abcde", log=(1, 3), term=6)
    requests = a.campaign()
    assert {out.to for out in requests} == set("bcde")
    assert {out.message for out in requests} == {
        RequestVote(sender="a", term=7, last_log_index=2, last_log_term=3, pre_vote=False)
    }
    assert a.server.store.hard_state == HardState(term=7, voted_for="a")


def test_a_candidate_whose_own_vote_is_not_saved_has_not_won() -> None:
    """The vote for itself is a promise like any other: it counts when it is on the disk."""
    a = Single()
    a.campaign(pre_vote=True)
    a.server.crash_before = "save"
    sent = a.receive(grant("b", 1, pre_vote=True), grant("b", 1))
    assert a.server.raft is None
    assert not appends(sent)
    a.network.restart("a")
    assert votes(a.receive(ask("c", 1))) == [("c", True)]


def test_two_cores_in_one_process_share_nothing() -> None:
    """The ancestors kept a leader's bookkeeping on the class."""
    one, other = Single(), Single()
    one.lead()
    one.propose(b"x")
    assert other.raft.role is Role.FOLLOWER
    assert other.raft.matched() == {}
    other.lead()
    one.receive(acknowledge("b", 1, 2))
    assert one.raft.matched()["b"] == 2
    assert other.raft.matched()["b"] == 0


def test_a_hand_made_log_is_what_it_says() -> None:
    """The harness itself: entries are numbered from 1 and carry the terms that were asked for."""
    assert [(e.index, e.term) for e in entries_of_terms(1, 1, 4)] == [(1, 1), (2, 1), (3, 4)]
