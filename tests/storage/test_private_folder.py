"""Who may enter a data folder: its owner alone, also if an older release or a loose umask made it."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from atm.config import Cluster
from atm.storage.data_folder import DataFolder, FolderRefused
from atm.storage.private_folder import NotOurs, keep_others_from_writing, tighten
from tests.support.server_parts import cluster_of


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@contextmanager
def umask(mask: int) -> Iterator[None]:
    before = os.umask(mask)
    try:
        yield
    finally:
        os.umask(before)


@pytest.fixture
def cluster(tmp_path: Path) -> Cluster:
    return cluster_of(tmp_path, "n1")


@pytest.fixture
def loose(tmp_path: Path) -> Path:
    """A folder as release 1.1 made it under a umask of 0."""
    folder = tmp_path / "loose"
    (folder / "snapshot").mkdir(parents=True)
    for name in ("ledger.db", "node.json", "snapshot/7.db"):
        (folder / name).write_text("x")
        (folder / name).chmod(0o666)
    (folder / "snapshot").chmod(0o777)
    folder.chmod(0o777)
    return folder


def test_all_that_others_had_rights_to_is_the_owners_alone_afterwards(loose: Path) -> None:
    (loose / "private").write_text("x")
    (loose / "private").chmod(0o400)
    assert len(tighten(loose)) == 5
    assert {mode(path) for path in loose.rglob("*") if path.is_file()} == {0o600, 0o400}
    assert (mode(loose), mode(loose / "snapshot")) == (0o700, 0o700)
    assert tighten(loose) == []


def test_a_link_is_not_followed(loose: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.write_text("x")
    outside.chmod(0o644)
    (loose / "link").symlink_to(outside)
    (loose / "dangling").symlink_to(tmp_path / "nothing")
    tighten(loose)
    assert mode(outside) == 0o644


def test_what_another_user_owns_is_refused_and_nothing_is_changed(
    loose: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: loose.stat().st_uid + 1)
    with pytest.raises(NotOurs, match="belongs to another user"):
        tighten(loose)
    assert mode(loose) == 0o777


def test_a_folder_that_others_write_into_is_closed_to_them_unless_it_is_sticky(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    folder.mkdir()
    for before, after in ((0o777, 0o755), (0o775, 0o755), (0o755, 0o755), (0o700, 0o700), (0o1777, 0o1777)):
        folder.chmod(before)
        assert keep_others_from_writing(folder) == (before != after)
        assert mode(folder) == after


@pytest.mark.parametrize("mask", [0o022, 0])
def test_a_new_data_folder_is_its_owners_alone_whatever_the_umask(cluster: Cluster, mask: int) -> None:
    """Trial M6: release 1.1.0 (e233312) made it 0755, with umask 0 even 0777, and node.json 0666."""
    with umask(mask), closing(DataFolder(cluster, "n1")) as folder:
        folder.register_peer_store("n2", "ab" * 16)
        assert not folder.was_open
        for path in (folder.path, *folder.path.iterdir()):
            assert mode(path) & 0o077 == 0, path


def test_a_data_folder_of_an_older_release_is_closed_to_others_and_that_is_said(cluster: Cluster) -> None:
    DataFolder(cluster, "n1").close()
    folder = cluster.data_dir / "n1"
    for path in folder.iterdir():
        path.chmod(0o644)
    folder.chmod(0o755)
    with closing(DataFolder(cluster, "n1")) as opened:
        assert opened.was_open.startswith("3 files and folders of ")
        assert "\n" not in opened.was_open
        assert all(mode(path) & 0o077 == 0 for path in (folder, *folder.iterdir()))
    with closing(DataFolder(cluster, "n1")) as again:
        assert not again.was_open


def test_a_data_folder_of_another_user_is_refused_in_one_line(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    DataFolder(cluster, "n1").close()
    monkeypatch.setattr(os, "geteuid", lambda: cluster.data_dir.stat().st_uid + 1)
    with pytest.raises(FolderRefused, match=r"cannot use the data folder .*n1: .* belongs to another user"):
        DataFolder(cluster, "n1")
