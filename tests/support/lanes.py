"""Lanes on a real PostgreSQL, compared with the ledger on SQLite: the same commands, the same rows."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from atm.lanes.bank import Bank, add_lane, open_bank
from atm.lanes.books import copied_lanes
from atm.lanes.copying import copy_lane
from atm.lanes.engine import EngineConnection
from atm.lanes.lane_ledger import LaneLedger
from atm.ledger.audit.digest import table_digest, table_names
from atm.ledger.commands import Founding, LedgerReceipt, LevelRaise, LoggedCommand, Read, ReadResult
from atm.ledger.database import Database
from atm.ledger.ledger import Ledger
from atm.local_cluster import LocalCluster, write_cluster_ini
from atm.local_postgres import LocalPostgres
from atm.version import FEATURE_LEVEL_MAX
from tests.support.ledgers import Rows, tables
from tests.support.postgresql import is_here, new_database

FOUNDED = 2  # the entries that make the ledger of a node one with all tables

Timed = tuple[int, LoggedCommand]


@dataclass(frozen=True)
class OneBank:
    """A bank in a database of its own, to which tests add lanes."""

    url: str
    bank: Bank
    engine: EngineConnection

    def new_lane(self) -> int:
        """Return a new lane, which begins as a node's ledger does once it has all tables."""
        with self.engine.asking(), self.engine.psycopg.transaction():
            [(lane,)] = self.engine.psycopg.execute("select max(lane) + 1 from atm.lane").fetchall()
            add_lane(self.engine.psycopg, lane, has_main=True, applied=FOUNDED)
        return int(lane)


@lru_cache
def one_bank() -> OneBank:
    """Return the bank that all tests of a run share; each has lanes of its own. Skip without PostgreSQL."""
    url = new_database()
    engine = EngineConnection(url)
    return OneBank(url, open_bank(engine, 1), engine)


class Twins:
    """The same books on SQLite and in a lane on PostgreSQL; whatever is asked, both must say the same."""

    def __init__(self) -> None:
        self._bank = one_bank()
        self.lane = self._bank.new_lane()
        self.sqlite = Ledger(":memory:")
        founding = Founding(cluster_id=self._bank.bank.id, voters=())
        self.sqlite.apply([(1, 0, founding), (2, 0, LevelRaise(FEATURE_LEVEL_MAX))])
        self.postgresql = LaneLedger(self._bank.url, self.lane, "5000")

    def apply(self, batch: Sequence[Timed]) -> list[LedgerReceipt | None]:
        """Decide and write a batch on both; return the receipts."""
        first = self.sqlite.applied_index + 1
        receipts = self.sqlite.apply([(index, *timed) for index, timed in enumerate(batch, first)])
        found = self.postgresql.decide(batch)
        assert found == receipts
        self.postgresql.commit()
        assert self.postgresql.next_expiry_us == self.sqlite.next_expiry_us
        return receipts

    def views(self, requests: Sequence[Read], now_us: int) -> list[ReadResult]:
        """Answer requests that only read, on both; return the answers."""
        answers = self.sqlite.views(requests, now_us)
        assert self.postgresql.commit(requests, now_us) == answers
        return answers

    def take_again(self) -> None:
        """Take the lane anew: nothing is in memory any more."""
        self.postgresql.close()
        self.postgresql = LaneLedger(self._bank.url, self.lane, "5001")

    def reader(self) -> EngineConnection:
        """Return another connection, which sees the same lane."""
        return EngineConnection(self._bank.url, lane=self.lane)

    def assert_same_rows(self) -> None:
        """Assert that all tables hold the same rows, those of the chain and its hashes among them."""
        copy = Database(":memory:")
        with closing(copy):
            with closing(self.reader()) as engine:
                copy_lane(engine, self.lane, copy)
            cursor, original = copy.cursor(), self.sqlite._database.cursor()
            for table in table_names(original):
                if table_digest(cursor, table) != table_digest(original, table):
                    rows = [
                        each.execute(f'select * from "{table}"').fetchall() for each in (cursor, original)
                    ]
                    raise AssertionError(f"{table} differs: {rows[0]} in PostgreSQL, {rows[1]} in SQLite")

    def close(self) -> None:
        """Close both; a second call does nothing."""
        self.sqlite.close()
        self.postgresql.close()


def assert_same_on_postgresql(log: Sequence[Timed]) -> None:
    """Assert that commands leave the same receipts and rows on both, if there is a PostgreSQL here.

    In two batches, and one by one after them: each begins with nothing in memory.
    """
    if not is_here():
        return
    third = len(log) // 3
    with closing(Twins()) as twins:
        twins.apply(log[:third])
        twins.take_again()
        twins.apply(log[third : 2 * third])
        twins.take_again()
        for command in log[2 * third :]:
            twins.apply([command])
        twins.assert_same_rows()


def bank_at(folder: Path, url: str, count: int = 3, **settings: str | float) -> LocalCluster:
    """Return servers of a bank on PostgreSQL, which are not started; `lanes` is 1 unless it is given."""
    lanes = settings.pop("lanes", 1)
    config = write_cluster_ini(folder, count, **settings)
    with config.open("a") as file:
        file.write(f"\n[engine]\nkind = postgresql\nurl = {url}\nlanes = {lanes}\n")
    return LocalCluster(config)


def lane_tables(url: str) -> dict[str, Rows]:
    """Return every row of every table of the one lane of a bank."""
    return all_lane_tables(url)[0]


def all_lane_tables(url: str) -> list[dict[str, Rows]]:
    """Return every row of every table of each lane of a bank."""
    with copied_lanes(url) as copies:
        return [tables(copy.path) for copy in copies]


def url_of_all(servers: LocalPostgres) -> str:
    """Return the address that names all of them; the one that can be written to is taken."""
    ends = [servers.uri(name).rpartition("@")[2].partition("/")[0] for name in servers.names]
    user = servers.uri().partition("://")[2].partition("@")[0]
    return f"postgresql://{user}@{','.join(ends)}/postgres"
