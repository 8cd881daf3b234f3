"""Who is let in by whom, and what they speak: the hello on its own, without sockets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pytest
from msgspec.structs import replace

from atm.ledger.peppers import PepperState
from atm.raft import Member
from atm.server.group.roster import Roster
from atm.server.peers.handshake import Handshake
from atm.wire.peer_messages import Hello

ONE, OTHER = "ab" * 16, "cd" * 16


def hello(node: str, *, cluster: str = "", config: str = "five", low: int = 3, high: int = 3) -> Hello:
    return Hello(
        protocol_min=low,
        protocol_max=high,
        release=f"release of {node}",
        feature_level=1,
        cluster=cluster,
        config=config,
        node=node,
        store=f"store of {node}",
        pepper="pepper",
    )


def reason_to_refuse(ours: Hello, theirs: Hello) -> str | None:
    return handshake_of(ours).reason_to_refuse(theirs)


def handshake_of(ours: Hello, *, members: str = "n1 n2 n3", removed: Mapping[str, int] = {}) -> Handshake:
    """Return the handshake of a node whose log knows these members."""
    return Handshake(ours, Roster(5, tuple(Member(n, True) for n in members.split()), removed, {}))


@pytest.mark.parametrize(
    ("ours", "theirs", "config", "let_in"),
    [
        ("", "", "five", True),
        ("", "", "other", False),
        (ONE, "", "five", True),
        (ONE, "", "other", True),  # a member with an empty data folder
        ("", ONE, "five", True),
        ("", ONE, "other", True),  # this node joins
        (ONE, ONE, "five", True),
        (ONE, ONE, "other", True),
        (ONE, OTHER, "five", False),
        (ONE, OTHER, "other", False),
    ],
)
def test_ids_decide_once_both_have_one_and_cluster_ini_before(
    ours: str, theirs: str, config: str, let_in: bool
) -> None:
    found = reason_to_refuse(hello("n1", cluster=ours), hello("n2", cluster=theirs, config=config))
    assert (found is None) == let_in
    assert let_in or "another cluster" in str(found)
    assert let_in or ("data_dir" if ours and theirs else "cluster.ini") in str(found)


def test_a_node_that_joined_a_cluster_says_so_in_its_hello() -> None:
    handshake = handshake_of(hello("n1"))
    assert handshake.reason_to_refuse(hello("n2", cluster=OTHER)) is None
    handshake.join(ONE)
    assert handshake.hello.cluster == ONE
    assert "another cluster" in str(handshake.reason_to_refuse(hello("n2", cluster=OTHER)))


@pytest.mark.parametrize(
    ("ours", "theirs", "spoken"),
    [
        ((3, 3), (3, 3), 3),
        ((3, 3), (3, 4), 3),
        ((3, 4), (3, 3), 3),
        ((3, 5), (2, 4), 4),
        ((3, 5), (4, 9), 5),
        ((3, 5), (5, 9), 5),
        ((3, 5), (1, 3), 3),
    ],
)
def test_two_releases_speak_the_highest_version_that_both_know(
    ours: tuple[int, int], theirs: tuple[int, int], spoken: int
) -> None:
    one = hello("n1", low=ours[0], high=ours[1])
    two = hello("n2", low=theirs[0], high=theirs[1])
    assert reason_to_refuse(one, two) is None
    assert handshake_of(one).welcome(two, learner=False).protocol == spoken
    assert handshake_of(two).welcome(one, learner=True).protocol == spoken
    assert handshake_of(one).speaks(spoken)
    assert handshake_of(two).speaks(spoken)


@pytest.mark.parametrize(("ours", "theirs"), [((3, 4), (5, 6)), ((5, 6), (3, 4)), ((3, 3), (0, 2))])
def test_the_refusal_of_releases_without_a_common_version_names_both(
    ours: tuple[int, int], theirs: tuple[int, int]
) -> None:
    found = reason_to_refuse(
        hello("n1", low=ours[0], high=ours[1]), hello("n2", low=theirs[0], high=theirs[1])
    )
    assert found is not None
    assert "release of n1" in found
    assert "release of n2" in found
    assert found.endswith("install releases that have one in common")


def test_a_version_beside_the_range_is_not_spoken() -> None:
    handshake = handshake_of(hello("n1", low=3, high=4))
    assert [handshake.speaks(version) for version in (2, 3, 4, 5)] == [False, True, True, False]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"pepper": "other"}, "pepper"),
        ({"node": "n1"}, "run each name once"),
        ({"node": "n9"}, "no node"),
    ],
)
def test_other_reasons_to_refuse(change: dict[str, str], reason: str) -> None:
    assert reason in str(reason_to_refuse(hello("n1"), replace(hello("n2"), **change)))


# -- who is a member ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("ours", "theirs", "reason"),
    [
        ("", "", "no node 'n9' in this cluster.ini"),
        (ONE, "", "node 'n9' is no member of this cluster: add it first, with bin/admin add"),
        (ONE, ONE, None),  # it may be a member by a newer entry than this node has
        ("", ONE, None),  # this node has an empty data folder, and an old cluster.ini perhaps
    ],
)
def test_a_stranger_is_let_in_only_with_the_id_of_the_cluster(
    ours: str, theirs: str, reason: str | None
) -> None:
    found = reason_to_refuse(hello("n1", cluster=ours), hello("n9", cluster=theirs))
    assert found is None if reason is None else reason in str(found)


@pytest.mark.parametrize("cluster", [ONE, ""])
def test_a_removed_server_is_told_so_until_it_is_added_again(cluster: str) -> None:
    theirs = hello("n9", cluster=cluster)
    without = handshake_of(hello("n1", cluster=ONE), removed={"n9": 70})
    assert "node n9 was removed from the cluster in log entry 70" in str(without.reason_to_refuse(theirs))
    assert without.removed_at(theirs) == 70
    again = handshake_of(hello("n1", cluster=ONE), members="n1 n9", removed={"n9": 70})
    assert again.reason_to_refuse(theirs) is None
    assert again.removed_at(theirs) == 0


def test_a_server_that_says_it_was_added_again_later_is_let_in() -> None:
    """It may lead, and then this node gets the entry that added it from nobody else."""
    handshake = handshake_of(hello("n1", cluster=ONE), removed={"n9": 70})
    for member_at, removed_at in ((69, 70), (70, 70), (71, 0)):
        theirs = replace(hello("n9", cluster=ONE), member_at=member_at)
        assert (handshake.reason_to_refuse(theirs) is None) == (removed_at == 0)
        assert handshake.removed_at(theirs) == removed_at


def test_a_hello_tells_by_which_entry_its_sender_is_a_member_now() -> None:
    handshake = handshake_of(hello("n1"))
    assert handshake.hello.member_at == 5
    handshake.roster = replace(handshake.roster, index=9)
    assert handshake.hello.member_at == 9
    handshake.roster = replace(handshake.roster, members=(Member("n2", True),))
    assert handshake.hello.member_at == 0


def test_a_hello_tells_where_the_log_ends_now() -> None:
    ends_at = [5]
    handshake = Handshake(hello("n1"), Roster(0, (), {}, {}), lambda: ends_at[0])
    assert handshake.hello.last_index == 5
    ends_at[0] = 9
    assert handshake.hello.last_index == 9


# -- peppers -----------------------------------------------------------------------------------------


def with_peppers(ours: Sequence[str], current: PepperState) -> Handshake:
    roster = Roster(5, (Member("n1", True), Member("n2", True)), {}, {})
    return Handshake(hello("n1"), roster, peppers=lambda: ours, current_pepper=lambda: current)


def test_files_of_which_one_has_a_newer_pepper_are_compatible_until_that_is_current() -> None:
    first, both = with_peppers(("p",), PepperState()), with_peppers(("p", "q"), PepperState())
    assert (first.hello.further_peppers, both.hello.further_peppers) == ((), ("q",))
    assert first.reason_to_refuse(replace(both.hello, node="n2")) is None
    assert both.reason_to_refuse(replace(first.hello, node="n2")) is None
    rotated = with_peppers(("p", "q"), PepperState(2, "q", 7, None))
    assert rotated.reason_to_refuse(replace(both.hello, node="n2")) is None
    for theirs in ((), ("other",), ("other", "r")):
        refused = rotated.reason_to_refuse(replace(first.hello, node="n2", further_peppers=theirs))
        assert refused is not None
        assert refused.startswith("its pepper file lacks the current pepper, q: copy the pepper_file")
    assert rotated.reason_to_refuse(replace(first.hello, node="n2", further_peppers=("q", "r"))) is None
