"""A backup is what a node has committed, wherever a run is interrupted and however the log is cut."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from atm.admin import backup_taking
from atm.admin.backup_rebuild import line_to, rebuild
from atm.storage import backup_folder
from atm.storage.backup_folder import BackupFolder, BackupRefused
from tests.support.backups import StoryNode, admin, replayed, story_entries
from tests.support.ledgers import tables

STORY = story_entries()


@pytest.fixture
def node(tmp_path: Path) -> Iterator[StoryNode]:
    with StoryNode(tmp_path / "bank", STORY[:25]) as node:
        yield node


def rebuilt(backup: Path, index: int, path: Path) -> Path:
    """Return the ledger at `index`, rebuilt from the backup."""
    with closing(BackupFolder(backup)) as folder:
        assert rebuild(folder, line_to(folder, index)[1], index, path).index == index
    return path


def pieces(backup: Path) -> list[str]:
    with closing(BackupFolder(backup)) as folder:
        assert folder.manifest is not None
        return [piece.file for piece in folder.manifest.pieces]


def test_a_backup_rebuilds_the_ledger_row_by_row(node: StoryNode, tmp_path: Path) -> None:
    assert admin("backup", tmp_path / "b", "--config", node.config, "--verify") == 0
    assert tables(rebuilt(tmp_path / "b", 25, tmp_path / "again.db")) == tables(node.folder / "ledger.db")


def test_a_later_backup_adds_only_what_is_new(
    node: StoryNode, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert admin("backup", tmp_path / "b", "--config", node.config) == 0
    assert admin("backup", tmp_path / "b", "--config", node.config) == 0
    assert "Nothing is new: node n1 has nothing behind entry 25 either" in capsys.readouterr().out
    node.append(STORY[25:])
    assert admin("backup", tmp_path / "b", "--config", node.config, "--verify") == 0
    assert pieces(tmp_path / "b") == ["entries-1-25.bin", f"entries-26-{len(STORY)}.bin"]
    again = rebuilt(tmp_path / "b", len(STORY), tmp_path / "again.db")
    assert tables(again) == tables(node.folder / "ledger.db")


@pytest.mark.parametrize("index", range(1, len(STORY) + 1))
def test_every_index_can_be_rebuilt(tmp_path: Path, index: int) -> None:
    with StoryNode(tmp_path / "bank", STORY[:25]) as node:
        admin("backup", tmp_path / "b", "--config", node.config)
        node.append(STORY[25:])
        admin("backup", tmp_path / "b", "--config", node.config)
    again = rebuilt(tmp_path / "b", index, tmp_path / "again.db")
    assert tables(again) == tables(replayed(STORY[:index], tmp_path / "replayed.db"))


# -- interruptions -----------------------------------------------------------------------------------------


class Killed(BaseException):
    """The run ended at once."""


class Countdown:
    """Ends the run at the n-th of the effects that it watches, before that takes place."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.left = 10**9
        for module, name in (
            (backup_taking.Node, "begin"),
            (backup_taking.Node, "entries"),
            (backup_taking, "rename_durably"),
            (backup_taking, "sha256_of"),
            (os, "fsync"),
            (backup_folder, "write_durably"),
            (backup_folder.BackupFolder, "remove_unlisted"),
        ):
            monkeypatch.setattr(module, name, self._watched(getattr(module, name)))

    def _watched(self, effect: object) -> object:
        def wrapped(*arguments: object, **named: object) -> object:
            self.left -= 1
            if self.left < 0:
                raise Killed
            return effect(*arguments, **named)  # type: ignore[operator]

        return wrapped


@pytest.mark.parametrize("torn_bytes", [0, 1, 37])
def test_a_run_that_is_killed_anywhere_is_simply_repeated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, torn_bytes: int
) -> None:
    monkeypatch.setattr("atm.server.clients.backup_reader.BACKUP_DATA_BYTES_MAX", 300)
    countdown = Countdown(monkeypatch)
    kills = 0
    while True:
        backup = tmp_path / f"b{kills}"
        with StoryNode(tmp_path / f"bank{kills}", STORY[:25]) as node:
            admin("backup", backup, "--config", node.config)
            node.append(STORY[25:])
            countdown.left = kills
            try:
                admin("backup", backup, "--config", node.config)
            except Killed:
                countdown.left = 10**9
                tear(backup / "entries.part", torn_bytes)
            else:
                break
            assert pieces(backup)[0] == "entries-1-25.bin"
            assert admin("backup", backup, "--config", node.config, "--verify") == 0
            again = rebuilt(backup, len(STORY), tmp_path / f"again{kills}.db")
            assert tables(again) == tables(node.folder / "ledger.db")
            listed = {*pieces(backup), "backup.json"}
            assert {path.name for path in backup.iterdir()} == listed, "something was left over"
        kills += 1
    assert kills > 8


def tear(path: Path, count: int) -> None:
    """Cut the last bytes off, as a kill within a write does."""
    if path.exists():
        content = path.read_bytes()
        path.write_bytes(content[: max(0, len(content) - count)])


def test_what_had_arrived_is_not_asked_for_again(
    node: StoryNode, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("atm.server.clients.backup_reader.BACKUP_DATA_BYTES_MAX", 1)  # an entry a reply
    countdown = Countdown(monkeypatch)
    countdown.left = 2 + 20  # the folder, the beginning and 20 entries
    with pytest.raises(Killed):
        admin("backup", tmp_path / "b", "--config", node.config)
    countdown.left = 10**9
    node.requests.clear()
    assert admin("backup", tmp_path / "b", "--config", node.config, "--verify") == 0
    assert node.requests.count("backup_entries") == 5


# -- refusals ----------------------------------------------------------------------------------------------


def test_a_job_that_took_nothing_does_not_end_with_0(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with StoryNode(tmp_path / "bank", STORY) as node:
        pass
    assert admin("backup", tmp_path / "b", "--config", node.config) == 3
    assert "nothing was taken: no node answered" in capsys.readouterr().err
    assert not (tmp_path / "b" / "backup.json").exists()


def test_a_folder_of_another_bank_is_refused(
    node: StoryNode, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    admin("backup", tmp_path / "b", "--config", node.config)
    before = (tmp_path / "b" / "backup.json").read_bytes()
    with StoryNode(tmp_path / "other", story_entries("d" * 32)) as other:
        assert admin("backup", tmp_path / "b", "--config", other.config) == 1
    assert "name another folder" in capsys.readouterr().err
    assert (tmp_path / "b" / "backup.json").read_bytes() == before


def test_a_folder_with_other_files_is_refused(
    node: StoryNode, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "holiday.jpg").write_bytes(b"")
    assert admin("backup", tmp_path / "b", "--config", node.config) == 1
    assert "holds holiday.jpg, and no backup" in capsys.readouterr().err
    assert [path.name for path in (tmp_path / "b").iterdir()] == ["holiday.jpg"]


def test_two_runs_do_not_write_one_backup(node: StoryNode, tmp_path: Path) -> None:
    with closing(BackupFolder(tmp_path / "b", write=True)):
        assert admin("backup", tmp_path / "b", "--config", node.config) == 1
        with pytest.raises(BackupRefused, match="in use"):
            BackupFolder(tmp_path / "b", write=True)
