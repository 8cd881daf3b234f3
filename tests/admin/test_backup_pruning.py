"""What is old goes only when a newer base was made from the backup and verified."""

from __future__ import annotations

import os
import shutil
from contextlib import closing
from pathlib import Path

import pytest

from atm.admin import backup, backup_pruning
from atm.admin.backup_rebuild import line_to, rebuild, verify
from atm.storage import backup_folder
from atm.storage.backup_folder import BackupFolder, BackupRefused
from tests.support.backups import StoryNode, admin, replayed, story_entries
from tests.support.entries import time_us
from tests.support.ledgers import tables

STORY = story_entries()
LAST = len(STORY)
DAY_US = 24 * 3600 * 1_000_000


@pytest.fixture
def node(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> StoryNode:
    """A node with a backup in `b`, of entries 1 to 10, 11 to 20 and 21 to 30; in 30 days, entry 20 is old."""
    node = StoryNode(tmp_path / "bank", STORY[:10])
    with node:
        for count in (10, 20, 30):
            node.append(STORY[count - 10 : count] if count > 10 else [])
            assert admin("backup", tmp_path / "b", "--config", node.config) == 0
    monkeypatch.setattr(backup, "_now_us", lambda: time_us(25) + 30 * DAY_US)
    return node


def pieces(path: Path) -> list[str]:
    with closing(BackupFolder(path)) as folder:
        assert folder.manifest is not None
        return [piece.file for piece in folder.manifest.pieces]


def prune(path: Path, days: int) -> int:
    with closing(BackupFolder(path, write=True)) as folder:
        folder.write(verify(folder, backup._now_us(), print))
        return backup_pruning.prune(folder, backup._now_us(), days)


def assert_restorable(path: Path, first: int, last: int, work: Path) -> None:
    with closing(BackupFolder(path)) as folder:
        for index in range(first, last + 1):
            work.mkdir(exist_ok=True)
            rebuild(folder, line_to(folder, index)[1], index, work / f"{index}.db")
            again = tables(work / f"{index}.db")
            assert again == tables(replayed(STORY[:index], work / f"replayed{index}.db"))
        with pytest.raises(BackupRefused):
            line_to(folder, first - 1)
    shutil.rmtree(work)


def test_the_last_days_can_be_restored_and_what_is_older_is_gone(node: StoryNode, tmp_path: Path) -> None:
    assert prune(tmp_path / "b", 30) == 20
    assert pieces(tmp_path / "b") == ["snapshot-20.db", "entries-21-30.bin"]
    left = {path.name for path in (tmp_path / "b").iterdir()}
    assert left == {"snapshot-20.db", "entries-21-30.bin", "backup.json"}
    assert_restorable(tmp_path / "b", 20, 30, tmp_path / "work")
    assert prune(tmp_path / "b", 30) == 20, "and again: nothing more goes"
    assert_restorable(tmp_path / "b", 20, 30, tmp_path / "work")


def test_a_backup_goes_on_behind_the_new_base(node: StoryNode, tmp_path: Path) -> None:
    prune(tmp_path / "b", 30)
    with StoryNode(tmp_path / "again", STORY) as again:
        assert admin("backup", tmp_path / "b", "--config", again.config, "--verify") == 0
    assert pieces(tmp_path / "b") == ["snapshot-20.db", "entries-21-30.bin", f"entries-31-{LAST}.bin"]
    assert_restorable(tmp_path / "b", 20, LAST, tmp_path / "work")


def test_nothing_goes_that_is_not_old(node: StoryNode, tmp_path: Path) -> None:
    assert prune(tmp_path / "b", 31) == 0
    assert len(pieces(tmp_path / "b")) == 3


def test_a_backup_that_is_damaged_or_could_not_be_completed_is_not_pruned(
    node: StoryNode, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ("backup", tmp_path / "b", "--config", node.config, "--keep-days", "30")
    assert admin(*words) == 2
    assert "--keep-days needs --verify" in capsys.readouterr().err
    assert admin(*words, "--verify") == 3  # no node answers any more
    assert len(pieces(tmp_path / "b")) == 3
    piece = tmp_path / "b" / "entries-21-30.bin"
    piece.write_bytes(piece.read_bytes()[:-1] + b"\0")
    with StoryNode(tmp_path / "again", STORY) as again:
        assert admin("backup", tmp_path / "b", "--config", again.config, "--keep-days", "30", "--verify") == 1
    assert (tmp_path / "b" / "entries-1-10.bin").exists()


class Killed(BaseException):
    """The run ended at once."""


def test_a_kill_at_any_moment_leaves_the_old_backup_or_the_new_one(
    node: StoryNode, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    left = 10**9

    def watched(effect: object) -> object:
        def wrapped(*arguments: object, **named: object) -> object:
            nonlocal left
            left -= 1
            if left < 0:
                raise Killed
            return effect(*arguments, **named)  # type: ignore[operator]

        return wrapped

    for module, name in (
        (backup_pruning, "rebuild"),
        (backup_pruning, "rename_durably"),
        (backup_folder, "write_durably"),
        (os, "fsync"),
        (Path, "unlink"),
    ):
        monkeypatch.setattr(module, name, watched(getattr(module, name)))
    kills, seen = 0, set()
    while True:
        path = shutil.copytree(tmp_path / "b", tmp_path / f"b{kills}")
        with closing(BackupFolder(path, write=True)) as folder:
            folder.write(verify(folder, backup._now_us(), print))
            left = kills
            try:
                backup_pruning.prune(folder, backup._now_us(), 30)
            except Killed:
                killed = True
            else:
                killed = False
            left = 10**9
        seen.add(len(pieces(path)))
        first = 1 if len(pieces(path)) == 3 else 20
        if first == 20:
            assert_restorable(path, first, 30, tmp_path / "work")
        assert prune(path, 30) == 20
        assert {each.name for each in path.iterdir()} == {*pieces(path), "backup.json"}
        if not killed:
            break
        kills += 1
    assert kills > 8
    assert seen == {3, 2}
