"""One node, real sockets: no input on the clients' port disturbs other clients."""

from __future__ import annotations

import hashlib
import os
import socket
import struct
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from threading import Event
from typing import Any, TypeVar, get_args

import pytest
from msgspec import structs

from atm.client import Client
from atm.config import NodeConfig
from atm.ledger.commands import (
    AMOUNT_MINOR_MAX,
    CODE_MAX,
    LEGS_MAX,
    PAGE_LINES_MAX,
    PAGE_TEXTS_BYTES_MAX,
    TEXT_BYTES_MAX,
    TEXT_CHARS_MAX,
    Accounts,
    AccountState,
    ApprovalLimit,
    Approvals,
    Batch,
    Debit,
    Exceptions,
    Holds,
    HoldState,
    JournalPosting,
    Leg,
    LimitedOp,
    Line,
    Lookup,
    Open,
    Outcome,
    Pepper,
    PepperView,
    RoleName,
    SetPin,
    Statement,
    WaitingRequest,
    Watch,
)
from atm.ledger.requests import contents_of
from atm.server.clients import client_connection, client_places, client_server, slots
from atm.server.group import inbox
from atm.server.net import listener, places
from atm.wire.client_messages import ClientRequest, Reply, Status
from atm.wire.codec import encode
from atm.wire.framing import CLIENT_FRAME_BYTES_MAX, frame
from tests.support.server_parts import DEADLINE_S, RunningServer, Wire, cluster_of, credit, query, wait_until

PIN = "86420975"
Row = TypeVar("Row", Line, JournalPosting)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RunningServer]:
    with RunningServer(cluster_of(tmp_path, "n1"), "n1") as running:
        yield running.wait_for_leader()
        with Wire(running.client) as wire:
            assert wire.ask(query("still-there"))["outcome"] == "ok"
        assert not [line for line in running.reported if "internal error" in line]


@pytest.fixture
def wire(server: RunningServer) -> Iterator[Wire]:
    with Wire(server.client) as wire:
        yield wire


def test_a_credit_is_acknowledged_and_seen_by_a_query(wire: Wire) -> None:
    answer = wire.ask(credit("a", 500))
    assert (answer["id"], answer["outcome"], answer["balance"], answer["leader"]) == ("a", "ok", 500, "n1")
    assert wire.ask(credit("a", 500)) == answer
    assert wire.ask(query("q"))["balance"] == 500
    assert wire.ask(query("r", "nobody"))["outcome"] == "no_such_account"
    assert wire.ask(Status(id="s"))["role"] == "leader"


def test_pipelined_requests_are_each_answered_under_their_id(wire: Wire) -> None:
    requests = [credit(f"c{number}") for number in range(300)]
    queries = [query(f"q{number}") for number in range(300)]
    pieces = [frame(encode(each)) for pair in zip(requests, queries, strict=True) for each in pair]
    wire.socket.sendall(b"".join(pieces))
    answers = [wire.answer() for _ in pieces]
    assert {answer["id"] for answer in answers if answer} == {each.id for each in [*requests, *queries]}
    assert {answer["outcome"] for answer in answers if answer} == {"ok"}


@pytest.mark.parametrize(
    "garbage",
    [
        (4 * 1024**3 - 1).to_bytes(4, "big"),
        (CLIENT_FRAME_BYTES_MAX + 1).to_bytes(4, "big") + b"x" * 100,
        frame(os.urandom(50)),
        frame(b""),
        frame(b"\xc1"),
        frame(b"\x91" * 50_000),
        b"credit 5000\r\n" * 800_000,
    ],
    ids=["4 GiB", "just over", "random", "empty", "never used", "deep", "10 MB of text"],
)
def test_bytes_that_are_no_request_get_an_error_frame_and_the_end(wire: Wire, garbage: bytes) -> None:
    wire.socket.sendall(garbage)
    answer = wire.answer()
    assert answer is not None
    assert answer["outcome"] == "bad_request"
    assert wire.answer() is None


@pytest.mark.parametrize(
    "request_fields",
    [
        {"op": "credit", "id": "a", "account": "main", "amount": 0},
        {"op": "credit", "id": "a", "account": "main", "amount": -5},
        {"op": "credit", "id": "a", "account": "main", "amount": 1.5},
        {"op": "credit", "id": "a", "account": "main", "amount": 10**14},
        {"op": "credit", "id": "a", "account": "main"},
        {"op": "credit", "id": "a", "account": "main", "amount": 5, "pin": 1},
        {"op": "rob", "id": "a", "account": "main", "amount": 5},
        {"op": "query", "id": "a", "account": "no such name"},
    ],
)
def test_a_malformed_request_is_refused_under_its_id(wire: Wire, request_fields: dict[str, object]) -> None:
    answer = wire.ask(request_fields)
    assert (answer["id"], answer["outcome"]) == ("a", "bad_request")
    assert wire.answer() is None


def test_a_good_request_before_a_bad_one_is_done(server: RunningServer, wire: Wire) -> None:
    wire.socket.sendall(frame(encode(credit("good", 77))) + frame(b"bad"))
    with Wire(server.client) as other:
        wait_until(lambda: other.ask(query("q"))["balance"] == 77)


def test_half_a_frame_does_not_disturb_other_clients(server: RunningServer, wire: Wire) -> None:
    wire.socket.sendall(frame(encode(credit("half")))[:20])
    with Wire(server.client) as other:
        assert other.ask(credit("whole"))["balance"] == 100


def test_a_client_reset_mid_request_does_not_disturb_other_clients(server: RunningServer) -> None:
    for number in range(20):
        with Wire(server.client) as wire:
            wire.socket.sendall(frame(encode(credit(f"reset{number}"))) + b"\x00\x00")
            wire.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    with Wire(server.client) as other:
        wait_until(lambda: other.ask(query("q"))["balance"] == 2000)


def test_a_client_that_never_reads_is_dropped_and_blocks_no_other(
    server: RunningServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client_connection, "OUTBOX_BYTES_MAX", 20_000)
    status = b"".join(frame(encode(Status(id=f"s{number}"))) for number in range(200))
    with Wire(server.client) as deaf, Wire(server.client) as other:
        deaf.socket.settimeout(0.05)
        wait_until(lambda: _ended(deaf, status))
        assert other.ask(credit("a"))["outcome"] == "ok"


def _ended(deaf: Wire, requests: bytes) -> bool:
    try:
        deaf.socket.sendall(requests)
    except TimeoutError:
        return False
    except OSError:
        return True
    return False


def test_too_many_requests_under_way_are_busy(server: RunningServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client_connection, "IN_FLIGHT_MAX", 3)
    with Wire(server.client) as wire:
        wire.socket.sendall(b"".join(frame(encode(credit(f"c{number}"))) for number in range(10)))
        outcomes = [answer["outcome"] for _ in range(10) if (answer := wire.answer())]
        assert set(outcomes) == {"ok", "busy"}
        assert wire.ask(query("q"))["balance"] == 100 * outcomes.count("ok")


def test_pages_are_answered_or_busy_and_never_too_many_for_a_client_that_reads(
    server: RunningServer, wire: Wire
) -> None:
    """Hundreds of pages at once would be more than its connection may have waiting, and end it."""
    for number in range(PAGE_LINES_MAX):
        assert wire.ask(credit(f"a-rather-long-id-of-its-own-{number}"))["outcome"] == "ok"
    pending = 500
    statement = {"op": "statement", "account": "main", "limit": PAGE_LINES_MAX}
    wire.socket.sendall(
        b"".join(frame(encode(statement | {"id": f"s{number}"})) for number in range(pending))
    )
    answers = [wire.answer() for _ in range(pending)]
    outcomes = {answer["outcome"] for answer in answers if answer}
    assert outcomes <= {"ok", "busy"}
    assert all(len(answer["lines"]) == PAGE_LINES_MAX for answer in answers if answer and "lines" in answer)
    at_once = client_connection.IN_FLIGHT_MAX // slots.slots(Statement(id="s", account="main", limit=100))
    assert sum(answer is not None and answer["outcome"] == "ok" for answer in answers) >= at_once
    assert wire.ask(query("q"))["balance"] == 100 * PAGE_LINES_MAX


def with_texts(row: Row, limit: int) -> tuple[Row, ...]:
    """Return so many rows, of which as many have the longest text as a page may have."""
    texts = min(limit, PAGE_TEXTS_BYTES_MAX // TEXT_BYTES_MAX)
    return (structs.replace(row, text="\U0001f3e6" * TEXT_CHARS_MAX),) * texts + (row,) * (limit - texts)


def test_the_slots_of_a_request_hold_its_longest_answer() -> None:
    longest, number = "x" * 64, -(2**63)
    common: dict[str, Any] = {
        "id": longest,
        "outcome": Outcome.ORIGINAL_NOT_FOUND,
        "balance": number,
        "available": number,
        "currency": "EUR",
        "leader": longest,
    }
    line = Line(
        posting=number,
        time_us=number,
        op="write_off",
        request_id=longest,
        account=longest,
        other=longest,
        amount=number,
        balance=number,
        exception="written_off",
        currency="EUR",
        code=CODE_MAX,
    )
    posting = JournalPosting(
        posting=number,
        time_us=number,
        op="write_off",
        request_id=longest,
        debit_account=longest,
        credit_account=longest,
        amount=number,
        debit_balance=number,
        credit_balance=number,
        hash="f" * 64,
        currency="EUR",
        code=CODE_MAX,
    )
    account = AccountState(
        account=longest, balance=number, available=number, state="closed", pin="locked", currency="EUR"
    )
    hold = HoldState(
        request_id=longest, amount=number, time_us=number, expires_us=number, posted=number, currency="EUR"
    )
    waiting = WaitingRequest(
        log_index=number,
        time_us=number,
        actor=longest,
        roles=",".join(get_args(RoleName)),
        op="write_off",
        target=longest,
        amount=number,
        stake=number,
        request_id=longest,
        currency="EUR",
    )
    limits = (ApprovalLimit(op="write_off", amount=number, log_index=number),) * len(get_args(LimitedOp))
    pepper = PepperView(generation=32, name="f" * 16, log_index=number, carried_index=number, older=number)
    leg = Leg(account=longest, target="y" * 64, amount=AMOUNT_MINOR_MAX)
    text = "\U0001f3e6" * TEXT_CHARS_MAX
    legs = (leg,) * LEGS_MAX
    batch = contents_of(Batch(id=longest, legs=legs, code=CODE_MAX, text=text, currency="EUR"))
    answers: list[tuple[ClientRequest, Reply]] = [
        (credit("a"), Reply(**common, log_index=number, time_us=number)),
        (query("q"), Reply(**common, state="frozen", pin="locked", locked_until_us=number, sealed_for=32)),
        (query("q"), Reply(**common, state="frozen", pin="set", ceiling=number, transfers_count=True)),
        (Pepper(id="p"), Reply(**common, pepper=pepper)),
        (
            Lookup(id="l", request_id="a"),
            Reply(**common, asked=batch, actor=longest, reversed_by=longest, taken_back=number, leg=64),
        ),
        *(
            (
                Statement(id="s", account="main", limit=limit),
                Reply(**common, lines=with_texts(line, limit), next=number),
            )
            for limit in (1, 2, 20, PAGE_LINES_MAX)
        ),
        *(
            (Accounts(id="a", limit=limit), Reply(**common, accounts=(account,) * limit, next=longest))
            for limit in (1, 7, 20, PAGE_LINES_MAX)
        ),
        *(
            (
                Holds(id="a", account=longest, limit=limit),
                Reply(**common, holds=(hold,) * limit, next=longest),
            )
            for limit in (1, 20, PAGE_LINES_MAX)
        ),
        *(
            (
                Approvals(id="a", limit=limit),
                Reply(**common, approvals=(waiting,) * limit, limits=limits, next=number),
            )
            for limit in (1, 20, PAGE_LINES_MAX)
        ),
        *(
            (
                Watch(id="w", limit=limit),
                Reply(
                    **common,
                    postings=with_texts(posting, limit),
                    hash="f" * 64,
                    cluster="c" * 32,
                    next=number,
                ),
            )
            for limit in (1, 20, PAGE_LINES_MAX)
        ),
    ]
    for request, answer in answers:
        assert len(frame(encode(answer))) <= slots.slots(request) * slots.SLOT_BYTES
    for limit in (1, 20, PAGE_LINES_MAX):
        assert slots.slots(Exceptions(id="e", limit=limit)) == slots.slots(
            Statement(id="s", account="main", limit=limit)
        )


# -- PINs, which take long ---------------------------------------------------------------------------


class SlowSealing:
    """PINs are hashed until the test lets them be."""

    def __init__(self) -> None:
        self.begun = Event()
        self.may_end = Event()
        self._scrypt = hashlib.scrypt

    def __call__(self, pin: bytes, **options: Any) -> bytes:
        self.begun.set()
        assert self.may_end.wait(DEADLINE_S)
        return self._scrypt(pin, **options)


@pytest.fixture
def sealing(server: RunningServer, monkeypatch: pytest.MonkeyPatch) -> Iterator[SlowSealing]:
    with Wire(server.client) as wire:
        assert wire.ask(Open(id="open-ann", account="ann"))["outcome"] == "ok"
        assert wire.ask(SetPin(id="set-ann", account="ann", pin=PIN))["outcome"] == "ok"
    with monkeypatch.context() as slow:
        sealing = SlowSealing()
        slow.setattr(hashlib, "scrypt", sealing)
        yield sealing
        sealing.may_end.set()


def test_a_request_behind_one_with_a_pin_on_the_same_connection_is_done_after_it(
    wire: Wire, sealing: SlowSealing
) -> None:
    wire.send(Debit(id="too-early", account="ann", amount=70, pin=PIN))
    wire.send(credit("late", 70, "ann"))
    assert sealing.begun.wait(DEADLINE_S)
    wire.send(query("later", "ann"))
    sealing.may_end.set()
    answers = [wire.answer() for _ in range(3)]
    outcomes = {answer["id"]: (answer["outcome"], answer["balance"]) for answer in answers if answer}
    assert outcomes["too-early"][0] == "insufficient_funds"
    assert outcomes["late"] == ("ok", 70)


def test_a_request_with_a_pin_is_done_after_those_before_it(wire: Wire, sealing: SlowSealing) -> None:
    sealing.may_end.set()
    requests = [credit("early", 70, "ann"), Debit(id="in-time", account="ann", amount=70, pin=PIN)]
    wire.socket.sendall(b"".join(frame(encode(each)) for each in requests))
    assert {answer["outcome"] for _ in requests if (answer := wire.answer())} == {"ok"}


def test_requests_of_others_do_not_wait_for_a_pin_that_is_being_sealed(
    server: RunningServer, wire: Wire, sealing: SlowSealing
) -> None:
    wire.send(Debit(id="d", account="ann", amount=1, pin=PIN))
    assert sealing.begun.wait(DEADLINE_S)
    with Wire(server.client) as other:
        assert other.ask(credit("c"))["outcome"] == "ok"
        assert other.ask(query("q"))["balance"] == 100
    sealing.may_end.set()
    answer = wire.answer()
    assert answer is not None
    assert (answer["id"], answer["outcome"]) == ("d", "insufficient_funds")


def test_a_pin_that_cannot_be_sealed_ends_its_connection_and_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(pin: bytes, **options: Any) -> bytes:
        raise MemoryError

    with RunningServer(cluster_of(tmp_path, "n1"), "n1") as running:
        running.wait_for_leader()
        with Wire(running.client) as wire:  # an account without a PIN has none to compare
            assert wire.ask(Open(id="open-ann", account="ann"))["outcome"] == "ok"
            assert wire.ask(SetPin(id="set-ann", account="ann", pin=PIN))["outcome"] == "ok"
        monkeypatch.setattr(hashlib, "scrypt", fail)
        for number in range(5):
            with Wire(running.client) as wire:
                wire.send(SetPin(id="s", account="main", pin=PIN))
                assert wire.answer() is None
            wait_until(lambda number=number: len(running.reported) == number + 1)  # type: ignore[misc]
            assert _is_served(running)
    assert all("MemoryError" in line for line in running.reported)


def test_an_inbox_that_is_full_is_busy_and_takes_no_slots(
    wire: Wire, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client_connection, "IN_FLIGHT_MAX", 3)
    with monkeypatch.context() as full:
        full.setattr(inbox, "REQUESTS_MAX", 0)
        for number in range(10):
            answer = wire.ask(credit(f"c{number}"))
            assert (answer["id"], answer["outcome"]) == (f"c{number}", "busy")
    for number in range(10):
        assert wire.ask(credit(f"c{number}"))["outcome"] == "ok"


def test_a_frame_may_come_byte_by_byte(server: RunningServer, wire: Wire) -> None:
    for byte in frame(encode(credit("in-pieces", 70))):
        wire.socket.sendall(bytes([byte]))
    answer = wire.answer()
    assert answer is not None
    assert (answer["id"], answer["balance"]) == ("in-pieces", 70)


def test_a_thousand_idle_connections_leave_room_for_work(server: RunningServer) -> None:
    idle = [socket.create_connection(server.client.pair) for _ in range(1000)]
    try:
        with Wire(server.client) as wire:
            assert wire.ask(Open(id="o", account="alice"))["outcome"] == "ok"
        for sock in idle[::100]:
            sock.sendall(frame(encode(Status(id="s"))))
            sock.settimeout(DEADLINE_S)
            assert sock.recv(1)
    finally:
        for sock in idle:
            sock.close()


# -- more connections than places ----------------------------------------------------------------------


@pytest.fixture
def two_places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[RunningServer]:
    monkeypatch.setattr(client_server, "CONNECTIONS_MAX", 2)
    monkeypatch.setattr(listener, "LOOK_S", 0.01)
    with RunningServer(cluster_of(tmp_path, "n1"), "n1") as running:
        yield running.wait_for_leader()
        assert not [line for line in running.reported if "too many connections" not in line]


def test_while_all_connections_are_in_use_only_operators_are_served(
    two_places: RunningServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(places, "IDLE_S_MIN", 1000.0)
    with Wire(two_places.client) as one, Wire(two_places.client) as two:
        assert one.ask(query("q"))["outcome"] == two.ask(query("q"))["outcome"] == "ok"
        with Wire(two_places.client) as three:
            answer = three.ask(credit("c"))
            assert (answer["id"], answer["outcome"]) == ("c", "busy")
            assert answer["message"] == "too many connections: try another node"
            assert three.answer() is None
        with Wire(two_places.client) as operator:
            assert operator.ask(Status(id="s"))["outcome"] == "ok"
            assert operator.ask(credit("c"))["outcome"] == "ok"
    wait_until(lambda: _is_served(two_places))


def test_operators_have_so_many_places_and_no_more(
    two_places: RunningServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(places, "IDLE_S_MIN", 1000.0)
    with ExitStack() as stack:
        wires = [stack.enter_context(Wire(two_places.client)) for _ in range(2)]
        assert all(wire.ask(query("q"))["outcome"] == "ok" for wire in wires)
        operators = [stack.enter_context(Wire(two_places.client)) for _ in range(client_places.RESERVED)]
        assert all(wire.ask(Status(id="s"))["outcome"] == "ok" for wire in operators)
        with Wire(two_places.client) as refused:
            answer = refused.answer()
            assert answer is not None
            assert (answer["id"], answer["outcome"]) == ("", "busy")
            assert refused.answer() is None


def test_silent_connections_give_way_to_who_comes(two_places: RunningServer) -> None:
    with ExitStack() as stack:
        silent = [stack.enter_context(Wire(two_places.client)) for _ in range(10)]
        with Wire(two_places.client) as wire:
            assert wire.ask(credit("c"))["outcome"] == "ok"
        answer = silent[0].answer()
        assert answer is None or (answer["id"], answer["outcome"]) == ("", "busy")


def test_a_connection_that_was_used_and_is_idle_gives_way_too(
    two_places: RunningServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(places, "IDLE_S_MIN", 0.0)
    with Wire(two_places.client) as one, Wire(two_places.client) as two:
        assert one.ask(query("q"))["outcome"] == two.ask(query("q"))["outcome"] == "ok"
        wait_until(lambda: _is_served(two_places))
        answer = one.answer()
        assert answer is not None
        assert (answer["id"], answer["outcome"]) == ("", "busy")
        assert one.answer() is None


def test_a_client_whose_idle_connection_was_closed_asks_again_and_nothing_is_unknown(
    two_places: RunningServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(places, "IDLE_S_MIN", 0.0)
    unknown: list[str] = []
    node = NodeConfig("n1", two_places.client, two_places.peer)
    cluster = structs.replace(cluster_of(tmp_path, "n1"), nodes={"n1": node})
    with Client(cluster, timeout=DEADLINE_S, on_unknown=unknown.append) as client:
        for number in range(3):
            assert client.credit("main", 1).balance == number + 1
            with _served(two_places), _served(two_places):
                pass  # they have the two places that there are
    assert unknown == []


def test_a_connection_without_a_request_ends_after_a_while(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client_places, "FIRST_REQUEST_S", 0.01)
    monkeypatch.setattr(listener, "LOOK_S", 0.01)
    with RunningServer(cluster_of(tmp_path, "n1"), "n1") as running, Wire(running.client) as wire:
        answer = wire.answer()
        assert answer is not None
        assert (answer["id"], answer["outcome"]) == ("", "busy")
        assert wire.answer() is None


def test_who_floods_is_told_so_and_may_go_on_later(tmp_path: Path) -> None:
    cluster = structs.replace(cluster_of(tmp_path, "n1"), requests_per_s=20)
    with RunningServer(cluster, "n1") as running, Wire(running.client) as wire:
        running.wait_for_leader()
        wire.socket.sendall(b"".join(frame(encode(credit(f"c{number}"))) for number in range(100)))
        answers = [answer for _ in range(100) if (answer := wire.answer())]
        refused = {answer["message"] for answer in answers if answer["outcome"] == "busy"}
        assert refused == {
            "127.0.0.1 asks more often than one client may, 20 times a second: slow down and ask again"
        }
        assert sum(answer["outcome"] == "ok" for answer in answers) >= 40
        with Wire(running.client) as other:
            wait_until(lambda: _is_ok(other))


def _served(running: RunningServer) -> Wire:
    """Return a connection that has got a place, and an answer."""
    deadline_s = time.monotonic() + DEADLINE_S
    while True:
        wire = Wire(running.client)
        if _is_ok(wire):
            return wire
        wire.socket.close()
        assert time.monotonic() < deadline_s, "nobody gave way"


def _is_ok(wire: Wire) -> bool:
    return bool(wire.ask(query("q"))["outcome"] == "ok")


def _is_served(running: RunningServer) -> bool:
    with Wire(running.client) as wire:
        return _is_ok(wire)
