from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import apsw
import pytest

from atm.ledger.ledger import Ledger
from tests.ledger.store_files import LINES
from tests.support.entries import records


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Return where the ledger is."""
    return tmp_path / "a folder" / "ledger.db"


@pytest.fixture
def ledger(path: Path) -> Iterator[Ledger]:
    """Return a ledger that holds `LINES`."""
    path.parent.mkdir()
    found = Ledger(path)
    found.apply(records(LINES))
    yield found
    found.close()


@pytest.fixture
def other(ledger: Ledger, path: Path) -> Iterator[apsw.Connection]:
    """Return another program's connection to the ledger."""
    connection = apsw.Connection(str(path))
    yield connection
    connection.close()
