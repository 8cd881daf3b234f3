"""Tries wheel and sdist on every supported Python that this machine has: `python -m tests.installed`.

At the end it tries the wheel's page of lessons in a browser, if there are chromium and npm.

Needs an index of packages. Exit code 0: each try went well. A Python that is not there is named: no failure.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from playwright.sync_api import Error as PlaywrightError

from atm.files import sha256_of
from tests.installed.building import ROOT, build
from tests.installed.learn_trial import try_learn
from tests.installed.trial import Failed, Installation
from tests.support.browser import chromium

VERSIONS = ("3.11", "3.12", "3.13", "3.14")
AT_ONCE = 2


def main() -> int:
    """Try all; return the exit code."""
    with tempfile.TemporaryDirectory(prefix="atm-installed-") as made, ThreadPoolExecutor(AT_ONCE) as trials:
        folder = Path(made)
        built = build(folder)
        own = folder / "own.txt"  # with hashes, pip installs nothing that a file does not name
        own.write_text(f"atm-raft @ {built.wheel.as_uri()} --hash=sha256:{sha256_of(built.wheel)}\n")
        found = [(version, next(_pythons(version), None)) for version in VERSIONS]
        tried = [trials.submit(_tried, version, python, own, built.sdist) for version, python in found]
        worked = [each.result() for each in tried]
        return 0 if _tried_learn(own, folder) and all(worked) else 1


def _tried(version: str, python: str | None, wheel: Path, sdist: Path) -> bool:
    """Try both on one Python and print how it went; return whether nothing failed."""
    if python is None:
        print(f"NOT TRIED: there is no Python {version} on this machine", flush=True)
        return True
    try:
        _try_on(Installation(python, wheel.parent / version), wheel, sdist)
    except (Failed, subprocess.TimeoutExpired) as error:
        print(f"FAILED: Python {version}: {error}", flush=True)
        return False
    print(f"Python {version}: wheel and sdist install, and all commands run", flush=True)
    return True


def _tried_learn(wheel: Path, folder: Path) -> bool:
    """Try the page of lessons of a wheel with the extra `web`; return whether nothing failed."""
    if chromium() is None or shutil.which("npm") is None:
        print("NOT TRIED: /learn of the wheel, which needs chromium and npm", flush=True)
        return True
    installation = Installation(sys.executable, folder / "learn")
    try:
        packages = str(ROOT / "requirements" / "web.txt")
        installation.pip("install", "--require-hashes", "-r", packages, "-r", str(wheel))
        try_learn(installation, folder / "assets")
    except (Failed, subprocess.TimeoutExpired, PlaywrightError) as error:
        print(f"FAILED: /learn of the wheel: {error}", flush=True)
        return False
    print("/learn of the wheel runs a seed in a browser, and its digest is that of here", flush=True)
    return True


def _try_on(installation: Installation, wheel: Path, sdist: Path) -> None:
    packages = str(ROOT / "requirements" / "run.txt")
    installation.pip("install", "--require-hashes", "-r", packages, "-r", str(wheel))
    of_wheel = installation.files()
    installation.pip("install", "--no-deps", "--no-build-isolation", "--force-reinstall", str(sdist))
    if installation.files() != of_wheel:
        raise Failed("sdist and wheel do not install the same files")
    installation.try_all()


def _pythons(version: str) -> Iterator[str]:
    """Yield the interpreters of this version, from the PATH and from pyenv."""
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    found = [shutil.which(f"python{version}"), *map(str, sorted(pyenv.glob(f"{version}.*/bin/python")))]
    show = "import sys; print('%d.%d' % sys.version_info[:2])"
    for python in filter(None, found):
        ran = subprocess.run([python, "-c", show], capture_output=True, text=True, check=False)
        if ran.stdout.strip() == version:  # a shim may be there without its Python
            yield python


if __name__ == "__main__":
    sys.exit(main())
