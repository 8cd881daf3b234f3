"""Which server the client asks next, and what a missing answer means."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from atm.client import (
    Client,
    OutcomeUnknown,
    Rejected,
    Unavailable,
)
from atm.client.attempt import PAUSE_S
from atm.client.connection import NotSent, Pool, ServerConnection
from atm.client.each_node import told_by
from atm.client.route import Route
from atm.config import Address, NodeConfig
from atm.wire.client_messages import UPGRADING, ErrorReply
from tests.support.both_clients import Connect
from tests.support.fake_cluster import FakeCluster
from tests.support.fake_node import FakeNode, Step
from tests.support.running import wait_until

SHORT_S = 0.3


# -- which server --------------------------------------------------------------------------------


def test_it_follows_the_leader_that_an_answer_names(cluster: FakeCluster, connect: Connect) -> None:
    for node in cluster.nodes.values():
        node.leader = "5001"
    with connect(cluster.config) as client:
        for _ in range(10):
            client.credit("main", 1)
        assert len(cluster["5001"].requests) >= 9
        for node in cluster.nodes.values():
            node.leader = "5002"
        for _ in range(10):
            client.credit("main", 1)
        assert len(cluster["5002"].requests) >= 9


def test_it_stays_at_the_chosen_node_until_that_one_dies_and_then_follows(
    cluster: FakeCluster, connect: Connect
) -> None:
    for node in cluster.nodes.values():
        node.leader = "5002"
    with connect(cluster.config, "5000") as client:
        for _ in range(5):
            client.credit("main", 1)
        assert len(cluster["5000"].requests) == 5
        assert cluster.requests() == 5
        cluster["5000"].stop()
        for _ in range(5):
            client.credit("main", 1)
        assert len(cluster["5002"].requests) >= 4


def route_over(*names: str, chosen: str | None = None) -> Route:
    return Route({name: NodeConfig(name, Address("h", int(name)), Address("h", 1)) for name in names}, chosen)


def test_a_node_that_failed_is_asked_last_and_by_no_thread_first() -> None:
    route = route_over("5000", "5001", "5002", chosen="5000")
    route.note_failure("5000")
    assert route.current.name != "5000"
    route.note_failure("5001")
    assert route.current.name == "5002"
    assert route.next_node(tried={"5002"}, hint=None).name == "5000", "the one that failed longest ago"
    assert route.next_node(tried={"5002"}, hint="5001").name == "5001"
    assert route.next_node(tried={"5002", "5001"}, hint="5001").name == "5000"
    assert route.next_node(tried={"5002"}, hint="5009").name == "5000"


def test_a_node_that_answered_since_it_failed_is_asked_before_one_that_did_not() -> None:
    route = route_over("5000", "5001", "5002")
    route.note_failure("5001")
    route.note_failure("5000")
    route.note_answer("5000", leader=None)
    assert route.next_node(tried={"5002"}, hint=None).name == "5000"


def test_a_dead_node_at_the_start_is_passed_over(cluster: FakeCluster, connect: Connect) -> None:
    cluster["5000"].stop()
    with connect(cluster.config, "5000") as client:
        assert client.credit("main", 7).balance == 7


def test_a_leader_that_a_refusal_names_is_asked_next(cluster: FakeCluster, connect: Connect) -> None:
    for node in ("5000", "5001"):
        cluster[node].always = cluster[node].fault("unavailable", leader="5002")
    with connect(cluster.config, "5000") as client:
        assert client.credit("main", 1).outcome == "ok"
    assert [len(node.requests) for node in cluster.nodes.values()] == [1, 0, 1]


def test_a_leader_that_is_named_after_a_round_over_all_is_asked_next(
    cluster: FakeCluster, monkeypatch: pytest.MonkeyPatch, connect: Connect
) -> None:
    """An election may take several rounds; after it every server knows the leader."""
    monkeypatch.setattr("random.random", lambda: 0.0)
    for node in cluster.nodes.values():
        node.script.append(node.fault("unavailable"))
    cluster["5000"].always = cluster["5000"].fault("unavailable", leader="5001")
    with connect(cluster.config, "5000") as client:
        assert client.credit("main", 1).outcome == "ok"
    assert [len(node.requests) for node in cluster.nodes.values()] == [2, 2, 1]


@pytest.mark.parametrize("outcome", ["busy", "no_space", "unavailable"])
def test_a_refusal_is_tried_again_with_the_same_id(
    cluster: FakeCluster, outcome: str, connect: Connect
) -> None:
    for node in cluster.nodes.values():
        node.script.append(node.fault(outcome))
    with connect(cluster.config) as client:
        assert client.credit("main", 1, request_id="same").outcome == "ok"
    ids = {request["id"] for node in cluster.nodes.values() for request in node.requests}
    assert ids == {"same"}
    assert cluster.requests() == 4


def test_a_connection_is_used_again(cluster: FakeCluster, connect: Connect) -> None:
    with connect(cluster.config, "5000") as client:
        opened = count_connections(client, lambda: [client.credit("main", 1) for _ in range(10)])
    assert opened == 1


def count_connections(client: Client, work: Callable[[], object]) -> int:
    opened = 0
    original = ServerConnection.__init__

    def counting(self: ServerConnection, pair: tuple[str, int], until: float) -> None:
        nonlocal opened
        opened += 1
        original(self, pair, until)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ServerConnection, "__init__", counting)
        work()
    return opened


def test_an_idle_connection_that_the_server_closed_is_not_mistaken_for_a_lost_answer(
    cluster: FakeCluster,
    connect: Connect,
) -> None:
    with connect(cluster.config, "5000", timeout=SHORT_S) as client:
        client.credit("main", 1)
        for node in cluster.nodes.values():
            node.stop()
        with pytest.raises(Unavailable):
            client.credit("main", 1)


# -- answers that do not come ---------------------------------------------------------------------


def lost_answers() -> list[str]:
    return ["apply_and_close", "half_an_answer_and_close", "half_an_answer", "silence"]


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("loss", lost_answers())
def test_a_lost_answer_is_asked_for_again_under_its_id(
    cluster: FakeCluster, loss: str, connect: Connect
) -> None:
    unknown: list[str] = []
    cluster["5000"].script.append(getattr(cluster["5000"], loss))
    with connect(cluster.config, "5000", on_unknown=unknown.append) as client:
        receipt = client.credit("main", 5, request_id="lost")
        assert (receipt.outcome, receipt.balance) == ("ok", 5)
        assert client.query("main").balance == 5
    assert unknown == ["lost"]
    assert len(cluster["5000"].requests) == 1


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("loss", ["close", *lost_answers()])
def test_when_an_answer_is_lost_and_none_comes_later_the_outcome_is_unknown(
    cluster: FakeCluster, loss: str, connect: Connect
) -> None:
    for node in cluster.nodes.values():
        node.always = node.fault("unavailable")
    cluster["5000"].script.append(getattr(cluster["5000"], loss))
    with connect(cluster.config, "5000", timeout=SHORT_S) as client:
        with pytest.raises(OutcomeUnknown, match="reference lost") as caught:
            client.debit("main", 5, request_id="lost")
        assert caught.value.request_id == "lost"


def test_an_unknown_outcome_is_told_once_however_many_answers_are_lost(
    cluster: FakeCluster, connect: Connect
) -> None:
    told: list[str] = []
    for node in cluster.nodes.values():
        node.script.append(node.apply_and_close)
    with connect(cluster.config, on_unknown=told.append) as client:
        assert client.credit("main", 5, request_id="lost").balance == 5
    assert told == ["lost"]


def test_when_a_server_says_unknown_and_no_other_knows_the_outcome_is_unknown(
    cluster: FakeCluster, connect: Connect
) -> None:
    unknown: list[str] = []
    for node in cluster.nodes.values():
        node.always = node.fault("unavailable")
    cluster["5001"].script.append(cluster["5001"].fault("unknown"))
    client = connect(cluster.config, "5001", timeout=SHORT_S, on_unknown=unknown.append)
    with client, pytest.raises(OutcomeUnknown):
        client.credit("main", 5, request_id="u")
    assert unknown == ["u"]


def test_an_unknown_outcome_is_asked_for_with_more_patience(cluster: FakeCluster, connect: Connect) -> None:
    for node in cluster.nodes.values():
        node.always = node.fault("unavailable")
    cluster["5000"].script.append(cluster["5000"].fault("unknown"))
    with connect(cluster.config, "5000", timeout=0.1, patience=20) as client:
        answers: list[Any] = []
        asking = threading.Thread(target=lambda: answers.append(client.credit("main", 5)))
        started = time.monotonic()
        asking.start()
        wait_until(lambda: time.monotonic() > started + 0.2 and cluster.requests() > 3)
        for node in cluster.nodes.values():
            node.always = None
        asking.join()
    assert answers[0].balance == 5


@pytest.mark.parametrize("outcome", ["busy", "unavailable"])
def test_what_every_server_refuses_is_certainly_not_done(
    cluster: FakeCluster, outcome: str, connect: Connect
) -> None:
    for node in cluster.nodes.values():
        node.always = node.fault(outcome)
    with connect(cluster.config, timeout=SHORT_S) as client, pytest.raises(Unavailable) as caught:
        client.credit("main", 1)
    assert str(caught.value) == "The bank is not available: no majority of servers answered"
    assert cluster.requests() >= 4


@pytest.mark.parametrize(
    ("outcome", "why"),
    [("no_space", "the disks are full"), ("busy", "too many connections: try another node")],
)
def test_the_client_tells_why_a_bank_that_is_there_takes_nothing(
    cluster: FakeCluster, outcome: str, why: str, connect: Connect
) -> None:
    for node in list(cluster.nodes.values())[1:]:
        node.stop()
    first = next(iter(cluster.nodes.values()))
    first.always = first.fault(outcome, message=why)
    with connect(cluster.config, timeout=SHORT_S) as client, pytest.raises(Unavailable) as caught:
        client.credit("main", 1)
    assert str(caught.value) == f"The bank is not available: {why}"


@pytest.mark.parametrize(
    ("outcome", "message", "told"),
    [
        ("unavailable", UPGRADING, UPGRADING),
        ("no_space", "the disks are full", "the disks are full"),
        ("busy", "too many connections", "too many connections"),
        ("unavailable", "no leader is known", ""),  # nothing better than that no majority answered
    ],
)
def test_people_are_told_in_the_banks_words_why_nothing_is_taken(
    outcome: str, message: str, told: str
) -> None:
    assert told_by(ErrorReply(id="a", outcome=outcome, message=message)) == told


def test_with_all_servers_down_the_bank_is_not_available(cluster: FakeCluster, connect: Connect) -> None:
    for node in cluster.nodes.values():
        node.stop()
    with connect(cluster.config, timeout=SHORT_S) as client, pytest.raises(Unavailable):
        client.credit("main", 1)


@pytest.mark.usefixtures("impatient")
def test_servers_that_answer_slowly_are_given_more_time_with_each_try(
    cluster: FakeCluster, connect: Connect
) -> None:
    def slowly(node: FakeNode) -> Step:
        return lambda request: node.answer(request) if not node.released.wait(0.35) else None

    for node in cluster.nodes.values():
        node.always = slowly(node)
    with connect(cluster.config, timeout=4) as client:
        assert client.credit("main", 5).outcome == "ok"


def test_servers_that_do_not_let_connect_are_given_more_time_with_each_try(
    cluster: FakeCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    given_s: list[float] = []

    def never(_: Pool, pair: tuple[str, int], until: float) -> ServerConnection:
        given_s.append(until - time.monotonic())
        wait_until(lambda: time.monotonic() >= until)
        raise NotSent("timed out")

    monkeypatch.setattr("atm.client.attempt.CONNECT_TIMEOUT_S", 0.02)
    monkeypatch.setattr(Pool, "acquire", never)
    with Client(cluster.config, timeout=0.3) as client, pytest.raises(Unavailable):
        client.credit("main", 1)
    assert given_s[1] > 0.03


def test_servers_that_are_down_are_not_dialled_without_a_pause(
    cluster: FakeCluster, connect: Connect
) -> None:
    for node in cluster.nodes.values():
        node.stop()
    with connect(cluster.config, timeout=0.3) as client:

        def ask() -> None:
            with pytest.raises(Unavailable):
                client.credit("main", 1)

        assert count_connections(client, ask) <= 3 * (1 + 0.3 / PAUSE_S[0])


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("loss", ["close", "silence"])
def test_the_end_of_a_query_is_never_unknown(cluster: FakeCluster, loss: str, connect: Connect) -> None:
    unknown: list[str] = []
    for node in cluster.nodes.values():
        node.always = getattr(node, loss)
    client = connect(cluster.config, timeout=SHORT_S, on_unknown=unknown.append)
    with client, pytest.raises(Unavailable):
        client.query("main")
    assert unknown == []


def test_a_request_that_is_not_understood_is_not_repeated(cluster: FakeCluster, connect: Connect) -> None:
    for node in cluster.nodes.values():
        node.always = node.fault("bad_request", message="what?")
    with connect(cluster.config) as client, pytest.raises(Rejected, match="what\\?"):
        client.credit("main", 1)
    assert cluster.requests() == 1
