"""A real PostgreSQL for tests: one server a run, a database for each who asks. Without it, they skip."""

from __future__ import annotations

import atexit
import shutil
import tempfile
from functools import lru_cache
from itertools import count
from pathlib import Path

import pytest

from atm.local_postgres import LocalPostgres, why_no_postgres

IN_MEMORY = Path("/dev/shm")  # a commit takes a tenth of the time there

_numbers = count()


def is_here() -> bool:
    """Return whether there is a PostgreSQL on this machine."""
    return why_no_postgres() is None


def need_postgres() -> None:
    """Skip the test, and say what to install, if there is none."""
    why = why_no_postgres()
    if why is not None:
        pytest.skip(why)


@lru_cache
def shared_server() -> LocalPostgres:
    """Return the server that the tests of a run share; one that is killed is a test's own."""
    need_postgres()
    folder = Path(tempfile.mkdtemp(prefix="atm-shared-", dir=IN_MEMORY if IN_MEMORY.is_dir() else None))
    folder.chmod(0o711)
    found = LocalPostgres(folder=folder / "servers")
    found.start_all()

    def end() -> None:
        found.close()
        shutil.rmtree(folder, ignore_errors=True)

    atexit.register(end)
    return found


def new_database() -> str:
    """Return the address of a new, empty database of the shared server."""
    name = f"bank{next(_numbers)}"
    servers = shared_server()
    servers.query(servers.primary, f"create database {name}")
    return f"{servers.uri().rpartition('/')[0]}/{name}"
