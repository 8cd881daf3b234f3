"""The client against fake nodes: what it sends, whom it asks, and what it makes of the answers."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from atm.client import (
    Client,
    ClientClosed,
    Interrupted,
    InvalidAccount,
    InvalidAmount,
    InvalidRequestId,
    OutcomeUnknown,
    Rejected,
    Unavailable,
    UnknownNode,
    new_request_id,
)
from atm.client.connection import Pool, ServerConnection
from atm.client.receipt import ID_CHARACTERS
from atm.client.retrying import PAUSE_S
from atm.client.route import Route
from atm.ledger.commands import AMOUNT_MINOR_MAX
from atm.wire.client_messages import decode_client_reply
from atm.wire.codec import Malformed, encode
from tests.support.fake_cluster import FakeCluster
from tests.support.fake_node import FakeNode, Step

SHORT_S = 0.3


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[FakeCluster]:
    cluster = FakeCluster(tmp_path, size=3)
    yield cluster
    cluster.stop()


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that is silent is left sooner."""
    monkeypatch.setattr("atm.client.retrying.ANSWER_TIMEOUT_S", 0.1)


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 5
    while not condition():
        assert time.monotonic() < deadline, "it did not come about within 5 seconds"
        time.sleep(0.002)


# -- receipts --------------------------------------------------------------------------------------


def test_a_receipt_tells_the_decision(cluster: FakeCluster) -> None:
    with Client(cluster.config) as client:
        assert client.open("alice").outcome == "ok"
        assert client.open("alice").outcome == "exists"
        receipt = client.credit("alice", 500_00, request_id="a-1")
        assert (receipt.outcome, receipt.request_id) == ("ok", "a-1")
        assert (receipt.balance, receipt.available) == (500_00, 500_00)
        assert receipt.log_index > 0
        assert receipt.time_us > 0
        assert client.debit("alice", 120_00).balance == 380_00
        assert client.debit("alice", 999_00).outcome == "insufficient_funds"
        assert client.credit("nobody", 1).outcome == "no_such_account"
        assert client.query("alice").balance == 380_00


def test_the_same_id_again_gets_the_same_receipt(cluster: FakeCluster) -> None:
    with Client(cluster.config) as client:
        first = client.credit("main", 5, request_id="again")
        assert client.credit("main", 5, request_id="again") == first
        assert client.query("main").balance == 5


def test_request_ids_rise_with_time_and_are_never_the_same() -> None:
    ids = [new_request_id() for _ in range(1000)]
    assert len(set(ids)) == len(ids)
    assert all(len(i) == 20 and set(i) <= set(ID_CHARACTERS) for i in ids)
    times_ms = [milliseconds(i) for i in ids]
    assert times_ms == sorted(times_ms)
    assert abs(times_ms[0] / 1000 - time.time()) < 60


def milliseconds(request_id: str) -> int:
    """Return the time in an id of this client's."""
    number = 0
    for character in request_id:
        number = number * 32 + ID_CHARACTERS.index(character)
    return number >> 55


# -- refused before it is sent ---------------------------------------------------------------------


@pytest.mark.parametrize("amount", [0, -1, True, 1.0, 1.5, "5", None, AMOUNT_MINOR_MAX + 1, 10**40])
def test_an_amount_that_is_none_is_refused_before_it_is_sent(cluster: FakeCluster, amount: Any) -> None:
    with Client(cluster.config) as client:
        for operation in (client.credit, client.debit):
            with pytest.raises(InvalidAmount, match="whole number of minor units"):
                operation("main", amount)
    assert cluster.requests() == 0


@pytest.mark.parametrize("account", ["", "a b", "a" * 65, "-a", "a\n", "\x1b[31m", "ä", 5, None, "\ud800"])
def test_a_wrong_account_name_is_refused_before_it_is_sent(cluster: FakeCluster, account: Any) -> None:
    with Client(cluster.config) as client:
        for operation in (client.open, client.query):
            with pytest.raises(InvalidAccount, match="1 to 64 letters"):
                operation(account)
    assert cluster.requests() == 0


@pytest.mark.parametrize("request_id", ["", "a b", "x" * 65, "\n", 7])
def test_a_wrong_request_id_is_refused_before_it_is_sent(cluster: FakeCluster, request_id: Any) -> None:
    with Client(cluster.config) as client, pytest.raises(InvalidRequestId):
        client.credit("main", 1, request_id=request_id)
    assert cluster.requests() == 0


def test_the_largest_amount_is_sent(cluster: FakeCluster) -> None:
    with Client(cluster.config) as client:
        assert client.credit("main", AMOUNT_MINOR_MAX).balance == AMOUNT_MINOR_MAX


@pytest.mark.parametrize("timeout", [0, -1, float("nan"), float("inf")])
def test_a_timeout_is_a_number_of_seconds(cluster: FakeCluster, timeout: float) -> None:
    with pytest.raises(ValueError, match="number of seconds"):
        Client(cluster.config, timeout=timeout)


def test_an_unknown_node_is_named_together_with_those_there_are(cluster: FakeCluster) -> None:
    with pytest.raises(UnknownNode, match="no node 5009: the nodes are 5000, 5001, 5002"):
        Client(cluster.config, "5009")


# -- whom it asks ----------------------------------------------------------------------------------


def test_it_follows_the_leader_that_an_answer_names(cluster: FakeCluster) -> None:
    for node in cluster.nodes.values():
        node.leader = "5001"
    with Client(cluster.config) as client:
        for _ in range(10):
            client.credit("main", 1)
        assert len(cluster["5001"].requests) >= 9
        for node in cluster.nodes.values():
            node.leader = "5002"
        for _ in range(10):
            client.credit("main", 1)
        assert len(cluster["5002"].requests) >= 9


def test_it_stays_at_the_chosen_node_until_that_one_dies_and_then_follows(cluster: FakeCluster) -> None:
    for node in cluster.nodes.values():
        node.leader = "5002"
    with Client(cluster.config, "5000") as client:
        for _ in range(5):
            client.credit("main", 1)
        assert len(cluster["5000"].requests) == 5
        assert cluster.requests() == 5
        cluster["5000"].stop()
        for _ in range(5):
            client.credit("main", 1)
        assert len(cluster["5002"].requests) >= 4


def test_a_node_that_failed_is_asked_last_and_by_no_thread_first() -> None:
    route = Route(["5000", "5001", "5002"], "5000")
    route.failed("5000")
    assert route.current != "5000"
    route.failed("5001")
    assert route.current == "5002"
    assert route.other(tried={"5002"}, hint=None) == "5000", "the one that failed longest ago"
    assert route.other(tried={"5002"}, hint="5001") == "5001"
    assert route.other(tried={"5002", "5001"}, hint="5001") == "5000"
    assert route.other(tried={"5002"}, hint="5009") == "5000"


def test_a_dead_node_at_the_start_is_passed_over(cluster: FakeCluster) -> None:
    cluster["5000"].stop()
    with Client(cluster.config, "5000") as client:
        assert client.credit("main", 7).balance == 7


def test_a_leader_that_a_refusal_names_is_asked_next(cluster: FakeCluster) -> None:
    for node in ("5000", "5001"):
        cluster[node].always = cluster[node].fault("unavailable", leader="5002")
    with Client(cluster.config, "5000") as client:
        assert client.credit("main", 1).outcome == "ok"
    assert [len(node.requests) for node in cluster.nodes.values()] == [1, 0, 1]


def test_a_leader_that_is_named_after_a_round_over_all_is_asked_next(
    cluster: FakeCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An election may take several rounds, and then every server knows who won."""
    monkeypatch.setattr("random.random", lambda: 0.0)
    for node in cluster.nodes.values():
        node.script.append(node.fault("unavailable"))
    cluster["5000"].always = cluster["5000"].fault("unavailable", leader="5001")
    with Client(cluster.config, "5000") as client:
        assert client.credit("main", 1).outcome == "ok"
    assert [len(node.requests) for node in cluster.nodes.values()] == [2, 2, 1]


@pytest.mark.parametrize("outcome", ["busy", "unavailable"])
def test_a_refusal_is_tried_again_with_the_same_id(cluster: FakeCluster, outcome: str) -> None:
    for node in cluster.nodes.values():
        node.script.append(node.fault(outcome))
    with Client(cluster.config) as client:
        assert client.credit("main", 1, request_id="same").outcome == "ok"
    ids = {request["id"] for node in cluster.nodes.values() for request in node.requests}
    assert ids == {"same"}
    assert cluster.requests() == 4


def test_a_connection_is_used_again(cluster: FakeCluster) -> None:
    with Client(cluster.config, "5000") as client:
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
) -> None:
    with Client(cluster.config, "5000", timeout=SHORT_S) as client:
        client.credit("main", 1)
        for node in cluster.nodes.values():
            node.stop()
        with pytest.raises(Unavailable):
            client.credit("main", 1)


# -- answers that do not come ----------------------------------------------------------------------


def lost_answers() -> list[str]:
    return ["apply_and_close", "half_an_answer_and_close", "half_an_answer", "silence"]


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("loss", lost_answers())
def test_a_lost_answer_is_asked_for_again_under_its_id(cluster: FakeCluster, loss: str) -> None:
    told: list[str] = []
    cluster["5000"].script.append(getattr(cluster["5000"], loss))
    with Client(cluster.config, "5000", on_unknown=told.append) as client:
        receipt = client.credit("main", 5, request_id="lost")
        assert (receipt.outcome, receipt.balance) == ("ok", 5)
        assert client.query("main").balance == 5
    assert told == ["lost"]
    assert len(cluster["5000"].requests) == 1


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("loss", ["close", *lost_answers()])
def test_when_an_answer_is_lost_and_none_comes_later_the_outcome_is_unknown(
    cluster: FakeCluster, loss: str
) -> None:
    for node in cluster.nodes.values():
        node.always = node.fault("unavailable")
    cluster["5000"].script.append(getattr(cluster["5000"], loss))
    with Client(cluster.config, "5000", timeout=SHORT_S) as client:
        with pytest.raises(OutcomeUnknown, match="reference lost") as caught:
            client.debit("main", 5, request_id="lost")
        assert caught.value.request_id == "lost"


def test_when_a_server_says_unknown_and_no_other_knows_the_outcome_is_unknown(cluster: FakeCluster) -> None:
    told: list[str] = []
    for node in cluster.nodes.values():
        node.always = node.fault("unavailable")
    cluster["5001"].script.append(cluster["5001"].fault("unknown"))
    client = Client(cluster.config, "5001", timeout=SHORT_S, on_unknown=told.append)
    with client, pytest.raises(OutcomeUnknown):
        client.credit("main", 5, request_id="u")
    assert told == ["u"]


def test_an_unknown_outcome_is_asked_for_with_more_patience(cluster: FakeCluster) -> None:
    for node in cluster.nodes.values():
        node.always = node.fault("unavailable")
    cluster["5000"].script.append(cluster["5000"].fault("unknown"))
    with Client(cluster.config, "5000", timeout=0.1, patience=20) as client:
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
def test_what_every_server_refuses_is_certainly_not_done(cluster: FakeCluster, outcome: str) -> None:
    for node in cluster.nodes.values():
        node.always = node.fault(outcome)
    with Client(cluster.config, timeout=SHORT_S) as client, pytest.raises(Unavailable) as caught:
        client.credit("main", 1)
    assert str(caught.value) == "The bank is not available: no majority of servers answered"
    assert cluster.requests() >= 4


def test_with_all_servers_down_the_bank_is_not_available(cluster: FakeCluster) -> None:
    for node in cluster.nodes.values():
        node.stop()
    with Client(cluster.config, timeout=SHORT_S) as client, pytest.raises(Unavailable):
        client.credit("main", 1)


@pytest.mark.usefixtures("impatient")
def test_servers_that_answer_slowly_are_given_more_time_with_each_try(cluster: FakeCluster) -> None:
    def slowly(node: FakeNode) -> Step:
        return lambda request: node.answer(request) if not node.released.wait(0.35) else None

    for node in cluster.nodes.values():
        node.always = slowly(node)
    with Client(cluster.config, timeout=4) as client:
        assert client.credit("main", 5).outcome == "ok"


def test_servers_that_are_down_are_not_dialled_without_a_pause(cluster: FakeCluster) -> None:
    for node in cluster.nodes.values():
        node.stop()
    with Client(cluster.config, timeout=0.3) as client:

        def ask() -> None:
            with pytest.raises(Unavailable):
                client.credit("main", 1)

        assert count_connections(client, ask) <= 3 * (1 + 0.3 / PAUSE_S[0])


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("loss", ["close", "silence"])
def test_the_end_of_a_query_is_never_unknown(cluster: FakeCluster, loss: str) -> None:
    told: list[str] = []
    for node in cluster.nodes.values():
        node.always = getattr(node, loss)
    client = Client(cluster.config, timeout=SHORT_S, on_unknown=told.append)
    with client, pytest.raises(Unavailable):
        client.query("main")
    assert told == []


def test_a_request_that_is_not_understood_is_not_repeated(cluster: FakeCluster) -> None:
    for node in cluster.nodes.values():
        node.always = node.fault("bad_request", message="what?")
    with Client(cluster.config) as client, pytest.raises(Rejected, match="what\\?"):
        client.credit("main", 1)
    assert cluster.requests() == 1


# -- servers that talk nonsense --------------------------------------------------------------------


def nonsense(cluster: FakeCluster) -> dict[str, Any]:
    node = cluster["5000"]
    return {
        "random bytes": node.raw(b"\x00\x00\x00\x04\xff\xfe\xfd\xfc"),
        "HTTP": node.raw(b"HTTP/1.1 400 Bad Request\r\n\r\n"),
        "a frame of 4 GiB": node.raw(b"\xff\xff\xff\xff" + b"x" * 1000),
        "an empty frame": node.raw(b"\x00\x00\x00\x00"),
        "another id": node.map(id="other", outcome="ok", balance=1),
        "an outcome that there is not": node.map(outcome="perhaps"),
        "ok without a balance": node.map(outcome="ok"),
        "two answers at once": lambda request: 2 * node.answer(request),
        "a balance in words": node.map(outcome="ok", balance="five"),
        "a status": node.map(
            outcome="ok", node="5000", role="leader", term=1, leader=None,
            commit_index=1, applied_index=1, last_index=1, matched={},
        ),
    }  # fmt: skip


NONSENSE = [
    "random bytes",
    "HTTP",
    "a frame of 4 GiB",
    "an empty frame",
    "another id",
    "two answers at once",
    "an outcome that there is not",
    "ok without a balance",
    "a balance in words",
    "a status",
]


@pytest.mark.parametrize("kind", NONSENSE)
def test_nonsense_is_a_broken_connection(cluster: FakeCluster, kind: str) -> None:
    told: list[str] = []
    cluster["5000"].always = nonsense(cluster)[kind]
    with Client(cluster.config, "5000", on_unknown=told.append) as client:
        assert client.credit("main", 3, request_id="n").balance == 3
    assert told == ["n"]
    assert len(cluster["5000"].requests) == 1


def test_a_refusal_without_an_id_speaks_of_the_connection(cluster: FakeCluster) -> None:
    told: list[str] = []
    cluster["5000"].always = cluster["5000"].map(id="", outcome="busy")
    with Client(cluster.config, "5000", on_unknown=told.append) as client:
        assert client.credit("main", 3).outcome == "ok"
    assert told == []


def test_an_answer_that_is_none_is_malformed() -> None:
    answers: list[object] = [[], 5, {}, {"id": "x"}, {"outcome": "ok"}, {"id": 1, "outcome": "busy"}]
    for answer in answers:
        with pytest.raises(Malformed):
            decode_client_reply(encode(answer))


# -- threads and ends ------------------------------------------------------------------------------


def test_a_slow_answer_does_not_hold_up_another_thread(cluster: FakeCluster) -> None:
    cluster["5000"].script.append(cluster["5000"].silence)
    with Client(cluster.config, "5000") as client:
        slow = threading.Thread(target=client.query, args=("main",))
        slow.start()
        wait_until(lambda: len(cluster["5000"].requests) == 1)
        started = time.monotonic()
        assert client.credit("main", 1).outcome == "ok"
        assert time.monotonic() - started < 0.5
        cluster["5000"].released.set()
        slow.join()


def test_many_threads_get_each_their_own_receipt(cluster: FakeCluster) -> None:
    wrong: list[str] = []

    def work(name: str) -> None:
        for i in range(50):
            request_id = f"{name}-{i}"
            if client.credit("main", 1, request_id=request_id).request_id != request_id:
                wrong.append(request_id)

    with Client(cluster.config) as client:
        threads = [threading.Thread(target=work, args=(f"t{i}",)) for i in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert client.query("main").balance == 8 * 50
    assert wrong == []


def test_a_closed_client_says_so_and_may_be_closed_again(cluster: FakeCluster) -> None:
    client = Client(cluster.config)
    client.credit("main", 1)
    client.close()
    client.close()
    with pytest.raises(ClientClosed, match="make a new one"):
        client.query("main")
    with pytest.raises(ClientClosed):
        client.status()
    assert cluster.requests() == 1


def test_a_connection_that_is_made_while_the_client_closes_is_closed(
    cluster: FakeCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    pool, made = Pool(), list[ServerConnection]()

    def late(pair: tuple[str, int], until: float) -> ServerConnection:
        made.append(ServerConnection(pair, until))
        pool.close()
        return made[0]

    monkeypatch.setattr("atm.client.connection.Connection", late)
    with pytest.raises(ClientClosed):
        pool.take(("127.0.0.1", cluster["5000"].port), time.monotonic() + 5)
    assert not made[0].is_idle()
    assert made[0]._socket.fileno() == -1


def test_closing_ends_a_request_that_is_under_way(cluster: FakeCluster) -> None:
    ends: list[BaseException] = []

    def work() -> None:
        try:
            client.credit("main", 1)
        except OutcomeUnknown as end:
            ends.append(end)

    cluster["5000"].script.append(cluster["5000"].silence)
    client = Client(cluster.config, "5000", timeout=30)
    thread = threading.Thread(target=work)
    thread.start()
    wait_until(lambda: len(cluster["5000"].requests) == 1)
    client.close()
    thread.join(0.5)
    assert not thread.is_alive()
    assert len(ends) == 1


def test_an_interrupt_tells_whether_the_request_may_be_done(
    cluster: FakeCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    with Client(cluster.config) as client:
        with monkeypatch.context() as patch:
            patch.setattr(ServerConnection, "_receive", interrupt)
            with pytest.raises(Interrupted) as caught:
                client.credit("main", 1, request_id="i")
            assert caught.value.may_be_done
            with pytest.raises(Interrupted) as caught:
                client.query("main")
            assert not caught.value.may_be_done
        monkeypatch.setattr(ServerConnection, "__init__", interrupt)
        with pytest.raises(Interrupted) as caught:
            client.credit("main", 1, request_id="i")
        assert not caught.value.may_be_done


# -- status ----------------------------------------------------------------------------------------


def test_the_status_has_every_node_in_the_files_order(cluster: FakeCluster) -> None:
    for node in cluster.nodes.values():
        node.leader = "5001"
    cluster["5002"].stop()
    with Client(cluster.config) as client:
        first, second, third = client.status()
    assert (first.node, first.role, first.lag) == ("5000", "follower", 2)
    assert (second.node, second.role, second.lag, second.term) == ("5001", "leader", 0, 3)
    assert (third.node, third.role, third.lag, third.term) == ("5002", "down", None, None)


def test_a_node_that_is_silent_or_another_counts_as_down(
    cluster: FakeCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("atm.client.node_status.STATUS_TIMEOUT_S", 0.2)
    cluster["5000"].always = cluster["5000"].silence
    cluster["5001"].name = "impostor"
    cluster["5002"].always = cluster["5002"].raw(b"nonsense")
    with Client(cluster.config) as client:
        assert [status.role for status in client.status()] == ["down"] * 3
