"""The secret of the PINs is in a backup only encrypted, and otherwise named as missing."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from atm.admin import backup_pepper
from atm.config import load
from atm.ledger.commands import LevelRaise, RotatePepper
from atm.local_cluster import write_cluster_ini_for
from atm.raft import Entry, EntryKind
from atm.server.security.peppers import add_pepper, new_peppers, read_peppers
from atm.storage.data_folder import DataFolder
from atm.wire.codec import encode
from atm.wire.log_entries import command_data
from tests.support.backups import StoryNode, admin, story_entries

STORY = story_entries()


@pytest.fixture
def pepper(tmp_path: Path) -> Path:
    path = tmp_path / "pepper.key"
    path.write_bytes(new_peppers().contents())
    return path


@pytest.fixture
def passphrase(tmp_path: Path) -> Path:
    path = tmp_path / "passphrase"
    path.write_text("correct horse battery\nnot this line\n")
    return path


@pytest.fixture
def node(tmp_path: Path, pepper: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[StoryNode]:
    monkeypatch.setattr(backup_pepper, "SCRYPT_N", 2**4)  # as slow as it should be it is tried once, below
    name = read_peppers(pepper).names[0]
    with StoryNode(tmp_path / "bank", STORY, pepper=name) as node:
        yield node


@pytest.fixture
def new_ini(tmp_path: Path) -> Path:
    (tmp_path / "new").mkdir()
    return write_cluster_ini_for(tmp_path / "new", ["a"])


def files(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def sealed(folder: Path) -> Path:
    (path,) = folder.glob("pepper-*.sealed")
    return path


def test_it_comes_back_with_the_passphrase_only(
    node: StoryNode,
    tmp_path: Path,
    pepper: Path,
    passphrase: Path,
    new_ini: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    backup = tmp_path / "b"
    words = ("backup", backup, "--config", node.config, "--pepper", pepper)
    assert admin(*words) == 2
    assert "--pepper needs --passphrase-file" in capsys.readouterr().err
    assert admin(*words, "--passphrase-file", passphrase, "--verify") == 0
    secret = pepper.read_text().strip()
    for path in backup.iterdir():
        assert secret.encode() not in path.read_bytes()
        assert bytes.fromhex(secret) not in path.read_bytes()
    restoring = ("restore", backup, "--config", new_ini)
    (tmp_path / "wrong").write_text("incorrect horse battery")
    assert admin(*restoring, "--passphrase-file", tmp_path / "wrong") == 1
    assert "the passphrase is not the one" in capsys.readouterr().err
    assert files(new_ini.parent) == {"cluster.ini"}
    assert admin(*restoring, "--passphrase-file", passphrase, "--preview") == 0
    assert files(new_ini.parent) == {"cluster.ini"}
    assert admin(*restoring, "--passphrase-file", passphrase) == 0
    restored = load(new_ini).pepper_file
    assert restored.read_text().strip() == secret
    assert restored.stat().st_mode & 0o777 == 0o600


def test_a_later_backup_keeps_it_and_another_secret_is_refused(
    node: StoryNode, tmp_path: Path, pepper: Path, passphrase: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    backup = tmp_path / "b"
    words = ("backup", backup, "--config", node.config)
    sealing = ("--pepper", pepper, "--passphrase-file", passphrase)
    assert admin(*words, *sealing) == 0
    first = sealed(backup)
    assert admin(*words, "--verify") == 0
    assert sealed(backup) == first
    assert admin(*words, *sealing) == 0
    assert sealed(backup) != first, "a new salt; and the old file is gone"
    pepper.write_bytes(new_peppers().contents())
    assert admin(*words, *sealing) == 1
    assert "is not the secret that this bank's PINs are sealed with" in capsys.readouterr().err
    content = bytearray(sealed(backup).read_bytes())
    content[secrets.randbelow(len(content))] ^= 1
    sealed(backup).write_bytes(content)
    assert admin(*words, "--verify") == 1
    assert f"{sealed(backup).name} is damaged" in capsys.readouterr().err


def test_without_it_the_restore_says_that_it_is_missing(
    node: StoryNode, tmp_path: Path, pepper: Path, new_ini: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    backup, cluster = tmp_path / "b", load(new_ini)
    restoring = ("restore", backup, "--config", new_ini)
    assert admin("backup", backup, "--config", node.config) == 0
    cluster.data_dir.mkdir()
    cluster.pepper_file.parent.mkdir()
    cluster.pepper_file.touch(mode=0o600)
    cluster.pepper_file.write_bytes(new_peppers().contents())
    assert admin(*restoring) == 1
    assert "is another secret than the one" in capsys.readouterr().err
    assert files(cluster.data_dir) == set()
    cluster.pepper_file.unlink()
    assert admin(*restoring, "--preview") == 0
    assert (
        f"MISSING: the PINs' secret is not in this backup. Put it at {cluster.pepper_file}"
        in capsys.readouterr().out
    )
    cluster.pepper_file.touch(mode=0o600)
    cluster.pepper_file.write_bytes(pepper.read_bytes())
    assert admin(*restoring) == 0
    assert f"The PINs' secret is in {cluster.pepper_file}" in capsys.readouterr().out
    with closing(DataFolder(cluster, "a")) as folder:
        assert folder.owner.pepper == read_peppers(pepper).names[0]


def test_a_bank_whose_secret_is_lost_can_be_restored_all_the_same(
    node: StoryNode, tmp_path: Path, new_ini: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert admin("backup", tmp_path / "b", "--config", node.config) == 0
    assert admin("restore", tmp_path / "b", "--config", new_ini, "--without-pepper") == 0
    assert "no customer's PIN is right" in capsys.readouterr().out
    with closing(DataFolder(load(new_ini), "a")) as folder:
        assert folder.owner.pepper is None


def test_without_the_package_it_is_named_and_nothing_else_is_lost(
    node: StoryNode,
    tmp_path: Path,
    pepper: Path,
    passphrase: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(backup_pepper, "fernet", None)
    words = ("backup", tmp_path / "b", "--config", node.config)
    assert admin(*words, "--pepper", pepper, "--passphrase-file", passphrase) == 1
    assert "pip install 'atm-raft[backup]'" in capsys.readouterr().err
    assert admin(*words, "--verify") == 0


def test_a_short_passphrase_is_refused(
    node: StoryNode, tmp_path: Path, pepper: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "short").write_text("hunter2\n" + "x" * 50)
    words = ("backup", tmp_path / "b", "--config", node.config, "--pepper", pepper)
    assert admin(*words, "--passphrase-file", tmp_path / "short") == 1
    assert "too short: 12 characters at least" in capsys.readouterr().err


def test_a_try_at_the_passphrase_is_slow() -> None:
    assert backup_pepper.SCRYPT_N * backup_pepper.SCRYPT_R >= 2**19


def test_a_file_without_the_current_pepper_is_not_kept_and_all_lines_come_back(
    node: StoryNode,
    tmp_path: Path,
    pepper: Path,
    passphrase: Path,
    new_ini: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    backup, old = tmp_path / "b", pepper.read_bytes()
    words = ("backup", backup, "--config", node.config, "--pepper", pepper, "--passphrase-file", passphrase)
    names = add_pepper(pepper).names
    rotate = command_data("local", encode(RotatePepper(id="r", generation=2, pepper=names[1])))
    last = STORY[-1]
    node.append(
        [
            Entry(
                index=last.index + place, term=last.term, time_us=last.time_us + place, kind=kind, data=data
            )
            for place, (kind, data) in enumerate(
                [(EntryKind.FEATURE_LEVEL, encode(LevelRaise(2))), (EntryKind.COMMAND, rotate)], 1
            )
        ]
    )
    new = pepper.read_bytes()
    pepper.write_bytes(old)
    assert admin(*words) == 1
    assert "is not the secret that this bank's PINs are sealed with" in capsys.readouterr().err
    pepper.write_bytes(new)
    assert admin(*words) == 0
    assert admin("restore", backup, "--config", new_ini, "--passphrase-file", passphrase) == 0
    assert load(new_ini).pepper_file.read_bytes() == new
