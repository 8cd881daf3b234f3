"""The feed of postings: in order, each once, at whatever node, and only ever of one journal."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field
from typing import Any

import msgspec
import pytest

from atm.client import Client, FeedBroken, InvalidAccount, InvalidRequest, Posted, Refused
from atm.ledger.journal_hash import Remark, row_hash
from tests.support.both_clients import Connect
from tests.support.fake_cluster import FakeCluster
from tests.support.fake_node import Map, Step

CLUSTER = "c" * 32


@dataclass
class Journal:
    """A journal that a fake bank answers `watch` from, in pages of 100."""

    cluster: str = CLUSTER
    rows: list[Map] = field(default_factory=list)

    def post(self, *accounts: str, remark: Remark | None = None) -> None:
        """Let each of the accounts get 1 from cash, in an entry of its own."""
        said = {} if remark is None else msgspec.to_builtins(remark)
        for account in accounts:
            number = 64 * (len(self.rows) + 3)
            columns = (number, 5, "cash", account, 1, -1, 1, f"r{number}")
            last = bytes.fromhex(self.rows[-1]["hash"]) if self.rows else bytes(32)
            self.rows.append(
                {
                    "posting": number, "time_us": 5, "op": "credit", "request_id": f"r{number}",
                    "debit_account": "cash", "credit_account": account, "amount": 1,
                    "debit_balance": -1, "credit_balance": 1, "hash": row_hash(last, *columns, remark).hex(),
                    **said,
                }
            )  # fmt: skip

    def answer(self, cluster: FakeCluster) -> None:
        """Let all nodes answer from this journal."""
        for node in cluster.nodes.values():
            node.always = self.step(cluster)

    def step(self, cluster: FakeCluster) -> Step:
        def answer(request: Map) -> bytes | None:
            before = [row for row in self.rows if row["posting"] <= request.get("after", 0)]
            page = self.rows[len(before) : len(before) + 100]
            last = before[-1]["hash"] if before else "00" * 32
            return cluster["5000"].map(outcome="ok", postings=page, hash=last, cluster=self.cluster)(request)

        return answer


@pytest.fixture
def journal(cluster: FakeCluster) -> Journal:
    journal = Journal()
    journal.answer(cluster)
    return journal


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("client", "async_client"):
        monkeypatch.setattr(f"atm.client.{module}.POLL_S", 0.01)


def numbers(postings: Any, count: int) -> list[int]:
    return [posted.posting for posted in itertools.islice(postings, count)]


def test_all_postings_come_in_the_order_of_the_log(
    cluster: FakeCluster, connect: Connect, journal: Journal
) -> None:
    journal.post(*["ann"] * 250)
    with connect(cluster.config) as client:
        first, *others = itertools.islice(client.watch(), 250)
    assert [posted.posting for posted in (first, *others)] == [64 * (3 + i) for i in range(250)]
    assert (first.log_index, first.op, first.debit_account, first.credit_account) == (
        3,
        "credit",
        "cash",
        "ann",
    )
    assert (first.amount, first.credit_balance, first.request_id) == (1, 1, "r192")
    assert (first.cluster, first.hash) == (CLUSTER, journal.rows[0]["hash"])


@pytest.mark.parametrize("remark", [Remark(7, "Größe 7"), Remark(None, 'says "no"'), Remark(7, None)])
def test_the_hashes_cover_codes_and_texts(
    cluster: FakeCluster, connect: Connect, journal: Journal, remark: Remark
) -> None:
    journal.post("ann")
    journal.post("bob", remark=remark)
    journal.post("ann")
    with connect(cluster.config) as client:
        _, posted, _ = itertools.islice(client.watch(), 3)
        assert (posted.code, posted.text) == (remark.code, remark.text)
        journal.rows[1] |= {"text": "another"}
        feed = client.watch()
        assert numbers(feed, 1) == [64 * 3]
        with pytest.raises(FeedBroken):
            next(feed)


def test_what_is_posted_later_comes_later(cluster: FakeCluster, connect: Connect, journal: Journal) -> None:
    journal.post("ann")
    with connect(cluster.config) as client:
        feed = client.watch()
        assert numbers(feed, 1) == [64 * 3]
        journal.post("bob")
        assert numbers(feed, 1) == [64 * 4]


def test_it_begins_at_a_log_entry_and_with_the_accounts_that_are_asked_for(
    cluster: FakeCluster, connect: Connect, journal: Journal
) -> None:
    journal.post("ann", "bob", "ann", "eve", "bob")
    with connect(cluster.config) as client:
        assert numbers(client.watch(from_index=5), 3) == [64 * 5, 64 * 6, 64 * 7]
        assert numbers(client.watch(accounts=["bob", "eve"]), 3) == [64 * 4, 64 * 6, 64 * 7]
        assert numbers(client.watch(accounts=["cash"]), 5) == [64 * (3 + i) for i in range(5)]


def test_it_goes_on_behind_a_posting_at_another_node(
    cluster: FakeCluster, connect: Connect, journal: Journal
) -> None:
    journal.post(*["ann", "bob"] * 60)
    with connect(cluster.config, "5000") as client:
        seen = list(itertools.islice(client.watch(accounts=["bob"]), 3))
    cluster["5000"].stop()
    kept = msgspec.json.decode(msgspec.json.encode(seen[-1]), type=Posted)
    with connect(cluster.config, "5001") as client:
        seen += itertools.islice(client.watch(accounts=["bob"], after=kept), 57)
    assert [posted.posting for posted in seen] == [64 * (4 + 2 * i) for i in range(60)]


def test_a_node_that_dies_ends_no_feed(cluster: FakeCluster, connect: Connect, journal: Journal) -> None:
    journal.post(*["ann"] * 150)
    with connect(cluster.config, "5000") as client:
        feed = client.watch()
        seen = numbers(feed, 50)
        cluster["5000"].stop()
        seen += numbers(feed, 100)
    assert seen == [64 * (3 + i) for i in range(150)]


# -- another journal --------------------------------------------------------------------------------


def test_another_cluster_is_told_even_if_its_journal_begins_alike(
    cluster: FakeCluster, connect: Connect, journal: Journal
) -> None:
    journal.post("ann", "bob")
    with connect(cluster.config) as client:
        feed = client.watch()
        numbers(feed, 2)
        journal.cluster = "d" * 32
        with pytest.raises(FeedBroken, match=r"that of cluster ddd.* restored from a backup"):
            next(feed)


def test_a_journal_that_ends_before_the_feed_is_told(
    cluster: FakeCluster, connect: Connect, journal: Journal
) -> None:
    journal.post("ann", "bob")
    with connect(cluster.config) as client:
        last = list(itertools.islice(client.watch(), 2))[-1]
        journal.rows.pop()
        with pytest.raises(FeedBroken, match="up to posting 256 its journal is not the one that was read"):
            next(client.watch(after=last))


@pytest.mark.parametrize("lie", ["missing", "changed", "twice"])
def test_a_posting_that_does_not_follow_the_one_before_is_told(
    cluster: FakeCluster, connect: Connect, journal: Journal, lie: str
) -> None:
    journal.post(*["ann"] * 5)
    if lie == "missing":
        del journal.rows[2]
    elif lie == "changed":
        journal.rows[2] |= {"credit_account": "eve"}
    else:
        journal.rows.insert(2, journal.rows[1])
    with connect(cluster.config) as client:
        feed = client.watch()
        assert len(numbers(feed, 2)) == 2
        with pytest.raises(FeedBroken, match="does not follow posting 256"):
            next(feed)


def test_a_refusal_is_raised(cluster: FakeCluster, connect: Connect) -> None:
    for node in cluster.nodes.values():
        node.always = node.map(outcome="not_allowed")
    with connect(cluster.config) as client, pytest.raises(Refused, match="not_allowed"):
        next(client.watch())


@pytest.mark.parametrize(
    ("arguments", "fault"),
    [
        ({"from_index": -1}, InvalidRequest),
        ({"from_index": "5"}, InvalidRequest),
        ({"from_index": 2**60}, InvalidRequest),
        ({"accounts": ["a b"]}, InvalidAccount),
    ],
)
def test_a_feed_that_cannot_be_is_refused_before_anything_is_sent(
    cluster: FakeCluster, arguments: Map, fault: type[Exception]
) -> None:
    with Client(cluster.config) as client, pytest.raises(fault):
        next(client.watch(**arguments))
    assert cluster.requests() == 0
