"""The longest sync of the last minutes is noted."""

from __future__ import annotations

import pytest

from atm.server.group.timed_disk import WINDOW_S, TimedDisk
from tests.support.collecting import collecting


def test_the_longest_sync_is_told_for_one_to_two_minutes(monkeypatch: pytest.MonkeyPatch) -> None:
    now_s = 1000.0
    takes = iter([0.25, 0.5, 0.125, 0.25])

    def sync(_disk: TimedDisk, _file: int) -> None:
        nonlocal now_s
        now_s += next(takes)

    monkeypatch.setattr("atm.storage.disk.OsDisk.sync", sync)
    disk = TimedDisk(collecting([]), slow_s=1000, clock=lambda: now_s)
    assert disk.longest_sync_ms() == 0
    for _ in range(3):
        disk.sync(3)
    assert disk.longest_sync_ms() == pytest.approx(500)
    now_s += WINDOW_S
    disk.sync(3)
    assert disk.longest_sync_ms() == pytest.approx(500)
    now_s += WINDOW_S
    assert disk.longest_sync_ms() == pytest.approx(250)
    now_s += 2 * WINDOW_S
    assert disk.longest_sync_ms() == 0


def test_a_sync_that_fails_is_not_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_disk: TimedDisk, _file: int) -> None:
        raise OSError("the disk failed")

    monkeypatch.setattr("atm.storage.disk.OsDisk.sync", fail)
    ticks = iter(range(100))
    disk = TimedDisk(collecting([]), slow_s=1000, clock=lambda: float(next(ticks)))
    with pytest.raises(OSError, match="the disk failed"):
        disk.sync(3)
    assert disk.longest_sync_ms() == 0


def test_a_slow_sync_is_told_with_how_slow(monkeypatch: pytest.MonkeyPatch) -> None:
    now_s, lines = 1000.0, list[str]()
    takes = iter([0.149, 0.15, 2.5])

    def sync(_disk: TimedDisk, _file: int) -> None:
        nonlocal now_s
        now_s += next(takes)

    monkeypatch.setattr("atm.storage.disk.OsDisk.sync", sync)
    disk = TimedDisk(collecting(lines), slow_s=0.15 - 1e-9, clock=lambda: now_s)
    for _ in range(3):
        disk.sync(3)
    assert lines == [
        f"a sync of the log took {took_ms} ms: commands and heartbeats wait for it" for took_ms in (150, 2500)
    ]
