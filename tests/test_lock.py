"""The lock files of the set-up agree with setup.py, with each other and with what is installed here."""

from __future__ import annotations

import json
import os
import re
import runpy
import subprocess
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parent.parent
REQUIREMENTS = ROOT / "requirements"
LOCK: dict[str, Any] = runpy.run_path(str(REQUIREMENTS / "lock.py"))
LEVELS: dict[str, tuple[str, ...]] = LOCK["LEVELS"]
DECLARED: dict[str, list[str]] = LOCK["declared"]()
PIN = re.compile(r"([a-z0-9-]+)==([0-9][0-9a-z.]*)(?: ; (.*?))? \\")
HASH = re.compile(r"    --hash=sha256:[0-9a-f]{64}(?: \\)?")


def lines(level: str) -> list[str]:
    return (REQUIREMENTS / f"{level}.txt").read_text(encoding="utf-8").splitlines()


def pins(level: str) -> list[tuple[str, str, str]]:
    """Return name, version and marker of each package."""
    found = [PIN.fullmatch(line) for line in lines(level)]
    return [(match[1], match[2], match[3] or "") for match in found if match is not None]


def normalized(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def numbers(version: str) -> list[int]:
    return [int(number) for number in re.findall(r"\d+", version)]


def test_there_is_one_for_each_kind_of_set_up() -> None:
    assert {path.stem for path in REQUIREMENTS.glob("*.txt")} == set(LEVELS)
    levels = re.findall(
        r"^        (\w+)\) extras='(?:\[([\w,]+)\])?'", (ROOT / "bin/set_up").read_text(), re.M
    )
    assert {name: tuple(filter(None, extras.split(","))) for name, extras in levels} == LEVELS


@pytest.mark.parametrize("level", LEVELS)
def test_it_was_written_from_the_requirements_that_setup_py_has_now(level: str) -> None:
    """If this fails: bin/lock."""
    assert lines(level)[0] + "\n" == LOCK["HEADER"].format(digest=LOCK["digest_of"](DECLARED))


@pytest.mark.parametrize("level", LEVELS)
def test_all_that_is_required_is_locked_in_a_version_that_is_allowed(level: str) -> None:
    locked = {name: version for name, version, _ in pins(level)}
    for extra in ("", "build", *LEVELS[level]):
        for requirement in DECLARED[extra]:
            match = re.match(r"([\w-]+)(?:\[\w+\])?>=([\d.]+)", requirement)
            assert match is not None, requirement
            name = normalized(match[1])
            assert numbers(locked[name]) >= numbers(match[2]), requirement


@pytest.mark.parametrize("level", LEVELS)
def test_each_package_has_hashes_and_no_line_says_anything_else(level: str) -> None:
    """No host of an index either: each machine has its own."""
    seen_hashes = 1
    for line in lines(level)[1:]:
        if PIN.fullmatch(line):
            assert seen_hashes, "the package before has a hash"
            seen_hashes = 0
        else:
            assert HASH.fullmatch(line), line
            seen_hashes += 1
    assert seen_hashes


def test_all_files_have_the_same_versions() -> None:
    versions: dict[tuple[str, str], set[str]] = {}
    for level in LEVELS:
        for name, version, marker in pins(level):
            pythons = "".join(re.findall(r"python_full_version [<>=]+ '[\d.]+'", marker))
            versions.setdefault((name, pythons), set()).add(version)
    assert {key: found for key, found in versions.items() if len(found) > 1} == {}


@pytest.mark.skipif(
    "ATM_UNLOCKED" in os.environ, reason="NOT TESTED: ATM_UNLOCKED, so other versions are installed"
)
def test_what_is_installed_here_is_what_is_locked() -> None:
    locked: dict[str, set[str]] = {}
    for name, version, _ in pins("test"):
        locked.setdefault(name, set()).add(version)
    for name, versions in locked.items():
        try:
            installed = metadata.version(name)
        except metadata.PackageNotFoundError:  # for other systems
            continue
        assert installed in versions, f"{name}: bin/set_up, or ATM_UNLOCKED=1 if it is meant to be so"


# -- known holes -------------------------------------------------------------------------------------------

APSW = {"name": "apsw", "version": "3.54.1.0", "vulns": []}
HOLE = {"id": "PYSEC-2026-1", "fix_versions": ["3.54.2.0"]}
UNKNOWN = {"name": "wcwidth", "skip_reason": "not found"}


@pytest.mark.parametrize(
    ("answer", "code", "says"),
    [
        ([APSW], 0, "No known hole in 1 locked packages\n"),
        (
            [APSW | {"vulns": [HOLE]}, UNKNOWN],
            1,
            "apsw 3.54.1.0 has a known hole, PYSEC-2026-1, mended in 3.54.2.0: bin/lock\n"
            "ADVISORIES WERE NOT CHECKED for wcwidth: the index does not know them\n",
        ),
        ([UNKNOWN], 0, "ADVISORIES WERE NOT CHECKED for wcwidth: the index does not know them\n"),
        (None, 0, "ADVISORIES WERE NOT CHECKED: no route to host\n"),
    ],
)
def test_a_known_hole_is_refused_and_an_index_without_advisories_is_said_aloud(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    answer: list[dict[str, Any]] | None,
    code: int,
    says: str,
) -> None:
    advisories = runpy.run_path(str(REQUIREMENTS / "advisories.py"))
    stdout = "" if answer is None else json.dumps({"dependencies": answer})

    def run(command: list[str], **_: object) -> subprocess.CompletedProcess[str]:
        return subprocess.CompletedProcess(command, 1, stdout, "a\nno route to host\n")

    monkeypatch.setattr(subprocess, "run", run)
    assert advisories["main"]() == code
    assert capsys.readouterr().out == says


def test_an_index_that_does_not_answer_is_said_aloud(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    advisories = runpy.run_path(str(REQUIREMENTS / "advisories.py"))

    def run(command: list[str], **_: object) -> None:
        raise subprocess.TimeoutExpired(command, 60)

    monkeypatch.setattr(subprocess, "run", run)
    assert advisories["main"]() == 0
    assert capsys.readouterr().out == "ADVISORIES WERE NOT CHECKED: no answer within 60 s\n"
