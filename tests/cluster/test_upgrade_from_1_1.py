"""The real release 1.1.0 becomes this one, server by server and under load, and back again before the last.

Its code is taken from this project's history.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from atm.client import Client
from atm.local_cluster import write_cluster_ini
from atm.version import RELEASE
from atm.wire.client_messages import AddMember
from tests.cluster.old_release import OLD_RELEASE, NotInHistory, unpack_old_release
from tests.cluster.test_two_releases import THIS, Releases
from tests.support.customers import Customers
from tests.support.ledgers import assert_kept, wait_until_equal
from tests.support.server_parts import Wire, wait_until


@pytest.fixture(scope="module")
def old_tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The package as release 1.1.0 had it."""
    try:
        return unpack_old_release(tmp_path_factory.mktemp("old"))
    except NotInHistory as error:
        pytest.skip(
            f"RELEASE {OLD_RELEASE} IS NOT IN THE HISTORY HERE: the upgrade from it is not tried: {error}"
        )


class Upgrade(Releases):
    """Nodes run release 1.1.0 unless they are in `newer`: those run this tree."""

    def __init__(self, config: Path, old_tree: Path) -> None:
        super().__init__(config, THIS, older_tree=old_tree, older_release=OLD_RELEASE, newer_release=RELEASE)


@pytest.fixture
def five(tmp_path: Path, old_tree: Path) -> Iterator[Upgrade]:
    with Upgrade(write_cluster_ini(tmp_path, 5), old_tree) as cluster:
        cluster.start_all()
        cluster.wait_for_leader()
        yield cluster


def test_five_servers_of_1_1_become_five_of_this_release_under_load(five: Upgrade) -> None:
    names = list(five.cluster.nodes)
    with Customers(five.cluster.path, count=3) as customers:
        customers.wait_for_more(20)
        for name in names[:-1]:
            five.replace(name, newer=True)
            customers.wait_for_more(20)
        assert five.levels() == {1}, "the last one does not know more"
        for name in names[:2]:  # and back: a data folder stays usable by the older one
            five.replace(name, newer=False)
            customers.wait_for_more(20)
        for name in [*names[:2], names[-1]]:
            five.replace(name, newer=True)
            customers.wait_for_more(20)
        wait_until(lambda: five.levels() == {2})
        customers.wait_for_more(20)
    assert not customers.refused | customers.unknown
    ledger = wait_until_equal(five)
    assert_kept(ledger, customers)
    assert [row.node for row in ledger["member"]] == names
    assert [row.peer for row in ledger["member"]] == [str(five.cluster.nodes[name].peer) for name in names]
    for name in names:
        assert "refuse" not in five.output(name), five.output(name)
        assert "closed" not in five.output(name), five.output(name)


def test_ledgers_of_the_two_releases_are_equal_and_members_do_not_change_yet(five: Upgrade) -> None:
    for name in list(five.cluster.nodes)[:3]:
        five.replace(name, newer=True)
    with Client(five.cluster.path) as client:
        assert client.open("alice").outcome == "ok"
        for _ in range(10):
            assert client.credit("alice", 100).outcome == "ok"
    assert "member" not in wait_until_equal(five)
    with Wire(five.cluster.nodes["n1"].client) as wire:
        answer = wire.ask(AddMember(id="a", node="n6", peer="h:1", client="h:2"))
    if answer["outcome"] != "bad_request":  # an older leader does not know the request
        assert answer["outcome"] == "refused"
        assert "at feature level 1, at which members cannot change" in answer["message"]


def test_an_older_server_cannot_join_once_the_level_was_raised(five: Upgrade) -> None:
    for name in five.cluster.nodes:
        five.replace(name, newer=True)
    wait_until(lambda: five.levels() == {2})
    assert five.stop("n1") == 0
    five.newer.discard("n1")
    five.start("n1").wait(timeout=10)
    assert five.stop("n1") == 1
    assert "written by a newer release: install that one" in five.output("n1").splitlines()[-1]
