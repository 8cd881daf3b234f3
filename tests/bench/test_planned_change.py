"""The measurement of a planned change of leader sees each connection wait, and the change happen."""

from __future__ import annotations

import pytest

from bench import planned_change
from bench.systems.atm import Atm
from bench.systems.etcd import Etcd


def test_each_connections_longest_wait_around_each_change_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(planned_change, "SETTLE_S", 0.3)
    monkeypatch.setattr(planned_change, "WINDOW_S", 0.5)
    waits_ms, _ = planned_change.measure(Atm(), rounds=2)
    assert len(waits_ms) == 2 * planned_change.CONNECTIONS
    assert all(wait_ms > 0 for wait_ms in waits_ms)


def test_a_peer_that_is_not_there_is_left_out_with_a_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(Etcd, "missing", classmethod(lambda cls: "no etcd here"))
    monkeypatch.setattr(planned_change, "measure", lambda system, rounds: ([1.0, 2.0], 0))
    assert planned_change.main(["--rounds", "1"]) == 0
    out, err = capsys.readouterr()
    assert out.startswith("atm ")
    assert err == "etcd  left out: no etcd here\n"
