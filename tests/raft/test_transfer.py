"""Leadership transfer (thesis 3.10): the leader names its successor, which campaigns at once."""

from __future__ import annotations

import pytest

from atm.raft import (
    AppendEntries,
    ChangeRefused,
    Member,
    NotLeader,
    Outgoing,
    RequestVote,
    Role,
    TimeoutNow,
    Transferring,
)
from atm.raft.rejection import Violation
from tests.raft.network import ELECTION_TICKS_MAX, ELECTION_TICKS_MIN, HEARTBEAT_TICKS, NOW_US, Network
from tests.raft.single import Single, append, append_accepted, members, votes
from tests.raft.test_member_changes import leading, led_by_a


def timeout_now(sender: str, term: int) -> TimeoutNow:
    return TimeoutNow(sender=sender, term=term)


def orders(sent: list[Outgoing]) -> list[str]:
    """Return whom `sent` tells to campaign."""
    return [out.to for out in sent if isinstance(out.message, TimeoutNow)]


def test_leadership_is_handed_over_without_an_election_timeout() -> None:
    network = led_by_a()
    network.submit("a", b"x")
    network.transfer("a", "c")
    assert network["a"].transferring == "c"
    network.deliver()
    assert (network.leader(), network["c"].term) == ("c", 2)
    assert (network["a"].role, network["a"].transferring) == (Role.FOLLOWER, None)
    network.submit("c", b"y")
    network.pass_time(2 * HEARTBEAT_TICKS)
    assert network.converged()
    assert network.servers["a"].commands == [b"x", b"y"]


def test_the_successor_first_gets_the_whole_log() -> None:
    a = leading()
    a.raft.propose([b"x"], NOW_US)
    assert a.raft.transfer("c") == "c"
    assert orders(a.receive()) == []
    assert orders(a.receive(append_accepted("b", 1, 2))) == [], "b has it, c does not"
    assert orders(a.receive(append_accepted("c", 1, 2))) == ["c"]
    assert orders(a.receive(append_accepted("c", 1, 2)) + a.tick(HEARTBEAT_TICKS)) == [], "once is enough"


def test_the_successor_is_told_beforehand_and_nothing_begins_by_that() -> None:
    a = leading()
    assert (a.raft.successor("c"), a.raft.transferring) == ("c", None)
    assert a.raft.successor(None) in "bc"
    with pytest.raises(ChangeRefused):
        a.raft.successor("a")
    a.raft.propose([b"x"], NOW_US)
    assert a.raft.transfer("b") == a.raft.successor(None) == "b"
    with pytest.raises(ChangeRefused):
        a.raft.successor("c")


def test_nothing_is_proposed_meanwhile() -> None:
    a = leading()
    a.raft.transfer("c")
    with pytest.raises(Transferring) as held:
        a.raft.propose([b"x"], NOW_US)
    assert held.value.target == "c"
    with pytest.raises(ChangeRefused, match="leadership is being handed to c"):
        a.raft.change_membership(members("ab"), NOW_US)
    assert a.raft.last_index == 1


def test_a_transfer_that_fails_is_given_up_and_the_leader_goes_on() -> None:
    """Scenario 57: transfer under writes, or to a target that dies: it times out, the leader goes on."""
    network = led_by_a()
    network.cut("a", "c")
    for number in range(10):
        network.submit("a", b"%d" % number)
    network.transfer("a", "c")
    assert network.pass_time(1000, until=lambda: network["a"].transferring is None) == ELECTION_TICKS_MAX
    network.submit("a", b"more")
    network.heal()
    network.pass_time(2 * HEARTBEAT_TICKS)
    network.crash("c")
    network.transfer("a", "c")
    with pytest.raises(Transferring):
        network.submit("a", b"not yet")
    network.pass_time(ELECTION_TICKS_MAX)
    assert (network.leader(), network["a"].term) == ("a", 1)
    network.submit("a", b"last")
    network.pass_time(2 * HEARTBEAT_TICKS)
    assert network.servers["b"].commands[-2:] == [b"more", b"last"]


def test_a_read_during_a_transfer_is_never_stale() -> None:
    """Both leaders may think that they lead; only the later one can confirm a read after its election."""
    network = led_by_a()
    network.transfer("a", "c")
    network.drops = lambda envelope: (
        "a" in (envelope.sender, envelope.to) and not isinstance(envelope.message, TimeoutNow)
    )
    network.deliver()
    assert [network[name].role for name in "ac"] == [Role.LEADER, Role.LEADER]
    network.submit("c", b"new")
    network.deliver()
    network.read("a", 1)
    network.deliver()
    network.read("c", 2)
    network.deliver()
    assert network.servers["a"].reads == [], "it waits"
    assert [read.read_id for read in network.servers["c"].reads] == [2]
    network.heal()
    network.pass_time(2 * HEARTBEAT_TICKS)
    assert network.servers["a"].reads == []
    assert network.servers["a"].dropped_reads == [1], "it fails"


# -- who can lead ---------------------------------------------------------------------------------------


def test_without_a_name_the_voter_with_the_longest_log_that_answers_is_chosen() -> None:
    a = leading("abcd")
    a.raft.change_membership(members("abc", "d"), NOW_US)
    a.receive(append_accepted("b", 1, 2), append_accepted("c", 1, 2), append_accepted("d", 1, 2))
    a.propose(b"x", b"y")
    a.receive(append_accepted("b", 1, 2), append_accepted("c", 1, 3), append_accepted("d", 1, 4))
    assert a.raft.transfer(None) == "c"
    assert a.raft.transfer(None) == "c", "it is under way"
    assert a.raft.transfer("c") == "c"
    with pytest.raises(ChangeRefused, match="being handed to c"):
        a.raft.transfer("b")


def test_a_server_that_is_silent_or_has_no_vote_is_refused() -> None:
    a = leading("abcde")
    a.raft.change_membership(members("abcd", "e"), NOW_US)
    a.receive(append_accepted("b", 1, 2), append_accepted("c", 1, 2), append_accepted("d", 1, 2))
    a.raft.demote("d", "new")
    for _ in range(ELECTION_TICKS_MIN):
        a.tick()
        a.receive(append_accepted("b", 1, 2), append_accepted("d", 1, 0))
    for target, reason in (
        ("a", "a leads already"),
        ("c", "c does not answer"),
        ("d", "d has no vote"),
        ("e", "e has no vote"),
        ("x", "x has no vote"),
    ):
        with pytest.raises(ChangeRefused, match=reason):
            a.raft.transfer(target)
    assert a.raft.transferring is None
    assert a.raft.transfer(None) == "b"


def test_a_leader_without_another_voter_that_answers_keeps_leading() -> None:
    a = leading()
    a.tick(ELECTION_TICKS_MIN)
    with pytest.raises(ChangeRefused, match="no other voter answers"):
        a.raft.transfer(None)
    assert a.raft.role is Role.LEADER


def test_only_a_leader_hands_over() -> None:
    a = Single()
    a.receive(append("b", 1))
    with pytest.raises(NotLeader) as refused:
        a.raft.transfer(None)
    assert refused.value.leader == "b"


def test_a_successor_that_loses_its_disk_gets_no_order() -> None:
    a = leading()
    a.raft.propose([b"x"], NOW_US)
    a.raft.transfer("c")
    a.raft.demote("c", "new")
    assert a.raft.transferring is None
    assert orders(a.receive(append_accepted("c", 1, 2))) == []


def test_a_leader_that_removes_itself_can_hand_over_first() -> None:
    network = led_by_a()
    network.transfer("a", "b")
    network.deliver()
    network.change("b", members("bc"))
    network.pass_time(10 * ELECTION_TICKS_MAX)
    assert (network.leader(), network["b"].term) == ("b", 2)


# -- the successor ---------------------------------------------------------------------------------------


def follower_of_b(*, names: str = "abc") -> Single:
    a = Single(names, log=(1,), term=1)
    a.receive(append("b", 1, (1, 1)))
    return a


def test_the_successor_campaigns_at_once_for_real_and_says_why() -> None:
    a = follower_of_b()
    sent = a.receive(timeout_now("b", 1))
    requests = [out.message for out in sent if isinstance(out.message, RequestVote)]
    assert [(r.term, r.pre_vote, r.transfer) for r in requests] == [(2, False, True)] * 2
    assert (a.raft.role, a.server.store.hard_state.voted_for) == (Role.CANDIDATE, "a")


def test_a_later_campaign_of_the_successor_is_an_ordinary_one() -> None:
    a = follower_of_b()
    a.receive(timeout_now("b", 1))
    again = [out.message for out in a.campaign(pre_vote=True) if isinstance(out.message, RequestVote)]
    assert [(r.term, r.pre_vote, r.transfer) for r in again] == [(3, True, False)] * 2


def test_an_order_of_an_older_term_or_to_a_server_without_a_vote_is_not_obeyed() -> None:
    a = Single("abc", log=(1, 3), term=3)
    a.receive(append("b", 3, (2, 3)))
    assert a.receive(timeout_now("c", 2)) == []
    assert (a.raft.role, a.raft.term) == (Role.FOLLOWER, 3)
    network = Network("abcd", joining="d")
    network.elect("a")
    network.pass_time(HEARTBEAT_TICKS)
    network.change("a", (*members("abc"), Member(node="d", voter=False)))
    network.pass_time(2 * HEARTBEAT_TICKS)
    network.inject("d", timeout_now("a", 1))
    assert (network["d"].role, network["d"].term) == (Role.FOLLOWER, 1)


def test_an_order_of_another_than_the_leader_is_rejected() -> None:
    a = follower_of_b()
    rejection = a.raft.step(timeout_now("c", 1))
    assert rejection is not None
    assert rejection.violation is Violation.SECOND_LEADER
    assert a.raft.role is Role.FOLLOWER


def test_an_order_of_a_newer_term_is_obeyed_in_the_next() -> None:
    a = follower_of_b()
    a.receive(timeout_now("c", 5))
    assert (a.raft.role, a.raft.term) == (Role.CANDIDATE, 6)


def test_a_candidate_and_a_leader_are_under_way_already() -> None:
    a = follower_of_b()
    a.campaign(pre_vote=True)
    assert a.receive(timeout_now("b", 1)) == []
    assert a.raft.role is Role.PRE_CANDIDATE
    leader = leading()
    assert leader.raft.step(timeout_now("b", 1)) is not None
    assert leader.raft.role is Role.LEADER


def test_the_old_leader_votes_for_its_successor() -> None:
    a = leading()
    a.raft.transfer("b")
    request = RequestVote(
        sender="b", term=2, last_log_index=1, last_log_term=1, pre_vote=False, transfer=True
    )
    assert votes(a.receive(request)) == [("b", True)]
    assert (a.raft.role, a.raft.transferring) == (Role.FOLLOWER, None)


def test_an_order_that_comes_late_does_no_harm() -> None:
    """The transfer was given up and the leader went on: at most one election."""
    network = led_by_a()
    network.transfer("a", "c")
    late = network.take_in_flight(TimeoutNow)
    network.pass_time(ELECTION_TICKS_MAX)
    network.submit("a", b"x")
    network.take_in_flight(AppendEntries, to="c")
    for envelope in late:
        network.inject(envelope.to, envelope.message)
    network.pass_time(10 * ELECTION_TICKS_MAX)
    assert network.leader() is not None
    assert network.converged()
    assert network.servers["b"].commands == [b"x"]
