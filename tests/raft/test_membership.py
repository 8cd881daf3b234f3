"""Majorities, of one set of servers and of two at once, compared with their definition."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import combinations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from atm.raft.membership import Membership
from atm.raft.messages import NodeId

NODES = "abcdefg"
_sets = st.sets(st.sampled_from(NODES), min_size=1).map(sorted)
_subsets = st.sets(st.sampled_from(NODES + "x"))
_values = st.dictionaries(st.sampled_from(NODES), st.integers(0, 9))


def more_than_half(servers: Sequence[NodeId]) -> Iterator[set[NodeId]]:
    """Return every group of more than half of `servers`, one by one."""
    for size in range(len(servers) + 1):
        if 2 * size > len(servers):
            yield from map(set, combinations(servers, size))


def is_majority(servers: Sequence[NodeId], learners: set[NodeId], answered: set[NodeId]) -> bool:
    return any(group <= answered - learners for group in more_than_half(servers))


@given(_sets, st.none() | _sets, _subsets, _subsets)
@example(["a", "b", "c"], ["c", "d", "e"], set(), {"a", "b"})
@example(["a", "b", "c"], None, {"a"}, {"a", "b"})
def test_a_majority_is_more_than_half_of_each_set(
    voters: list[NodeId], old: list[NodeId] | None, learners: set[NodeId], answered: set[NodeId]
) -> None:
    membership = Membership(voters, old_voters=old or (), learners=learners)
    expected = all(is_majority(servers, learners, answered) for servers in (voters, old) if servers)
    assert membership.majority.has(answered) == expected


@given(_sets, st.none() | _sets, _subsets, _values)
@example(["a", "b", "c"], ["c", "d", "e"], set(), {"a": 5, "b": 5, "c": 5})
def test_a_value_is_reached_if_a_majority_has_it(
    voters: list[NodeId], old: list[NodeId] | None, learners: set[NodeId], values: dict[NodeId, int]
) -> None:
    membership = Membership(voters, old_voters=old or (), learners=learners)

    def reached(value: int) -> bool:
        answered = {node for node, its in values.items() if its >= value}
        return all(is_majority(servers, learners, answered) for servers in (voters, old) if servers)

    assert membership.majority.reached(values) == max(filter(reached, range(1, 10)), default=0)


@given(_sets, _sets, _subsets, _subsets)
def test_a_joint_majority_shares_a_server_with_every_majority_of_either_set(
    voters: list[NodeId], old: list[NodeId], one: set[NodeId], other: set[NodeId]
) -> None:
    joint = Membership(voters, old_voters=old).majority
    for servers in (voters, old):
        alone = Membership(servers).majority
        assert not (joint.has(one) and alone.has(other)) or one & other & set(servers)


@pytest.mark.parametrize(("size", "needed"), [(1, 1), (2, 2), (3, 2), (4, 3), (5, 3), (6, 4), (7, 4)])
def test_a_majority_of_one_set_takes_more_than_half(size: int, needed: int) -> None:
    majority = Membership(NODES[:size]).majority
    assert majority.has(set(NODES[:needed]))
    assert not majority.has(set(NODES[: needed - 1]))


def test_a_voter_that_lost_its_disk_is_in_the_number_and_does_not_count() -> None:
    membership = Membership("abc").demoted("c")
    assert not membership.majority.has({"a", "c"})
    assert membership.majority.has({"a", "b"})
    assert membership.majority.reached({"a": 5, "b": 3, "c": 9}) == 3
    assert membership.demoted("b").majority.reached({"a": 5, "b": 5, "c": 5}) == 0, (
        "one is no majority of three"
    )
    assert (membership.is_member("c"), membership.is_learner("c"), membership.is_voter("c")) == (
        True,
        True,
        False,
    )


def test_a_learner_is_a_member_and_not_in_the_number_of_voters() -> None:
    membership = Membership("abc", learners="d")
    assert membership.members == ("a", "b", "c", "d")
    assert membership.majority.has({"a", "b"})
    assert not membership.majority.has({"a", "d"})
    assert (membership.is_member("d"), membership.is_voter("d"), membership.is_member("x")) == (
        True,
        False,
        False,
    )


def test_the_members_of_two_sets_are_listed_once_each_in_order() -> None:
    membership = Membership("cde", old_voters="abc", learners="f")
    assert membership.members == ("c", "d", "e", "a", "b", "f")
    assert membership.others("d") == ("c", "e", "a", "b", "f")
    assert all(membership.is_voter(node) for node in "abcde")
