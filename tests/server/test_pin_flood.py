"""Attack H2: a flood of PINs, on one node with real sockets. What counts: which are hashed, and when."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from threading import Event, Lock
from typing import Any

import pytest

from tests.support.server_parts import DEADLINE_S, RunningServer, Wire, cluster_of, query, wait_until

ATTACKERS = 30  # connections
AT_ONCE = 2
real_scrypt = hashlib.scrypt


class Hashing:
    """Takes the place of scrypt: quick, notes which PIN was hashed, and waits while it is `held`."""

    def __init__(self) -> None:
        self.pins: list[str] = []
        self.may_end = Event()
        self.may_end.set()
        self._lock = Lock()

    def scrypt(self, pin: bytes, **options: Any) -> bytes:
        with self._lock:
            self.pins.append(pin.decode())
        assert self.may_end.wait(3 * DEADLINE_S)
        return hashlib.sha256(pin + options["salt"]).digest()


@pytest.fixture
def hashing(monkeypatch: pytest.MonkeyPatch) -> Hashing:
    hashing = Hashing()
    monkeypatch.setattr(hashlib, "scrypt", hashing.scrypt)
    return hashing


@pytest.fixture
def server(tmp_path: Path, hashing: Hashing) -> Iterator[RunningServer]:
    with RunningServer(cluster_of(tmp_path, "n1"), "n1") as running:
        running.wait_for_leader()
        with Wire(running.client) as wire:

            def level() -> int:
                return int(wire.ask({"op": "status", "id": "s"})["feature_level"])

            wait_until(lambda: level() >= 2)
            for name in ("victim", *(f"own{number}" for number in range(ATTACKERS))):
                wire.ask({"op": "open", "id": f"open-{name}", "account": name})
            wire.ask({"op": "credit", "id": "money", "account": "victim", "amount": 100})
            wire.ask({"op": "set_pin", "id": "pin", "account": "victim", "pin": "8642"})
        hashing.pins.clear()
        yield running
        assert running.reported == []


def debit(number: int = 0) -> dict[str, object]:
    return {"op": "debit", "id": f"debit{number}", "account": "victim", "amount": 1, "pin": "8642"}


def batch(request_id: str, account: str) -> dict[str, object]:
    """Return a batch of four PINs of an account."""
    leg = {"account": account, "target": "victim", "amount": 1}
    return {"op": "batch", "id": request_id, "legs": [leg | {"pin": f"{1000 + pin}"} for pin in range(4)]}


@pytest.mark.parametrize("account", ["nobody", "main", "cash"])
def test_batches_on_accounts_without_a_pin_cost_no_hash(
    server: RunningServer, hashing: Hashing, account: str
) -> None:
    with ExitStack() as stack:
        attackers = [stack.enter_context(Wire(server.client)) for _ in range(ATTACKERS)]
        for number, attacker in enumerate(attackers):
            for each in range(20):
                attacker.send(batch(f"b{number}-{each}", account))
        with Wire(server.client) as wire:
            assert wire.ask(debit())["outcome"] == "ok"
        for attacker in attackers:
            assert {(attacker.answer() or {})["outcome"] for _ in range(20)} <= {
                "no_such_account",
                "insufficient_funds",
            }
    assert hashing.pins == ["8642"]


def test_a_locked_account_costs_no_hash(server: RunningServer, hashing: Hashing) -> None:
    with Wire(server.client) as wire:
        outcomes = [
            wire.ask({"op": "login", "id": f"l{number}", "account": "victim", "pin": "1111"})["outcome"]
            for number in range(10)
        ]
    assert outcomes == ["wrong_pin"] * 3 + ["locked"] * 7
    assert len(hashing.pins) == 3


def test_who_asks_for_one_thing_is_served_after_one_job_of_each_other_at_most(
    server: RunningServer, hashing: Hashing
) -> None:
    """And what those who have gone had asked for is not worked off."""
    with ExitStack() as stack:
        attackers = [stack.enter_context(Wire(server.client)) for _ in range(ATTACKERS)]
        for number, attacker in enumerate(attackers):
            first = {
                "op": "set_pin",
                "id": f"first{number}",
                "account": f"own{number}",
                "pin": f"{2000 + number}",
            }
            assert attacker.ask(first)["outcome"] == "ok"
        hashing.pins.clear()
        hashing.may_end.clear()
        for number, attacker in enumerate(attackers):
            for each in range(30):
                login = {"op": "login", "id": f"l{number}-{each}", "account": f"own{number}"}
                attacker.send(login | {"pin": f"{2000 + number}"})
        queue = server.server._client_server._pins._sealer.queue
        wait_until(lambda: queue.requests == ATTACKERS)
        with Wire(server.client) as wire:
            wire.send(debit())
            wait_until(lambda: queue.requests == ATTACKERS + 1)
            wait_until(lambda: len(hashing.pins) == AT_ONCE)
            wait_until(lambda: len(queue._waiting) == ATTACKERS + 1 - AT_ONCE)
            hashing.may_end.set()
            assert (wire.answer() or {})["outcome"] == "ok"
        assert hashing.pins.index("8642") <= ATTACKERS
        hashing.may_end.clear()
        stack.close()
    client_server = server.server._client_server
    wait_until(lambda: all(connection.gone for connection in list(client_server._connections)))
    before = len(hashing.pins)
    hashing.may_end.set()
    wait_until(lambda: not client_server._connections)
    assert len(hashing.pins) - before <= AT_ONCE, "jobs of connections that had ended were worked off"
    with Wire(server.client) as wire:
        assert wire.ask(debit(1))["outcome"] == "ok"


def test_behind_a_pin_no_connection_keeps_more_than_a_bound(server: RunningServer, hashing: Hashing) -> None:
    legs = [{"account": "main", "target": "victim", "amount": 1}] * 64
    hashing.may_end.clear()
    with Wire(server.client) as attacker:
        attacker.send(debit())
        wait_until(lambda: len(hashing.pins) == 1)
        for number in range(200):
            attacker.send({"op": "batch", "id": f"b{number}", "legs": legs})
        refused = attacker.answer()
        assert refused is not None
        assert refused["outcome"] == "busy"
        [connection] = server.server._client_server._connections
        waiting_bytes = connection._waiting_bytes_taken - connection._waiting_bytes_given
        assert 64 * 1024 < waiting_bytes <= 128 * 1024
        with Wire(server.client) as wire:
            assert wire.ask(query("q"))["outcome"] == "ok"
        hashing.may_end.set()


def test_a_batch_of_five_pins_is_refused_before_one_is_hashed(
    server: RunningServer, hashing: Hashing
) -> None:
    leg = {"account": "victim", "target": "main", "amount": 1}
    legs = [leg | {"pin": f"{1000 + pin}"} for pin in range(5)]
    with Wire(server.client) as wire:
        answer = wire.ask({"op": "batch", "id": "b", "legs": legs})
        assert (answer["id"], answer["outcome"]) == ("b", "bad_request")
        assert "at most 4" in answer["message"]
    assert hashing.pins == []
