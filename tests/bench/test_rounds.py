"""Rounds: interleaved, bounded in time, and going on without what is missing or breaks down."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from bench.rounds import Run
from bench.systems.etcd import Etcd
from bench.systems.system import System
from bench.work import LABELS
from tests.bench.fakes import Absent, Broken, MadeUp


class Other(MadeUp):
    name = "other"


def run(
    *systems: type[System],
    labels: tuple[str, ...] = LABELS,
    clock: Callable[[], float] = lambda: 0.0,
) -> tuple[Run, list[str]]:
    said: list[str] = []
    run = Run(systems, labels, seconds=1.0, warm_up_s=0.0, folder=None, say=said.append, clock=clock)
    return run, said


def test_each_system_does_each_work_once_a_round_and_ends_with_the_failover() -> None:
    measured, _ = run(MadeUp, Other)
    measured.rounds(3)
    rows = measured.results.rows
    assert {label for label, _ in rows} == {"credits-1", "credits-8", "credits-64", "credits-256", "failover"}
    assert all(len(row.p50_ms) == 3 for row in rows.values())
    assert rows["failover", "other"].p50_ms == [300.0] * 3
    assert MadeUp.running == Other.running == 0


def test_each_round_begins_with_another_system() -> None:
    measured, said = run(MadeUp, Other, labels=("credits-1",))
    measured.rounds(2)
    order = [name for line in said for name in ("made-up", "other") if f" {name} " in line]
    assert order == ["made-up", "other", "other", "made-up"]


def test_only_what_was_chosen_is_measured() -> None:
    measured, _ = run(MadeUp, labels=("credits-8",))
    measured.rounds(1)
    assert list(measured.results.rows) == [("credits-8", "made-up")]


def test_no_round_is_begun_that_would_not_end_in_time() -> None:
    measured, said = run(MadeUp, labels=("credits-1",), clock=iter(range(0, 90, 10)).__next__)
    measured.rounds(9, within_s=42.0)  # looked at before each round, which each took 10 s more
    assert len(measured.results.rows["credits-1", "made-up"].p50_ms) == 2
    assert "The time for more than 2 of 9 rounds is up" in said


def test_a_missing_system_is_told_and_the_others_are_measured() -> None:
    measured, said = run(Absent, MadeUp, labels=("credits-1",))
    measured.rounds(1)
    assert "SKIPPED: absent: not installed: install it" in said
    assert measured.results.not_measured == {"absent": "not installed: install it"}
    assert list(measured.results.rows) == [("credits-1", "made-up")]
    assert not measured.broke_down


def test_a_program_that_cannot_be_run_is_told_like_a_missing_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "etcd").write_text("#!/bin/sh\necho bad CPU type >&2\nexit 1\n")
    (tmp_path / "etcd").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    monkeypatch.setattr(Etcd, "missing", lambda: None)
    measured, said = run(Etcd, MadeUp, labels=("credits-1",))
    assert "etcd: it cannot be asked for its version" in said[0]
    assert list(measured.results.not_measured) == ["etcd"]


def test_a_system_that_breaks_down_is_stopped_and_told_and_the_others_are_measured_on() -> None:
    measured, said = run(Broken, MadeUp, labels=("credits-1",))
    measured.rounds(3)
    assert [line for line in said if line.startswith("GIVEN UP")] == [
        "GIVEN UP: broken: m1 ended with exit code 7: disk full"
    ]
    assert "m1 ended with exit code 7: disk full" in measured.results.table()
    assert len(measured.results.rows["credits-1", "made-up"].p50_ms) == 3
    assert Broken.running == 0
    assert measured.broke_down
