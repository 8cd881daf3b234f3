"""TigerBeetle's part of the benchmark without TigerBeetle: a program and a client of its shape stand in."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from bench.load import NotAcknowledged
from bench.systems import processes
from bench.systems.system import NotStarted
from bench.systems.tigerbeetle import TigerBeetle
from bench.work import BULK, WORKS, Kind, Work

PROGRAM = """#!/bin/sh
echo "$@" >>"$(dirname "$0")/asked"
case $1 in
    version) echo "TigerBeetle version 0.17.9+3a5ec6c" ;;
    format) {format} ;;
    start) exec sleep 60 ;;
esac
"""
# As much of the client's interface as is used, over a ledger in memory.
CLIENT = """
import enum, itertools
from dataclasses import dataclass
from types import SimpleNamespace

AccountFlags = SimpleNamespace(DEBITS_MUST_NOT_EXCEED_CREDITS=2)
CreateAccountStatus = SimpleNamespace(CREATED="created")
CreateTransferStatus = SimpleNamespace(CREATED="created")
id = itertools.count(1).__next__
balances, guarded, clients = {}, set(), set()


@dataclass
class Account:
    id: int
    ledger: int
    code: int
    flags: int


@dataclass
class Transfer:
    id: int
    debit_account_id: int
    credit_account_id: int
    amount: int
    ledger: int
    code: int


class ClientAsync:
    def __init__(self, cluster_id, replica_addresses):
        assert cluster_id == 0 and replica_addresses.count(",") == 2
        self.busy = False

    async def create_accounts(self, accounts):
        assert len(accounts) <= 8189
        balances.update((account.id, 0) for account in accounts)
        guarded.update(account.id for account in accounts if account.flags)
        return [SimpleNamespace(status="created") for _ in accounts]

    async def create_transfers(self, transfers):
        assert len(transfers) <= 8189 and not self.busy
        import asyncio
        self.busy = True
        await asyncio.sleep(0.001)
        self.busy = False
        return [SimpleNamespace(status=self.move(transfer)) for transfer in transfers]

    def move(self, transfer):
        payer, payee = transfer.debit_account_id, transfer.credit_account_id
        if payer in guarded and balances[payer] < transfer.amount:
            return "exceeds_credits"
        balances[payer] -= transfer.amount
        balances[payee] += transfer.amount
        return "created"

    async def lookup_accounts(self, ids):
        import asyncio
        await asyncio.sleep(0.001)
        return [number for number in ids if number in balances]

    async def close(self):
        assert sum(balances.values()) == 0
"""


@pytest.fixture
def stand_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "stand-in"
    folder.mkdir()
    write_program(folder)
    (folder / "tigerbeetle.py").write_text(CLIENT)
    monkeypatch.setenv("PATH", str(folder), prepend=os.pathsep)
    monkeypatch.setattr(processes, "ROOT", f"{processes.ROOT}{os.pathsep}{folder}")  # where Python looks
    monkeypatch.setattr("importlib.metadata.version", lambda _: "0.17.9")
    return folder


def write_program(folder: Path, format_command: str = "true") -> None:
    (folder / "tigerbeetle").write_text(PROGRAM.format(format=format_command))
    (folder / "tigerbeetle").chmod(0o755)


@pytest.fixture
def system(stand_in: Path, tmp_path: Path) -> Iterator[TigerBeetle]:
    system = TigerBeetle(3)
    try:
        system.start(tmp_path)
        yield system
    finally:
        system.stop()


def test_three_replicas_are_formatted_and_started_with_the_addresses_of_all(
    system: TigerBeetle, stand_in: Path
) -> None:
    asked = (stand_in / "asked").read_text().splitlines()
    formats = [line for line in asked if line.startswith("format")]
    starts = [line for line in asked if line.startswith("start")]
    assert [line.rpartition(" ")[0] for line in formats] == [
        f"format --cluster=0 --replica={number} --replica-count=3" for number in range(3)
    ]
    addresses = {line.split()[1] for line in starts}
    assert len(starts) == 3
    assert len(addresses) == 1
    assert addresses.pop().count("127.0.0.1:") == 3
    assert len(system.processes()) == 3


@pytest.mark.parametrize("work", TigerBeetle.works, ids=lambda work: work.label)
def test_each_kind_of_work_is_done(system: TigerBeetle, work: Work) -> None:
    seconds = 0.2 if work.kind is not Kind.BULK else 4.0  # the stand-in for the client is slow
    result = system.measure(work, seconds=seconds, warm_up_s=0.05)
    assert result.acknowledged == len(result.latencies_s) > 0
    assert result.legs == (4_000 if work == BULK else 1)
    assert result.cpu_s > 0


def test_a_refusal_is_told(system: TigerBeetle, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(TigerBeetle, "legs", 9_000)  # more than a request may have
    with pytest.raises((NotAcknowledged, NotStarted)):
        system.measure(BULK, seconds=0.2, warm_up_s=0.0)


def test_more_clients_than_a_cluster_has_and_pipelines_are_not_asked_for() -> None:
    assert {work.label for work in WORKS} - {work.label for work in TigerBeetle.works} == {
        "credits-256",
        "credits-64x16",
    }


def test_a_replica_without_a_file_is_told(stand_in: Path, tmp_path: Path) -> None:
    write_program(stand_in, "echo error: no space left >&2; exit 1")
    with pytest.raises(NotStarted, match="tigerbeetle format: error: no space left"):
        TigerBeetle(3).start(tmp_path)


def test_without_the_program_or_its_client_a_line_says_what_to_do(
    stand_in: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert TigerBeetle.version() == "0.17.9"
    assert TigerBeetle.missing() == "its client is not installed: pip install tigerbeetle==0.17.9"
    monkeypatch.setenv("PATH", "/nowhere")
    assert TigerBeetle.missing() == "no tigerbeetle here: put one of 0.17 or newer into the PATH"
