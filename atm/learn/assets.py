"""The files of others that `/learn` needs: Python for browsers, and two packages made for it.

They are kept in the user's cache folder, and are too large for a source tree (`fetch.py` brings them). Each
is checked against its SHA-256 here, so it does not matter which registry or mirror it came from.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

from msgspec import Struct
from platformdirs import user_cache_path

FOLDER_VARIABLE = "ATM_LEARN_ASSETS"


class Asset(Struct, frozen=True, kw_only=True):
    """A file as it is served; `sha256` is of its contents."""

    name: str
    sha256: str
    size: int
    media_type: str


class Package(Struct, frozen=True, kw_only=True):
    """What a package manager brings: `spec` as that names it, and the files that are taken from it.

    Those of an npm package are in its archive; a wheel is one file, and is taken as it is.
    """

    spec: str
    assets: tuple[Asset, ...]


PYODIDE_VERSION = "314.0.7"
PYTHON_VERSION, ABI, PLATFORM = "3.14", "cp314", "pyemscripten_2026_0_wasm32"

PYODIDE = Package(
    spec=f"pyodide@{PYODIDE_VERSION}",
    assets=(
        Asset(
            name="pyodide.mjs",
            sha256="6f1d60f7bf529beb300f0f47983c921d3982363640ba20af0e38efdddbc66109",
            size=17_931,
            media_type="text/javascript",
        ),
        Asset(
            name="pyodide.asm.mjs",
            sha256="f7cdc8ece80678ceb712f8e65ebe6d3a83203a180c399865f49612a051693635",
            size=1_250_344,
            media_type="text/javascript",
        ),
        Asset(
            name="pyodide.asm.wasm",
            sha256="cc36e3cab04fdfc9a63ff13eb52eae2b911bf46c025cc7b281f394bd3de1d5e6",
            size=9_598_218,
            media_type="application/wasm",
        ),
        Asset(
            name="python_stdlib.zip",
            sha256="fa1957e5777068fc4f7437f96d860ae2fbe9c19732ba06c84e004ec16dd7dd7a",
            size=2_545_637,
            media_type="application/zip",
        ),
        Asset(
            name="pyodide-lock.json",
            sha256="5dc2fc119108bc148c7457dc86e7675b5c87e1cafd420b9c34c1eaef7b36c010",
            size=119_077,
            media_type="application/json",
        ),
    ),
)
WHEELS = (
    Package(
        spec="msgspec==0.22.0",
        assets=(
            Asset(
                name="msgspec-0.22.0-cp314-cp314-pyemscripten_2026_0_wasm32.whl",
                sha256="a66b1766311e42371e509c996c3933b161c7ae0eabdf361af5316dec197e1022",
                size=136_814,
                media_type="application/zip",
            ),
        ),
    ),
    Package(
        spec="apsw==3.54.1.0",
        assets=(
            Asset(
                name="apsw-3.54.1.0-cp314-cp314-pyemscripten_2026_0_wasm32.whl",
                sha256="c79419f47c9e80294cfbc50e6316c0d548685444f2435e83800234eca05a3b91",
                size=2_089_870,
                media_type="application/zip",
            ),
        ),
    ),
)
PACKAGES = (PYODIDE, *WHEELS)
ASSETS = {asset.name: asset for package in PACKAGES for asset in package.assets}


def assets_folder() -> Path:
    """Return where the assets are kept; a folder for each version, so that an old one is never mixed in."""
    given = os.environ.get(FOLDER_VARIABLE)
    root = Path(given) if given else user_cache_path("atm-raft") / "learn"
    return root / f"pyodide-{PYODIDE_VERSION}"


def missing(folder: Path) -> list[str]:
    """Return the assets that are not there, or not of their size; the contents are checked when they come."""
    return [name for name, asset in ASSETS.items() if not _has_size(folder / name, asset.size)]


def damaged(folder: Path) -> Iterator[str]:
    """Yield the assets that are there and have other contents than they should."""
    for name, asset in ASSETS.items():
        path = folder / name
        if path.exists() and sha256_of(path) != asset.sha256:
            yield name


def sha256_of(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _has_size(path: Path, size: int) -> bool:
    try:
        return path.stat().st_size == size
    except OSError:
        return False
