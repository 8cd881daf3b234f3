"""`python -m atm.learn.fetch`: bring what `/learn` needs of others into the user's cache folder.

It asks npm and pip, as they are configured here, so mirrors and proxies are theirs to know. It does nothing
when all is there and whole, and replaces a file only by one whose SHA-256 is the expected one.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from atm.command_line import OneLineParser, add_version, complain
from atm.learn.assets import (
    ABI,
    ASSETS,
    PLATFORM,
    PYODIDE,
    PYTHON_VERSION,
    WHEELS,
    Asset,
    Package,
    assets_folder,
    damaged,
    missing,
    sha256_of,
)

PROGRAM = "atm.learn.fetch"
DONE, NOT_AVAILABLE = 0, 3
MIB = 1 << 20


class NotFetched(Exception):
    """A package could not be brought; `str()` is one line that says what to do."""


def main(argv: Sequence[str] | None = None) -> int:
    """Return the exit code: 0 when all is there, 3 if something could not be brought."""
    parser = OneLineParser(prog=PROGRAM, description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument(
        "--from",
        dest="source",
        type=Path,
        metavar="FOLDER",
        help="take pyodide-*.tgz and the wheels from this folder, without any network",
    )
    add_version(parser)
    options: argparse.Namespace = parser.parse_args(argv)
    try:
        folder = fetch(source=options.source, say=lambda line: print(line, flush=True))
    except (NotFetched, OSError) as error:
        complain(PROGRAM, str(error))
        return NOT_AVAILABLE
    print(f"All that /learn needs is in {folder}")
    return DONE


def fetch(*, source: Path | None = None, say: Callable[[str], None] = lambda line: None) -> Path:
    """Bring what is missing or damaged; return the folder. Raises `NotFetched` and `OSError`."""
    folder = assets_folder()
    folder.mkdir(parents=True, exist_ok=True)
    wanted = {*missing(folder), *damaged(folder)}
    packages = [p for p in (PYODIDE, *WHEELS) if wanted & {asset.name for asset in p.assets}]
    for number, package in enumerate(packages, 1):
        size = sum(asset.size for asset in package.assets) / MIB
        say(f"[{number}/{len(packages)}] {package.spec}, {size:.1f} MiB unpacked")
        with tempfile.TemporaryDirectory(dir=folder, prefix="fetching-") as name:
            brought = Path(name)
            if source is not None:
                _take_archive(package, source, brought)
            elif package is PYODIDE:
                _npm_pack(package, brought)
            else:
                _pip_download(package, brought)
            _adopt(package.assets, brought, folder)
    return folder


def _npm_pack(package: Package, into: Path) -> None:
    npm = shutil.which("npm")
    if npm is None:
        raise NotFetched(
            f"npm was not found, which brings {package.spec}: install Node.js, or get the package elsewhere "
            "and give its folder with --from"
        )
    _run([npm, "pack", package.spec, "--silent", "--pack-destination", str(into)], package)
    _unpack(package, into)


def _pip_download(package: Package, into: Path) -> None:
    chosen = [
        "--platform",
        PLATFORM,
        "--python-version",
        PYTHON_VERSION,
        "--implementation",
        "cp",
        "--abi",
        ABI,
    ]
    options = ["--no-deps", "--only-binary", ":all:", *chosen, "--dest", str(into)]
    _run([*_pip(), "download", "--quiet", "--disable-pip-version-check", *options, package.spec], package)


def _pip() -> list[str]:
    """Return how to call pip: this interpreter's own, or the one in the PATH."""
    own = [sys.executable, "-m", "pip"]
    if subprocess.run([*own, "--version"], capture_output=True, check=False).returncode == 0:
        return own
    found = shutil.which("pip3") or shutil.which("pip")
    if found is None:
        raise NotFetched(
            "pip was not found: install it, or get the wheels elsewhere and give their folder with --from"
        )
    return [found]


def _run(command: Sequence[str], package: Package) -> None:
    """Run a package manager in a folder of its own choice: no project's settings but the user's count."""
    result = subprocess.run(
        command,
        capture_output=True,
        text=True,
        check=False,
        cwd=tempfile.gettempdir(),
        stdin=subprocess.DEVNULL,
    )
    if result.returncode != 0:
        lines = [line.strip() for line in (result.stderr or result.stdout).splitlines() if line.strip()]
        last = next((line for line in reversed(lines) if "error" in line.lower()), lines[-1] if lines else "")
        manager = "npm" if package is PYODIDE else "pip"
        raise NotFetched(f"{manager} could not bring {package.spec}: {last or 'it said nothing'}")


def _take_archive(package: Package, source: Path, into: Path) -> None:
    """Copy a package from a folder of the user's."""
    wanted = f"{package.spec.replace('@', '-')}.tgz" if package is PYODIDE else package.assets[0].name
    if not (source / wanted).is_file():
        raise NotFetched(
            f"{source / wanted} is not there: put that file into the folder, or leave --from away"
        )
    shutil.copy(source / wanted, into / wanted)
    if package is PYODIDE:
        _unpack(package, into)


def _unpack(package: Package, into: Path) -> None:
    """Take the assets, and nothing else, out of an npm archive."""
    (archive,) = into.glob("*.tgz")
    with tarfile.open(archive) as tar:
        for asset in package.assets:
            try:
                content = tar.extractfile(f"package/{asset.name}")
            except KeyError:
                content = None
            if content is None:
                raise NotFetched(
                    f"{package.spec} has no file {asset.name}: is it the version that is needed?"
                )
            with content, (into / asset.name).open("wb") as file:
                shutil.copyfileobj(content, file)


def _adopt(assets: Iterable[Asset], brought: Path, folder: Path) -> None:
    """Move what was brought into its place, if it is what it should be."""
    for asset in assets:
        path = brought / asset.name
        if not path.is_file():
            raise NotFetched(f"{asset.name} did not come with its package: try again")
        found = sha256_of(path)
        if found != asset.sha256:
            raise NotFetched(f"{asset.name} has the SHA-256 {found}, not {asset.sha256}: it was not kept")
        path.chmod(0o644)
        os.replace(path, folder / asset.name)


def how_to_fetch() -> str:
    """Return the command for a person to run."""
    return f"{Path(sys.executable).name} -m atm.learn.fetch"


assert len(ASSETS) == sum(len(package.assets) for package in (PYODIDE, *WHEELS))

if __name__ == "__main__":
    sys.exit(main())
