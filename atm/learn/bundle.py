"""This project's sources as one archive, which the browser unpacks: the product, its simulation, the lessons.

In a checkout it is packed when it is asked for. The tests and the lessons are in no wheel as packages, so
`setup.py` packs them into each wheel as `sources.zip`, by this module.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterator
from pathlib import Path

HERE = Path(__file__).resolve().parent
BUILT = HERE / "sources.zip"
PACKAGES = ("atm", "lessons", "tests/simulation", "tests/support", "tests/mutants", "tests/raft")
# By the second, the code knows itself in a checkout.
SINGLE = (Path("tests", "__init__.py"), Path("bin", "start_node"))
SUFFIXES = frozenset({".py", ".sql"})
MOMENT = (1980, 1, 1, 0, 0, 0)  # of each file, so that equal sources make equal archives


def sources(root: Path) -> bytes:
    """Return the archive of the checkout at `root`; equal sources give equal bytes."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for path in _files(root):
            info = zipfile.ZipInfo(path.relative_to(root).as_posix(), MOMENT)
            info.compress_type = zipfile.ZIP_DEFLATED
            info.external_attr = 0o644 << 16
            archive.writestr(info, path.read_bytes())
    return packed.getvalue()


def current() -> bytes:
    """Return the archive of the code that runs: of its checkout, or as it was built into the package."""
    root = HERE.parent.parent
    if (root / "lessons").is_dir():
        return sources(root)
    return BUILT.read_bytes()


def _files(root: Path) -> Iterator[Path]:
    for name in SINGLE:
        yield root / name
    for package in PACKAGES:
        for path in sorted((root / package).rglob("*")):
            if (
                path.suffix in SUFFIXES
                and not path.name.startswith("test_")
                and "__pycache__" not in path.parts
            ):
                yield path
