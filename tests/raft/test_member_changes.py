"""Changes of the membership (section 6, thesis 4): one voter at a time, used once they are in the log."""

from __future__ import annotations

from atm.raft import EntryKind, Member
from tests.raft.network import HEARTBEAT_TICKS, NOW_US, Network


def members(voters: str, learners: str = "") -> tuple[Member, ...]:
    return tuple(Member(node=node, voter=node in voters) for node in voters + learners)


def test_a_change_is_used_at_once_and_committed_by_the_new_voters() -> None:
    network = Network("abc")
    network.elect("a")
    network.pass_time(HEARTBEAT_TICKS)
    index = network["a"].change_membership(members("ab", "c"), NOW_US)
    assert network["a"].configuration[0] == index
    assert network["a"].membership.voters == ("a", "b")
    network.work("a")
    network.pass_time(2 * HEARTBEAT_TICKS)
    for name in "abc":
        assert network[name].configuration == network["a"].configuration
        assert network.servers[name].applied[-1].kind == EntryKind.MEMBERSHIP
