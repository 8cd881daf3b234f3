"""The stream of postings of a bank with several lanes: one feed of all their journals."""

from __future__ import annotations

import itertools
import socket
from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, expect

from atm.client import Client
from atm.config import LANES_MAX
from atm.lanes.share import lane_of
from atm.ledger.commands import LEGS_MAX
from atm.ledger.lane_numbers import INDEX_BITS, POSTING_BITS, lane_of_posting
from atm.local_cluster import LocalCluster
from tests.support.browser import visit
from tests.support.lanes import bank_at
from tests.support.postgresql import new_database
from tests.web.asked import ask
from tests.web.serving import web
from tests.web.streams import Stream, stream

LANES = 4


def account_in(lane: int, prefix: str) -> str:
    """Return the name of an account of that lane."""
    return next(name for n in itertools.count() if lane_of(name := f"{prefix}{n}", LANES) == lane)


ANNS, BOBS = ([account_in(lane, who) for lane in range(LANES)] for who in ("ann", "bob"))


@pytest.fixture(scope="module")
def bank(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalCluster]:
    """Two servers with four lanes, and an account with money in each."""
    with bank_at(tmp_path_factory.mktemp("bank"), new_database(), 2, lanes=LANES) as local:
        local.start_all()
        local.wait_for_leader()
        with Client(local.cluster.path) as client:
            for name in (*ANNS, *BOBS):
                client.open(name).check()
                client.credit(name, 1_000).check()
        yield local


@pytest.fixture(scope="module")
def url(bank: LocalCluster) -> Iterator[str]:
    with web(bank.cluster.path) as address:
        yield address


@pytest.fixture(scope="module")
def client(bank: LocalCluster) -> Iterator[Client]:
    with Client(bank.cluster.path) as connected:
        yield connected


def amounts(live: Stream, count: int) -> list[int]:
    return sorted(live.next()["amount"] for _ in range(count))


def test_a_stream_has_the_postings_of_all_lanes_and_goes_on_behind_its_last_event(
    url: str, client: Client
) -> None:
    with stream(url) as live:
        begun = live.mark()
        assert begun.rpartition("-")[2].count(".") == LANES - 1
        for lane, name in enumerate(ANNS):
            client.credit(name, 10 + lane).check()
        assert amounts(live, LANES) == [10, 11, 12, 13], "from now on, and nothing older"
        for lane, name in enumerate(ANNS):
            client.credit(name, 20 + lane).check()
        seen = amounts(live, 2)
        cursor = live.cursor
    for lane, name in enumerate(ANNS):
        client.credit(name, 30 + lane).check()
    with stream(url, **{"Last-Event-ID": cursor}) as again:
        assert sorted(seen + amounts(again, 6)) == [20, 21, 22, 23, 30, 31, 32, 33], "each of them once"
        cursor = again.cursor
        client.credit(ANNS[2], 40).check()
        assert again.next()["amount"] == 40
    with stream(url, f"?after={cursor}") as last:
        assert last.next()["amount"] == 40
    with stream(url, f"?after={begun}") as whole:
        assert len(amounts(whole, 13)) == 13
    everything = client.watch()
    with stream(url, "?from_index=0") as whole:
        for _ in range(8 + 13):
            told, posted = whole.next(), next(everything)
            assert "positions" not in told
            assert told["log_index"] == told["posting"] // LEGS_MAX
            assert posted.cluster == told["cluster"]


def test_a_stream_of_accounts_follows_their_lanes(url: str, client: Client) -> None:
    with stream(url, f"?account={ANNS[1]}&account={BOBS[3]}") as live:
        live.mark()
        client.transfer(ANNS[0], BOBS[3], 3).check()
        client.credit(ANNS[2], 4).check()
        client.credit(BOBS[1], 5).check()
        client.transfer(ANNS[1], BOBS[0], 6).check()
        told = [live.next(), live.next()]
        assert {(each["debit_account"], each["credit_account"]) for each in told} == {
            ("transit:", BOBS[3]),
            (ANNS[1], "transit:"),
        }
        cursor = live.cursor
        client.credit(ANNS[1], 7).check()
        assert live.next()["amount"] == 7
    with stream(url, f"?account={ANNS[1]}&account={BOBS[3]}", **{"Last-Event-ID": cursor}) as again:
        assert again.next()["amount"] == 7
    with stream(url, "?account=transit:") as of_all:
        of_all.mark()
        client.transfer(ANNS[0], BOBS[2], 8).check()
        assert {lane_of_posting(of_all.next()["posting"]) for _ in range(2)} == {0, 2}


def test_a_stream_from_a_log_index_on_has_all_of_other_lanes(url: str, client: Client) -> None:
    client.credit(ANNS[2], 9).check()
    with stream(url, f"?from_index={(3 << INDEX_BITS) - 1}") as live:
        lanes: set[int] = set()
        while len(lanes) < LANES - 1:
            lanes.add(lane_of_posting(live.next()["posting"]))
    assert lanes == {0, 1, 3}


@pytest.mark.parametrize(
    ("place", "status"),
    [("1", 400), ("1.2.3", 400), ("1.2.3.4.5", 400), (f"0.0.{1 << POSTING_BITS}.0", 400), ("1.2.x.4", 400)],
)
def test_a_cursor_names_a_place_in_each_lane(url: str, client: Client, place: str, status: int) -> None:
    cluster = next(client.watch()).cluster
    assert ask(url, path=f"/api/v1/events?after={cluster}-{place}").status == status
    assert ask(url, path="/api/v1/events?after=abc-1.2.3.4").status == 409


def test_a_cursor_of_as_many_lanes_as_there_can_be_is_read(url: str) -> None:
    cursor = "abc-" + ".".join([str((1 << POSTING_BITS) - 1)] * LANES_MAX)
    assert len(cursor) < 4_000
    assert ask(url, path="/api/v1/events", last_event_id=cursor).status == 409
    assert ask(url, path=f"/api/v1/events?after={cursor}").status == 409


def test_a_log_index_of_a_lane_that_there_is_not(url: str) -> None:
    answer = ask(url, path=f"/api/v1/events?from_index={LANES << INDEX_BITS}")
    assert (answer.status, answer.json["code"]) == (400, "bad_request")


def test_one_who_does_not_read_disturbs_nobody(url: str, client: Client) -> None:
    with socket.create_connection(("localhost", urlsplit(url).port or 0)) as deaf:
        deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        deaf.sendall(b"GET /api/v1/events?from_index=0 HTTP/1.1\r\nhost: localhost\r\n\r\n")
        with stream(url, f"?account={ANNS[3]}") as live:
            live.mark()
            for amount in range(100, 105):
                client.credit(ANNS[3], amount).check()
                assert live.next()["amount"] == amount


def test_the_page_shows_what_others_do_in_each_lane(chrome: Browser, url: str, client: Client) -> None:
    for lane in (1, 3):
        with visit(chrome, url) as (page, seen):
            page.locator("#login-account").fill(BOBS[lane])
            page.get_by_role("button", name="Use this account").click()
            page.wait_for_selector("#counter[data-live]")
            client.transfer(ANNS[0], BOBS[lane], 123).check()
            expect(page.locator("#lines tr").first).to_contain_text(ANNS[0])
            expect(page.locator("#lines tr").first).to_contain_text("1.23")
            seen.check()
