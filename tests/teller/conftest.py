from __future__ import annotations

import io
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import atm.teller.main
from tests.support.fake_cluster import FakeCluster
from tests.support.running import Ran, Run
from tests.teller.ledger_bank import LedgerBank


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[FakeCluster]:
    cluster = FakeCluster(tmp_path, size=3)
    yield cluster
    cluster.stop()


@pytest.fixture
def bank(cluster: FakeCluster) -> LedgerBank:
    """The whole bank behind the fake nodes, in place of the fake one."""
    bank = LedgerBank()
    for node in cluster.nodes.values():
        node.bank = bank
    return bank


@pytest.fixture(autouse=True)
def state_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    return tmp_path / "state" / "atm"


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(atm.teller.main, "TIMEOUT_S", 0.3)
    monkeypatch.setattr("atm.client.attempt.ANSWER_TIMEOUT_S", 0.1)


@pytest.fixture
def run(cluster: FakeCluster, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    def run(*arguments: str, typed: str | bytes = b"", timeout_s: float = 0.3) -> Ran:
        data = typed.encode() if isinstance(typed, str) else typed
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data)))
        capsys.readouterr()
        argv = ["--config", str(cluster.config), "--timeout", str(timeout_s), *arguments]
        try:
            code = atm.teller.main.main(argv)
        except SystemExit as leaving:
            code = int(leaving.code or 0)
        return Ran(code, capsys.readouterr())

    return run
