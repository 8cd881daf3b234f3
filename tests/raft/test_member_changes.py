"""Changes of the membership (section 6, thesis 4): one voter at a time, used once they are in the log."""

from __future__ import annotations

from collections import deque

import pytest
from msgspec import msgpack
from msgspec.structs import replace

from atm.raft import (
    AppendEntries,
    ChangeRefused,
    Configuration,
    EntryKind,
    EntryTooLarge,
    Member,
    NotLeader,
    RequestVote,
    Role,
    encode_configuration,
)
from atm.raft.rejection import Violation
from tests.raft.network import ELECTION_TICKS_MAX, ELECTION_TICKS_MIN, HEARTBEAT_TICKS, NOW_US, Network
from tests.raft.single import (
    Single,
    append,
    append_accepted,
    append_of,
    append_refused,
    appends,
    members,
    membership_entry,
    vote_granted,
    vote_request,
    votes,
)


def led_by_a(names: str = "abc", joining: str = "") -> Network:
    """Return servers that `a` leads, with its no-op committed everywhere."""
    network = Network(names, joining=joining)
    network.elect("a")
    network.pass_time(2 * HEARTBEAT_TICKS)
    return network


def leading(names: str = "abc") -> Single:
    """Return `a` alone, which leads by the votes of the others and has committed its no-op at 1."""
    a = Single(names)
    a.lead()
    a.receive(*(append_accepted(peer, 1, 1) for peer in names[1:]))
    assert a.raft.commit_index == 1
    return a


# -- what a change does ------------------------------------------------------------------------------


def test_a_change_is_used_at_once_and_by_every_server_that_has_it_in_its_log() -> None:
    network = led_by_a()
    index = network["a"].change_membership(members("ab", "c"), NOW_US)
    assert network["a"].configuration[0] == index > network["a"].commit_index
    assert network["a"].membership.voters == ("a", "b")
    network.work("a")
    network.pass_time(2 * HEARTBEAT_TICKS)
    for name in "abc":
        assert network[name].configuration == network["a"].configuration
        assert network.servers[name].applied[-1].kind == EntryKind.MEMBERSHIP


def test_a_follower_uses_a_configuration_before_it_is_committed() -> None:
    a = Single("abc", log=(1,), term=1)
    a.receive(append_of("b", 1, (1, 1), membership_entry(2, 1, members("abcd"))))
    assert a.raft.commit_index == 0
    assert a.raft.configuration == (2, members("abcd"))


def test_an_entry_is_committed_by_a_majority_of_the_new_voters_alone() -> None:
    """Also the entry of the change itself: of the voters a, b, c, d three are needed."""
    a = leading()
    a.raft.change_membership(members("abcd"), NOW_US)
    a.receive(append_accepted("b", 1, 2))
    assert a.raft.commit_index == 1, "two of three would have been enough"
    a.receive(append_accepted("d", 1, 2))
    assert a.raft.commit_index == 2


def test_a_server_that_starts_uses_the_newest_configuration_of_its_log() -> None:
    """Whether or not it is committed, and also where the state machine has applied an older one."""
    network = led_by_a("abcd")
    network.change("a", members("abc", "d"))
    network.pass_time(2 * HEARTBEAT_TICKS)
    network.isolate("a")
    index = network.change("a", members("ab", "cd"))
    assert index > network["a"].commit_index
    network.crash("a")
    network.restart("a")
    assert network["a"].configuration[0] == index
    assert network["a"].membership.voters == ("a", "b")


def test_a_server_that_starts_with_an_applied_configuration_needs_no_entry_of_it() -> None:
    network = led_by_a()
    network.change("a", members("ab", "c"))
    network.pass_time(2 * HEARTBEAT_TICKS)
    for number in range(5):
        network.submit("a", b"%d" % number)
    network.pass_time(2 * HEARTBEAT_TICKS)
    before = network["b"].configuration
    network.crash("b")
    network.restart("b")
    assert before[0] <= network["b"].log.base_index, "its entry is not in memory"
    assert network["b"].configuration == before


def test_what_stands_behind_the_members_is_the_callers_and_changes_nothing() -> None:
    network = led_by_a()
    index = network["a"].change_membership(members("ab", "c"), NOW_US, msgpack.encode(["why", 7]))
    network.work("a")
    network.pass_time(2 * HEARTBEAT_TICKS)
    for name in "abc":
        entry = network.servers[name].applied[-1]
        assert (entry.index, msgpack.decode(entry.data)[1:]) == (index, [["why", 7]])
        assert [member.node for member in network[name].configuration[1] if member.voter] == ["a", "b"]


def test_a_member_is_numbered_by_the_entry_that_gave_it_its_vote_or_store() -> None:
    network = led_by_a("abcd")
    first = network.change("a", members("abc", "d"))
    network.pass_time(2 * HEARTBEAT_TICKS)
    moved = tuple(replace(m, peer=f"{m.node}:1", since=99) for m in members("abc", "d"))
    network.change("a", moved)
    network.pass_time(2 * HEARTBEAT_TICKS)
    assert {m.node: m.since for m in network["b"].configuration[1]} == {"a": 0, "b": 0, "c": 0, "d": first}
    another = network.change("a", (*moved[:3], replace(moved[3], store="new")))
    assert network["a"].configuration[1][3].since == another


# -- what is refused ---------------------------------------------------------------------------------


def test_no_change_before_the_leaders_term_has_a_committed_entry_and_one_at_a_time() -> None:
    """Scenario 48: a change before the term's no-op is committed, or while another is pending: refused."""
    a = Single()
    a.lead()
    with pytest.raises(ChangeRefused, match="not yet committed an entry of its term"):
        a.raft.change_membership(members("ab"), NOW_US)
    a.receive(append_accepted("b", 1, 1))
    a.raft.change_membership(members("abcd"), NOW_US)
    with pytest.raises(ChangeRefused, match="the change in entry 2 is not committed yet"):
        a.raft.change_membership(members("abcde"), NOW_US)
    assert (a.raft.last_index, a.raft.configuration[0]) == (2, 2)
    a.receive(append_accepted("b", 1, 2), append_accepted("c", 1, 2))
    assert a.raft.change_membership(members("abcde"), NOW_US) == 3


def test_a_change_that_an_earlier_leader_left_is_pending_too() -> None:
    """Its successor commits it by its own no-op; until then it may be replaced."""
    network = led_by_a("abcd", joining="d")
    left = network.change("a", members("abc", "d"))
    network.in_flight = deque(envelope for envelope in network.in_flight if envelope.to == "b")
    network.deliver_one()
    network.crash("a")
    network.in_flight.clear()
    network.drops = lambda envelope: isinstance(envelope.message, AppendEntries)
    network.elect("b")
    assert network["b"].configuration[0] == left > network["b"].commit_index
    with pytest.raises(ChangeRefused, match="not yet committed an entry of its term"):
        network["b"].change_membership(members("abc"), NOW_US)
    network.heal()
    network.pass_time(2 * HEARTBEAT_TICKS)
    index = network.change("b", members("abc"))
    network.pass_time(2 * HEARTBEAT_TICKS)
    assert network["b"].commit_index >= index


def test_two_leaders_cannot_change_one_configuration_in_two_ways() -> None:
    """The example of docs/raft.md: without rule 2, two majorities would share no server."""
    network = led_by_a("abcdu", joining="u")
    network.isolate("a", "u")
    network.change("a", members("abcdu"))
    network.deliver()
    assert network["u"].configuration == network["a"].configuration
    network.drops = lambda envelope: isinstance(envelope.message, AppendEntries) and envelope.to == "d"
    network.elect("b")
    with pytest.raises(ChangeRefused, match="not yet committed an entry of its term"):
        network["b"].change_membership(members("abc"), NOW_US)
    network.submit("b", b"x")
    network.deliver()
    assert network["b"].commit_index == 1, "b and c are two of four"
    network.heal()
    network.isolate("b", "c")
    network.pass_time(10 * ELECTION_TICKS_MAX)
    assert network.leader() in ("a", "d"), "and then nothing of b is lost"
    network.heal()
    network.pass_time(2 * ELECTION_TICKS_MAX)
    assert network["b"].configuration == network["a"].configuration


@pytest.mark.parametrize(
    ("wanted", "reason"),
    [
        (members("abde"), r"more than one server \(c, d, e\)"),
        (members("a", "bc"), r"more than one server \(b, c\)"),
        (members("abc", b="shown"), r"more than one server \(b\).* first becomes a learner"),
        (members("abc", a="one", b="shown"), r"more than one server \(b\).* first becomes a learner"),
        (members("", "abc"), "has no voter"),
        ((), "has no voter"),
        ((*members("abc"), Member(node="a", voter=False)), "names a member twice"),
        (members("abc"), "these are the members already"),
    ],
)
def test_what_cannot_follow_in_one_step_is_refused_and_changes_nothing(
    wanted: Configuration, reason: str
) -> None:
    a = leading()
    a.raft.demote("b", "shown")
    with pytest.raises(ChangeRefused, match=reason):
        a.raft.change_membership(wanted, NOW_US)
    assert (a.raft.last_index, a.raft.configuration) == (1, (0, members("abc")))


def test_the_first_store_of_voters_is_named_at_once_and_they_stay_what_they_are() -> None:
    network, first = Network("abc"), {"a": "1", "b": "2", "c": "3"}
    network.checks.first_disks, network.checks.disks = first, dict(first)
    network.checks.voters = frozenset(first.items())
    network.elect("a")
    network.submit("a", b"x")
    network.pass_time(2 * HEARTBEAT_TICKS)
    acknowledged = network["a"].matched()
    network["a"].change_membership(members("abc", a="1", b="2", c="3"), NOW_US)
    assert network["a"].matched() == acknowledged
    assert {m.since for m in network["a"].configuration[1]} == {0}
    network["a"].demote("b", "2")
    assert network["a"].matched() == acknowledged, "it has connected again"
    network["a"].demote("c", "4")
    assert network["a"].membership.is_learner("c")
    network.pass_time(2 * HEARTBEAT_TICKS)
    with pytest.raises(ChangeRefused, match="more than one server"):
        network["a"].change_membership(members("abc", a="1", b="2", c="4"), NOW_US)


def test_only_a_leader_changes_the_membership_and_only_within_the_limit_of_an_entry() -> None:
    network = Network("abc", entry_bytes_max=200)
    network.elect("a")
    network.pass_time(HEARTBEAT_TICKS)
    with pytest.raises(NotLeader) as refused:
        network["b"].change_membership(members("ab"), NOW_US)
    assert refused.value.leader == "a"
    with pytest.raises(EntryTooLarge):
        network["a"].change_membership((*members("abc"), Member(node="d" * 200, voter=False)), NOW_US)
    assert network["a"].configuration[0] == 0


def test_a_leader_whose_entry_is_no_configuration_is_rejected() -> None:
    """It would be used at once."""
    a = Single("abc", log=(1,), term=1)
    good = membership_entry(2, 1, members("abc"))
    no_voter = encode_configuration(members("", "ab"))
    for data in (b"", b"\xc1", b"\x91\x90", b"\x91\x91\x91\xa1a", no_voter, good.data[:-1]):
        rejection = a.raft.step(append_of("b", 1, (1, 1), replace(good, data=data)))
        assert rejection is not None
        assert rejection.violation is Violation.ENTRY
        assert "its entry 2 " in rejection.what
    assert (a.raft.last_index, a.raft.configuration) == (1, (0, members("abc")))
    newer = replace(good, data=b"\x92" + good.data[1:] + b"\xa4more")
    assert a.raft.step(append_of("b", 1, (1, 1), newer)) is None
    assert a.raft.configuration == (2, members("abc"))


# -- rollback ----------------------------------------------------------------------------------------


def test_a_configuration_that_is_truncated_is_rolled_back() -> None:
    """Scenario 49: a configuration entry is truncated; the server goes back to the one before it."""
    network = led_by_a("abcd")
    network.change("a", members("abc", "d"))
    network.pass_time(2 * HEARTBEAT_TICKS)
    committed = network["a"].configuration
    network.isolate("a", "d")
    network.change("a", members("ab", "cd"))
    network.deliver()
    assert network["d"].configuration != committed, "it has the entry, which is not committed"
    network.elect("b")
    network.submit("b", b"x")
    network.heal()
    network.pass_time(3 * HEARTBEAT_TICKS)
    assert {network[name].configuration for name in "abcd"} == {committed}
    assert network["a"].membership.voters == ("a", "b", "c")


def test_a_rollback_past_two_configurations_goes_to_the_newest_that_is_left() -> None:
    a = Single("abc", log=(1,), term=1)
    a.receive(
        append_of(
            "b",
            1,
            (1, 1),
            membership_entry(2, 1, members("abcd")),
            membership_entry(3, 1, members("abcde")),
            membership_entry(4, 1, members("abcdef")),
        )
    )
    assert a.raft.configuration[0] == 4
    a.receive(append_of("c", 2, (2, 1), *append("c", 2, (2, 1), (2,)).entries))
    assert a.raft.configuration == (2, members("abcd"))
    a.receive(append_of("b", 3, (1, 1), membership_entry(2, 3, members("ab"))))
    assert a.raft.configuration == (2, members("ab"))
    a.receive(append_of("b", 4, (1, 1), *append("b", 4, (1, 1), (4,)).entries))
    assert a.raft.configuration == (0, members("abc"))


# -- a leader outside of its configuration ------------------------------------------------------------


def test_a_leader_that_removes_itself_does_not_count_itself_and_steps_down_after_the_commit() -> None:
    """Scenario 50: the leader removes itself; the others elect one of themselves, and miss nothing."""
    network = led_by_a()
    network.cut("a", "c")
    index = network.change("a", members("bc"))
    network.deliver()
    assert (network["a"].role, network["a"].commit_index) == (Role.LEADER, index - 1), "one of b and c"
    network.heal()
    network.pass_time(4 * HEARTBEAT_TICKS, until=lambda: network["a"].role is not Role.LEADER)
    assert network["a"].role is Role.FOLLOWER
    assert network["a"].commit_index == index
    assert network.servers["a"].applied[-1].index == index
    network.deliver()
    assert [network[name].commit_index for name in "bc"] == [index, index], "it told them"
    term = network["b"].term
    network.pass_time(10 * ELECTION_TICKS_MAX)
    assert network.leader() in ("b", "c")
    assert network["a"].role is Role.FOLLOWER
    assert network["b"].term <= term + 2


def test_a_leader_that_gives_up_its_vote_becomes_a_learner_and_follows() -> None:
    network = led_by_a()
    network.change("a", members("bc", "a"))
    network.pass_time(10 * ELECTION_TICKS_MAX)
    leader = network.leader()
    assert leader in ("b", "c")
    network.submit(leader, b"x")
    network.pass_time(3 * HEARTBEAT_TICKS)
    assert network.servers["a"].commands == [b"x"]


def test_a_leader_that_removes_itself_confirms_reads_by_the_others_alone() -> None:
    a = leading()
    a.raft.change_membership(members("bc"), NOW_US)
    a.raft.read(7)
    (round,) = {message.round for message in appends(a.receive())}
    a.receive(append_accepted("b", 1, 1, round))
    assert a.server.reads == [], "a and b are two of the three of before"
    a.receive(append_accepted("c", 1, 1, round))
    assert [read.read_id for read in a.server.reads] == [7]


def test_a_leader_that_was_removing_itself_leads_again_if_no_other_can_be_elected() -> None:
    """Thesis 4.2.2, Figure 4.6: of two servers it alone has the entry, so the other gets no vote of it."""
    network = led_by_a("ab")
    network.isolate("a")
    index = network.change("a", members("b"))
    network.in_flight.clear()
    network.crash("a")
    network.restart("a")
    network.heal()
    network.pass_time(10 * ELECTION_TICKS_MAX)
    assert network.leader() == "b"
    assert network["b"].commit_index > index
    assert network["a"].role is Role.FOLLOWER
    term = network["b"].term
    network.pass_time(10 * ELECTION_TICKS_MAX)
    assert network["b"].term == term, "once that is committed, a campaigns no more"


def test_the_last_server_of_two_goes_on_alone() -> None:
    network = led_by_a("ab")
    network.change("a", members("b"))
    network.pass_time(10 * ELECTION_TICKS_MAX)
    assert network.leader() == "b"
    network.crash("a")
    network.submit("b", b"x")
    assert network.servers["b"].commands == [b"x"]


# -- servers that join ---------------------------------------------------------------------------------


def test_a_server_that_joins_waits_and_is_brought_up_to_date_as_a_learner_then_votes() -> None:
    network = led_by_a("abcd", joining="d")
    network.submit("a", *(b"%d" % number for number in range(20)))
    network.pass_time(4 * ELECTION_TICKS_MAX)
    assert (network["d"].role, network["d"].term, network["d"].last_index) == (Role.FOLLOWER, 0, 0)
    network.change("a", members("abc", "d"))
    network.pass_time(2 * HEARTBEAT_TICKS)
    assert network.converged()
    network.change("a", members("abcd"))
    network.pass_time(2 * HEARTBEAT_TICKS)
    network.crash("a", "b")
    network.pass_time(10 * ELECTION_TICKS_MAX)
    assert network.leader() is None, "c and d are no majority of four"
    network.restart("b")
    network.pass_time(10 * ELECTION_TICKS_MAX)
    assert network.leader() is not None


def test_a_learner_neither_campaigns_nor_counts() -> None:
    network = led_by_a("abcd", joining="d")
    network.change("a", members("abc", "d"))
    network.pass_time(2 * HEARTBEAT_TICKS)
    network.isolate("a", "d")
    commit_index = network["a"].commit_index
    network.submit("a", b"x")
    network.deliver()
    assert network["a"].commit_index == commit_index
    network.crash("a")
    term = network["d"].term
    network.pass_time(4 * ELECTION_TICKS_MAX)
    assert (network["d"].role, network["d"].term, network["d"].leader) == (Role.FOLLOWER, term, None)


def test_a_new_server_that_cannot_be_reached_stops_nothing_and_can_be_removed() -> None:
    """Scenario 51: a new server that cannot be reached; the quorum is safe and the change can be undone."""
    network = led_by_a("abcd", joining="d")
    network.isolate("d")
    for wanted in (members("abc", "d"), members("abcd"), members("abc", "d"), members("abc")):
        index = network.change("a", wanted)
        network.pass_time(2 * HEARTBEAT_TICKS)
        assert network["a"].commit_index >= index
        network.submit("a", b"x")
        network.pass_time(2 * HEARTBEAT_TICKS)
        assert network["a"].commit_index > index
    assert (network.leader(), network["a"].term) == ("a", 1)
    network.crash("c")
    network.submit("a", b"y")
    network.pass_time(2 * HEARTBEAT_TICKS)
    assert network.servers["b"].commands[-1] == b"y", "two of three are enough again"


def test_a_server_that_lags_votes_for_a_voter_that_it_does_not_know() -> None:
    """The newer configuration is committed without it; a server that has it can still be elected."""
    a = Single("abc", log=(1,), term=1)
    assert votes(a.receive(vote_request("d", 2, (1, 3), pre_vote=True))) == [("d", True)]
    assert votes(a.receive(vote_request("d", 2, (1, 3)))) == [("d", True)]
    a.receive(append("d", 2, (1, 1), (2,), commit=2))
    assert (a.raft.leader, a.raft.commit_index) == ("d", 2)


def test_no_vote_is_asked_of_who_has_none() -> None:
    a = Single("abc", log=(1,), term=1)
    a.receive(append_of("b", 1, (1, 1), membership_entry(2, 1, members("abc", "d"))))
    asked = [out.to for out in a.campaign(pre_vote=True) if isinstance(out.message, RequestVote)]
    assert asked == ["b", "c"]
    a.receive(vote_granted("d", 2, pre_vote=True))
    assert a.raft.role is Role.PRE_CANDIDATE


# -- servers that were removed --------------------------------------------------------------------------


def test_a_removed_server_that_campaigns_is_ignored() -> None:
    """Scenario 52: a removed server does not know it and campaigns; the leader stays, the term too."""
    network = led_by_a("abcde")
    network.isolate("e")
    network.change("a", members("abcd"))
    network.pass_time(2 * HEARTBEAT_TICKS)
    network.change("a", members("abc", "d"))
    network.heal()
    term = network["a"].term
    for _ in range(10):
        network.pass_time(2 * ELECTION_TICKS_MAX)
        network.inject("a", vote_request("e", term + 9, (9, 9)))
        network.inject("b", vote_request("e", term + 9, (9, 9)))
    assert network["e"].role is Role.PRE_CANDIDATE, "it does not know that it is removed"
    assert (network.leader(), network["a"].term, network["b"].term) == ("a", term, term)


def test_a_campaign_is_heard_once_the_leader_is_silent_or_hands_over() -> None:
    a = Single("abc", log=(1,), term=1)
    a.receive(append("b", 1, (1, 1)))
    assert a.receive(vote_request("c", 2, (1, 9))) == []
    assert (a.raft.term, a.raft.leader) == (1, "b")
    a.tick(ELECTION_TICKS_MIN - 1)
    assert votes(a.receive(vote_request("c", 2, (1, 9)))) == []
    assert votes(a.receive(vote_request("c", 2, (1, 9), transfer=True))) == [("c", True)]
    a.receive(append("c", 2, (1, 1)))
    a.tick(ELECTION_TICKS_MIN)
    a.sent()
    assert votes(a.receive(vote_request("b", 3, (2, 9)))) == [("b", True)]


def test_a_late_answer_of_a_removed_server_counts_for_nothing() -> None:
    a = leading()
    a.raft.change_membership(members("ab"), NOW_US)
    a.receive(append_accepted("c", 1, 2), append_refused("c", 1, 1))
    assert a.raft.commit_index == 1
    assert a.raft.matched() == {"b": 1}


def test_a_leader_steps_down_if_only_removed_servers_answer() -> None:
    a = leading()
    a.raft.change_membership(members("ab", "c"), NOW_US)
    a.receive(append_accepted("b", 1, 2))
    a.tick(ELECTION_TICKS_MAX)
    for _ in range(ELECTION_TICKS_MAX):
        a.receive(append_accepted("c", 1, 2))
        a.tick()
    assert a.raft.role is Role.FOLLOWER


# -- disks that were replaced ----------------------------------------------------------------------------


def test_a_server_with_a_new_disk_is_replaced_in_two_steps_and_counts_again() -> None:
    network = led_by_a()
    network.submit("a", b"x")
    network.pass_time(2 * HEARTBEAT_TICKS)
    network.crash("c")
    network.wipe("c", "new")
    for name in "ab":
        network[name].demote("c", "new")
    network.restart("c")
    network.change("a", members("ab", "c", c="new"))
    network.pass_time(4 * HEARTBEAT_TICKS)
    network.change("a", members("abc", c="new"))
    network.pass_time(4 * HEARTBEAT_TICKS)
    assert network.servers["c"].commands == [b"x"]
    assert all(network[name].membership.is_voter("c") for name in "abc")
    network.crash("b")
    network.submit("a", b"y")
    network.pass_time(2 * HEARTBEAT_TICKS)
    assert network.servers["c"].commands == [b"x", b"y"], "a and c are a majority"
    network.restart("b")
    network.pass_time(2 * HEARTBEAT_TICKS)
    network.crash("a")
    network.elect("c")


def test_a_disk_counts_only_while_it_is_the_one_of_the_configuration() -> None:
    a = leading()
    a.raft.change_membership(members("ab", "c", c="second"), NOW_US)
    a.receive(append_accepted("b", 1, 2))
    a.raft.change_membership(members("abc", c="second"), NOW_US)
    a.receive(append_accepted("b", 1, 3))
    assert a.raft.membership.is_voter("c"), "nothing else was seen of it"
    a.raft.demote("c", "third")
    assert not a.raft.membership.is_voter("c")
    assert a.raft.has_lost_disk("c")
    a.raft.demote("c", "second")
    assert a.raft.membership.is_voter("c")
    assert not a.raft.has_lost_disk("c")


def test_a_server_with_a_new_disk_is_no_voter_of_the_configurations_that_it_receives_again() -> None:
    """It founded the cluster, alone: with its first entries it would elect itself, and commit other ones."""
    a = Single("abc", log=(1,), term=1)
    a.raft.demote("a", "new")
    alone = membership_entry(2, 1, members("a"))
    a.receive(append_of("b", 5, (1, 1), alone))
    assert a.tick(10 * ELECTION_TICKS_MAX) == []
    assert (a.raft.role, a.raft.term) == (Role.FOLLOWER, 5)
    a.receive(append_of("b", 5, (2, 1), membership_entry(3, 4, members("ab", a="new"))))
    a.campaign()
    assert a.raft.role is Role.CANDIDATE


@pytest.mark.parametrize("pre_vote", [True, False])
@pytest.mark.parametrize(
    ("folder", "granted"),
    [
        (("new", 3), True),  # the entry that this voter has there is not known to be committed
        (("new", 2), False),  # that is another one
        (("old", 3), False),  # it comes late, from before the disk was lost
        (("", 0), False),
    ],
)
def test_a_voter_that_lags_votes_for_a_server_whose_new_disk_a_later_entry_names(
    folder: tuple[str, int], granted: bool, pre_vote: bool
) -> None:
    """Whether that one counts is told by its own configuration, and by no voter's (thesis 4.1)."""
    a = Single("abc", log=(1,), term=1)
    known = [membership_entry(2, 1, members("ab", "c")), membership_entry(3, 1, members("abd", "c"))]
    a.receive(replace(append_of("b", 1, (1, 1), *known), leader_commit=2))
    a.tick(ELECTION_TICKS_MAX)
    a.raft.demote("c", "new")
    answers = votes(a.receive(vote_request("c", 3, (2, 4), pre_vote=pre_vote, folder=folder)))
    assert answers == ([("c", True)] if granted else [])
    assert a.raft.has_lost_disk("c"), "in this voter's own configuration"
    assert not a.raft.membership.is_voter("c")


def test_a_server_with_a_new_disk_gets_no_vote_in_a_term_in_which_the_lost_one_got_it() -> None:
    """That vote was for another log, and may have counted."""
    a = Single("abc", log=(1,), term=1)
    assert votes(a.receive(vote_request("c", 2, (1, 3)))) == [("c", True)]
    a.raft.demote("c", "new")
    for pre_vote in (True, False):
        request = vote_request("c", 2, (1, 4), pre_vote=pre_vote, folder=("new", 4))
        sent = a.receive(request)
        assert votes(sent) == [("c", False)]
        assert [out.message.term for out in sent] == [2], "so the candidate goes on to the next term"
    assert votes(a.receive(vote_request("c", 3, (1, 4), folder=("new", 4)))) == [("c", True)]


def test_a_candidate_names_its_disk_only_as_a_voter_of_its_newest_configuration() -> None:
    a = Single("abc", log=(1,), term=1)
    a.raft.demote("a", "new")

    def named() -> set[tuple[str, int]]:
        sent = [out.message for out in a.campaign(pre_vote=True)]
        return {(each.store, each.store_since) for each in sent if isinstance(each, RequestVote)}

    with_new = tuple(replace(member, since=2) for member in members("abc", a="new"))
    a.receive(append_of("b", 1, (1, 1), membership_entry(2, 1, with_new)))
    assert named() == {("new", 2)}
    a.receive(append_of("b", 1, (2, 1), membership_entry(3, 1, members("bc", "a", a="new"))))
    assert named() == {("", 0)}, "it may campaign until it is committed that it leaves"


def test_a_replaced_server_that_is_being_removed_may_still_campaign() -> None:
    a = Single("abc", log=(1,), term=1)
    a.raft.demote("a", "new")
    a.receive(append_of("b", 1, (1, 1), membership_entry(2, 1, members("abc", a="new"))))
    a.receive(replace(append("b", 1, (2, 1)), leader_commit=2))
    a.receive(append_of("b", 1, (2, 1), membership_entry(3, 1, members("bc"))))
    a.campaign()
    a.receive(vote_granted("c", 2, pre_vote=True))
    assert (a.raft.role, a.raft.voted_for) == (Role.CANDIDATE, "a")
    a.receive(vote_granted("b", 2))
    assert a.raft.role is Role.CANDIDATE, "its own vote does not count"
    a.receive(vote_granted("c", 2))
    assert a.raft.role is Role.LEADER


@pytest.mark.parametrize("pre_vote", [True, False])
def test_a_campaign_ends_if_the_disk_turns_out_to_be_new(pre_vote: bool) -> None:
    a = Single()
    a.campaign(pre_vote=pre_vote)
    a.raft.demote("a", "new")
    assert a.raft.role is Role.FOLLOWER


def test_an_acknowledgement_of_the_lost_disk_does_not_count_once_the_new_one_is_a_voters() -> None:
    """It may come after the demotion, if it was received before."""
    a = leading()
    a.propose(b"x")
    a.raft.demote("c", "new")
    a.receive(append_accepted("c", 1, 2), append_accepted("b", 1, 2))
    a.raft.change_membership(members("ab", "c", c="new"), NOW_US)
    a.receive(append_accepted("b", 1, 3), append_accepted("c", 1, 2))
    a.raft.change_membership(members("abc", c="new"), NOW_US)
    assert a.raft.matched() == {"b": 3, "c": 0}
    a.receive(append_refused("c", 1, a.raft.last_index - 1, (1, 0)))
    assert appends(a.receive(append_refused("c", 1, 0)), "c") == []
    assert a.raft.commit_index == 3


def test_a_vote_of_the_lost_disk_does_not_count_once_the_new_one_is_a_voters() -> None:
    """The new disk has not given it."""
    a = Single("abcde")
    a.campaign()
    a.receive(vote_granted("b", 1))
    a.raft.demote("b", "new")
    a.raft.demote("b", "")
    a.receive(vote_granted("c", 1))
    assert a.raft.role is Role.CANDIDATE
