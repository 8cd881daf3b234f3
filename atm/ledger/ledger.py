"""The ledger: balances, journal, receipts and the applied index, in one SQLite file (see schema.sql)."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import TypeGuard

from atm.ledger.audit.digest import table_digest, table_names
from atm.ledger.cluster import MEMBERS_LEVEL, ClusterState, read_cluster, write_cluster
from atm.ledger.commands import (
    ApprovalLimit,
    LedgerEntry,
    LedgerReceipt,
    LoggedCommand,
    MembershipChange,
    Query,
    Read,
    ReadResult,
)
from atm.ledger.database import NORMAL, Database, LedgerDamaged, LedgerFault
from atm.ledger.inquiries import Inquiries, balance_view
from atm.ledger.peppers import PepperState
from atm.ledger.posting import NO_HASH
from atm.ledger.roles import RoleChange
from atm.ledger.rows import LedgerRows, Unreadable
from atm.ledger.rules import decide, record_change
from atm.ledger.state_hash import RowsFrom, StateHash
from atm.ledger.state_hashing import DecisionsHash, hash_rows
from atm.ledger.unit_of_work import UnitOfWork

__all__ = ["ClusterState", "Ledger", "LedgerDamaged", "LedgerFault", "NotNext"]

# Log index, time stamp in microseconds, and the contents of the entry: None for a no-op.
Record = tuple[int, int, LedgerEntry | None]

APPLIED = "select log_index from applied"
SET_APPLIED = "update applied set log_index = ?"


class NotNext(Exception):
    """A record is not the next one: to apply it would leave out an entry or repeat one."""

    def __init__(self, log_index: int, expected: int) -> None:
        super().__init__(f"the next log index to apply is {expected}, not {log_index}")
        self.expected = expected


class Ledger:
    """The bank of one node: the state machine that the log is applied to.

    Used by one thread at a time. Raises `LedgerFault` when its file cannot be read or written.
    """

    def __init__(self, path: Path | str, *, synchronous: int = NORMAL) -> None:
        """Open the ledger at `path`, or create one at index 0; `":memory:"` has no file."""
        self._database = Database(path, synchronous=synchronous)
        self._begin()

    def _begin(self) -> None:
        """Begin with what the database holds."""
        self._cursor = self._database.cursor()
        has_level_2 = self._database.has_level_2_tables
        self._rows = LedgerRows(self._database.cursor(), has_level_2=has_level_2)
        cursor = self._database.cursor()
        self._inquiries = Inquiries(cursor, LedgerRows(cursor, has_level_2=has_level_2))
        self._unit: UnitOfWork | None = None  # decided and not written yet
        self._cluster = self._decided_cluster = ClusterState(id="", voters=(), feature_level=0)
        with self._reading():
            self._applied_index: int = self._cursor.execute(APPLIED).get
            self._decided_index: int = self._applied_index
            self._decisions = DecisionsHash(self._applied_index)
            self._journal_hash = self._rows.last_hash()
            self._next_expiry_us = self._rows.next_expiry_us()
            self._role_changes: Mapping[str, RoleChange]
            self._role_changes = self._rows.role_changes() if has_level_2 else {}
            self._approval_limits: Mapping[str, ApprovalLimit]
            self._approval_limits = self._rows.approval_limits() if has_level_2 else {}
            self._pepper = self._rows.pepper() if has_level_2 else PepperState()
            self._deed_hash = self._rows.last_deed_hash() if has_level_2 else NO_HASH
            self._last_backup_us = self._rows.last_backup_us() if has_level_2 else None
            self._cluster = self._decided_cluster = read_cluster(self._cursor, with_members=has_level_2)

    @property
    def cluster(self) -> ClusterState:
        """What the decided entries say about the cluster."""
        return self._decided_cluster

    @property
    def role_changes(self) -> Mapping[str, RoleChange]:
        """What the decided entries say about roles, by the names of identities; any thread may read it."""
        unit = self._unit
        return self._role_changes if unit is None else unit.role_changes

    @property
    def pepper(self) -> PepperState:
        """The current pepper by the decided entries; any thread may read it."""
        unit = self._unit
        return self._pepper if unit is None else unit.pepper

    @property
    def last_backup_us(self) -> int | None:
        """The log time at which the last backup was begun, None if none is recorded; any thread."""
        return self._last_backup_us

    @property
    def applied_index(self) -> int:
        """The log index up to which everything has been applied and written."""
        return self._applied_index

    @property
    def decided_index(self) -> int:
        """The log index up to which everything has been decided; some of it may be in memory only."""
        return self._decided_index

    @property
    def next_expiry_us(self) -> int | None:
        """The log time at which the next active hold is due for `Expire`, None without an active hold."""
        return self._next_expiry_us

    def apply(self, records: Sequence[Record]) -> list[LedgerReceipt | None]:
        """Apply committed log entries in one transaction; return a receipt for each client's command.

        The result depends on the log alone, not on how it is cut into batches. Raises
        `NotNext` and changes nothing unless the records follow on `applied_index` without a gap.
        """
        receipts = self.decide(records)
        self.write()
        return receipts

    def decide(self, records: Sequence[Record]) -> list[LedgerReceipt | None]:
        """Apply in memory only; `write` makes it durable, together with what was decided before."""
        self._assert_next(records)
        if not records:
            return []
        with self._reading():
            unit = self._unit = self._unit or self._begin_unit()
            if len(records) > 1:  # a single command finds what it names as fast by itself
                commands = [entry.command for _, _, entry in records if type(entry) is LoggedCommand]
                self._rows.look_up(unit, commands)
            receipts: list[LedgerReceipt | None] = []
            unit.feature_level = self._decided_cluster.feature_level
            for log_index, time_us, entry in records:
                if type(entry) is LoggedCommand:
                    receipts.append(decide(unit, log_index, time_us, entry))
                else:
                    self._decided_cluster = self._decided_cluster.after(log_index, entry)
                    unit.feature_level = self._decided_cluster.feature_level
                    if isinstance(entry, MembershipChange) and entry.deed is not None:
                        record_change(unit, log_index, time_us, entry.deed)
                    receipts.append(None)
        self._decided_index = records[-1][0]
        return receipts

    def _begin_unit(self) -> UnitOfWork:
        unit = self._rows.begin_unit(self._journal_hash)
        unit.feature_level = self._decided_cluster.feature_level
        unit.role_changes, unit.approval_limits = self._role_changes, self._approval_limits
        unit.deed_hash = self._deed_hash
        unit.pepper = self._pepper
        return unit

    def write(self) -> None:
        """Write all that was decided, in one transaction."""
        unit = self._unit
        if unit is None:
            return
        with self._forgetting_on_error(self._database.transaction()):
            if self._decided_cluster != self._cluster:
                if self._decided_cluster.feature_level >= MEMBERS_LEVEL:
                    self._database.add_level_2_tables()
                    self._rows.has_level_2 = self._inquiries.rows.has_level_2 = True
                write_cluster(self._cursor, self._decided_cluster)
            self._rows.write_unit(unit)
            self._cursor.execute(SET_APPLIED, (self._decided_index,))
            next_expiry_us = self._rows.next_expiry_us() if unit.changed_holds else self._next_expiry_us
        self._unit = None
        self._decisions.update(unit.new_records)
        self._applied_index = self._decided_index
        self._cluster = self._decided_cluster
        self._journal_hash = unit.journal_hash
        self._role_changes, self._approval_limits = unit.role_changes, unit.approval_limits
        self._deed_hash = unit.deed_hash
        self._last_backup_us = unit.last_backup_us() or self._last_backup_us
        self._pepper = unit.pepper
        self._next_expiry_us = next_expiry_us

    def view(self, request: Read, now_us: int = 0) -> ReadResult:
        """Answer a request that only reads, from what has been decided; see `views`."""
        return self.views([request], now_us)[0]

    def views(self, requests: Sequence[Read], now_us: int = 0) -> list[ReadResult]:
        """Answer requests that only read, all at the same log index; balances in memory need no query.

        Locks of PINs that have ended by the log time `now_us` are told as ended.
        """
        if not all(map(_asks_for_balance, requests)):
            self.write()
        with self._reading():
            return [self._view(request, now_us) for request in requests]

    def _view(self, request: Read, now_us: int) -> ReadResult:
        if _asks_for_balance(request):
            account = self._rows.cached_account(request.account)
            if account is not None:
                return balance_view(request, account, now_us)
        return self._inquiries.execute(request, now_us)

    def pins_after(self, account: str, limit: int) -> Sequence[tuple[str, str | None]]:
        """Return some accounts behind this name, in the order of their names, and their seals."""
        self.write()
        with self._reading():
            return self._rows.pins_after(account, limit)

    def new_pins_after(self, request_id: str, limit: int) -> Sequence[tuple[str, str | None]]:
        """Return some request ids behind this one, in order, and the details of those that set a PIN."""
        self.write()
        with self._reading():
            return self._rows.new_pins_after(request_id, limit)

    def state_hash(self, rows_from: RowsFrom, rows_max: int) -> StateHash:
        """Write what was decided; return hashes to compare this ledger by, with another at the same index."""
        self.write()
        with self._reading():
            rows, rows_to = hash_rows(self._database.uncached_cursor(), rows_from, rows_max)
        decisions, self._decisions = self._decisions, DecisionsHash(self._applied_index)
        return StateHash(
            index=self._applied_index,
            journal=self._journal_hash,
            decided_from=decisions.decided_from,
            decisions=decisions.digest(),
            rows_from=rows_from,
            rows_max=rows_max,
            rows=rows,
            rows_to=rows_to,
        )

    def digest(self) -> str:
        """Return a hash over all rows of all tables, equal on nodes that have applied the same log."""
        digest = hashlib.sha256()
        with self._reading():
            for name in table_names(self._cursor):
                digest.update(f"{name} {table_digest(self._cursor, name)}\n".encode())
        return digest.hexdigest()

    def replace_file(self, prepared: Path) -> None:
        """Go on with another ledger, which is in the same folder, closed and synced, under this one's name.

        What was decided and not written is dropped. A crash leaves the old file, none, or the new one. Nobody
        else may have the old file open to write.
        """
        self._database = self._database.replaced_by(prepared)
        self._begin()

    def close(self) -> None:
        """Close the file; a second call does nothing."""
        self._database.close()

    def _assert_next(self, records: Sequence[Record]) -> None:
        for expected, (log_index, _, _) in enumerate(records, self._decided_index + 1):
            if log_index != expected:
                raise NotNext(log_index, expected)

    def _reading(self) -> AbstractContextManager[None]:
        return self._forgetting_on_error(self._database.reading())

    @contextmanager
    def _forgetting_on_error(self, access: AbstractContextManager[None]) -> Iterator[None]:
        """Run the block within `access`; if it fails, drop what was decided and not written."""
        try:
            with access:
                yield
        except BaseException as error:
            self._rows.drop_cache()
            self._unit, self._decided_index = None, self._applied_index
            self._decided_cluster = self._cluster
            if isinstance(error, Unreadable):
                raise self._database.damage(f"has {error}") from error
            raise


def _asks_for_balance(request: Read) -> TypeGuard[Query]:
    return isinstance(request, Query) and request.at_us is None
