"""Looks again and again which lanes are in a database that is not the bank's first one.

A thread for each: one that does not answer holds up none of the others, nor the signs of life in the first.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from threading import Event, Thread
from typing import Any

import psycopg
from msgspec import Struct
from msgspec.structs import replace

from atm.lanes.bank import has_bank, read_bank
from atm.lanes.engine import EngineConnection
from atm.lanes.faults import EngineFault, EngineRefused
from atm.lanes.places import MOVED, Moved, url_of_lane
from atm.ledger.commands import ApprovalLimit
from atm.ledger.peppers import PepperState
from atm.ledger.roles import RoleChange
from atm.ledger.rows import role_change_of

BEAT_S = 0.5
LANES = "select lane, epoch, applied, holder from atm.lane"
# What concerns the whole bank is in lane 0.
ROLES = "select name, granted, revoked, log_index from atm.role_change where lane = 0"
LIMITS = "select op, amount, log_index from atm.approval_limit where lane = 0"
PEPPER = """select generation, name, log_index, carried_index from atm.pepper where lane = 0
    order by generation desc limit 1"""


class LaneRow(Struct, frozen=True):
    """A lane's row in a database."""

    lane: int
    epoch: int
    applied: int
    holder: str


class DatabaseSeen(Struct, frozen=True):
    """What was found in one database; `fault` is why there is nothing newer."""

    lanes: Mapping[int, LaneRow] = {}
    moved: Sequence[Moved] = ()
    role_changes: Mapping[str, RoleChange] = {}
    approval_limits: Mapping[str, ApprovalLimit] = {}
    pepper: PepperState = PepperState()
    fault: str = ""


class Asked:
    """The questions of a look, sent within the caller's pipeline; `found` waits for the answers."""

    def __init__(self, connection: psycopg.Connection[Any]) -> None:
        ask = connection.execute
        self._cursors = [ask(each) for each in (LANES, MOVED, ROLES, LIMITS, PEPPER)]

    def found(self) -> DatabaseSeen:
        """Return what was found."""
        lanes, moved, roles, limits, peppers = [each.fetchall() for each in self._cursors]
        return DatabaseSeen(
            {row[0]: LaneRow(*row) for row in lanes},
            [Moved(*row) for row in moved],
            {change.name: change for change in map(role_change_of, roles)},
            {limit.op: limit for limit in map(_limit, limits)},
            next((PepperState(*row) for row in peppers), PepperState()),
        )


def _limit(row: tuple[Any, int | None, int]) -> ApprovalLimit:
    op, amount, log_index = row
    return ApprovalLimit(op=op, amount=amount, log_index=log_index)


def current_pepper(urls: dict[str, str]) -> PepperState:
    """Return the current pepper; the first one if the database of lane 0 does not say it now."""
    try:
        with closing(EngineConnection(url_of_lane(urls, 0))) as engine, engine.asking():
            rows = engine.psycopg.execute(PEPPER).fetchall()
    except EngineFault:
        return PepperState()
    return next((PepperState(*row) for row in rows), PepperState())


class DatabaseWatch:
    """A thread; `seen` is for any, and replaced as a whole."""

    def __init__(self, name: str, url: str, bank_id: str, tell: Callable[[str], None]) -> None:
        """`tell` gets a line for the operator."""
        self.name, self.url = name, url
        self._bank_id, self._tell = bank_id, tell
        self._engine: EngineConnection | None = None
        self._has_bank = False
        self._stopping = Event()
        self._thread = Thread(target=self._run, name=f"database {name}", daemon=True)
        self.seen = DatabaseSeen()

    def start(self) -> None:
        """Look from now on."""
        self._thread.start()

    def stop(self) -> None:
        """End soon; nobody waits for a database that does not answer."""
        self._stopping.set()

    def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                self.seen = self._look()
            except (EngineFault, EngineRefused) as error:
                self._drop()
                if str(error) != self.seen.fault:
                    self._tell(f"the database {self.name} cannot be used: {error}")
                self.seen = replace(self.seen, fault=str(error))
            self._stopping.wait(BEAT_S)
        self._drop()

    def _look(self) -> DatabaseSeen:
        """Return what is there; nothing, as long as no lane was moved there."""
        if self._engine is None:
            self._engine = EngineConnection(self.url)
            self._has_bank = False
        engine = self._engine
        if not self._has_bank:
            with engine.asking():
                self._has_bank = has_bank(engine)
            if not self._has_bank:
                return DatabaseSeen()
            found = read_bank(engine, home=False)
            if found.id != self._bank_id:
                raise EngineRefused(f"it has lanes of another bank, {found.id}")
        with engine.asking(), engine.psycopg.pipeline(), engine.psycopg.transaction():
            return Asked(engine.psycopg).found()

    def _drop(self) -> None:
        if self._engine is not None:
            self._engine.close()
            self._engine = None
