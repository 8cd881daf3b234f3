"""Members come, go, move and lose disks, under load; what was acknowledged is there, once, everywhere."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from threading import Timer
from typing import Any

import pytest

from atm.local_cluster import NoLeader
from atm.wire.client_messages import (
    AddMember,
    AdminChange,
    MoveMember,
    PromoteMember,
    RemoveMember,
    ReplaceMember,
    TransferLeadership,
)
from tests.cluster.changing import ChangingCluster
from tests.support.customers import Customers
from tests.support.ledgers import assert_kept, wait_until_equal
from tests.support.server_parts import wait_until


@pytest.fixture
def five(tmp_path: Path) -> Iterator[ChangingCluster]:
    with ChangingCluster(tmp_path) as cluster:
        cluster.start_and_wait()
        yield cluster


@pytest.fixture
def three(tmp_path: Path) -> Iterator[ChangingCluster]:
    with ChangingCluster(tmp_path, count=3) as cluster:
        cluster.start_and_wait()
        yield cluster


def follower(cluster: ChangingCluster, *but: str) -> str:
    leader = cluster.wait_for_leader()
    return next(name for name in cluster.running() if name not in (leader, *but))


def only_running(cluster: ChangingCluster) -> ChangingCluster:
    """Leave the nodes that do not run out of what is compared."""
    for name in set(cluster.cluster.nodes) - set(cluster.running()):
        del cluster.cluster.nodes[name]
    return cluster


def test_a_sixth_server_learns_and_then_votes(five: ChangingCluster) -> None:
    with Customers(five.cluster.path, count=3) as customers:
        customers.wait_for_more()
        five.list_node("n6")
        node = five.cluster.nodes["n6"]
        five.change(AddMember, node="n6", peer=str(node.peer), client=str(node.client))
        assert "is not connected" in five.refusal(PromoteMember, node="n6")
        assert five.voters() == {"n1", "n2", "n3", "n4", "n5"}
        five.start("n6")
        wait_until(lambda: five.status("n6") is not None)
        five.change(PromoteMember, node="n6")
        customers.wait_for_more()
        wait_until(lambda: five.has_vote("n6"))
        for name in ("n1", "n2"):  # of six, four are a majority, and the sixth is one of them
            five.kill(name)
        customers.wait_for_more()
        five.start("n1")
        five.start("n2")
        customers.wait_for_more()
    assert_kept(wait_until_equal(five), customers)


def test_a_removed_follower_stops_with_a_line_and_disturbs_nobody(five: ChangingCluster) -> None:
    with Customers(five.cluster.path, count=3) as customers:
        leader, gone = five.wait_for_leader(), follower(five)
        assert "without node" in five.refusal(RemoveMember, node=gone)
        five.remove(gone)
        customers.wait_for_more()
        assert five.wait_for_exit(gone) == 0
        assert "stops: it was removed from the cluster in log entry " in five.output(gone)
        five.start(gone)  # and is told so again
        assert five.wait_for_exit(gone) == 0
        status = five.status(leader)
        assert status is not None
        assert status.role == "leader", "a removed server disturbs nobody"
        customers.wait_for_more()
    assert five.voters() == {"n1", "n2", "n3", "n4", "n5"} - {gone}
    assert_kept(wait_until_equal(only_running(five)), customers)


def test_a_leader_that_is_removed_leads_until_it_is_gone(five: ChangingCluster) -> None:
    with Customers(five.cluster.path, count=3) as customers:
        customers.wait_for_more()
        gone = five.wait_for_leader()
        five.remove(gone)
        assert five.wait_for_exit(gone) == 0
        customers.wait_for_more()
        assert gone not in five.voters()
    assert_kept(wait_until_equal(only_running(five)), customers)


def test_a_server_that_was_removed_can_be_added_again_with_its_old_folder(three: ChangingCluster) -> None:
    gone = follower(three)
    three.remove(gone)
    assert three.wait_for_exit(gone) == 0
    with Customers(three.cluster.path, count=2) as customers:
        three.add(gone)
        wait_until(lambda: three.has_vote(gone))
        customers.wait_for_more()
    assert_kept(wait_until_equal(three), customers)


def test_lost_disks_are_replaced_while_the_others_serve_and_then_two_may_fail(five: ChangingCluster) -> None:
    """Two lost disks and one crash stopped a bank with four of five running."""
    leader = five.wait_for_leader()
    _, third, fourth, fifth = (name for name in five.cluster.nodes if name != leader)
    with Customers(five.cluster.path, count=3) as customers:
        for lost in (third, fourth):
            customers.wait_for_more()
            five.kill(lost)
            five.wipe(lost)
            five.start(lost)
            wait_until(partial(five.has_no_vote, lost))
            five.replace(lost)
            wait_until(partial(five.has_vote, lost))
        five.kill(fifth)
        five.kill(leader)
        customers.wait_for_more()
        five.start(leader)
        five.start(fifth)
        customers.wait_for_more()
    assert_kept(wait_until_equal(five), customers)


def test_a_server_moves_to_other_ports(five: ChangingCluster) -> None:
    with Customers(five.cluster.path, count=3) as customers:
        moving = follower(five)
        assert five.stop(moving) == 0
        five.list_elsewhere(moving)
        five.move(moving)
        five.start(moving)
        wait_until(lambda: five.has_vote(moving))
        another = follower(five, moving)
        five.kill(another)
        five.kill(follower(five, moving, another))
        customers.wait_for_more()
        for name in set(five.cluster.nodes) - set(five.running()):
            five.start(name)
    said = {member.node: member.peer for member in five.members()}
    assert said[moving] == str(five.cluster.nodes[moving].peer)
    assert_kept(wait_until_equal(five), customers)


def test_a_server_at_a_wrong_address_gets_no_vote_and_is_taken_away_again(three: ChangingCluster) -> None:
    three.list_node("n4")
    node = three.cluster.nodes["n4"]
    three.change(AddMember, node="n4", peer="127.0.0.1:1", client=str(node.client))
    three.start("n4")
    wait_until(lambda: "does not reach node n4 at" in three.refusal(PromoteMember, node="n4"))
    assert three.voters() == {"n1", "n2", "n3"}
    with Customers(three.cluster.path, count=2) as customers:
        three.kill(follower(three, "n4"))
        customers.wait_for_more()  # the quorum is that of three
        three.change(RemoveMember, node="n4")  # and it lowers the number of no voters
        assert three.wait_for_exit("n4") == 0
        customers.wait_for_more()
    assert {member.node for member in three.members()} == {"n1", "n2", "n3"}


def test_what_cannot_be_is_refused_and_says_why(three: ChangingCluster) -> None:
    leader = three.wait_for_leader()
    other = follower(three)
    address = {"peer": "127.0.0.1:7", "client": "127.0.0.1:8"}
    taken = {"peer": str(three.cluster.nodes[leader].peer), "client": "127.0.0.1:8"}
    refused: tuple[tuple[type[AdminChange], dict[str, Any], str], ...] = (
        (AddMember, {"node": other, **address}, "is a member already"),
        (AddMember, {"node": "n4", **taken}, f"is the address of node {leader}"),
        (AddMember, {"node": "n4", "peer": "nowhere", "client": "h:1"}, "is not host:port"),
        (PromoteMember, {"node": "n9"}, "node n9 is no member of the cluster"),
        (RemoveMember, {"node": "n9", "yes": True}, "node n9 is no member of the cluster"),
        (RemoveMember, {"node": other}, "has 2 voters, of which 2 answer, and 2 must"),
        (ReplaceMember, {"node": other}, "there is nothing to replace"),
        (ReplaceMember, {"node": leader}, "there is nothing to replace"),
        (MoveMember, {"node": "n9", **address}, "node n9 is no member of the cluster"),
        (TransferLeadership, {"node": "n9"}, "node n9 is no member of the cluster"),
    )
    for request, fields, why in refused:
        assert why in three.refusal(request, **fields)
    assert len(three.members()) == 3


def test_no_change_is_made_without_a_majority_and_none_beside_another(three: ChangingCluster) -> None:
    leader = three.wait_for_leader()
    address = {"peer": "127.0.0.1:7", "client": "127.0.0.1:8"}
    others = [name for name in three.cluster.nodes if name != leader]
    for name in others:
        three.pause(name)
    assert three.ask(AddMember, node="n4", **address) is None, "nobody knows"
    for name in others:
        three.resume(name)
    three.wait_for_leader()
    wait_until(lambda: bool(three.members()))
    if "n4" in {member.node for member in three.members()}:
        three.change(RemoveMember, node="n4")
    assert three.voters() == {"n1", "n2", "n3"}


def test_leadership_is_handed_over_and_nobody_is_refused(five: ChangingCluster) -> None:
    with Customers(five.cluster.path, count=3) as customers:
        for _ in range(3):
            customers.wait_for_more(20)
            target = follower(five)
            assert five.transfer(target) == target
        before = five.wait_for_leader()
        assert five.transfer() != before
        customers.wait_for_more(20)
    assert not customers.refused | customers.unknown
    assert_kept(wait_until_equal(five), customers)


def test_a_leader_that_is_stopped_hands_over_first(five: ChangingCluster) -> None:
    with Customers(five.cluster.path, count=3) as customers:
        for _ in range(3):
            customers.wait_for_more(20)
            leader = five.wait_for_leader()
            status = five.status(leader)
            assert five.stop(leader) == 0
            next_status = five.status(five.wait_for_leader())
            assert status is not None
            assert next_status is not None
            assert next_status.term == status.term + 1, "one campaign, at once"
            five.start(leader)
            wait_until(partial(five.has_vote, leader))
        customers.wait_for_more(20)
    assert not customers.refused | customers.unknown
    assert_kept(wait_until_equal(five), customers)


@pytest.mark.parametrize("what", ["add", "remove", "move", "replace", "transfer"])
def test_a_leader_killed_half_way_through_leaves_the_old_or_the_new(five: ChangingCluster, what: str) -> None:
    with Customers(five.cluster.path, count=3) as customers:
        customers.wait_for_more(20)
        leader, subject = five.wait_for_leader(), follower(five)
        if what in ("add", "move"):
            subject = "n6" if what == "add" else subject
            (five.list_node if what == "add" else five.list_elsewhere)(subject)
        if what == "replace":
            five.kill(subject)
            five.wipe(subject)
            five.start(subject)
        others = [name for name in five.running() if name not in (leader, subject)]
        five.pause(others[0])  # so that the change is not committed at once
        five.pause(others[1])
        killer = _kill_soon(five, leader)
        node = five.cluster.nodes[subject]
        address = {"peer": str(node.peer), "client": str(node.client)}
        requests: dict[str, tuple[type[AdminChange], dict[str, Any]]] = {
            "add": (AddMember, {"node": subject, **address}),
            "remove": (RemoveMember, {"node": subject, "yes": True}),
            "move": (MoveMember, {"node": subject, **address}),
            "replace": (ReplaceMember, {"node": subject}),
            "transfer": (TransferLeadership, {"node": subject}),
        }
        request, fields = requests[what]
        five.ask(request, **fields)
        killer.join()
        five.resume(others[0])
        five.resume(others[1])
        five.start(leader)
        customers.wait_for_more(20)
        if what == "add":
            five.add("n6")
        elif what == "remove":
            five.remove(subject)
            assert five.wait_for_exit(subject) == 0
        elif what == "move":
            assert five.stop(subject) == 0
            five.move(subject)
            five.start(subject)
        elif what == "replace":
            five.replace(subject)
        customers.wait_for_more(20)
    assert_kept(wait_until_equal(only_running(five)), customers)


def _kill_soon(cluster: ChangingCluster, name: str) -> Timer:
    """Kill a node once the request has had the time to come into its log."""
    thread = Timer(0.05, cluster.kill, [name])
    thread.start()
    return thread


def test_an_old_copy_of_a_data_folder_has_no_vote_and_says_so(five: ChangingCluster) -> None:
    """An old folder that was put back took part in elections as if it remembered, and lost money."""
    old = follower(five)
    assert five.stop(old) == 0
    copy = five.cluster.data_dir / "copy"
    shutil.copytree(five.cluster.data_dir / old, copy)
    five.start(old)
    with Customers(five.cluster.path, count=3) as customers:
        wait_until(lambda: five.has_vote(old))
        customers.wait_for_more()
        five.kill(old)
        five.wipe(old)
        copy.rename(five.cluster.data_dir / old)
        five.start(old)
        wait_until(lambda: five.has_no_vote(old))
        wait_until(lambda: "is an old copy: " in five.output(old))
        others = [name for name in five.cluster.nodes if name != old]
        for name in others[:2]:
            five.kill(name)
        wait_until(lambda: not five.has_leader())
        with pytest.raises(NoLeader):
            five.wait_for_leader(timeout_s=2.0)
        for name in others[:2]:
            five.start(name)
        five.replace(old)
        wait_until(lambda: five.has_vote(old))
        for name in others[:2]:
            five.kill(name)
        customers.wait_for_more()
        for name in others[:2]:
            five.start(name)
    assert_kept(wait_until_equal(five), customers)
