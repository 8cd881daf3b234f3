"""The page of docs/python.md: it runs, is typed without a single assertion, and pays nothing twice."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

from atm.client import Client
from demo import payday
from tests.support.server_parts import RunningServer, cluster_of

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "demo" / "payday.py"


def test_payday_pays_once_however_often_it_is_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    cluster = cluster_of(tmp_path, "n1")
    with RunningServer(cluster, "n1") as server:
        server.wait_for_leader()
        monkeypatch.setattr(payday, "Client", lambda: Client(cluster))
        for _ in range(2):
            assert payday.main("2026-11") == 0
            out = capsys.readouterr().out
            assert "Paid 8450.50 for 2026-11\nbob has 1550.50 left\n" in out
            assert "ann: 4000\n" in out
            assert "transfer 900 from or to bob\n" in out


def test_without_a_bank_payday_says_that_nothing_was_done(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    cluster = cluster_of(tmp_path, "n1")
    monkeypatch.setattr(payday, "Client", lambda: Client(cluster, timeout=0.2))
    assert payday.main("2026-11") == 1
    assert "Nothing more was done" in capsys.readouterr().err


@pytest.mark.skipif(importlib.util.find_spec("mypy") is None, reason="mypy is installed by bin/check")
def test_the_page_is_typed_strictly_and_asserts_nothing(tmp_path: Path) -> None:
    text = PAGE.read_text(encoding="utf-8")
    assert not any(word in text for word in ("assert ", "cast(", "type: ignore", "Any"))
    command = [
        sys.executable,
        "-m",
        "mypy",
        "--strict",
        f"--cache-dir={tmp_path}",
        "--config-file=",
        str(PAGE),
    ]
    found = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=300)
    assert found.returncode == 0, found.stdout
