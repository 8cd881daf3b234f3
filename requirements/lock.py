"""Writes the lock files beside it: every package of each kind of set-up, with its version and its hashes.

Run by bin/lock. The files hold for all Pythons from 3.11 on and for all systems: what is for some only has a
marker, and each version has the hashes of all its wheels and of its source. `uv` works that out.
"""

from __future__ import annotations

import hashlib
import json
import runpy
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from itertools import chain
from pathlib import Path
from typing import Any

import setuptools

HERE = Path(__file__).resolve().parent
SETUP = HERE.parent / "setup.py"
LEVELS: dict[str, tuple[str, ...]] = {  # the kinds of set-up of bin/set_up, and their extras
    "run": (),
    "certs": ("certs",),
    "web": ("web",),
    "postgresql": ("postgresql",),
    "test": ("test",),
    "check": ("test", "check"),
    "chaos": ("chaos",),
    "bench": ("bench",),
    "docs": ("docs",),
    "lock": ("lock",),
}
PYTHON_MIN = "3.11"
HEADER = "# Written by bin/lock from setup.py ({digest}): do not edit.\n"


def declared() -> dict[str, list[str]]:
    """Return the requirements that setup.py names, by extra; those of every installation under ""."""
    found: dict[str, Any] = {}
    real = setuptools.setup
    setuptools.setup = found.update
    try:
        runpy.run_path(str(SETUP))
    finally:
        setuptools.setup = real
    return {"": found["install_requires"], **found["extras_require"]}


def digest_of(requirements: dict[str, list[str]]) -> str:
    """Return what changes with the requirements."""
    return hashlib.sha256(json.dumps(requirements, sort_keys=True).encode()).hexdigest()[:16]


def main() -> int:
    """Write all files, with the newest versions; return the exit code."""
    extras = declared()
    header = HEADER.format(digest=digest_of(extras))
    with tempfile.TemporaryDirectory() as folder:
        everything = Path(folder, "everything.txt")  # so that all files have the same versions
        everything.write_text(_compiled(sorted({*chain(*extras.values())})), encoding="utf-8")
        texts = {
            level: _compiled([*chain(*(extras[name] for name in ("", "build", *names)))], everything)
            for level, names in LEVELS.items()
        }
    for level, text in texts.items():
        (HERE / f"{level}.txt").write_text(header + text, encoding="utf-8")
    return 0


def _compiled(requirements: Iterable[str], constraint: Path | None = None) -> str:
    command = [
        sys.executable,
        "-P",
        "-m",
        "uv",
        "pip",
        "compile",
        "-",
        "--quiet",
        "--universal",
        "--native-tls",
    ]
    command += ["--generate-hashes", "--python-version", PYTHON_MIN, "--no-header", "--no-annotate"]
    command += [] if constraint is None else ["--constraint", str(constraint)]
    ran = subprocess.run(
        command, input="\n".join(requirements), stdout=subprocess.PIPE, text=True, check=True
    )
    return ran.stdout


if __name__ == "__main__":
    sys.exit(main())
