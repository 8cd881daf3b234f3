"""A snapshot is kept whole or not at all, whatever ends the node between two steps."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from random import Random

import msgspec
import pytest

from atm.raft.messages import Snapshot
from atm.storage.log_index import NO_SNAPSHOT, LogBase
from atm.storage.snapshots import SnapshotStore, SnapshotsUnusable, wrong_with
from tests.support.recorded_files import RecordedFiles
from tests.support.synced import Synced


def content_of(index: int) -> bytes:
    return f"the ledger at entry {index}\n".encode() * 50


def snapshot_of(index: int) -> Snapshot:
    content = content_of(index)
    return Snapshot(
        index=index,
        term=index // 10,
        time_us=1_000_000 + index,
        size_bytes=len(content),
        sha256=hashlib.sha256(content).hexdigest(),
        chain_hash="ab" * 32,
        membership=b"\x93\x00members",
        cluster_id="cd" * 16,
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "data" / "n1" / "snapshot"


@pytest.fixture
def store(folder: Path) -> SnapshotStore:
    return SnapshotStore(folder)


def made(store: SnapshotStore, index: int, *, installed: bool = False) -> Snapshot:
    """Let the store have a snapshot at `index`."""
    store.making.write_bytes(content_of(index))
    store.adopt(snapshot_of(index), store.making, installed=installed)
    return snapshot_of(index)


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_a_new_store_has_no_snapshot(store: SnapshotStore) -> None:
    assert store.newest is None
    assert store.base == NO_SNAPSHOT


@pytest.mark.parametrize("installed", [False, True])
def test_an_adopted_snapshot_is_there_after_a_restart(
    store: SnapshotStore, folder: Path, installed: bool
) -> None:
    snapshot = made(store, 70, installed=installed)
    for each in (store, SnapshotStore(folder)):
        assert each.newest == snapshot
        assert each.base == LogBase(70, 7, 1_000_070, installed)
        assert each.path(snapshot).read_bytes() == content_of(70)
    assert names(folder) == {"70.db", "70.json"}
    told = msgspec.json.decode((folder / "70.json").read_bytes())
    assert (told["format"], told["index"], told["installed"]) == (1, 70, installed)
    assert told["release"]
    assert told["made_at"].endswith("+00:00")


def test_the_newest_snapshot_counts_and_the_others_are_pruned(store: SnapshotStore, folder: Path) -> None:
    for index in (70, 100, 1000):
        made(store, index)
    assert SnapshotStore(folder).newest == snapshot_of(1000)
    store.prune(in_use={70})
    assert names(folder) == {"70.db", "70.json", "1000.db", "1000.json"}
    store.prune()
    assert names(folder) == {"1000.db", "1000.json"}
    assert store.newest == SnapshotStore(folder).newest == snapshot_of(1000)
    store.prune()
    assert store.newest == snapshot_of(1000)


def test_an_older_snapshot_never_takes_the_place_of_a_newer_one(store: SnapshotStore) -> None:
    made(store, 70)
    for index in (60, 70):
        with pytest.raises(AssertionError):
            made(store, index)
    assert store.path(snapshot_of(70)).read_bytes() == content_of(70)


@pytest.mark.parametrize("damage", ["gone", "short"])
def test_a_snapshot_without_its_whole_file_is_not_offered_but_the_log_may_begin_behind_it(
    store: SnapshotStore, folder: Path, damage: str
) -> None:
    made(store, 70)
    path = folder / "70.db"
    path.write_bytes(content_of(70)[:-1])
    if damage == "gone":
        path.unlink()
    again = SnapshotStore(folder)
    assert again.newest is None
    assert again.base.index == 70
    made(again, 70)  # and may be made again
    assert SnapshotStore(folder).newest == snapshot_of(70)


def test_a_file_that_is_not_the_snapshots_is_told_from_it(store: SnapshotStore, tmp_path: Path) -> None:
    snapshot, path = snapshot_of(70), tmp_path / "file"
    path.write_bytes(content_of(70))
    assert wrong_with(snapshot, path) is None
    path.write_bytes(content_of(70) + b"!")
    assert "bytes, and the snapshot has" in (wrong_with(snapshot, path) or "")
    path.write_bytes(content_of(70)[:-1] + b"!")
    assert "SHA-256" in (wrong_with(snapshot, path) or "")


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (b"", "is damaged"),
        (b'{"format": 1, "ind\xff', "is damaged"),
        (b'{"format": 1}', "is damaged"),
        (b"[]", "is damaged"),
        (b"7" * 5000, "is damaged"),
    ],
)
def test_a_damaged_description_is_refused_in_one_line(
    store: SnapshotStore, folder: Path, content: bytes, what: str
) -> None:
    made(store, 70)
    (folder / "70.json").write_bytes(content)
    with pytest.raises(SnapshotsUnusable, match=what) as refused:
        SnapshotStore(folder)
    assert "\n" not in str(refused.value)
    assert "only if a majority" in str(refused.value)
    assert names(folder) == {"70.db", "70.json"}


def test_a_description_of_another_release_or_place_is_refused(store: SnapshotStore, folder: Path) -> None:
    made(store, 70)
    told = msgspec.json.decode((folder / "70.json").read_bytes())
    (folder / "70.json").rename(folder / "71.json")
    with pytest.raises(SnapshotsUnusable, match="is of entry 70"):
        SnapshotStore(folder)
    (folder / "71.json").unlink()
    (folder / "70.json").write_bytes(msgspec.json.encode({**told, "format": 2}))
    with pytest.raises(SnapshotsUnusable, match="newer release"):
        SnapshotStore(folder)
    (folder / "70.json").write_bytes(msgspec.json.encode({**told, "index": -1}))
    with pytest.raises(SnapshotsUnusable, match="is damaged"):
        SnapshotStore(folder)


def test_what_a_crash_left_is_removed_at_the_start_and_a_fetched_part_is_kept(
    store: SnapshotStore, folder: Path
) -> None:
    made(store, 70)
    part = store.part(snapshot_of(90))
    part.write_bytes(b"the first piece")
    for left in ("making.db", "making.db-journal", "80.db", "80.json.new"):
        (folder / left).write_bytes(b"left")
    again = SnapshotStore(folder)
    assert names(folder) == {"70.db", "70.json", part.name}
    assert again.part(snapshot_of(90)).read_bytes() == b"the first piece"


def test_a_part_belongs_to_one_snapshot_and_goes_with_the_next(store: SnapshotStore, folder: Path) -> None:
    first = store.part(snapshot_of(90))
    first.write_bytes(b"piece")
    other = msgspec.structs.replace(snapshot_of(90), sha256="00" * 32)  # another server's, at the same entry
    second = store.part(other)
    assert second != first
    assert not first.exists()
    second.write_bytes(content_of(95))
    store.adopt(snapshot_of(95), second, installed=True)
    assert names(folder) == {"95.db", "95.json"}


def test_a_part_that_is_not_needed_any_more_is_pruned(store: SnapshotStore, folder: Path) -> None:
    store.part(snapshot_of(90)).write_bytes(b"piece")
    made(store, 80)
    store.prune()
    assert store.part(snapshot_of(90)).exists()
    made(store, 90)
    store.prune()
    assert names(folder) == {"90.db", "90.json"}


def test_what_another_server_says_names_no_file_elsewhere(store: SnapshotStore, folder: Path) -> None:
    evil = msgspec.structs.replace(snapshot_of(90), sha256="../../../x", cluster_id="/etc/x\n")
    assert store.part(evil).parent == folder
    assert "\n" not in store.part(evil).name


# -- crashes ----------------------------------------------------------------------------------------


def adopt(store: SnapshotStore) -> None:
    store.adopt(snapshot_of(100), store.making, installed=False)


def adopt_and_prune(store: SnapshotStore) -> None:
    adopt(store)
    store.prune()


@pytest.mark.parametrize("steps", [adopt, adopt_and_prune])
@pytest.mark.parametrize("seed", range(12))
def test_a_power_cut_at_any_step_leaves_the_old_snapshot_or_the_new_whole(
    steps: Callable[[SnapshotStore], None],
    seed: int,
    store: SnapshotStore,
    folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made(store, 70)
    with monkeypatch.context() as patch:
        recorder = RecordedFiles(patch, folder)
        recorder.put(store.making, content_of(100))
        steps(store)
    chance, last = Random(seed), 0
    for count in range(len(recorder.operations) + 1):
        left = tmp_path / f"left-{count}"
        recorder.leave(count, chance, left)
        again = SnapshotStore(left)
        found = again.newest
        assert found in (snapshot_of(70), snapshot_of(100)), f"after {count} operations"
        assert found is not None
        assert wrong_with(found, again.path(found)) is None, f"after {count} operations"
        assert names(left) - {f"{index}.{kind}" for index in (70, 100) for kind in ("db", "json")} == set()
        last = found.index
        shutil.rmtree(left)
    assert len(recorder.operations) > 6
    assert last == 100, "what was adopted is there"


def test_a_snapshot_is_described_only_while_its_file_is_there(
    store: SnapshotStore, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for index in (70, 100):
        made(store, index)
    with monkeypatch.context() as patch:
        recorder = RecordedFiles(patch, folder)
        store.prune()
    for seed in range(10):
        for count in range(len(recorder.operations) + 1):
            left = tmp_path / f"left-{seed}-{count}"
            recorder.leave(count, Random(seed), left)
            assert not (left / "70.json").exists() or (left / "70.db").read_bytes() == content_of(70)


def test_the_store_itself_survives_a_power_cut(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder.parent.mkdir(parents=True)
    synced = Synced(monkeypatch)
    made(SnapshotStore(folder), 70)
    assert synced.survives(folder / "70.db", folder.parent)
    assert synced.survives(folder / "70.json", folder.parent)
    assert synced.named_too_early == []


@pytest.mark.parametrize("call", ["fsync", "replace", "open"])
def test_a_disk_that_fails_leaves_the_old_snapshot(
    call: str, store: SnapshotStore, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made(store, 70)
    store.making.write_bytes(content_of(100))

    def fail(*_: object, **__: object) -> None:
        raise OSError("planned")

    with monkeypatch.context() as patch:
        patch.setattr(os, call, fail)
        with pytest.raises(OSError, match="planned"):
            adopt(store)
    assert store.newest == snapshot_of(70)
    assert SnapshotStore(folder).newest == snapshot_of(70)
