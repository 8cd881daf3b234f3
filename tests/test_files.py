"""Durable files: in which order the system is asked, and what a failure at any of its calls leaves."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from atm.files import create_durably, make_folder, sync_folder, write_and_sync, write_durably
from tests.support.synced import Synced

CALLS = ("open", "write", "fsync", "replace", "link", "unlink", "mkdir")


class Calls:
    """Notes each call that reaches the system, a name each; fails the one of number `fails_at`."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, fails_at: int | None = None) -> None:
        self.made: list[str] = []
        self._fails_at = fails_at
        self._paths: dict[int, str] = {}
        for name in CALLS:
            monkeypatch.setattr(os, name, self._noting(name, getattr(os, name)))

    def _noting(self, name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        def noted(first: Any, *others: Any, **options: Any) -> Any:
            if self._fails_at == len(self.made):
                self._fails_at = None
                raise OSError(f"planned: {name}")
            known = self._paths.get(first, "?") if isinstance(first, int) else Path(first).name
            self.made.append(f"{name} {known}")
            result = call(first, *others, **options)
            if name == "open":
                self._paths[result] = known
            return result

        return noted


# -- in place of what was there ----------------------------------------------------------------------------


def test_bytes_are_synced_before_they_have_their_name_and_the_name_before_the_return(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    with monkeypatch.context() as patch:
        calls = Calls(patch)
        write_durably(folder / "a", b"new")
    assert calls.made == [
        "open a.new",
        "write a.new",
        "fsync a.new",
        "replace a.new",
        "open folder",
        "fsync folder",
    ]
    assert (folder / "a").read_bytes() == b"new"


def test_what_is_written_survives_a_power_cut(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced = Synced(monkeypatch)
    for content in (b"first", b"second"):
        write_durably(tmp_path / "a", content)
        assert synced.survives(tmp_path / "a", tmp_path)
    create_durably(tmp_path / "b", b"only", mode=0o600)
    assert synced.survives(tmp_path / "b", tmp_path)
    assert synced.named_too_early == []


def test_a_failure_at_any_call_leaves_the_old_content_or_the_new(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a"
    left: list[bytes] = []
    for fails_at in range(6):
        path.write_bytes(b"old")
        with monkeypatch.context() as patch:
            Calls(patch, fails_at)
            with pytest.raises(OSError, match="planned"):
                write_durably(path, b"new")
        left.append(path.read_bytes())
        write_durably(path, b"later")
        assert path.read_bytes() == b"later", "what a failure left is in no one's way"
    assert left == [b"old"] * 4 + [b"new"] * 2


def test_a_write_that_takes_only_a_part_is_gone_on_with(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = os.write
    with monkeypatch.context() as patch:
        patch.setattr(os, "write", lambda file, data: write(file, data[:2]))
        write_durably(tmp_path / "a", b"12345")
    assert (tmp_path / "a").read_bytes() == b"12345"


def test_write_and_sync_goes_on_where_the_file_is(tmp_path: Path) -> None:
    descriptor = os.open(tmp_path / "a", os.O_WRONLY | os.O_CREAT, 0o600)
    try:
        write_and_sync(descriptor, b"ab")
        write_and_sync(descriptor, b"c")
    finally:
        os.close(descriptor)
    assert (tmp_path / "a").read_bytes() == b"abc"


# -- made once ---------------------------------------------------------------------------------------------


def test_a_file_is_created_under_another_name_synced_linked_and_its_folder_synced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = Calls(monkeypatch)
    create_durably(tmp_path / "a", b"whole", mode=0o600)
    made = [call.split()[0] for call in calls.made]
    assert made == ["open", "write", "fsync", "link", "unlink", "open", "fsync"]


def test_a_file_is_created_once_by_many_at_once_and_whole_in_every_sight(tmp_path: Path) -> None:
    path, count = tmp_path / "a", 8
    contents = [bytes([65 + number]) * 1000 for number in range(count)]

    def create(content: bytes) -> bytes:
        create_durably(path, content, mode=0o600)
        return path.read_bytes()

    with ThreadPoolExecutor(count) as pool:
        seen = set(pool.map(create, contents))
    assert len(seen) == 1
    assert seen <= set(contents)
    assert [file.name for file in tmp_path.iterdir()] == ["a"]


def test_a_file_that_is_there_is_left_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"first")
    create_durably(tmp_path / "a", b"second", mode=0o600)
    assert (tmp_path / "a").read_bytes() == b"first"


def test_a_creation_that_fails_at_any_call_leaves_nothing_or_the_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a"
    left: list[list[bytes]] = []
    for fails_at in range(7):
        with monkeypatch.context() as patch:
            Calls(patch, fails_at)
            with pytest.raises(OSError, match="planned"):
                create_durably(path, b"whole", mode=0o600)
        left.append([file.read_bytes() for file in tmp_path.glob("a")])
        for file in tmp_path.iterdir():
            file.unlink()
    assert left == [[]] * 4 + [[b"whole"]] * 3


def test_a_created_file_has_its_mode_from_the_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    modes: list[int] = []
    link = os.link

    def look(unfinished: Path, path: Path) -> None:
        modes.append(stat.S_IMODE(unfinished.stat().st_mode))
        link(unfinished, path)

    monkeypatch.setattr(os, "link", look)
    create_durably(tmp_path / "a", b"secret", mode=0o600)
    assert modes == [0o600]
    assert stat.S_IMODE((tmp_path / "a").stat().st_mode) == 0o600


# -- folders -----------------------------------------------------------------------------------------------


def test_folders_above_are_durable_and_the_folder_itself_once_its_parent_is_synced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced = Synced(monkeypatch)
    folder = tmp_path / "one" / "two" / "three"
    make_folder(folder)
    assert synced.survives(folder.parent, tmp_path)
    assert not synced.survives(folder, tmp_path)
    sync_folder(folder.parent)
    assert synced.survives(folder, tmp_path)


def test_a_folder_that_is_there_is_left_as_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = Calls(monkeypatch)
    make_folder(tmp_path)
    assert calls.made == []


def test_a_file_in_the_folders_place_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match="file"):
        make_folder(tmp_path / "file" / "folder")
