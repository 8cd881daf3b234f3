"""The owner of a data folder, and its lock."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import closing
from errno import ENOSPC
from pathlib import Path

import msgspec
import pytest
from msgspec import structs

from atm.config import Cluster
from atm.storage import data_folder
from atm.storage.data_folder import STARTS_KEPT, DataFolder, FolderRefused
from tests.support.server_parts import cluster_of
from tests.support.synced import Synced


@pytest.fixture
def cluster(tmp_path: Path) -> Cluster:
    return cluster_of(tmp_path, "n1", "n2")


@pytest.fixture
def folder(cluster: Cluster) -> Iterator[DataFolder]:
    with closing(DataFolder(cluster, "n1")) as folder:
        yield folder


def test_a_folder_keeps_its_store_over_restarts(cluster: Cluster) -> None:
    with closing(DataFolder(cluster, "n1")) as first:
        store = first.store
    with closing(DataFolder(cluster, "n1")) as second:
        assert second.store == store
    with closing(DataFolder(cluster, "n2")) as other:
        assert other.store != store


@pytest.mark.usefixtures("folder")
def test_a_second_process_on_a_folder_is_refused(cluster: Cluster) -> None:
    with pytest.raises(FolderRefused, match="node n1 is already running on"):
        DataFolder(cluster, "n1")


def test_another_nodes_folder_is_refused(cluster: Cluster) -> None:
    DataFolder(cluster, "n1").close()
    (cluster.data_dir / "n1").rename(cluster.data_dir / "n2")
    with pytest.raises(FolderRefused, match="belongs to node n1, not to node n2"):
        DataFolder(cluster, "n2")
    (cluster.data_dir / "n2").rename(cluster.data_dir / "n1")
    DataFolder(cluster, "n1").close()


def test_a_folder_learns_its_cluster_once_and_keeps_it(cluster: Cluster) -> None:
    with closing(DataFolder(cluster, "n1")) as folder:
        assert folder.cluster_id == ""
        folder.join("ab" * 16)
        folder.join("ab" * 16)
    with closing(DataFolder(cluster, "n1")) as again:
        assert again.cluster_id == "ab" * 16
        with pytest.raises(FolderRefused, match="do not belong together") as refused:
            again.join("cd" * 16)
        assert again.cluster_id == "ab" * 16
    assert "\n" not in str(refused.value)


def test_a_folders_cluster_survives_a_power_cut_once_it_was_learned(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with closing(DataFolder(cluster, "n1")) as folder:
        synced = Synced(monkeypatch)
        folder.join("ab" * 16)
        assert not synced.named_too_early
        assert synced.survives(folder.path / "node.json", folder.path)


def test_a_server_may_move_to_another_address(cluster: Cluster, tmp_path: Path) -> None:
    DataFolder(cluster, "n1").close()
    moved = structs.replace(cluster_of(tmp_path, "n1", "n2"), data_dir=cluster.data_dir)
    assert moved.nodes["n1"] != cluster.nodes["n1"]
    DataFolder(moved, "n1").close()


@pytest.mark.parametrize(
    ("content", "what_to_do"),
    [
        (
            b'{"node": "n1", "cluster": "0f", "peer_addresses": {"n1": "h:1"}, "store": "0f"}',
            "was written by release 1.0, which decided some commands differently: export the books with that",
        ),
        (b'{"format": 3, "more": 1}', "was written by a newer release: install that one"),
    ],
)
def test_a_folder_of_another_release_is_refused_and_says_how(
    cluster: Cluster, content: bytes, what_to_do: str
) -> None:
    path = cluster.data_dir / "n1"
    path.mkdir(parents=True)
    (path / "node.json").write_bytes(content)
    with pytest.raises(FolderRefused) as refused:
        DataFolder(cluster, "n1")
    assert what_to_do in str(refused.value)
    assert "damaged" not in str(refused.value)
    assert "\n" not in str(refused.value)
    assert (path / "node.json").read_bytes() == content


def test_a_folder_with_a_log_and_no_owner_is_refused(cluster: Cluster) -> None:
    path = cluster.data_dir / "n1"
    path.mkdir(parents=True)
    (path / "raft.log.000001").touch()
    with pytest.raises(FolderRefused, match=r"no node\.json"):
        DataFolder(cluster, "n1")


def test_a_damaged_owner_file_is_reported_in_one_line(cluster: Cluster) -> None:
    DataFolder(cluster, "n1").close()
    (cluster.data_dir / "n1" / "node.json").write_bytes(b'{"node": \xff')
    with pytest.raises(FolderRefused, match=r"node\.json is damaged") as refused:
        DataFolder(cluster, "n1")
    assert "\n" not in str(refused.value)


def test_a_data_dir_that_is_a_file_is_reported_in_one_line(cluster: Cluster) -> None:
    cluster.data_dir.touch()
    with pytest.raises(FolderRefused, match="cannot use the data folder"):
        DataFolder(cluster, "n1")


def test_a_peers_first_store_is_remembered_for_good(cluster: Cluster, folder: DataFolder) -> None:
    assert folder.register_peer_store("n2", "first")
    assert folder.register_peer_store("n2", "first")
    assert not folder.register_peer_store("n2", "second")
    folder.close()
    with closing(DataFolder(cluster, "n1")) as again:
        assert not again.register_peer_store("n2", "second")
        assert again.register_peer_store("n2", "first")


def test_a_folder_counts_its_starts(cluster: Cluster) -> None:
    for incarnation in (1, 2, 3):
        with closing(DataFolder(cluster, "n1")) as folder:
            assert folder.incarnation == incarnation - 1
            folder.count_start(10 * incarnation)
            assert folder.incarnation == incarnation
    with closing(DataFolder(cluster, "n1")) as folder:
        assert folder.drawn == (10, 20, 30)


def test_a_folder_keeps_the_numbers_of_its_last_starts(folder: DataFolder) -> None:
    for drawn in range(STARTS_KEPT + 2):
        folder.count_start(drawn)
    assert folder.incarnation == STARTS_KEPT + 2
    assert folder.drawn == tuple(range(2, STARTS_KEPT + 2))


def test_a_folder_of_release_1_1_was_never_started(cluster: Cluster) -> None:
    DataFolder(cluster, "n1").close()
    path = cluster.data_dir / "n1" / "node.json"
    owner = msgspec.json.decode(path.read_bytes())
    del owner["incarnation"]
    path.write_bytes(msgspec.json.encode(owner))
    with closing(DataFolder(cluster, "n1")) as folder:
        assert folder.incarnation == 0
        assert folder.store == owner["store"]


def test_looking_into_a_folder_is_no_start(cluster: Cluster, folder: DataFolder) -> None:
    folder.close()
    before = (folder.path / "node.json").read_bytes()
    DataFolder(cluster, "n1").close()
    assert (folder.path / "node.json").read_bytes() == before


def test_a_folder_that_takes_another_store_keeps_it(cluster: Cluster, folder: DataFolder) -> None:
    store = folder.store
    folder.join("ab" * 16)
    folder.count_start(7)
    folder.renew_store()
    renewed = folder.store
    assert renewed != store
    folder.close()
    with closing(DataFolder(cluster, "n1")) as again:
        assert (again.store, again.cluster_id, again.incarnation) == (renewed, "ab" * 16, 1)


def test_the_highest_incarnation_of_a_peers_store_is_remembered(cluster: Cluster, folder: DataFolder) -> None:
    assert folder.highest_incarnation("n2", "store") == 0
    for incarnation in (3, 7, 5):
        folder.register_incarnation("n2", "store", incarnation)
    folder.register_incarnation("n3", "other", 1)
    folder.close()
    with closing(DataFolder(cluster, "n1")) as again:
        assert again.highest_incarnation("n2", "store") == 7
        assert again.highest_incarnation("n3", "other") == 1
        assert again.highest_incarnation("n2", "other") == 0
        again.register_incarnation("n2", "other", 2)  # it was replaced: a new store counts anew
        assert again.highest_incarnation("n2", "other") == 2
        assert again.highest_incarnation("n2", "store") == 0


def test_an_incarnation_seen_before_costs_no_write(
    folder: DataFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder.register_incarnation("n2", "store", 4)

    def write(*_: object) -> None:
        raise AssertionError("written")

    monkeypatch.setattr(data_folder, "write_durably", write)
    folder.register_incarnation("n2", "store", 4)


@pytest.mark.parametrize("content", [b"", b"{", b'{"n2": 7}', b'{"n2": ["store", "x"]}', b"\xff"])
@pytest.mark.parametrize("name", ["incarnations.json", "peers.json"])
def test_a_damaged_file_about_peers_is_refused_in_one_line(
    cluster: Cluster, folder: DataFolder, name: str, content: bytes
) -> None:
    folder.close()
    (folder.path / name).write_bytes(content)
    with pytest.raises(FolderRefused, match=f"{name} is damaged") as refused:
        DataFolder(cluster, "n1")
    assert "\n" not in str(refused.value)


def test_a_file_about_peers_that_cannot_be_written_is_refused_in_one_line(
    folder: DataFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(data_folder, "write_durably", full)
    with pytest.raises(FolderRefused, match=r"cannot write .*incarnations\.json: No space left") as refused:
        folder.register_incarnation("n2", "store", 4)
    assert "\n" not in str(refused.value)
    assert folder.highest_incarnation("n2", "store") == 0


# -- what a power cut leaves -----------------------------------------------------------------------


def test_the_owner_of_a_folder_survives_a_power_cut_once_the_folder_is_open(
    cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced = Synced(monkeypatch)
    new = structs.replace(cluster, data_dir=tmp_path / "new" / "data")
    with closing(DataFolder(new, "n1")) as folder:
        assert synced.survives(folder.path / "node.json", tmp_path)
    assert synced.named_too_early == []


def test_a_folder_that_has_an_owner_has_its_own_name_for_good(
    cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A start after a kill finds node.json there and does not sync the folder's name again."""
    synced = Synced(monkeypatch)
    cluster.data_dir.mkdir()

    def killed(*_: object) -> None:
        raise OSError("killed")

    monkeypatch.setattr(os, "replace", killed)
    with pytest.raises(FolderRefused, match="killed"):
        DataFolder(cluster, "n1")
    path = cluster.data_dir / "n1"
    assert not (path / "node.json").exists()
    assert synced.survives(path, cluster.data_dir)


def test_a_peers_store_survives_a_power_cut_before_the_peer_is_let_in(
    folder: DataFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced = Synced(monkeypatch)
    assert folder.register_peer_store("n2", "first")
    assert synced.survives(folder.path / "peers.json", folder.path)
    assert synced.named_too_early == []


def test_a_full_disk_is_told_as_one(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(path: Path) -> None:
        raise OSError(ENOSPC, "No space left on device")

    monkeypatch.setattr(data_folder, "make_folder", fail)
    with pytest.raises(
        FolderRefused, match=r"No space left on device\. Make room on that disk and start again"
    ):
        DataFolder(cluster, "n1")


def test_a_start_is_counted_durably_before_the_node_shows_it(
    folder: DataFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced = Synced(monkeypatch)
    folder.count_start(7)
    assert synced.survives(folder.path / "node.json", folder.path)
    folder.register_incarnation("n2", "store", 4)
    assert synced.survives(folder.path / "incarnations.json", folder.path)
    assert synced.named_too_early == []
