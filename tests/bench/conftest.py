"""What the tests of the measurements share."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """Yield a folder that other users can reach, as PostgreSQL must where root starts it."""
    with tempfile.TemporaryDirectory(prefix="atm-bench-") as folder:
        Path(folder).chmod(0o711)
        yield Path(folder)
