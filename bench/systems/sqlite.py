"""One SQLite database behind this project's own threaded server: what agreement costs."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

import apsw

from atm.config import Address
from bench.load import Connection
from bench.systems.load_connection import LoadConnection
from bench.systems.processes import Processes
from bench.systems.system import MEMBERS, Served

SERVER = "bench.systems.sqlite_server"


class Sqlite(Served):
    """The ledger of one node, synced at each commit."""

    name = "sqlite"

    def __init__(self, members: int = MEMBERS) -> None:
        super().__init__(members)
        self._processes: Processes | None = None
        self._address = Address("", 0)

    @classmethod
    def missing(cls) -> str | None:
        return None

    @classmethod
    def version(cls) -> str:
        return apsw.sqlite_lib_version()

    def settings(self) -> str:
        return (
            "1 process, not replicated; this project's ledger in WAL mode with synchronous=FULL; what has "
            "gathered is one transaction"
        )

    def start(self, folder: Path) -> None:
        self._processes = Processes(folder)
        self._processes.start_module("server", SERVER, folder)
        self._address = Address("127.0.0.1", int(self._processes.hear("server")))

    def stop(self) -> None:
        if self._processes is not None:
            self._processes.stop()

    def processes(self) -> list[int]:
        return self._processes.ids() if self._processes is not None else []

    def connect(self) -> Callable[[], Connection]:
        return partial(LoadConnection, self._address)
