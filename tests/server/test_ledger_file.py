"""Which ledger a node opens: its own, or a copy of the snapshot that its log continues."""

from __future__ import annotations

import os
import shutil
from contextlib import closing
from pathlib import Path
from random import Random

import pytest
from msgspec.structs import replace

from atm.ledger.ledger import Ledger
from atm.ledger.snapshot import make
from atm.server.group.kept_snapshots import snapshot_of
from atm.server.group.ledger_file import LedgerTooOld, open_ledger, place
from atm.storage.snapshots import SnapshotStore
from tests.support.entries import apply_in_batches, records
from tests.support.recorded_files import RecordedFiles

ENTRIES = records(["-", *(f"c{n} credit main {n + 1}" for n in range(30))])
OLD, TAKEN = 10, 20  # what the ledger and the snapshot have applied


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "n1"
    folder.mkdir()
    return folder


@pytest.fixture
def store(folder: Path) -> SnapshotStore:
    """Return the store with a snapshot; the node's ledger is older, and has a write-ahead log."""
    store = SnapshotStore(folder / "snapshot")
    source = folder.parent / "source.db"
    with closing(Ledger(source)) as ledger:
        ledger.apply(ENTRIES[:TAKEN])
        made = make(source, store.making)
    snapshot = snapshot_of(made, term=1, time_us=1, size_bytes=made.size_bytes, sha256=made.sha256)
    store.adopt(snapshot, store.making, installed=False)
    return store


@pytest.fixture
def old(folder: Path) -> Path:
    """Make the node's older ledger as a kill leaves it: what it holds is in its write-ahead log."""
    running = folder.parent / "running.db"
    with closing(Ledger(running)) as ledger:
        apply_in_batches(ledger, ENTRIES[:OLD], 3)
        for suffix in ("", "-wal", "-shm"):
            shutil.copy(f"{running}{suffix}", folder / f"ledger.db{suffix}")
    assert (folder / "ledger.db-wal").stat().st_size
    return folder / "ledger.db"


def digest_at(index: int) -> str:
    with closing(Ledger(":memory:")) as ledger:
        ledger.apply(ENTRIES[:index])
        return ledger.digest()


def opens_at(index: int, path: Path, store: SnapshotStore, first_index: int) -> None:
    """Assert that the ledger opens at `index`, whole, and that the log can be applied from there."""
    with closing(open_ledger(path, store, first_index)) as ledger:
        assert ledger.applied_index == index
        assert ledger.digest() == digest_at(index)
        ledger.apply(ENTRIES[index:])
        assert ledger.digest() == digest_at(len(ENTRIES))


@pytest.mark.parametrize("first_index", [1, OLD, OLD + 1])
def test_a_ledger_that_the_log_continues_is_opened(old: Path, store: SnapshotStore, first_index: int) -> None:
    opens_at(OLD, old, store, first_index)


@pytest.mark.parametrize("first_index", [OLD + 2, TAKEN, TAKEN + 1])
def test_a_ledger_that_is_too_old_gives_way_to_the_snapshot(
    old: Path, store: SnapshotStore, first_index: int
) -> None:
    opens_at(TAKEN, old, store, first_index)
    assert store.newest is not None
    opens_at(len(ENTRIES), old, store, first_index)


def test_a_missing_ledger_is_taken_from_the_snapshot(folder: Path, store: SnapshotStore) -> None:
    opens_at(TAKEN, folder / "ledger.db", store, 5)


@pytest.mark.parametrize("left", ["", "-wal"])
def test_a_missing_ledger_of_a_whole_log_is_rebuilt_from_it(
    old: Path, store: SnapshotStore, left: str
) -> None:
    for suffix in {"", "-wal", "-shm"} - {left} | {""}:
        old.with_name(f"ledger.db{suffix}").unlink()
    opens_at(0, old, store, 1)


def test_without_a_snapshot_that_fills_the_gap_the_node_does_not_start(
    old: Path, folder: Path, store: SnapshotStore
) -> None:
    before = {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}
    for snapshots, first_index in ((store, TAKEN + 2), (SnapshotStore(folder.parent / "none"), OLD + 2)):
        with pytest.raises(
            LedgerTooOld, match=f"the log begins with entry {first_index}, and no whole"
        ) as caught:
            open_ledger(old, snapshots, first_index)
        assert "\n" not in str(caught.value)
        assert "only if a majority" in str(caught.value)
    shutil.rmtree(folder / "snapshot")
    with closing(Ledger(old)) as ledger:
        assert ledger.applied_index == OLD
    assert set(before) - {"ledger.db-wal", "ledger.db-shm"} <= {path.name for path in folder.iterdir()}


def test_a_rotten_snapshot_takes_no_ledgers_place(old: Path, folder: Path, store: SnapshotStore) -> None:
    snapshot = store.newest
    assert snapshot is not None
    content = bytearray(store.path(snapshot).read_bytes())
    content[len(content) // 2] ^= 1
    store.path(snapshot).write_bytes(content)
    with pytest.raises(LedgerTooOld, match=r"20\.db is damaged") as caught:
        open_ledger(old, store, TAKEN + 1)
    assert "\n" not in str(caught.value)
    with closing(Ledger(old)) as ledger:
        assert ledger.applied_index == OLD
    assert not (folder / "ledger.db.new").exists()


def test_a_snapshot_of_another_hash_takes_no_ledgers_place(folder: Path, store: SnapshotStore) -> None:
    snapshot = store.newest
    assert snapshot is not None
    for wrong in (replace(snapshot, sha256="00" * 32), replace(snapshot, size_bytes=1)):
        with pytest.raises(LedgerTooOld):
            place(store.path(snapshot), wrong, folder / "ledger.db")
    assert not (folder / "ledger.db").exists()


@pytest.mark.parametrize("seed", range(6))
def test_a_power_cut_at_any_step_of_the_replacement_is_mended_by_the_next_start(
    seed: int, old: Path, store: SnapshotStore, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.move(folder / "snapshot", tmp_path / "snapshot")
    store = SnapshotStore(tmp_path / "snapshot")
    snapshot = store.newest
    assert snapshot is not None
    with monkeypatch.context() as patch:
        recorder = RecordedFiles(patch, folder)
        place(store.path(snapshot), snapshot, old)
    assert {path.name for path in folder.iterdir()} == {"ledger.db"}
    chance = Random(seed)
    for count in range(len(recorder.operations) + 1):
        left = tmp_path / f"left-{count}"
        recorder.leave(count, chance, left)
        if (left / "ledger.db").exists() and count == len(recorder.operations):
            opens_at(TAKEN, left / "ledger.db", store, OLD + 1)
        opens_at_last(left / "ledger.db", store)
        shutil.rmtree(left)
    assert len(recorder.operations) > 8


def opens_at_last(path: Path, store: SnapshotStore) -> None:
    """Assert that the ledger opens behind a log that was cut at the snapshot, and goes on to the end."""
    with closing(open_ledger(path, store, TAKEN + 1)) as ledger:
        index = ledger.applied_index
        assert index >= TAKEN
        ledger.apply(ENTRIES[index:])
        assert ledger.digest() == digest_at(len(ENTRIES))
    assert os.listdir(path.parent) == ["ledger.db"]
