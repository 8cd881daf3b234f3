"""A ledger's file for tests: its contents, the sqlite3 shell, and the line of a fault."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from atm.ledger.ledger import LedgerFault

LINES = ["-", "c1 credit main 500", "o1 open ann", "c2 credit ann 70", "d1 debit main 20"]
MORE = [f"m{n} credit main 1" for n in range(300)]


def shell(path: Path, sql: str) -> str:
    """Return what the system's sqlite3 shell prints."""
    command = shutil.which("sqlite3")
    if command is None:
        pytest.skip("NOT TESTED: there is no sqlite3 shell on this machine")
    done = subprocess.run([command, str(path), sql], capture_output=True, text=True, timeout=20, check=True)
    return done.stdout.strip()


def line_of(fault: pytest.ExceptionInfo[LedgerFault], path: Path) -> str:
    """Return the fault's text after checking that it is one line which names the file."""
    text = str(fault.value)
    assert "\n" not in text
    assert str(path) in text
    return text
