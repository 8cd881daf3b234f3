"""Many commands at once: each answered under its own id, asked again under it, done once."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from atm.client import InvalidRequest, InvalidRequestId, Rejected, Unavailable, Unfinished
from atm.client.bulk import Bulk
from atm.client.connection import Lost, NotSent
from atm.client.request_rules import TOGETHER_MAX
from atm.ledger.commands import Batch, Command, Credit, Debit, Leg, Outcome, Query, RotatePepper
from atm.wire.client_messages import ErrorReply, Reply
from tests.support.both_clients import Connect
from tests.support.fake_cluster import FakeCluster
from tests.support.fake_node import Map

SHORT_S = 0.3


def credits(count: int) -> list[Command]:
    return [Credit(id=f"r{number}", account="main", amount=1 + number) for number in range(count)]


def reply_to(request_id: str, balance: int = 1) -> Reply:
    return Reply(
        id=request_id, outcome=Outcome.OK, balance=balance, available=balance, log_index=7, time_us=8
    )


# -- over sockets -----------------------------------------------------------------------------------------


def test_receipts_come_in_the_order_of_the_commands(cluster: FakeCluster, connect: Connect) -> None:
    with connect(cluster.config) as client:
        receipts = client.submit(credits(100))
    assert [receipt.request_id for receipt in receipts] == [f"r{number}" for number in range(100)]
    assert cluster.bank.balances["main"] == sum(range(101))
    assert receipts[2].balance == 1 + 2 + 3


def test_all_are_sent_before_the_first_is_answered(cluster: FakeCluster, connect: Connect) -> None:
    node = cluster["5000"]
    kept: list[Map] = []

    def answer_the_last_first(request: Map) -> bytes:
        kept.append(request)
        if len(kept) < 50:
            return b""
        return b"".join(node.answer(each) for each in reversed(kept))

    node.always = answer_the_last_first
    with connect(cluster.config, "5000") as client:
        receipts = client.submit(credits(50))
    assert [receipt.request_id for receipt in receipts] == [f"r{number}" for number in range(50)]
    assert len(kept) == 50


def test_a_refusal_in_the_midst_is_a_value_and_stops_no_other(cluster: FakeCluster, connect: Connect) -> None:
    commands = [*credits(3), Debit(id="too much", account="main", amount=10**9), *credits(5)[3:]]
    commands[3] = Debit(id="too-much", account="main", amount=10**9)
    with connect(cluster.config) as client:
        receipts = client.submit(commands)
    assert [receipt.outcome for receipt in receipts] == ["ok"] * 3 + ["insufficient_funds"] + ["ok"] * 2


def test_what_is_not_answered_is_asked_again_under_its_id_at_another_node(
    cluster: FakeCluster, connect: Connect
) -> None:
    node = cluster["5000"]
    node.script.extend([node.answer] * 10 + [node.apply_and_close])
    unknown: list[str] = []
    with connect(cluster.config, "5000", on_unknown=unknown.append) as client:
        receipts = client.submit(credits(30))
    assert [receipt.outcome for receipt in receipts] == ["ok"] * 30
    assert cluster.bank.balances["main"] == sum(range(31)), "the eleventh was done, and is not done again"
    assert {request["id"] for request in cluster.bank.requests} == {f"r{number}" for number in range(30)}
    assert len(unknown) == len(set(unknown)) >= 1


@pytest.mark.parametrize("outcome", ["busy", "unavailable", "no_space"])
def test_one_that_was_not_taken_is_asked_again_and_the_others_are_not(
    cluster: FakeCluster, outcome: str, connect: Connect
) -> None:
    node = cluster["5000"]
    node.script.extend([node.answer, node.fault(outcome, message="later"), node.answer])
    with connect(cluster.config, "5000") as client:
        client.submit(credits(3))
    assert sorted(request["id"] for request in cluster.bank.requests) == ["r0", "r1", "r2"]
    assert cluster.requests() == 4


def test_without_any_server_nothing_is_done(cluster: FakeCluster, connect: Connect) -> None:
    with connect(cluster.config, timeout=SHORT_S) as client:
        for node in cluster.nodes.values():
            node.stop()
        with pytest.raises(Unavailable):
            client.submit(credits(3))


def test_servers_that_are_down_for_long_are_tried_to_the_end(
    cluster: FakeCluster, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So often that the time that each gets would not be a number any more."""
    monkeypatch.setattr("atm.client.attempt.TIMEOUT_GROWTH", 1e30)
    with connect(cluster.config, timeout=SHORT_S) as client:
        for node in cluster.nodes.values():
            node.stop()
        with pytest.raises(Unavailable):
            client.submit(credits(3))
        with pytest.raises(Unavailable):
            client.credit("main", 1)


def test_servers_that_take_nothing_say_why_and_nothing_is_done(
    cluster: FakeCluster, connect: Connect
) -> None:
    for node in cluster.nodes.values():
        node.always = node.fault("no_space", message="the disks are full")
    with (
        connect(cluster.config, timeout=SHORT_S) as client,
        pytest.raises(Unavailable, match="disks are full"),
    ):
        client.submit(credits(3))


def test_what_is_decided_what_may_be_and_what_is_not_is_told_apart(
    cluster: FakeCluster, connect: Connect
) -> None:
    node = cluster["5000"]
    node.script.extend([node.answer, node.fault("unknown")])
    for each in cluster.nodes.values():
        each.always = each.fault("unavailable", message="no leader")
    with connect(cluster.config, "5000", timeout=SHORT_S) as client, pytest.raises(Unfinished) as caught:
        client.submit(credits(3))
    assert {name: receipt.balance for name, receipt in caught.value.receipts.items()} == {"r0": 1}
    assert caught.value.unknown == ("r1",)
    assert caught.value.not_done == ("r2",)


def test_one_that_no_server_understands_is_told_and_the_others_are_done(
    cluster: FakeCluster, connect: Connect
) -> None:
    node = cluster["5000"]
    node.script.extend([node.answer, node.fault("bad_request", message="what?")])
    with (
        connect(cluster.config, "5000", timeout=SHORT_S) as client,
        pytest.raises(Unfinished, match="what") as caught,
    ):
        client.submit(credits(3))
    assert set(caught.value.receipts) == {"r0", "r2"}
    assert caught.value.not_done == ("r1",)
    node.script.append(node.fault("bad_request", message="what?"))
    with connect(cluster.config, "5000", timeout=SHORT_S) as client, pytest.raises(Rejected):
        client.submit(credits(1))


def test_reads_are_answered_in_their_order_and_are_never_unknown(
    cluster: FakeCluster, connect: Connect
) -> None:
    queries = [Query(id=f"q{number}", account="main") for number in range(20)]
    with connect(cluster.config, timeout=SHORT_S) as client:
        assert [receipt.request_id for receipt in client.read_all(queries)] == [query.id for query in queries]
        for node in cluster.nodes.values():
            node.script.append(node.answer)
            node.always = node.close
        with pytest.raises(Unavailable):
            client.read_all([Query(id=f"p{number}", account="main") for number in range(20)])


# -- before anything is sent ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("commands", "fault"),
    [
        ([*credits(2), *credits(1)], InvalidRequestId),
        ([*credits(2), Credit(id="r3", account="main", amount=0)], InvalidRequest),
        ([*credits(2), Query(id="r3", account="main")], InvalidRequest),
        ([*credits(2), RotatePepper(id="r3", generation=2, pepper="0" * 16)], InvalidRequest),
        ([*credits(2), "credit"], InvalidRequest),
        (credits(TOGETHER_MAX + 1), InvalidRequest),
    ],
)
def test_what_cannot_be_submitted_is_refused_before_anything_is_sent(
    cluster: FakeCluster, commands: Any, fault: type[Exception], connect: Connect
) -> None:
    with connect(cluster.config) as client, pytest.raises(fault):
        client.submit(commands)
    assert cluster.requests() == 0


def test_nothing_is_asked_where_there_is_nothing_to_submit(cluster: FakeCluster, connect: Connect) -> None:
    with connect(cluster.config) as client:
        assert client.submit([]) == []
    assert cluster.requests() == 0


def test_an_end_user_is_named_in_each(cluster: FakeCluster, connect: Connect) -> None:
    with connect(cluster.config, end_user="alice") as client:
        client.submit(credits(2))
    assert [request["end_user"] for request in cluster.bank.requests] == ["alice", "alice"]


# -- the decisions alone ----------------------------------------------------------------------------------


def asked(frames: bytes) -> Iterator[str]:
    for part in frames.split(b"\xa2id")[1:]:
        yield part[1 : 1 + (part[0] & 31)].decode()


def test_an_answer_belongs_to_the_request_with_its_id_and_to_no_other() -> None:
    bulk = Bulk(credits(3))
    bulk.begin_try()
    assert list(asked(bulk.next_frames())) == ["r0", "r1", "r2"]
    bulk.take(reply_to("r2", 22))
    bulk.take(reply_to("r0", 20))
    assert {name: reply.balance for name, reply in bulk.replies.items()} == {"r2": 22, "r0": 20}
    for stranger in ("r9", "r0"):
        with pytest.raises(Lost):
            bulk.take(reply_to(stranger))
    assert bulk.end_try(none_was_taken=False) == ["r1"]
    bulk.begin_try()
    assert list(asked(bulk.next_frames())) == ["r1"], "under the same id, and nothing that is answered"


def test_one_that_may_be_done_stays_unknown_when_another_server_does_not_understand_it() -> None:
    bulk = Bulk(credits(1))
    bulk.begin_try()
    bulk.next_frames()
    bulk.end_try()
    bulk.begin_try()
    bulk.next_frames()
    bulk.take(ErrorReply(id="r0", outcome="bad_request", message="what?"))
    assert (list(bulk.unknown), bulk.not_done, bulk.waiting) == (["r0"], (), False)


@pytest.mark.parametrize(("outcome", "none_taken"), [("busy", True), ("bad_request", False)])
def test_an_error_about_the_connection_says_that_nothing_was_taken_only_if_it_is_busy(
    outcome: str, none_taken: bool
) -> None:
    bulk = Bulk(credits(2))
    bulk.begin_try()
    bulk.next_frames()
    assert bulk.may_be_done
    with pytest.raises(NotSent if none_taken else Lost):
        bulk.take(ErrorReply(id="", outcome=outcome, message="go away"))
    bulk.end_try(none_was_taken=none_taken)
    assert bulk.may_be_done is not none_taken


def test_no_more_is_under_way_than_a_server_takes_of_a_connection() -> None:
    legs = tuple(Leg(account="a" * 64, target=f"{number:064}", amount=1) for number in range(64))
    batches: list[Command] = [Batch(id=f"r{number}", legs=legs) for number in range(300)]
    bulk = Bulk(batches)
    bulk.begin_try()
    sent = bulk.next_frames()
    assert len(sent) <= 1_024 * 1_024
    assert len(list(asked(sent))) < 300
    assert not bulk.next_frames()
    bulk.take(reply_to("r0"))
    assert len(list(asked(bulk.next_frames()))) == 1


def test_what_may_be_done_stays_unknown_until_it_is_answered() -> None:
    bulk = Bulk(credits(1))
    bulk.begin_try()
    bulk.next_frames()
    assert bulk.end_try(none_was_taken=False) == ["r0"]
    bulk.begin_try()
    bulk.next_frames()
    bulk.take(ErrorReply(id="r0", outcome="busy"))
    assert bulk.end_try(none_was_taken=False) == []
    assert (list(bulk.unknown), bulk.not_done) == (["r0"], ())
    bulk.begin_try()
    bulk.next_frames()
    bulk.take(reply_to("r0"))
    assert not bulk.unknown
    assert not bulk.waiting
