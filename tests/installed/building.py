"""Builds wheel and sdist in a copy of the checkout, without a network."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tarfile
from dataclasses import dataclass
from pathlib import Path
from zipfile import ZipFile

ROOT = Path(__file__).parent.parent.parent
OF_THIS_MACHINE = (".git", ".venv*", ".*_cache", ".hypothesis", ".coverage", "__pycache__", "*.egg-info")
MADE_BY_RUNNING = ("build", "certs", "data", "dist", "htmlcov", "secrets")  # in the project's folder only
BUILD = "import sys; from setuptools import build_meta as b; into = sys.argv[1]; {sdist}; b.build_wheel(into)"
BUILD_S = 120


@dataclass(frozen=True)
class Distributions:
    """The copy of the checkout, its sdist, its wheel, and the wheel that was built from the sdist."""

    source: Path
    sdist: Path
    wheel: Path
    wheel_of_sdist: Path


def build(folder: Path) -> Distributions:
    """Build all of them in `folder`."""
    source = folder / "source"
    shutil.copytree(ROOT, source, ignore=_left_out)
    sdist, wheel = _run(source, folder / "dist", "b.build_sdist(into)")
    with tarfile.open(sdist) as archive:
        archive.extractall(folder, filter="data")
    unpacked = folder / sdist.name.removesuffix(".tar.gz")
    [wheel_of_sdist] = _run(unpacked, folder / "of_sdist")
    return Distributions(source, sdist, wheel, wheel_of_sdist)


def files_of_wheel(wheel: Path) -> dict[str, bytes]:
    """Return what a wheel installs, by path."""
    with ZipFile(wheel) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def files_of_sdist(sdist: Path) -> set[str]:
    """Return the paths in an sdist, without the folder that all are in."""
    with tarfile.open(sdist) as archive:
        return {member.name.partition("/")[2] for member in archive if member.isfile()}


def _left_out(folder: str, names: list[str]) -> set[str]:
    found = shutil.ignore_patterns(*OF_THIS_MACHINE)(folder, names)
    return found | (set(names) & set(MADE_BY_RUNNING) if Path(folder) == ROOT else set())


def _run(source: Path, into: Path, sdist: str = "pass") -> list[Path]:
    """Let the project in `source` build its wheel, and before it what `sdist` says; return the files."""
    into.mkdir()
    ran = subprocess.run(
        [sys.executable, "-P", "-c", BUILD.format(sdist=sdist), str(into)],
        cwd=source,
        capture_output=True,
        text=True,
        timeout=BUILD_S,
        check=False,
    )
    assert ran.returncode == 0, f"the build failed:\n{ran.stdout}{ran.stderr}"
    return [*into.glob("*.tar.gz"), *into.glob("*.whl")]
