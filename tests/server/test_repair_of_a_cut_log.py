"""A log that was cut behind a snapshot is repaired behind it; the snapshot comes along."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import pytest
from msgspec.structs import replace

from atm.config import Cluster
from atm.ledger.ledger import Ledger
from atm.ledger.snapshot import make
from atm.raft.messages import NUMBER_MAX, Entry, EntryKind, HardState
from atm.server.group.kept_snapshots import snapshot_of
from atm.server.group.ledger_file import open_ledger
from atm.server.group.repair import inspect, repair
from atm.storage.data_folder import DataFolder
from atm.storage.log_file import LogBase, LogFile
from atm.storage.snapshots import SnapshotStore
from tests.support.entries import records
from tests.support.server_parts import cluster_of

TAKEN = 20
ENTRIES = records(["-", *(f"c{n} credit main {n + 1}" for n in range(30))])


def noop(index: int, **changes: object) -> Entry:
    entry = Entry(index=index, term=2, time_us=index * 1_000, kind=EntryKind.NOOP, data=b"")
    return replace(entry, **changes)


@pytest.fixture
def cluster(tmp_path: Path) -> Cluster:
    return cluster_of(tmp_path, "n1", "n2")


@pytest.fixture
def folder(cluster: Cluster) -> Path:
    """Return a folder whose log begins after the snapshot's last entry, and holds three more."""
    with closing(DataFolder(cluster, "n1")) as folder:
        folder.count_start(7)
        folder.register_incarnation("n2", "store", 4)
        path = folder.path
    store = SnapshotStore(path / "snapshot")
    with closing(Ledger(path / "ledger.db")) as ledger:
        ledger.apply(ENTRIES[:TAKEN])
        made = make(path / "ledger.db", store.making)
    snapshot = snapshot_of(
        made, term=2, time_us=TAKEN * 1_000, size_bytes=made.size_bytes, sha256=made.sha256
    )
    store.adopt(snapshot, store.making, installed=False)
    with closing(LogFile(path)) as log:
        log.save(HardState(term=2, voted_for="n2"), [noop(index) for index in range(1, TAKEN + 1)])
        log.set_base(store.base)
        log.cut(TAKEN + 1)
        log.save(HardState(term=2, voted_for="n2", commit_index=TAKEN), [noop(n) for n in (21, 22, 23)])
    return path


def opened(path: Path) -> LogFile:
    return LogFile(path, base=SnapshotStore(path / "snapshot").base)


def test_a_cut_log_with_nothing_wrong_is_rewritten_in_a_new_term(cluster: Cluster, folder: Path) -> None:
    found = inspect(cluster, "n1")
    assert (found.wrong, found.last_index, found.last_term) == (False, 23, 2)
    _, old = repair(cluster, "n1", 5)
    with closing(opened(folder)) as log:
        assert log.hard_state == HardState(term=5, voted_for=None, commit_index=TAKEN)
        assert log.first_index == TAKEN + 1
        assert log.tail(TAKEN + 1) == [noop(n) for n in (21, 22, 23)]
        with closing(open_ledger(folder / "ledger.db", SnapshotStore(folder / "snapshot"), 21)) as ledger:
            assert ledger.applied_index == TAKEN
    with closing(DataFolder(cluster, "n1")) as again:
        assert again.highest_incarnation("n2", "store") == 4
    assert SnapshotStore(old / "snapshot").newest == SnapshotStore(folder / "snapshot").newest


def test_what_is_wrong_behind_the_snapshot_is_repaired(cluster: Cluster, folder: Path) -> None:
    with closing(opened(folder)) as log:
        log.save(log.hard_state, [noop(24, time_us=NUMBER_MAX), noop(25, time_us=NUMBER_MAX)])
    assert inspect(cluster, "n1").changed == 2
    repair(cluster, "n1", 3)
    assert not inspect(cluster, "n1").wrong
    with closing(opened(folder)) as log:
        assert [entry.time_us for entry in log.tail(23)] == [23_000, 23_001, 23_002]


def test_a_log_that_is_wholly_in_the_snapshot_keeps_its_end(cluster: Cluster, folder: Path) -> None:
    with closing(opened(folder)) as log:
        log.reset(LogBase(TAKEN, 2, TAKEN * 1_000, installed=True))
    found = inspect(cluster, "n1")
    assert (found.last_index, found.last_term, found.term_min) == (TAKEN, 2, 2)
    repair(cluster, "n1", 3)
    with closing(opened(folder)) as log:
        assert (log.first_index, log.last_index, log.hard_state.term) == (TAKEN + 1, TAKEN, 3)


def test_to_look_into_a_folder_without_snapshots_makes_none(cluster: Cluster) -> None:
    DataFolder(cluster, "n1").close()
    inspect(cluster, "n1")
    assert not (cluster.data_dir / "n1" / "snapshot").exists()
