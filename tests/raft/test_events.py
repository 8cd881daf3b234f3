"""What the core reports: each change of role and each vote once, with its reason, and nothing in between."""

from __future__ import annotations

import pytest

from atm.raft.events import (
    Cause,
    CoreEvent,
    LeaderLearned,
    RoleChanged,
    VoteDecided,
    VoteReceived,
    VoteRefusal,
)
from atm.raft.messages import NodeId, RequestVote, TimeoutNow
from atm.raft.ready import Role
from tests.raft.network import ELECTION_TICKS_MAX, ELECTION_TICKS_MIN, HEARTBEAT_TICKS, Network
from tests.raft.single import (
    Single,
    append,
    members,
    vote_granted,
    vote_refused,
    vote_request,
)

FOLLOWER, PRE, CANDIDATE, LEADER = Role.FOLLOWER, Role.PRE_CANDIDATE, Role.CANDIDATE, Role.LEADER


def since(server: Single) -> list[CoreEvent]:
    """Remove and return the events since the last call."""
    events = list(server.server.events)
    server.server.events.clear()
    return events


def roles(events: list[CoreEvent]) -> list[tuple[Role, Role, int, Cause, NodeId | None]]:
    return [(e.before, e.after, e.term, e.cause, e.by) for e in events if isinstance(e, RoleChanged)]


def refusal(server: Single, request: RequestVote) -> VoteRefusal | None:
    """Let `server` decide about `request`, and return the reason that it reports: the one event of a vote."""
    since(server)
    server.receive(request)
    [decided] = [event for event in since(server) if isinstance(event, VoteDecided)]
    assert (decided.candidate, decided.term) == (request.sender, request.term)
    assert decided.granted == (decided.refusal is None)
    return decided.refusal


def test_an_election_is_told_step_by_step() -> None:
    a = Single()
    a.lead()
    first, pre_vote, second, vote, third = since(a)
    assert roles([first, second, third]) == [
        (FOLLOWER, PRE, 0, Cause.ELECTION_TIMEOUT, None),
        (PRE, CANDIDATE, 1, Cause.PRE_VOTE_WON, None),
        (CANDIDATE, LEADER, 1, Cause.ELECTION_WON, None),
    ]
    assert isinstance(pre_vote, VoteReceived)
    assert isinstance(vote, VoteReceived)
    assert (pre_vote.voter, pre_vote.pre_vote, pre_vote.counted, pre_vote.votes) == ("b", True, True, 2)
    assert (vote.voter, vote.pre_vote, vote.counted, vote.votes, vote.needed) == ("b", False, True, 2, 2)
    assert isinstance(third, RoleChanged)
    assert (third.votes, third.leader, third.term_before) == (("a", "b"), "a", 1)


def test_nothing_is_reported_while_a_leader_leads() -> None:
    network = Network("abcde")
    network.elect("a")
    network.pass_time(2 * HEARTBEAT_TICKS)
    for server in network.servers.values():
        server.events.clear()
    for number in range(50):
        network.submit("a", b"%d" % number)
        network.read("a", number)
        network.pass_time(2)
    assert network.converged()
    assert [server.events for server in network.servers.values()] == [[]] * 5


def test_a_follower_reports_its_leader_once_and_that_it_gave_it_up() -> None:
    a = Single(term=1)
    for _ in range(3):
        a.receive(append("b", 1))
    assert since(a) == [LeaderLearned(term=1, leader="b")]
    a.tick(ELECTION_TICKS_MAX)
    assert roles(since(a))[:1] == [(FOLLOWER, PRE, 1, Cause.ELECTION_TIMEOUT, "b")]


def test_a_candidate_that_finds_a_leader_reports_both() -> None:
    a = Single()
    a.campaign()
    since(a)
    a.receive(append("b", 1))
    role, learned = since(a)
    assert roles([role]) == [(CANDIDATE, FOLLOWER, 1, Cause.LEADER_FOUND, "b")]
    assert learned == LeaderLearned(term=1, leader="b")


@pytest.mark.parametrize("role", [FOLLOWER, CANDIDATE, LEADER])
def test_a_higher_term_is_reported_with_who_sent_it(role: Role) -> None:
    a = Single()
    if role is CANDIDATE:
        a.campaign()
    if role is LEADER:
        a.lead()
    term = a.raft.term
    since(a)
    a.receive(append("c", 7))
    changed, learned = since(a)
    assert roles([changed]) == [(role, FOLLOWER, 7, Cause.HIGHER_TERM, "c")]
    assert isinstance(changed, RoleChanged)
    assert (changed.term_before, changed.leader) == (term, None)
    assert learned == LeaderLearned(term=7, leader="c")


def test_a_leader_without_a_majority_says_so() -> None:
    a = Single()
    a.lead()
    since(a)
    a.tick(2 * ELECTION_TICKS_MAX)
    assert roles(since(a))[0] == (LEADER, FOLLOWER, 1, Cause.NO_MAJORITY, None)


def test_each_campaign_that_is_not_won_is_reported() -> None:
    a = Single()
    a.campaign(pre_vote=True)
    since(a)
    a.tick(ELECTION_TICKS_MAX + 1)
    assert roles(since(a)) == [(PRE, PRE, 0, Cause.CAMPAIGN_TIMEOUT, None)]
    a.receive(vote_granted("b", 1, pre_vote=True))
    a.tick(ELECTION_TICKS_MAX + 1)
    assert roles(since(a))[-1] == (CANDIDATE, PRE, 1, Cause.CAMPAIGN_TIMEOUT, None)


def test_handing_over_is_told_by_both() -> None:
    network = Network()
    network.elect("a")
    network.pass_time(HEARTBEAT_TICKS)
    for server in network.servers.values():
        server.events.clear()
    network.transfer("a", "c")
    network.deliver()
    assert roles(network.servers["a"].events) == [(LEADER, FOLLOWER, 2, Cause.HANDED_OVER, "c")]
    assert roles(network.servers["c"].events)[0] == (FOLLOWER, CANDIDATE, 2, Cause.ORDERED_TO_CAMPAIGN, "a")
    changed = network.servers["c"].events[0]
    assert isinstance(changed, RoleChanged)
    assert changed.term_before == 1


def test_a_leader_that_removes_itself_says_so() -> None:
    network = Network()
    network.elect("a")
    network.pass_time(HEARTBEAT_TICKS)
    network.servers["a"].events.clear()
    network.change("a", members("bc"))
    network.pass_time(HEARTBEAT_TICKS)
    assert roles(network.servers["a"].events)[0] == (LEADER, FOLLOWER, 1, Cause.REMOVED, None)


def test_a_server_that_leaves_campaigns_to_others_reports_only_that_it_lost_its_leader() -> None:
    a = Single(term=1)
    a.receive(append("b", 1))
    a.raft.abstain(True)
    since(a)
    a.tick(2 * ELECTION_TICKS_MAX)
    assert roles(since(a)) == [(FOLLOWER, FOLLOWER, 1, Cause.NOT_CAMPAIGNING, "b")]


def test_a_server_with_an_empty_disk_gives_up_its_campaign() -> None:
    a = Single()
    a.campaign(pre_vote=True)
    since(a)
    a.raft.demote("a", "new")
    assert roles(since(a)) == [(PRE, FOLLOWER, 0, Cause.DISK_LOST, None)]


def test_a_vote_is_granted_or_refused_with_the_reason() -> None:
    a = Single(log=[1, 1, 2], term=2)
    assert refusal(a, vote_request("b", 1)) is VoteRefusal.LOWER_TERM
    assert refusal(a, vote_request("b", 3, (1, 9))) is VoteRefusal.LOG_BEHIND
    assert refusal(a, vote_request("b", 3, (2, 2))) is VoteRefusal.LOG_BEHIND
    assert refusal(a, vote_request("b", 3, (2, 3))) is None
    assert refusal(a, vote_request("c", 3, (2, 3))) is VoteRefusal.ALREADY_VOTED
    assert refusal(a, vote_request("b", 3, (2, 3))) is None, "the same again"


def test_a_pre_vote_is_decided_likewise() -> None:
    a = Single(log=[1], term=1)
    assert refusal(a, vote_request("b", 2, (1, 1), pre_vote=True)) is None
    assert refusal(a, vote_request("b", 2, (0, 0), pre_vote=True)) is VoteRefusal.LOG_BEHIND
    a.receive(append("c", 1))
    assert refusal(a, vote_request("b", 2, (1, 1), pre_vote=True)) is VoteRefusal.LEADER_ACTIVE
    a.tick(ELECTION_TICKS_MIN)
    assert refusal(a, vote_request("b", 2, (1, 1), pre_vote=True)) is None


def test_a_campaign_that_disturbs_a_leader_is_reported_though_it_gets_no_answer() -> None:
    a = Single(term=1)
    a.receive(append("c", 1))
    assert refusal(a, vote_request("b", 2)) is VoteRefusal.LEADER_ACTIVE


def test_a_server_that_lost_its_disk_gets_no_vote_and_the_reason_is_told() -> None:
    a = Single()
    a.raft.demote("b", "new")
    assert refusal(a, vote_request("b", 2)) is VoteRefusal.DISK_LOST


def test_a_vote_that_was_for_the_lost_disk_is_refused_for_that() -> None:
    a = Single(term=2, voted_for="b")
    a.raft.demote("b", "new")
    assert refusal(a, vote_request("b", 2, folder=("new", 5))) is VoteRefusal.DISK_LOST


def test_what_a_decision_compared_is_in_the_event() -> None:
    a = Single(log=[1, 1, 2], term=3, voted_for="c")
    since(a)
    a.receive(vote_request("b", 3, (2, 2)))
    [event] = since(a)
    assert event == VoteDecided(
        candidate="b",
        term=3,
        pre_vote=False,
        refusal=VoteRefusal.ALREADY_VOTED,
        own_term=3,
        voted_for="c",
        leader=None,
        last_index=2,
        last_term=2,
        own_last_index=3,
        own_last_term=2,
    )


def test_a_refused_and_a_late_vote_do_not_count() -> None:
    a = Single()
    a.campaign()
    since(a)
    a.receive(vote_refused("b", 1), vote_granted("c", 1, pre_vote=True))
    refused, late = since(a)
    assert isinstance(refused, VoteReceived)
    assert isinstance(late, VoteReceived)
    assert (refused.voter, refused.granted, refused.counted, refused.votes) == ("b", False, False, 1)
    assert (late.voter, late.granted, late.counted, late.votes) == ("c", True, False, 1)


def test_an_order_to_campaign_from_a_second_leader_changes_nothing() -> None:
    a = Single(term=1)
    a.receive(append("b", 1))
    since(a)
    a.receive(TimeoutNow(sender="c", term=1))
    assert since(a) == []
