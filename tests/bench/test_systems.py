"""Each system, for real and briefly: it starts, does the kinds of work that it claims to, and stops."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import apsw
import pytest

from atm.config import Address
from bench.load import NotAcknowledged
from bench.systems import PEERS, Atm
from bench.systems.load_connection import LoadConnection
from bench.systems.processes import Processes
from bench.systems.sqlite import Sqlite
from bench.systems.system import MEMBERS, NotStarted, Served, System
from bench.usage import PROC_SELF
from bench.work import ACCOUNTS, HOT_ACCOUNT, Kind, Work

SYSTEMS: tuple[type[System], ...] = (Atm, *PEERS.values())
BALANCE = "select amount from balance where account = ?"


@pytest.fixture
def system(request: pytest.FixtureRequest, open_folder: Path) -> Iterator[System]:
    kind: type[System] = request.param
    if why := kind.missing():
        pytest.skip(f"{kind.name}: {why}")
    system = kind()
    try:
        system.start(open_folder)
        yield system
    finally:
        system.stop()


def named(kind: object) -> str:
    return getattr(kind, "name", str(kind))


@pytest.mark.parametrize("system", SYSTEMS, indirect=True, ids=named)
def test_a_system_does_each_kind_of_work_that_it_claims_to_and_fails_over(system: System) -> None:
    works = {(work.name, work.depth): work for work in reversed(system.works)}
    if isinstance(system, Served):
        system.open_accounts()
    for work in works.values():
        result = system.measure(work, seconds=0.3, warm_up_s=0.0)
        assert result.acknowledged > 0, work
        assert len(result.latencies_s) == result.acknowledged
        assert result.operations == result.acknowledged * work.legs(system.legs)
        if PROC_SELF.exists():
            assert 0.5 < result.servers_us < 1e6, work
        assert all(0 < latency_s < 30 for latency_s in result.latencies_s)
    assert len(set(system.processes())) >= 1
    assert system.version()[0].isalnum()
    assert system.settings()
    if system.fails_over:
        assert 10 < system.fail_over() < 20_000, "an election takes a while"


@pytest.mark.parametrize("system", [Atm, Sqlite], indirect=True, ids=named)
def test_what_was_acknowledged_is_in_a_ledger(system: Served, open_folder: Path) -> None:
    result = system.measure(Work("credits", 4, depth=2), seconds=0.3, warm_up_s=0.0)
    system.stop()
    balances = []
    for path in open_folder.rglob("ledger.db"):
        with closing(apsw.Connection(str(path))) as ledger:
            balances.append(ledger.execute(BALANCE, (HOT_ACCOUNT,)).get)
    assert len(balances) == (MEMBERS if isinstance(system, Atm) else 1)
    assert max(balances) >= result.acknowledged > 0


@pytest.mark.parametrize("system", [Atm, Sqlite], indirect=True, ids=named)
def test_an_account_that_was_not_opened_is_refused_and_opened_ones_are_many(system: Served) -> None:
    many = Work("accounts", 1, accounts=ACCOUNTS)
    with pytest.raises(NotAcknowledged, match="no_such_account"):
        system.measure(many, seconds=1.0, warm_up_s=0.0)
    system.open_accounts()
    assert system.measure(many, seconds=1.0, warm_up_s=0.0).acknowledged


@pytest.mark.parametrize("system", [PEERS["etcd"]], indirect=True, ids=named)
def test_etcds_refusals_are_told_in_its_words(system: Served) -> None:
    with closing(system.connect()()) as connection:
        for _ in range(2):  # the second time, the trailers are known
            connection.send([(Kind.CREDIT, "")])
            while not connection.refused:
                assert not connection.receive()
            assert connection.refused == ["gRPC status 3: etcdserver: key is not provided"]
            connection.refused.clear()


def test_a_process_that_ends_is_told_with_its_last_words(tmp_path: Path) -> None:
    processes = Processes(tmp_path)
    processes.start("m1", ["/bin/sh", "-c", "echo starting >&2; echo disk full >&2; exit 7"])
    with pytest.raises(NotStarted, match="m1 ended with exit code 7: disk full"):
        processes.hear("m1")
    processes.stop()


def test_a_process_that_says_nothing_is_killed_in_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bench.systems.processes.HEAR_S", 0.2)
    processes = Processes(tmp_path)
    processes.start("m1", ["/bin/sh", "-c", "read line"])
    with pytest.raises(NotStarted, match="m1 ended with exit code -9"):
        processes.hear("m1")
    processes.stop()


def test_a_server_that_hangs_up_is_an_error_of_the_connection() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        connection = LoadConnection(Address(*listener.getsockname()))
        listener.accept()[0].close()
        with closing(connection), pytest.raises(OSError, match="closed the connection"):
            connection.receive()
