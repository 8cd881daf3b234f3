"""This project with its books on PostgreSQL: as many servers of each."""

from __future__ import annotations

from pathlib import Path

from atm.local_cluster import LocalCluster, write_cluster_ini
from atm.local_postgres import LocalPostgres
from bench.systems.atm import Atm
from bench.systems.postgresql import main_processes, missing_part, started
from bench.systems.system import MEMBERS


class AtmOnPostgreSQL(Atm):
    """Over the tellers' port of the server that has the lane."""

    name = "atm-postgresql"
    fails_over = False  # how fast is up to what manages PostgreSQL
    lanes = 1

    def __init__(self, members: int = MEMBERS) -> None:
        super().__init__(members)
        self._servers: LocalPostgres | None = None

    @classmethod
    def missing(cls) -> str | None:
        return missing_part()

    def settings(self) -> str:
        return (
            f"{self.members} nodes with [engine] kind = postgresql, one of which writes, on a primary and "
            f"{self.members - 1} standbys set up as for the peer postgresql"
        )

    def start(self, folder: Path) -> None:
        self._servers = started(self.members, folder)
        config = write_cluster_ini(folder, self.members)
        with config.open("a") as file:
            file.write(f"\n[engine]\nkind = postgresql\nurl = {self._servers.uri()}\nlanes = {self.lanes}\n")
            file.write(self._other_databases(folder))
        self._cluster = LocalCluster(config)
        self._cluster.start_all()
        self._leader()

    def _other_databases(self, folder: Path) -> str:
        """Return what `[engine]` says besides."""
        return ""

    def stop(self) -> None:
        super().stop()
        if self._servers is not None:
            self._servers.close()

    def processes(self) -> list[int]:
        return [*super().processes(), *main_processes(self._servers)]
