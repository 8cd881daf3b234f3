"""What is in wheel and sdist, and that the installed commands run where there is no checkout."""

from __future__ import annotations

import sys
import sysconfig
from email import message_from_bytes
from pathlib import Path

import pytest

from atm.version import RELEASE
from tests.installed.building import ROOT, Distributions, build, files_of_sdist, files_of_wheel
from tests.installed.trial import Installation

INFO = f"atm_raft-{RELEASE}.dist-info"


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Distributions:
    return build(tmp_path_factory.mktemp("built"))


def test_the_wheel_is_the_package_and_its_data_and_nothing_else(built: Distributions) -> None:
    files = files_of_wheel(built.wheel)
    package = {str(path.relative_to(ROOT)) for path in (ROOT / "atm").rglob("*") if path.is_file()}
    package = {path for path in package if "__pycache__" not in path} | {"atm/learn/sources.zip"}
    assert {path for path in files if not path.startswith(INFO)} == package
    assert {"atm/py.typed", "atm/ledger/schema.sql", "atm/admin/cluster.ini"} <= package
    assert files["atm/admin/cluster.ini"] == (ROOT / "cluster.ini").read_bytes()
    assert files[f"{INFO}/licenses/LICENSE"] == (ROOT / "LICENSE").read_bytes()


def test_its_metadata_say_what_it_is(built: Distributions) -> None:
    told = message_from_bytes(files_of_wheel(built.wheel)[f"{INFO}/METADATA"])
    assert (told["Name"], told["Version"], told["License-Expression"]) == ("atm-raft", RELEASE, "MIT")
    assert (told["Requires-Python"], told["Description-Content-Type"]) == (">=3.11", "text/markdown")
    assert all(told[key] for key in ("Summary", "Author", "Keywords"))
    assert "Typing :: Typed" in told.get_all("Classifier", [])
    description = told.get_payload(decode=True)
    assert isinstance(description, bytes)
    assert description.strip() == (ROOT / "README.md").read_bytes().strip()


def test_the_sdist_is_the_whole_checkout(built: Distributions) -> None:
    source = {str(path.relative_to(built.source)) for path in built.source.rglob("*") if path.is_file()}
    of_the_build = ("atm_raft.egg-info", "build", "PKG-INFO", "setup.cfg")
    found = files_of_sdist(built.sdist)
    assert {path for path in source ^ found if path.split("/")[0] not in of_the_build} == set()
    assert {"bin/set_up", "cluster.ini", "tests/conftest.py", "requirements/run.txt"} <= found


def test_the_wheel_that_is_built_from_the_sdist_is_the_same(built: Distributions) -> None:
    assert files_of_wheel(built.wheel_of_sdist) == files_of_wheel(built.wheel)


def test_the_installed_commands_run_where_there_is_no_checkout(built: Distributions, tmp_path: Path) -> None:
    installation = Installation(sys.executable, tmp_path / "installation")
    installation.pip("install", "--no-index", "--no-deps", str(built.wheel))
    # The packages that it needs are those of the tests; the checkout that is among them is not found so.
    packages = installation.site_packages() / "packages.pth"
    packages.write_text(sysconfig.get_path("purelib") + "\n", encoding="utf-8")
    installation.try_all()
