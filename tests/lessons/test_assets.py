"""Bringing what /learn needs, and packing what it runs; nothing here uses a network."""

from __future__ import annotations

import io
import tarfile
import zipfile
from pathlib import Path

import pytest

from atm.learn import assets, bundle, fetch


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv(assets.FOLDER_VARIABLE, str(tmp_path / "cache"))
    return assets.assets_folder()


def archive_of(folder: Path, contents: dict[str, bytes]) -> None:
    with tarfile.open(folder / f"pyodide-{assets.PYODIDE_VERSION}.tgz", "w:gz") as tar:
        for name, content in contents.items():
            info = tarfile.TarInfo(f"package/{name}")
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))


def test_a_file_with_other_contents_is_not_kept(
    cache: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    archive_of(tmp_path, {asset.name: b"something else" for asset in assets.PYODIDE.assets})
    assert fetch.main(["--from", str(tmp_path)]) == fetch.NOT_AVAILABLE
    error = capsys.readouterr().err
    assert "has the SHA-256" in error
    assert error.count("\n") == 1
    assert [path for path in cache.iterdir() if path.is_file()] == []


def test_what_is_not_in_the_folder_is_named(
    cache: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert fetch.main(["--from", str(tmp_path)]) == fetch.NOT_AVAILABLE
    assert f"pyodide-{assets.PYODIDE_VERSION}.tgz is not there" in capsys.readouterr().err
    assert assets.missing(cache) == list(assets.ASSETS)


def test_an_archive_without_a_file_is_refused(
    cache: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    archive_of(tmp_path, {"package.json": b"{}"})
    assert fetch.main(["--from", str(tmp_path)]) == fetch.NOT_AVAILABLE
    assert "has no file pyodide.mjs" in capsys.readouterr().err
    assert assets.missing(cache) == list(assets.ASSETS)


def test_without_npm_it_says_what_to_install(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    with pytest.raises(fetch.NotFetched, match=r"npm was not found.*install Node\.js"):
        fetch.fetch()
    assert assets.missing(cache) == list(assets.ASSETS)


def test_what_is_whole_is_not_brought_again(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetch, "damaged", lambda folder: [])
    monkeypatch.setattr(fetch, "missing", lambda folder: [])
    monkeypatch.setenv("PATH", "")
    assert fetch.fetch() == cache


def test_a_damaged_file_is_brought_anew(cache: Path) -> None:
    cache.mkdir(parents=True)
    asset = next(iter(assets.ASSETS.values()))
    (cache / asset.name).write_bytes(b"x" * asset.size)
    assert asset.name not in assets.missing(cache)
    assert list(assets.damaged(cache)) == [asset.name]


def test_equal_sources_make_equal_archives_with_all_that_runs() -> None:
    packed = bundle.current()
    assert packed == bundle.current()
    names = set(zipfile.ZipFile(io.BytesIO(packed)).namelist())
    assert {"lessons/boot.py", "lessons/browser.py", "atm/raft/raft.py", "atm/ledger/schema.sql"} <= names
    assert {"tests/simulation/world.py", "tests/mutants/catalogue.py", "bin/start_node"} <= names
    assert not any("__pycache__" in name or name.rpartition("/")[2].startswith("test_") for name in names)
