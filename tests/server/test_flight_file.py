"""The file that a failing node writes: there in time or not at all, private, and never in the way."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from atm.events.event import Header
from atm.events.recorder import FlightRecorder
from atm.events.recording import read_lines
from atm.server.group import flight_file
from atm.server.group.flight_file import FILES_MAX, dump, write_flight_file

DAY_US = 86_400_000_000


def recorder() -> FlightRecorder:
    noted = FlightRecorder("n1", lambda: 5_000_000)
    noted.on_stopped("the log is gone")
    return noted


def header(wall_us: int = 20_000 * DAY_US) -> Header:
    return Header(node="n1", wall_us=wall_us, monotonic_us=5_000)


def test_the_file_is_its_owners_alone_and_says_what_happened(tmp_path: Path) -> None:
    line = dump(tmp_path, recorder(), header)
    [path] = tmp_path.iterdir()
    assert path.name == "flight-20241004T000000Z.jsonl"
    assert path.stat().st_mode & 0o777 == 0o600
    assert f"is in {path}: read it by" in line
    [recording] = read_lines(path.read_bytes().splitlines())
    assert [(event.kind, event.text) for event in recording.events] == [("stopped", "the log is gone")]


def test_the_newest_five_are_kept_and_no_other_file_is_touched(tmp_path: Path) -> None:
    for name in ("ledger.db", "flight-plan.jsonl"):
        (tmp_path / name).write_text("kept")
    written = []
    for number in range(FILES_MAX + 2):
        path = write_flight_file(tmp_path, recorder(), header(number * DAY_US))
        os.utime(path, ns=(number * 10**9, number * 10**9))
        written.append(path.name)
    kept = {path.name for path in tmp_path.iterdir()}
    assert kept == {"ledger.db", "flight-plan.jsonl", *written[-FILES_MAX:]}


def test_two_in_one_second_are_two_files(tmp_path: Path) -> None:
    names = {write_flight_file(tmp_path, recorder(), header()).name for _ in range(3)}
    assert len(names) == 3


def test_a_disk_that_fails_is_told_and_nothing_is_raised(tmp_path: Path) -> None:
    line = dump(tmp_path / "not there", recorder(), header)
    assert "could not be written: FileNotFoundError" in line


def test_a_disk_that_hangs_is_not_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    answers = threading.Event()
    monkeypatch.setattr(flight_file, "WITHIN_S", 0.05)
    monkeypatch.setattr(flight_file, "write_durably", lambda path, content: answers.wait(60))
    try:
        assert "its disk does not answer" in dump(tmp_path, recorder(), header)
    finally:
        answers.set()
