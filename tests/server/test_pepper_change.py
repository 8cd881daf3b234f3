"""A server that runs changes its pepper: what it prints, tells and refuses, and what was under way."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from threading import Event, Thread
from typing import Any

import pytest

from atm.client.receipt import new_request_id
from atm.config import Cluster
from atm.ledger.peppers import generation_of
from atm.server.security.peppers import PepperRefused, add_pepper
from atm.server.security.pins import PinSealer
from atm.server.server import Server
from tests.support.collecting import collecting
from tests.support.server_parts import RunningServer, Wire, cluster_of, wait_until

PIN, WRONG = "4821", "1111"


@pytest.fixture
def cluster(tmp_path: Path) -> Cluster:
    return cluster_of(tmp_path, "n1")


@pytest.fixture
def server(cluster: Cluster) -> Iterator[RunningServer]:
    with RunningServer(cluster, "n1") as running:
        running.wait_for_leader()
        with Wire(running.client) as wire:
            wait_until(lambda: wire.ask({"op": "status", "id": "s"})["feature_level"] == 2)
            done(wire, "open", account="ann")
            done(wire, "credit", account="ann", amount=100)
            done(wire, "set_pin", account="ann", pin=PIN)
        yield running


def done(wire: Wire, op: str, **fields: Any) -> dict[str, Any]:
    answer = wire.ask({"op": op, "id": new_request_id(), **fields})
    assert answer["outcome"] == "ok", answer
    return answer


def change(server: RunningServer, cluster: Cluster) -> None:
    """Add a pepper, make it current, and wait until all is carried over."""
    names = add_pepper(cluster.pepper_file).names
    server.server.read_files_again()
    wait_until(lambda: any(names[-1] in line for line in server.told))
    with Wire(server.client) as wire:
        rotated = done(wire, "rotate_pepper", generation=len(names), pepper=names[-1])
        again = wire.ask(
            {"op": "rotate_pepper", "id": "again", "generation": len(names), "pepper": names[-1]}
        )
        assert (again["outcome"], again["index"]) == ("ok", rotated["index"])
        wait_until(lambda: done(wire, "pepper")["pepper"].get("carried_index") is not None)
        told = done(wire, "pepper")["pepper"]
        assert (told["generation"], told["name"], told["log_index"]) == (
            len(names),
            names[-1],
            rotated["index"],
        )
        assert tuple(wire.ask({"op": "status", "id": "s"})["further_peppers"]) == names[1:]


def test_pins_are_right_and_wrong_as_before_after_two_changes_and_a_restart(
    server: RunningServer, cluster: Cluster
) -> None:
    for generation in (2, 3):
        change(server, cluster)
        with Wire(server.client) as wire:
            assert wire.ask({"op": "query", "id": "q", "account": "ann"})["sealed_for"] == generation
            done(wire, "debit", account="ann", amount=generation, pin=PIN)
            wrong = wire.ask({"op": "login", "id": f"w{generation}", "account": "ann", "pin": WRONG})
            assert wrong["outcome"] == "wrong_pin"
            done(wire, "login", account="ann", pin=PIN)
    with Wire(server.client) as wire:
        done(wire, "set_pin", account="ann", pin=WRONG, old_pin=PIN)
    server.__exit__(None, None, None)
    with RunningServer(cluster, "n1") as again, Wire(again.wait_for_leader().client) as wire:
        done(wire, "login", account="ann", pin=WRONG)


def test_a_request_that_is_under_way_across_the_change_is_undecided_and_then_done_once(
    server: RunningServer, cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, go_on = Event(), Event()
    seal = PinSealer._sealed

    def slow(*arguments: Any) -> str:
        sealed = seal(*arguments)
        begun.set()
        go_on.wait(10)
        return sealed

    monkeypatch.setattr(PinSealer, "_sealed", slow)
    answers: list[dict[str, Any]] = []
    debit = {"op": "debit", "id": "d", "account": "ann", "amount": 30, "pin": PIN}

    def pay() -> None:
        with Wire(server.client) as wire:
            answers.append(wire.ask(debit))

    thread = Thread(target=pay)
    thread.start()
    assert begun.wait(10)
    change(server, cluster)
    go_on.set()
    thread.join(10)
    assert answers[0]["outcome"] == "unknown", (
        "nobody can say whether a PIN sealed for another pepper is right"
    )
    with Wire(server.client) as wire:
        assert wire.ask(debit)["balance"] == 70
        assert wire.ask(debit)["balance"] == 70
        assert "wrong_pins" not in wire.ask({"op": "query", "id": "q", "account": "ann"})


def test_a_set_pin_that_is_repeated_after_the_change_is_no_other_one(
    server: RunningServer, cluster: Cluster
) -> None:
    with Wire(server.client) as wire:
        request = {"op": "set_pin", "id": "c", "account": "ann", "pin": WRONG, "old_pin": PIN}
        first = wire.ask(request)
        change(server, cluster)
        assert wire.ask(request) == first
        done(wire, "login", account="ann", pin=WRONG)


def test_what_is_current_in_the_books_and_not_in_the_file_is_refused_at_the_start_and_never_made(
    server: RunningServer, cluster: Cluster
) -> None:
    old = cluster.pepper_file.read_bytes()
    change(server, cluster)
    new = cluster.pepper_file.read_bytes()
    server.__exit__(None, None, None)
    cluster.pepper_file.write_bytes(old)
    with pytest.raises(PepperRefused, match=r"lacks the current one, [0-9a-f]{16}, so no PIN") as refused:
        Server(cluster, "n1", say=print, logger=collecting([]))
    assert "\n" not in str(refused.value)
    assert cluster.pepper_file.read_bytes() == old
    cluster.pepper_file.write_bytes(new)
    with RunningServer(cluster, "n1") as again, Wire(again.wait_for_leader().client) as wire:
        done(wire, "login", account="ann", pin=PIN)


def test_neither_log_nor_ledger_says_an_older_seal_in_what_is_written_after_the_change(
    server: RunningServer, cluster: Cluster
) -> None:
    ledger: Any = server.server._run_loop._ledger
    [(_, old), _] = ledger.pins_after("", 2)
    assert old is not None
    assert generation_of(old) == 1
    (log,) = (cluster.data_dir / "n1").glob("raft.log*")
    before = log.read_bytes().count(old.encode())
    assert before, "the entry that set it has it"
    change(server, cluster)
    with Wire(server.client) as wire:
        done(wire, "login", account="ann", pin=PIN)
    assert log.read_bytes().count(old.encode()) == before
    rows = [
        row
        for table in ("account", "receipt", "deed")
        for row in ledger._cursor.execute(f"select * from {table}")
    ]
    assert old not in repr(rows)
