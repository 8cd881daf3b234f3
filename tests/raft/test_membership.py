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


@given(_sets, _subsets, _subsets)
@example(["a", "b", "c"], {"a"}, {"a", "b"})
def test_a_majority_is_more_than_half_of_the_voters(
    voters: list[NodeId], learners: set[NodeId], answered: set[NodeId]
) -> None:
    membership = Membership(voters, learners=learners)
    assert membership.majority.has(answered) == is_majority(voters, learners, answered)


@given(_sets, _subsets, _values)
@example(["a", "b", "c"], {"a"}, {"a": 5, "b": 5, "c": 3})
def test_a_value_is_reached_if_a_majority_has_it(
    voters: list[NodeId], learners: set[NodeId], values: dict[NodeId, int]
) -> None:
    def reached(value: int) -> bool:
        return is_majority(voters, learners, {node for node, its in values.items() if its >= value})

    membership = Membership(voters, learners=learners)
    assert membership.majority.reached(values) == max(filter(reached, range(1, 10)), default=0)


@given(_sets, st.sampled_from(NODES), _subsets, _subsets)
@example(["a", "b"], "c", {"a"}, {"b", "c"})
def test_majorities_before_and_after_a_change_of_one_voter_share_a_server(
    before: list[NodeId], changed: NodeId, one: set[NodeId], other: set[NodeId]
) -> None:
    after = set(before) ^ {changed}
    if after and Membership(before).majority.has(one) and Membership(after).majority.has(other):
        assert one & other


@pytest.mark.parametrize(("size", "needed"), [(1, 1), (2, 2), (3, 2), (4, 3), (5, 3), (6, 4), (7, 4)])
def test_a_majority_of_one_set_takes_more_than_half(size: int, needed: int) -> None:
    majority = Membership(NODES[:size]).majority
    assert majority.has(set(NODES[:needed]))
    assert not majority.has(set(NODES[: needed - 1]))


def test_a_voter_that_lost_its_disk_is_in_the_number_and_does_not_count() -> None:
    membership = Membership("abc", learners="c")
    assert not membership.majority.has({"a", "c"})
    assert membership.majority.has({"a", "b"})
    assert membership.majority.reached({"a": 5, "b": 3, "c": 9}) == 3
    assert Membership("abc", learners="bc").majority.reached({"a": 5, "b": 5, "c": 5}) == 0, (
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
