"""PostgreSQL as its users would build a ledger: a function a request, and synchronous standbys."""

from __future__ import annotations

import importlib.util
import subprocess
from collections.abc import Callable
from functools import partial
from importlib import metadata
from pathlib import Path
from typing import ClassVar

from atm.local_postgres import LocalPostgres, find_programs, why_no_postgres
from atm.local_postgres import NotStarted as ServersNotStarted
from bench.load import Connection
from bench.systems.processes import LINE_CHARS_MAX
from bench.systems.system import MEMBERS, NotStarted, Served
from bench.work import ACCOUNTS, FUNDS_MINOR, HOT_ACCOUNT, WORKS, Work, account

LEDGER = Path(__file__).with_name("postgresql_ledger.sql")
CASH = "cash"
ONE_AND_MANY = ("credits-1", "credits-64", "transfers-1", "transfers-64")


def missing_part() -> str | None:
    """Return why PostgreSQL cannot be started and asked here, and what to do about it, or None."""
    if (why := why_no_postgres()) is not None:
        return why
    if importlib.util.find_spec("psycopg") is None:
        return "its client needs the extra 'bench': use bin/bench, or pip install -e '.[bench]'"
    return None


def started(members: int, folder: Path) -> LocalPostgres:
    """Return a primary and its standbys, which keep their data in `folder`; raise `NotStarted`."""
    folder.chmod(0o711)  # as root, the servers are another user's
    servers = LocalPostgres(standbys=members - 1, folder=folder / "servers")
    try:
        servers.start_all()
    except BaseException as error:
        servers.close()
        if isinstance(error, ServersNotStarted):
            raise NotStarted(str(error)) from error
        raise
    return servers


def main_processes(servers: LocalPostgres | None) -> list[int]:
    """Return the process of each server that the others descend from; none before the start."""
    return [] if servers is None else [servers.processes(name)[0] for name in servers.running()]


class PostgreSQL(Served):
    """Read committed, as it is unless told otherwise; each function says itself what it locks."""

    name = "postgresql"
    isolation = "read committed"

    def __init__(self, members: int = MEMBERS) -> None:
        super().__init__(members)
        self._servers: LocalPostgres | None = None

    @classmethod
    def missing(cls) -> str | None:
        return missing_part()

    @classmethod
    def version(cls) -> str:
        return find_programs().version

    def settings(self) -> str:
        driver = f"psycopg {metadata.version('psycopg')}"
        return (
            f"a primary and {self.members - 1} standbys, defaults but synchronous_standby_names = 'ANY "
            f"{self.members // 2} (…)' and max_connections; synchronous_commit = on, {self.isolation}; a "
            "prepared function a transfer, with receipt, condition and double entry; credits come from one "
            f"cash row; bulk: {self.legs} transfers a call, all or none; queries at the primary, which are "
            f"not linearizable; no failover without a program beside it; by {driver}, and what could not be "
            "serialized is sent again"
        )

    def start(self, folder: Path) -> None:
        self._servers = started(self.members, folder)
        self._run(LEDGER.read_text(encoding="utf-8"))
        self._run(f"insert into account (id, lowest) values ('{CASH}', -1e18::bigint), ('{HOT_ACCOUNT}', 0)")

    def stop(self) -> None:
        if self._servers is not None:
            self._servers.close()

    def processes(self) -> list[int]:
        return main_processes(self._servers)

    def open_accounts(self) -> None:
        prefix = account(0).removesuffix("0")
        self._run(
            f"insert into account (id, balance) select '{prefix}' || number, {FUNDS_MINOR} "
            f"from generate_series(0, {ACCOUNTS - 1}) number; analyze account"
        )

    def connect(self) -> Callable[[], Connection]:
        from bench.systems.postgresql_connection import (  # noqa: PLC0415  (needs the extra 'bench')
            PostgreSQLConnection,
        )

        assert self._servers is not None
        return partial(PostgreSQLConnection, self._servers.uri(), self.isolation)

    def _run(self, sql: str) -> None:
        assert self._servers is not None
        try:
            self._servers.query(self._servers.primary, sql)
        except subprocess.CalledProcessError as error:
            raise NotStarted(f"PostgreSQL has no ledger: {error.stderr.strip()[:LINE_CHARS_MAX]}") from None


class Serializable(PostgreSQL):
    """What cannot be serialized is refused by the server, and sent again by the client."""

    name = "postgresql-serializable"
    isolation = "serializable"
    works: ClassVar[tuple[Work, ...]] = tuple(work for work in WORKS if work.label in ONE_AND_MANY)
