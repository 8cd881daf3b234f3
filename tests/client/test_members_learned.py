"""A client outlives the servers that it was told of: it learns who the members are, and where."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from atm.client.route import LEARN_AGAIN_S, LEARN_EVERY_S, Route
from atm.config import Address, NodeConfig
from tests.support.both_clients import Connect
from tests.support.fake_cluster import FakeCluster
from tests.support.fake_node import FakeNode, Map


class Time:
    now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


def node(name: str, port: int) -> NodeConfig:
    return NodeConfig(name, Address("h", port), Address("h", port + 1000))


def nodes(**ports: int) -> dict[str, NodeConfig]:
    return {name: node(name, port) for name, port in ports.items()}


@pytest.fixture
def time() -> Time:
    return Time()


# -- when to ask -----------------------------------------------------------------------------------------


def test_members_are_not_due_at_the_start(time: Time) -> None:
    route = Route(nodes(a=1, b=2), None, time)
    assert not route.members_are_due()
    time.now_s += LEARN_EVERY_S / 2
    route.note_answer("a", "b")
    assert not route.members_are_due()


def test_members_are_due_now_and_then(time: Time) -> None:
    """Or those that are known could be replaced one by one while the leader goes on answering."""
    route = Route(nodes(a=1), None, time)
    time.now_s += LEARN_EVERY_S
    assert route.members_are_due()
    assert not route.members_are_due()


@pytest.mark.parametrize("reason", ["a failure", "a leader that is not known"])
def test_members_are_due_soon_when_there_is_a_reason(time: Time, reason: str) -> None:
    route = Route(nodes(a=1, b=2), None, time)
    if reason == "a failure":
        route.note_failure("a")
    else:
        route.note_answer("a", "c")
    assert not route.members_are_due(), "at most once a second, however many fail"
    time.now_s += LEARN_AGAIN_S
    assert route.members_are_due()
    time.now_s += LEARN_AGAIN_S
    assert not route.members_are_due()


# -- what is known then ----------------------------------------------------------------------------------


def test_a_new_member_is_followed(time: Time) -> None:
    route = Route(nodes(a=1, b=2), None, time)
    route.note_members(7, nodes(a=1, c=3))
    assert route.nodes == nodes(a=1, b=2, c=3), "what was given stays: a list of addresses to try"
    route.note_answer("a", "c")
    assert route.current == node("c", 3)
    assert route.next_node({"a"}, "c") == node("c", 3)


def test_a_member_that_does_not_answer_where_it_was_is_where_the_log_says(time: Time) -> None:
    route = Route(nodes(a=1), None, time)
    route.note_failure("a")
    route.note_members(7, nodes(a=9))
    assert route.current == node("a", 9)
    route.note_failure("a")
    route.note_members(7, nodes(a=9))
    assert route.current == node("a", 1), "and back: nobody knows which network this client is in"


def test_a_member_that_answers_where_it_was_given_is_asked_there(time: Time) -> None:
    """Through a tunnel, say: the address of the log is one for the servers, and perhaps none from here."""
    route = Route(nodes(a=1), None, time)
    route.note_members(7, nodes(a=9))
    assert route.current == node("a", 1)


def test_a_learned_leader_that_does_not_answer_is_not_followed(time: Time) -> None:
    route = Route(nodes(a=1), None, time)
    route.note_members(7, nodes(a=1, c=3))
    route.note_answer("a", "c")
    assert route.current == node("c", 3)
    route.note_failure("c")
    route.note_answer("a", "c")
    assert route.current == node("a", 1), "each request would wait for it first"
    assert route.next_node(set(), "c") == node("a", 1)
    route.note_answer("c", "c")
    assert route.current == node("c", 3)


def test_older_members_than_those_known_are_ignored(time: Time) -> None:
    route = Route(nodes(a=1), None, time)
    route.note_failure("a")
    route.note_members(7, nodes(a=9))
    route.note_members(6, nodes(a=8))
    assert route.current == node("a", 9)
    route.note_members(8, {})
    assert route.current == node("a", 9), "an old release does not say who the members are"


def test_a_member_that_was_removed_is_asked_no_more(time: Time) -> None:
    route = Route(nodes(a=1), None, time)
    route.note_members(7, nodes(a=1, c=3))
    route.note_answer("a", "c")
    route.note_members(8, nodes(a=1))
    assert route.current == node("a", 1)
    route.note_failure("c")  # of a request that was under way
    route.note_answer("c", "c")
    assert route.current == node("a", 1)


def test_servers_given_by_their_addresses_get_their_names(time: Time) -> None:
    given = {f"h:{port}": node(f"h:{port}", port) for port in (1, 2)}
    route = Route(given, "h:2", time)
    route.note_members(7, nodes(a=1, b=2))
    assert route.nodes == nodes(a=1, b=2)
    assert route.current == node("b", 2)


# -- real sockets ----------------------------------------------------------------------------------------


@pytest.fixture
def newcomer(cluster: FakeCluster) -> Iterator[FakeNode]:
    """A server that came after the clients had started."""
    newcomer = FakeNode("n6", cluster.bank)
    yield newcomer
    newcomer.stop()


@pytest.fixture
def learning_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("atm.client.route.LEARN_AGAIN_S", 0.0)


at_once = pytest.mark.usefixtures("learning_at_once")


def tell_members(told: list[FakeNode], members: list[FakeNode]) -> None:
    views: list[Map] = [
        {"node": each.name, "voter": True, "peer": f"127.0.0.1:{each.port}",
         "client": f"127.0.0.1:{each.port}", "since": 0}
        for each in members
    ]  # fmt: skip
    for each in told:
        each.told = {"members": views, "members_index": 9}


@at_once
def test_a_client_goes_on_when_all_its_servers_were_replaced(
    cluster: FakeCluster, connect: Connect, newcomer: FakeNode
) -> None:
    """Found by `python -m tests.cluster.year`: after two rounds no server of the start was left."""
    tell_members(list(cluster.nodes.values()), [newcomer])
    cluster.follow("n6")
    with connect(cluster.config, "5000") as client:
        assert client.credit("main", 1).outcome == "ok"
        assert client.credit("main", 1).outcome == "ok"  # asks first where n6 is
        cluster.stop()
        for many in (1, 2):
            assert client.credit("main", 1).balance == 2 + many
        assert [request["op"] for request in newcomer.requests].count("credit") >= 2


@at_once
def test_a_client_that_was_given_addresses_does_too(
    cluster: FakeCluster, connect: Connect, newcomer: FakeNode
) -> None:
    tell_members(list(cluster.nodes.values()), [newcomer])
    cluster.follow("n6")
    with connect([f"127.0.0.1:{cluster['5001'].port}"]) as client:
        assert client.submit([]) == []
        assert client.credit("main", 1).outcome == "ok"
        assert client.read_all([]) == []
        cluster.stop()
        assert client.credit("main", 1).balance == 2


@at_once
def test_a_server_that_does_not_say_who_the_members_are_is_asked_for_money_all_the_same(
    cluster: FakeCluster, connect: Connect
) -> None:
    cluster["5000"].leader = "n6"
    cluster["5000"].script.extend([cluster["5000"].answer, cluster["5000"].fault("busy")])
    with connect(cluster.config, "5000") as client:
        for balance in (1, 2, 3):
            assert client.credit("main", 1).balance == balance


@at_once
def test_the_question_never_makes_an_outcome_unknown(cluster: FakeCluster, connect: Connect) -> None:
    unknown: list[str] = []
    node = cluster["5000"]
    node.leader = "n6"
    node.script.extend([node.answer, node.close])
    with connect(cluster.config, "5000", on_unknown=unknown.append) as client:
        assert client.credit("main", 1).outcome == "ok"
        assert client.credit("main", 1).balance == 2
    assert unknown == []
