"""The ledger of one lane on PostgreSQL: taken, decided in memory by the bank's rules, written behind a fence.

As `Ledger` of atm/ledger, without a log below it: here the database is what is durable, and every batch ends
with one transaction that also proves that this server is still the lane's writer.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext

from msgspec.structs import replace

from atm.lanes.cursor import LaneCursor
from atm.lanes.engine import ANSWER_TIMEOUT_S, EngineConnection
from atm.lanes.faults import EngineFault, Fenced
from atm.lanes.rows import FENCE, LaneRows
from atm.lanes.share import lane_of
from atm.ledger.commands import ApprovalLimit, LedgerReceipt, LoggedCommand, Query, Read, ReadResult
from atm.ledger.crossings import LaneEntry, OpenTransfer, OpenTransfers, decide_in_lane
from atm.ledger.inquiries import Inquiries, balance_view
from atm.ledger.peppers import PepperState
from atm.ledger.roles import RoleChange
from atm.ledger.rows import Unreadable
from atm.ledger.unit_of_work import UnitOfWork
from atm.version import FEATURE_LEVEL_MAX

# Raises the epoch, and so ends whoever wrote here before. Of two who saw the same epoch, one gets the lane.
LANES = "select lanes from atm.bank"
TAKE = b"""update atm.lane set epoch = epoch + 1, holder = %s where lane = %s and epoch = coalesce(%s, epoch)
    returning epoch, applied, time_us, journal_hash, deed_hash"""
# A batch alone is one statement, which PostgreSQL ends without its writer; one with queries is several.
END_FROZEN = b"""select pg_terminate_backend(pid) from pg_stat_activity
    where datname = current_database() and usename = current_user and application_name = %s
    and wait_event = 'ClientRead' and xact_start is not null
    and state_change < clock_timestamp() - make_interval(secs => %s)"""
FROZEN_S = 2.0  # less than after which a silent server's lanes are taken


class LaneLedger:
    """The books of one lane, while this process is its writer. Used by one thread at a time.

    Raises `Fenced` once another server has taken the lane, and `EngineFault` when PostgreSQL fails; after
    either it is of no use any more: take the lane anew, and repeat what was asked only under the same ids.
    """

    def __init__(
        self,
        url: str,
        lane: int,
        node: str,
        *,
        seen_epoch: int | None = None,
        answer_timeout_s: float = ANSWER_TIMEOUT_S,
    ) -> None:
        """Take the lane for the server `node`; raise `Fenced` if its epoch is not `seen_epoch` any more."""
        self.lane = lane
        self._engine = EngineConnection(url, lane=lane, answer_timeout_s=answer_timeout_s)
        self._postgresql = self._engine.psycopg
        try:
            self._end_frozen_writer()
            self._take(node, seen_epoch)
        except BaseException:
            self.close()
            raise

    def _end_frozen_writer(self) -> None:
        """End the connection of a writer that fell silent within a transaction: it locks the lane's row."""
        name = f"atm lane {self.lane}"
        with self._engine.asking():
            self._postgresql.execute("select set_config('application_name', %s, false)", (name,))
            self._postgresql.execute(END_FROZEN, (name, FROZEN_S))

    def _take(self, node: str, seen_epoch: int | None) -> None:
        with self._engine.asking(), self._postgresql.transaction():
            found = self._postgresql.execute(TAKE, (node, self.lane, seen_epoch)).fetchall()
        # From here on it is certain that what is read is replicated: the transaction above waited for it.
        if not found:
            raise Fenced(f"lane {self.lane} was taken by another server")
        [row] = found
        self.epoch, self._applied, self._time_us = map(int, row[:3])
        self._journal_hash, self._deed_hash = map(bytes, row[3:])
        self._rows = LaneRows(self._postgresql, self.lane)
        cursor = LaneCursor(self._postgresql)
        self._inquiries = Inquiries(cursor, self._rows)
        self._unit: UnitOfWork | None = None
        self._decided, self._decided_time_us = self._applied, self._time_us
        with self._reading():
            self._role_changes: Mapping[str, RoleChange] = self._rows.role_changes()
            self._approval_limits: Mapping[str, ApprovalLimit] = self._rows.approval_limits()
            self._pepper = self._rows.pepper()
            self._last_backup_us = self._rows.last_backup_us()
            self._next_expiry_us = self._rows.next_expiry_us()
            self._open = OpenTransfers(self._rows.open_transfers())
            [(self._lanes,)] = self._postgresql.execute(LANES).fetchall()

    @property
    def applied_index(self) -> int:
        """The number of the last command that is written."""
        return self._applied

    @property
    def time_us(self) -> int:
        """The time stamp of the last command that is written; later ones have none before it."""
        return self._time_us

    @property
    def next_expiry_us(self) -> int | None:
        """When the next active hold is due for `Expire`, None without one."""
        return self._next_expiry_us

    @property
    def role_changes(self) -> Mapping[str, RoleChange]:
        """What the books say about roles, by the names of identities; any thread may read it."""
        return self._role_changes

    @property
    def pepper(self) -> PepperState:
        """The current pepper; any thread may read it."""
        return self._pepper

    @property
    def last_backup_us(self) -> int | None:
        """When the last backup was begun, None if none is recorded here."""
        return self._last_backup_us

    def follow(
        self,
        role_changes: Mapping[str, RoleChange],
        approval_limits: Mapping[str, ApprovalLimit],
        pepper: PepperState,
    ) -> None:
        """Decide by these from now on, which the bank keeps in another lane.

        A newer pepper is noted in this lane, too, with what is decided next: its PINs are carried over here.
        """
        self._role_changes, self._approval_limits = role_changes, approval_limits
        if pepper.generation > self._pepper.generation:
            self._pepper = PepperState(pepper.generation, pepper.name, 0, None)

    def pins_after(self, account: str, limit: int) -> Sequence[tuple[str, str | None]]:
        """Return accounts in the order of their names, and their seals."""
        with self._reading():
            return self._rows.pins_after(account, limit)

    def new_pins_after(self, request_id: str, limit: int) -> Sequence[tuple[str, str | None]]:
        """Return ids of requests in their order, and the details of those that set a PIN."""
        with self._reading():
            return self._rows.new_pins_after(request_id, limit)

    @property
    def open_transfers(self) -> Sequence[OpenTransfer]:
        """The transfers to other lanes that have departed and are not settled."""
        return list(self._open.values())

    def apply(
        self, time_us: int, commands: Sequence[LoggedCommand | LaneEntry]
    ) -> list[LedgerReceipt | OpenTransfer | None]:
        """Decide the commands, each with the next number, and write them; return the receipts."""
        receipts = self.decide([(time_us, command) for command in commands])
        self.commit()
        return receipts

    def decide(
        self, batch: Sequence[tuple[int, LoggedCommand | LaneEntry]]
    ) -> list[LedgerReceipt | OpenTransfer | None]:
        """Decide commands with their time stamps in memory; `commit` makes it durable. One batch a time.

        What comes of each is said at `decide_in_lane`.
        """
        assert self._unit is None, "what was decided is not written yet"
        unit = self._unit = self._rows.begin_unit(self._journal_hash)
        unit.feature_level = FEATURE_LEVEL_MAX
        unit.role_changes, unit.approval_limits = self._role_changes, self._approval_limits
        unit.deed_hash, unit.pepper = self._deed_hash, self._pepper
        if self._pepper.carried_index is None and not self._pepper.log_index:
            unit.change_pepper(replace(self._pepper, log_index=self._applied + 1))
        receipts: list[LedgerReceipt | OpenTransfer | None] = []
        with self._reading():
            self._rows.look_up(unit, [logged.command for _, logged in batch])
            for time_us, logged in batch:
                self._decided, self._decided_time_us = self._decided + 1, time_us
                receipts.append(
                    decide_in_lane(unit, self._open, self._is_here, self._decided, time_us, logged)
                )
        return receipts

    def commit(self, requests: Sequence[Read] = (), now_us: int = 0) -> list[ReadResult]:
        """Write what was decided, in one transaction; answer requests that only read, as of right after it.

        Without anything decided it is a barrier: it proves that the answers are of the newest state.
        """
        unit = self._unit
        answers = [self._from_memory(request, now_us) for request in requests]
        others = [request for request, answer in zip(requests, answers, strict=True) if answer is None]
        is_one_statement = not others and not (unit is not None and unit.changed_asked)
        with (
            self._engine.asking(writes=unit is not None),
            self._readable(),
            nullcontext() if is_one_statement else self._postgresql.transaction(),
        ):
            due_us = self._write(unit)
            read = iter([self._inquiries.execute(request, now_us) for request in others])
        if unit is not None:
            self._note_written(unit, due_us)
        return [answer or next(read) for answer in answers]

    def _write(self, unit: UnitOfWork | None) -> int | None:
        """Pass the fence, and write what was decided; return when the next hold is due."""
        before = (self.epoch, self._applied)
        if unit is None:
            after = (self._applied, self._time_us, self._journal_hash, self._deed_hash)
            self._postgresql.execute(FENCE, (self.lane, *before, *after))
            return self._next_expiry_us
        after = (self._decided, self._decided_time_us, unit.journal_hash, unit.deed_hash)
        return self._rows.write((*before, *after), unit, self._open.begun, self._open.ended)

    def _note_written(self, unit: UnitOfWork, due_us: int | None) -> None:
        self._unit, self._next_expiry_us = None, due_us
        self._open.note_written()
        self._applied, self._time_us = self._decided, self._decided_time_us
        self._journal_hash, self._deed_hash = unit.journal_hash, unit.deed_hash
        self._role_changes, self._approval_limits = unit.role_changes, unit.approval_limits
        self._pepper = unit.pepper
        self._last_backup_us = unit.last_backup_us() or self._last_backup_us

    def _is_here(self, account: str) -> bool:
        return self._lanes == 1 or lane_of(account, self._lanes) == self.lane

    def _from_memory(self, request: Read, now_us: int) -> ReadResult | None:
        """Return the answer to a question for a balance, None if the database must be asked."""
        if isinstance(request, Query) and request.at_us is None:
            account = self._rows.cached_account(request.account)
            return None if account is None else balance_view(request, account, now_us)
        return None

    def close(self) -> None:
        """Close the connection; a second call does nothing. The lane stays taken until another takes it."""
        self._engine.close()

    @contextmanager
    def _reading(self) -> Iterator[None]:
        with self._engine.asking(), self._readable():
            yield

    @contextmanager
    def _readable(self) -> Iterator[None]:
        try:
            yield
        except Unreadable as error:
            raise EngineFault(f"lane {self.lane} has {error}: verify names the row") from error
