"""A backup is what a node has committed, wherever a run is interrupted and however the log is cut."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from msgspec.structs import replace

from atm.admin import backup_taking
from atm.admin.backup_rebuild import index_at, line_to, rebuild
from atm.server.clients.backup_reader import BackupReader
from atm.storage import backup_folder
from atm.storage.backup_folder import BackupFolder, BackupRefused
from atm.wire.backup_messages import BackupData, BackupEntries
from atm.wire.client_messages import ErrorReply
from tests.support.backups import StoryNode, admin, replayed, story_entries
from tests.support.entries import time_us
from tests.support.ledgers import tables

STORY = story_entries()
LAST = len(STORY)


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
    assert "Nothing is new: the log of node n1 ends at entry 25, too" in capsys.readouterr().out
    node.append(STORY[25:])
    assert admin("backup", tmp_path / "b", "--config", node.config, "--verify") == 0
    assert pieces(tmp_path / "b") == ["entries-1-25.bin", f"entries-26-{LAST}.bin"]
    again = rebuilt(tmp_path / "b", LAST, tmp_path / "again.db")
    assert tables(again) == tables(node.folder / "ledger.db")


@pytest.mark.parametrize("index", range(1, len(STORY) + 1))
def test_every_index_can_be_rebuilt(tmp_path: Path, index: int) -> None:
    with StoryNode(tmp_path / "bank", STORY[:25]) as node:
        admin("backup", tmp_path / "b", "--config", node.config)
        node.append(STORY[25:])
        admin("backup", tmp_path / "b", "--config", node.config)
    again = rebuilt(tmp_path / "b", index, tmp_path / "again.db")
    assert tables(again) == tables(replayed(STORY[:index], tmp_path / "replayed.db"))


# -- a log that was cut ------------------------------------------------------------------------------------


def test_a_node_whose_log_was_cut_gives_its_snapshot_and_what_came_after(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with StoryNode(tmp_path / "bank", STORY[:25]) as node:
        assert node.take_snapshot() == 25
        node.append(STORY[25:])
        assert admin("backup", tmp_path / "b", "--config", node.config, "--verify") == 0
        assert pieces(tmp_path / "b") == ["snapshot-25.db", f"entries-26-{LAST}.bin"]
        for index in range(25, LAST + 1):
            again = rebuilt(tmp_path / "b", index, tmp_path / f"again{index}.db")
            assert tables(again) == tables(replayed(STORY[:index], tmp_path / f"{index}.db"))
    with pytest.raises(BackupRefused, match=f"cannot restore entry 24. It covers log entries 25 to {LAST}"):
        rebuilt(tmp_path / "b", 24, tmp_path / "again.db")


def test_backups_before_and_behind_a_cut_add_up(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    backup = tmp_path / "b"
    with StoryNode(tmp_path / "bank", STORY[:20]) as node:
        assert admin("backup", backup, "--config", node.config) == 0
        node.take_snapshot()  # all that it cuts off is in the backup already
        node.append(STORY[20:30])
        assert admin("backup", backup, "--config", node.config, "--verify") == 0
        assert pieces(backup) == ["entries-1-20.bin", "entries-21-30.bin"]
        node.append(STORY[30:35])
        node.take_snapshot()  # and now it is not
        node.append(STORY[35:])
        assert admin("backup", backup, "--config", node.config, "--verify") == 0
        assert "Entries 31 to 34 are in no log any more" in capsys.readouterr().err
        assert pieces(backup)[2:] == ["snapshot-35.db", f"entries-36-{LAST}.bin"]
    for index in (*range(1, 31), *range(35, LAST + 1)):
        again = rebuilt(backup, index, tmp_path / f"again{index}.db")
        assert tables(again) == tables(replayed(STORY[:index], tmp_path / f"{index}.db")), index
    with pytest.raises(BackupRefused, match=f"restore entry 31. It covers log entries 1 to 30, 35 to {LAST}"):
        rebuilt(backup, 31, tmp_path / "again.db")


def test_a_time_within_a_gap_is_refused_and_the_two_sides_are_named(tmp_path: Path) -> None:
    with StoryNode(tmp_path / "bank", STORY[:30]) as node:
        assert admin("backup", tmp_path / "b", "--config", node.config) == 0
        node.append(STORY[30:35])
        node.take_snapshot()
        node.append(STORY[35:])
        assert admin("backup", tmp_path / "b", "--config", node.config) == 0
    with closing(BackupFolder(tmp_path / "b")) as folder:
        assert [index_at(folder, time_us(index)) for index in (29, 30, 35, 36)] == [29, 30, 35, 36]
        assert index_at(folder, time_us(36) - 1) == 35
        for inside in (time_us(30) + 1, time_us(33), time_us(35) - 1):
            with pytest.raises(BackupRefused, match=r"has a gap at .*: name --to-index 30 or 35"):
                index_at(folder, inside)


def test_a_backup_from_a_minority_says_so_and_does_not_end_with_0(
    node: StoryNode, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    silent = "".join(f"\n[node n{n}]\nclient = 127.0.0.1:{n}\npeer = 127.0.0.1:1{n}\n" for n in (2, 3))
    node.config.write_text(node.config.read_text() + silent)
    assert admin("backup", tmp_path / "b", "--config", node.config, "--verify") == 3
    said = capsys.readouterr().out
    assert "ONLY A MINORITY of the nodes answered (missing: n2, n3)" in said
    assert pieces(tmp_path / "b") == ["entries-1-25.bin"], "what there is was taken all the same"


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
            (backup_taking.Node, "chunk"),
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
@pytest.mark.parametrize("is_cut", [False, True])
def test_a_run_that_is_killed_anywhere_is_simply_repeated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, torn_bytes: int, is_cut: bool
) -> None:
    monkeypatch.setattr("atm.server.clients.backup_reader.BACKUP_DATA_BYTES_MAX", 10_000 if is_cut else 300)
    countdown = Countdown(monkeypatch)
    with StoryNode(tmp_path / "bank", STORY[:20]) as node:
        assert admin("backup", tmp_path / "first", "--config", node.config) == 0
        node.append(STORY[20:30])
        if is_cut:
            node.take_snapshot()
        node.append(STORY[30:])
        kills = 0
        while True:
            backup = shutil.copytree(tmp_path / "first", tmp_path / f"b{kills}")
            countdown.left = kills
            try:
                admin("backup", backup, "--config", node.config)
            except Killed:
                countdown.left = 10**9
                for part in backup.glob("*.part*"):
                    tear(part, torn_bytes)
            else:
                break
            assert pieces(backup)[0] == "entries-1-20.bin"
            assert admin("backup", backup, "--config", node.config, "--verify") == 0
            again = rebuilt(backup, LAST, tmp_path / f"again{kills}.db")
            assert tables(again) == tables(node.folder / "ledger.db")
            listed = {*pieces(backup), "backup.json"}
            assert {path.name for path in backup.iterdir()} == listed, "something was left over"
            kills += 1
    assert kills > (20 if is_cut else 8)


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


def test_a_bit_that_flips_on_the_way_is_noticed(
    node: StoryNode, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """In the name of an account: it would be an entry like any other."""
    sent = BackupReader._entries
    spoilt = STORY[6].data.replace(b"bob", b"boc")
    assert spoilt != STORY[6].data

    def send(reader: BackupReader, request: BackupEntries) -> BackupData | ErrorReply:
        reply = sent(reader, request)
        assert isinstance(reply, BackupData)
        return replace(reply, data=reply.data.replace(STORY[6].data, spoilt))

    monkeypatch.setattr(BackupReader, "_entries", send)
    assert admin("backup", tmp_path / "b", "--config", node.config) == 3
    assert "what it sent is damaged: a record there is damaged" in capsys.readouterr().err
    monkeypatch.setattr(BackupReader, "_entries", sent)
    assert admin("backup", tmp_path / "b", "--config", node.config, "--verify") == 0


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
