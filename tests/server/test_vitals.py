"""What a node tells of itself: sizes as they were at the last look, times as they are."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest

from atm.server.group.timed_disk import TimedDisk
from atm.server.group.vitals import REFRESH_S, Vitals
from atm.wire.client_messages import StatusReply
from tests.support.collecting import collecting

STATUS = StatusReply(
    id="s", outcome="ok", node="n1", role="leader", term=1, leader="n1", commit_index=3, applied_index=3,
    last_index=3, matched={}, version="1.2.0", feature_level=2,
)  # fmt: skip


class Watch:
    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


def test_a_status_is_completed(tmp_path: Path) -> None:
    watch = Watch()
    log = SimpleNamespace(size_bytes=700)
    vitals = Vitals(
        tmp_path,
        log,
        TimedDisk(collecting([]), slow_s=1000, clock=watch),
        SimpleNamespace(newest_index=2),
        incarnation=4,
        config="digest",
        peppers=lambda: ("name", "newer"),
        clock=watch,
        wall_clock_us=lambda: 17,
    )
    (tmp_path / "ledger.db").write_bytes(bytes(100))
    (tmp_path / "ledger.db-wal").write_bytes(bytes(20))
    watch.now_s += 5
    vitals.tick()
    told = vitals.completed(STATUS)
    assert (told.ledger_bytes, told.log_bytes, told.snapshot_index, told.uptime_s) == (120, 700, 2, 5)
    assert (told.incarnation, told.config, told.pepper, told.clock_us) == (4, "digest", "name", 17)
    assert told.further_peppers == ("newer",)
    assert (told.sync_ms, told.node, told.term) == (0, "n1", 1)
    assert told.disk_free_bytes is not None
    assert told.disk_free_bytes > 0


def test_the_disk_is_looked_at_once_a_second_and_a_failing_one_stops_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    watch = Watch()
    vitals = Vitals(
        tmp_path,
        SimpleNamespace(size_bytes=0),
        TimedDisk(collecting([]), slow_s=1000, clock=watch),
        SimpleNamespace(newest_index=0),
        incarnation=1,
        config="",
        peppers=lambda: ("",),
        clock=watch,
    )
    vitals.tick()
    (tmp_path / "ledger.db").write_bytes(bytes(100))
    vitals.tick()
    assert vitals.completed(STATUS).ledger_bytes == 0
    watch.now_s += REFRESH_S
    vitals.tick()
    assert vitals.completed(STATUS).ledger_bytes == 100

    def fail(_path: Path) -> None:
        raise OSError("the disk failed")

    monkeypatch.setattr("os.statvfs", fail)
    watch.now_s += REFRESH_S
    vitals.tick()
    assert vitals.completed(STATUS).ledger_bytes is None
