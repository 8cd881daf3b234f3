"""/api/v1 against a real bank, and against one that does not answer."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import quote, urlsplit

import pytest

from atm.client import Client, new_request_id
from atm.ledger.commands import Credit
from atm.web.bank import UNDER_WAY_MAX, Bank, Busy
from atm.web.bodies import BODY_BYTES_MAX
from tests.support.fake_cluster import FakeCluster
from tests.web.asked import ask, put
from tests.web.serving import running_web, web

NewAccount = Callable[..., str]


def test_an_id_again_gets_the_same_answer_and_is_done_once(url: str, new_account: NewAccount) -> None:
    account, request_id = new_account(), new_request_id()
    credit = {"op": "credit", "account": account, "amount": 50}
    first, again = put(url, request_id, credit), put(url, request_id, credit)
    assert (first.status, first.json["outcome"], first.json["balance"]) == (200, "ok", 50)
    assert again.json == first.json
    other = put(url, request_id, credit | {"amount": 51})
    assert (other.status, other.json["outcome"]) == (200, "id_reused")
    assert ask(url, path=f"/api/v1/accounts/{account}").json["balance"] == 50
    found = ask(url, path=f"/api/v1/requests/{request_id}").json
    assert (found["outcome"], found["asked"]["amount"], found["actor"]) == ("ok", 50, "local")


def test_a_refusal_is_a_decision(url: str, new_account: NewAccount) -> None:
    account = new_account()
    refused = put(url, new_request_id(), {"op": "debit", "account": account, "amount": 1})
    assert (refused.status, refused.json["outcome"]) == (200, "insufficient_funds")


def test_any_id_of_the_bank_fits_into_the_path(url: str) -> None:
    request_id = "a/b?c%2F#" + new_request_id()
    credited = put(url, quote(request_id, safe=""), {"op": "credit", "account": "main", "amount": 1})
    assert credited.json["id"] == request_id
    assert ask(url, path=f"/api/v1/requests/{quote(request_id, safe='')}").json["outcome"] == "ok"


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (b"{", "no JSON object"),
        (b"[]", "no JSON object"),
        (b"\xff", "no JSON object"),
        (b"[" * 60_000, "no JSON object"),
        ({}, 'no "op"'),
        ({"op": ["credit"]}, 'no "op"'),
        ({"op": "rotate_pepper", "generation": 2, "pepper": "0" * 16}, 'no "op"'),
        ({"op": "grant_role", "name": "eve", "role": "admin"}, 'no "op"'),
        ({"op": "credit", "account": "main", "amount": 1.5}, "whole number of minor units"),
        ({"op": "credit", "account": "main", "amount": "1"}, "whole number of minor units"),
        ({"op": "credit", "account": "main", "amount": -1}, "whole number of minor units"),
        ({"op": "credit", "account": "main", "amount": 10**30}, "whole number of minor units"),
        ({"op": "credit", "account": "main", "amount": True}, "whole number of minor units"),
        ({"op": "credit", "account": "<img>", "amount": 1}, "An account's name is"),
        ({"op": "credit", "account": "main", "amount": 1, "id": "other"}, "another id"),
        ({"op": "credit", "account": "main", "amount": 1, "end_user": "eve"}, "For whom"),
        ({"op": "credit", "account": "main", "amount": 1, "pine": "1"}, "pine"),
        ({"op": "login", "account": "main", "pin": "0" * 64}, "4 to 12 digits"),
        ({"op": "transfer", "account": "main", "target": "main", "amount": 1}, "differ"),
    ],
    ids=str,
)
def test_what_is_not_well_formed_is_said(url: str, client: Client, body: object, says: str) -> None:
    before = client.query("main").balance
    answer = put(url, new_request_id(), body)
    assert answer.status == 400
    assert answer.headers["content-type"] == "application/problem+json"
    assert says in answer.json["detail"]
    assert answer.json["done"] is False
    assert client.query("main").balance == before


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/accounts/nobody", 404),
        ("/accounts/nobody/statement", 404),
        ("/requests/none", 404),
        ("/nothing", 404),
        ("/accounts/main/statement?limit=0", 400),
        ("/accounts/main/statement?limit=x", 400),
        ("/accounts/main/statement?account=ann", 400),
        ("/accounts/main?id=1", 400),
        ("/accounts/main?unknown=1", 400),
        ("/accounts/%3Cimg%3E", 400),
        ("/find", 400),
        ("/find?code=7", 200),
        ("/accounts?limit=1", 200),
        ("/exceptions", 200),
        ("/deeds", 200),
        ("/approvals", 200),
        ("/status", 200),
        ("/currencies", 200),
    ],
)
def test_what_is_read(url: str, path: str, status: int) -> None:
    answer = ask(url, path=f"/api/v1{path}")
    assert answer.status == status
    assert answer.status == 200 or answer.json["status"] == status


def test_methods_and_sizes_are_bounded(url: str) -> None:
    assert ask(url, "POST", "/api/v1/requests/1", {"op": "credit"}).status == 405
    assert ask(url, "DELETE", "/api/v1/accounts/main").status == 405
    assert put(url, "1", b"x" * (BODY_BYTES_MAX + 1)).status == 413
    long = ask(url, path="/" + "x" * 60_000)
    assert long.status in {400, 404}
    assert len(long.body) < 1_000


def test_a_body_that_does_not_come_is_given_up_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, url: str
) -> None:
    with socket.create_connection(("localhost", urlsplit(url).port or 0), timeout=30) as connection:
        head = "PUT /api/v1/requests/1 HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n"
        connection.sendall(f"{head}content-length: 10\r\n\r\n{{".encode())
        assert connection.recv(100).split()[1] == b"408"


# -- a bank that does not answer ----------------------------------------------------------------------------


@pytest.fixture
def fakes(tmp_path: Path) -> Iterator[FakeCluster]:
    cluster = FakeCluster(tmp_path, size=1)
    yield cluster
    cluster.stop()


def test_an_unknown_outcome_is_202_and_never_an_error(fakes: FakeCluster) -> None:
    node = fakes["5000"]
    node.always = node.apply_and_close
    with web(fakes.config) as url:
        credit = {"op": "credit", "account": "main", "amount": 5}
        answer = put(url, "A1", credit)
        assert answer.status == 202
        assert (answer.json["id"], answer.json["outcome"]) == ("A1", "unknown")
        assert "fail" not in json.dumps(answer.json)
        node.always = None
        settled = put(url, "A1", credit)
        assert (settled.status, settled.json["balance"]) == (200, 5)


def test_without_a_bank_nothing_is_done_and_that_is_said(fakes: FakeCluster) -> None:
    fakes.stop()
    with web(fakes.config) as url:
        answer = put(url, "A1", {"op": "credit", "account": "main", "amount": 5})
        assert (answer.status, answer.json["code"], answer.json["done"]) == (503, "unavailable", False)
        assert answer.headers["retry-after"] == "1"
        assert ask(url, path="/api/v1/accounts/main").status == 503
        assert ask(url, path="/api/v1/status").json["available"] is False


def test_a_bank_that_hangs_keeps_nobody_from_the_pages_and_a_stop_is_quick(fakes: FakeCluster) -> None:
    node = fakes["5000"]
    node.always = node.silence
    with running_web(fakes.config) as (url, process):
        asking = [threading.Thread(target=_ask_quietly, args=(url, f"A{i}")) for i in range(UNDER_WAY_MAX)]
        for thread in asking:
            thread.start()
        while fakes.requests() < 8:
            threading.Event().wait(0.02)
        assert ask(url, path="/").status == 200
        assert ask(url, path="/api/v1/me").status == 200
        process.terminate()
        assert process.communicate(timeout=15) == ("", "")
        assert process.returncode == 0
        for thread in asking:
            thread.join()


def _ask_quietly(url: str, request_id: str) -> None:
    with contextlib.suppress(OSError):  # one that was not accepted yet when the server stopped
        answer = put(url, request_id, {"op": "credit", "account": "main", "amount": 5})
        assert answer.status in {202, 503}


def test_one_request_too_many_is_refused_at_once(fakes: FakeCluster) -> None:
    async def story() -> None:
        bank = Bank(fakes.config)
        node = fakes["5000"]
        node.always = node.silence
        asked = [Credit(id=f"A{i}", account="main", amount=1) for i in range(UNDER_WAY_MAX + 1)]
        waiting = [asyncio.ensure_future(bank.ask(each)) for each in asked[:-1]]
        await asyncio.sleep(0)
        with pytest.raises(Busy):
            await bank.ask(asked[-1])
        for task in waiting:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)
        bank.close()

    asyncio.run(story())
