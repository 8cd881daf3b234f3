"""What was fetched is verified before it can become this node's ledger."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from threading import Event

import pytest
from msgspec.structs import replace

from atm.files import sha256_of
from atm.ledger.cluster import MEMBERS_LEVEL
from atm.ledger.commands import Founding, LevelRaise, MembershipChange
from atm.ledger.ledger import Ledger
from atm.ledger.snapshot import make
from atm.raft import NodeId, Snapshot
from atm.server.group.installer import Abandoned, InstallFailed
from atm.server.group.kept_snapshots import snapshot_of
from atm.server.peers import snapshot_preparing
from atm.server.peers.snapshot_fetcher import FetchFailed, Interrupted, Wanted
from atm.server.peers.snapshot_preparing import SnapshotPreparer
from atm.wire.codec import encode


class FakeFetcher:
    """Has fetched what the test says."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.fault: Exception | None = None

    def fetch(self, wanted: Wanted, peer: NodeId, part: Path, stop: Event) -> None:
        if self.fault is not None:
            raise self.fault
        part.write_bytes(self.data)


@pytest.fixture
def offered(tmp_path: Path) -> tuple[Snapshot, Path]:
    """A snapshot of a small ledger, and its file."""
    ledger = Ledger(tmp_path / "leader.db")
    ledger.apply(
        [(1, 1, Founding(cluster_id="ab" * 16, voters=("n1", "n2"))), (2, 2, LevelRaise(MEMBERS_LEVEL))]
    )
    members = ledger.cluster.members
    ledger.close()
    file = tmp_path / "offered.db"
    made = make(tmp_path / "leader.db", file)
    snapshot = Snapshot(
        index=2,
        term=1,
        time_us=2,
        size_bytes=made.size_bytes,
        sha256=sha256_of(file),
        chain_hash=made.chain_hash,
        membership=encode(MembershipChange(members)),
        cluster_id="ab" * 16,
    )
    return snapshot, file


def prepare(snapshot: Snapshot, fetcher: FakeFetcher, folder: Path, stop: Event | None = None) -> Path:
    preparer = SnapshotPreparer(fetcher, folder / "copy.db")  # type: ignore[arg-type]
    return preparer.prepare(snapshot, "n1", folder / "x.part", stop or Event())


def test_the_copy_is_a_ledger_at_the_snapshots_index(offered: tuple[Snapshot, Path], tmp_path: Path) -> None:
    snapshot, file = offered
    copy = prepare(snapshot, FakeFetcher(file.read_bytes()), tmp_path)
    assert sha256_of(tmp_path / "x.part") == snapshot.sha256
    ledger = Ledger(copy)
    assert (ledger.applied_index, ledger.cluster.id) == (2, "ab" * 16)
    ledger.close()


def test_a_bank_that_was_restored_below_feature_level_2_knows_no_members_and_is_installed(
    tmp_path: Path,
) -> None:
    """Its nodes have a snapshot from the beginning, and offer it to one that has lost its disk."""
    ledger = Ledger(tmp_path / "leader.db")
    ledger.apply([(1, 1, Founding(cluster_id="ab" * 16, voters=("n1", "n2")))])
    ledger.close()
    file = tmp_path / "offered.db"
    made = make(tmp_path / "leader.db", file)
    snapshot = snapshot_of(made, term=1, time_us=1, size_bytes=made.size_bytes, sha256=made.sha256)
    assert snapshot.membership == b"", "the core keeps the members that it knows"
    copy = prepare(snapshot, FakeFetcher(file.read_bytes()), tmp_path)
    with closing(Ledger(copy)) as installed:
        assert installed.cluster.id == "ab" * 16


def test_other_bytes_than_those_offered_are_refused_and_fetched_anew(
    offered: tuple[Snapshot, Path], tmp_path: Path
) -> None:
    snapshot, file = offered
    data = bytearray(file.read_bytes())
    data[-1] ^= 1
    with pytest.raises(
        InstallFailed, match=r"its bytes are not those that were offered\. It is fetched anew"
    ):
        prepare(snapshot, FakeFetcher(bytes(data)), tmp_path)
    assert not (tmp_path / "x.part").exists()
    assert not (tmp_path / "copy.db").exists()


@pytest.mark.parametrize(
    "changes",
    [{"index": 3}, {"cluster_id": "cd" * 16}, {"chain_hash": "cd" * 32}, {"membership": b"\x91\x90"}],
    ids=lambda changes: next(iter(changes)),
)
def test_a_file_of_another_state_than_was_offered_is_refused(
    offered: tuple[Snapshot, Path], tmp_path: Path, changes: dict[str, int | str | bytes]
) -> None:
    snapshot, file = offered
    with pytest.raises(InstallFailed, match="which is not what was offered"):
        prepare(replace(snapshot, **changes), FakeFetcher(file.read_bytes()), tmp_path)
    assert not (tmp_path / "x.part").exists()


def test_what_is_no_ledger_is_refused_in_one_line(offered: tuple[Snapshot, Path], tmp_path: Path) -> None:
    (tmp_path / "no.db").write_bytes(b"no ledger")
    snapshot = replace(offered[0], size_bytes=9, sha256=sha256_of(tmp_path / "no.db"))
    with pytest.raises(InstallFailed, match="is not a ledger that can be read") as error:
        prepare(snapshot, FakeFetcher(b"no ledger"), tmp_path)
    assert "\n" not in str(error.value)


def test_a_ledger_of_a_newer_release_is_not_installed(
    offered: tuple[Snapshot, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(snapshot_preparing, "FEATURE_LEVEL_MAX", MEMBERS_LEVEL - 1)
    with pytest.raises(InstallFailed, match="install a newer release on this node"):
        prepare(offered[0], FakeFetcher(offered[1].read_bytes()), tmp_path)


def test_what_the_fetcher_says_is_passed_on(offered: tuple[Snapshot, Path], tmp_path: Path) -> None:
    fetcher = FakeFetcher(b"")
    fetcher.fault = FetchFailed("gone")
    with pytest.raises(InstallFailed, match="gone"):
        prepare(offered[0], fetcher, tmp_path)
    fetcher.fault = Interrupted()
    with pytest.raises(Abandoned):
        prepare(offered[0], fetcher, tmp_path)


def test_copying_ends_when_it_is_not_wanted_any_more(offered: tuple[Snapshot, Path], tmp_path: Path) -> None:
    stop = Event()
    stop.set()
    with pytest.raises(Abandoned):
        prepare(offered[0], FakeFetcher(offered[1].read_bytes()), tmp_path, stop)
