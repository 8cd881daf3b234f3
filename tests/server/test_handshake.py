"""Who is let in by whom, and what they speak: the hello on its own, without sockets."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

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
    return Handshake(ours, ("n2", "n3")).reason_to_refuse(theirs)


@pytest.mark.parametrize(
    ("ours", "theirs", "config", "let_in"),
    [
        ("", "", "five", True),
        ("", "", "other", False),
        (ONE, "", "five", True),
        (ONE, "", "other", False),
        ("", ONE, "five", True),
        ("", ONE, "other", False),
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
    handshake = Handshake(hello("n1"), ("n2",))
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
    assert Handshake(one, ("n2",)).welcome(two, learner=False).protocol == spoken
    assert Handshake(two, ("n1",)).welcome(one, learner=True).protocol == spoken
    assert Handshake(one, ("n2",)).speaks(spoken)
    assert Handshake(two, ("n1",)).speaks(spoken)


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
    handshake = Handshake(hello("n1", low=3, high=4), ("n2",))
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
