"""Writes a node's newest events to a file in its data folder, when the node fails."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable
from pathlib import Path

from atm.checkout import command_here
from atm.events.decoding import page_of
from atm.events.event import Header
from atm.events.recorder import FlightRecorder
from atm.events.recording import lines_of
from atm.files import write_durably

FILES_MAX = 5
WITHIN_S = 2.0
NAMES = re.compile(r"flight-\d{8}T\d{6}Z(-\d+)?\.jsonl")


def dump(folder: Path, recorder: FlightRecorder, header: Callable[[], Header]) -> str:
    """Write the file, within some seconds; return a line for people that says where it is, or why not.

    It never raises: the node has failed already, and that is what must be told. A disk that hangs is left to
    a thread that nobody waits for.
    """
    said: list[str] = []

    def write() -> None:
        try:
            path = write_flight_file(folder, recorder, header())
            command = command_here("admin")
            said.append(f"what happened in it before is in {path}: read it by {command} events --file {path}")
        except Exception as error:
            said.append(f"what happened in it before could not be written: {type(error).__name__}: {error}")

    thread = threading.Thread(target=write, daemon=True, name="flight file")
    try:
        thread.start()
    except RuntimeError as error:
        return f"what happened in it before could not be written: {error}"
    thread.join(WITHIN_S)
    late = f"what happened in it before was not written within {WITHIN_S:.0f} s: its disk does not answer"
    return said[0] if said else late


def write_flight_file(folder: Path, recorder: FlightRecorder, header: Header) -> Path:
    """Write all that the recorder has to a new file; keep the newest `FILES_MAX`. Raise `OSError`."""
    content = b"".join(lines_of(header, page_of(recorder).events))
    stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(header.wall_us / 1_000_000))
    path, again = folder / f"flight-{stamp}.jsonl", 1
    while path.exists():
        again += 1
        path = folder / f"flight-{stamp}-{again}.jsonl"
    write_durably(path, content)
    files = [each for each in folder.iterdir() if NAMES.fullmatch(each.name)]
    for old in sorted(files, key=lambda each: each.stat().st_mtime_ns)[:-FILES_MAX]:
        old.unlink(missing_ok=True)
    return path
