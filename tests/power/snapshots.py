"""Power cuts of one server's storage while it takes and installs snapshots and cuts its log."""

from __future__ import annotations

import os
import random
import select
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from contextlib import closing
from pathlib import Path

from atm.ledger.ledger import Ledger
from atm.storage.snapshots import wrong_with
from tests.power.filesystem import FileSystem
from tests.power.snapshot_life import Storage, record_at

LINES_BEFORE_A_CUT = range(1, 30)
MS_AFTER_A_LINE = range(40)
DEADLINE_S = 30.0


def run(cuts: int, seed: int) -> Counter[str]:
    """Cut the power `cuts` times; return what was met; raise AssertionError if it is not as promised."""
    chance, met = random.Random(seed), Counter[str]()
    with (
        tempfile.TemporaryDirectory() as name,
        FileSystem(Path(name)) as disk,
        closing(Ledger(":memory:")) as model,
    ):
        elsewhere = Path(name, "elsewhere")
        elsewhere.mkdir()
        (disk.path / "n1").mkdir()
        os.sync()
        for cut in range(cuts):
            promised = _live(disk, elsewhere, chance, seed * 100_000 + cut)
            _check(disk.path / "n1", promised, model, met)
            met["cuts"] += 1
    return met


def _live(disk: FileSystem, elsewhere: Path, chance: random.Random, seed: int) -> tuple[int, int]:
    """Let the server live until the power goes; return index and term that it has promised last."""
    paths = str(disk.path / "n1"), str(elsewhere)
    command = [sys.executable, "-m", "tests.power.snapshot_life", *paths, str(seed)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        try:
            lines = [_line(process) for _ in range(chance.choice(LINES_BEFORE_A_CUT))]
            time.sleep(chance.choice(MS_AFTER_A_LINE) / 1000)
            process.send_signal(signal.SIGSTOP)
            disk.cut()
        finally:
            process.kill()
        lines += process.stdout.read().decode().splitlines()
    disk.restore()
    _, index, term = next(line for line in reversed(lines) if line.startswith("promised")).split()
    return int(index), int(term)


def _line(process: subprocess.Popen[bytes]) -> str:
    assert process.stdout is not None
    ready, _, _ = select.select([process.stdout], [], [], DEADLINE_S)
    assert ready, "the server says nothing any more"
    line = process.stdout.readline().decode()
    assert line, f"the server ended with {process.wait()}"
    return line


def _check(folder: Path, promised: tuple[int, int], model: Ledger, met: Counter[str]) -> None:
    index, term = promised
    had_ledger = (folder / "ledger.db").exists()
    with closing(Storage(folder)) as storage:
        assert storage.log.last_index >= index, f"{storage.log.last_index} entries, and {index} were promised"
        assert storage.log.hard_state.term >= term
        assert storage.log.first_index <= storage.store.base.index + 1
        newest = storage.store.newest
        if newest is not None:
            assert wrong_with(newest, storage.store.path(newest)) is None
        last = storage.ledger.applied_index
        assert last == storage.log.last_index
        model.apply([record_at(n) for n in range(model.applied_index + 1, last + 1)])
        assert storage.ledger.digest() == model.digest(), f"the ledger at {last} is another one"
        met["snapshots"] += newest is not None
        met["cut logs"] += storage.log.first_index > 1
        met["installed"] += storage.store.base.installed
        met["no ledger"] += not had_ledger
