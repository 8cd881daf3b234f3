"""Moves one lane from a database to another one while the bank serves.

What never changes again (journal, receipts, remarks, deeds) is copied ahead, while the lane serves, in parts
that are compared at once. Then the mover takes the lane, as a server would: nobody writes there any more. It
copies the rest, compares it, and seals the copy: the lane's row in `atm.lane` of the target, with an epoch
that only it knows. Then it gives the lane away in the source, if that still has the mover's epoch
(places.py): the step that decides. Before it the lane lies in the source, and servers take it again there
once the mover has been silent for `LEASE_S`; behind it, it lies in the target. What is left in the source is
deleted.

Whatever is cut off is completed or begun anew by the next call. Two movers of a lane cannot harm each other:
each notes itself at the target, and whoever finds another there ends; who begins takes the seal, and with it
the epoch, of who was before.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from typing import Any

from msgspec import Struct

from atm.config import HOME_DATABASE
from atm.lanes.bank import Bank, has_bank, open_branch, read_bank
from atm.lanes.engine import EngineConnection
from atm.lanes.faults import EngineFault, EngineRefused
from atm.lanes.places import LIVING, MOVED, MOVER, SILENT_S, Moved, Place, address, follow, read_places
from atm.ledger.posting import POSTINGS_PER_ENTRY

LEASE_S = 5.0  # a mover that is silent for so long has lost the lane
RENEW_S = 1.0
ENTRIES_AT_ONCE = 20_000
REST_MAX = 2_000  # entries that are copied while the lane stands still
ROWS_AT_ONCE = 5_000  # deleted in one transaction
ANSWER_TIMEOUT_S = 600.0  # for what has to read a whole table
TAKEN_S = 15.0  # for so long a server is waited for

# What never changes again, of the entries from one to before another. Receipts of PINs may change.
_POSTINGS = f"posting >= {{0}} * {POSTINGS_PER_ENTRY} and posting < {{1}} * {POSTINGS_PER_ENTRY}"
_RECEIPTS = "log_index >= {0} and log_index < {1} and op <> 'set_pin'"
PARTS = {
    "journal": _POSTINGS,
    "remark": _POSTINGS,
    "deed": "deed >= {0} and deed < {1}",
    "receipt": _RECEIPTS,
}
WHOLE = {"receipt": "op = 'set_pin'"}  # and each table that is not in PARTS
NOT_MOVED = ("lane", "place", "moved", "arriving")
COLUMNS = """select table_name, string_agg(quote_ident(column_name), ', ' order by ordinal_position)
    from information_schema.columns where table_schema = 'atm' and table_name not in
    (select table_name from information_schema.views where table_schema = 'atm')
    group by table_name having bool_or(column_name = 'lane') order by table_name"""
# An order-independent digest: rows are compared as text, which is the same on all versions.
DIGEST = """select count(*), coalesce(sum(('x' || substr(md5(t::text), 1, 15))::bit(60)::bigint), 0)
    from (select {columns} from atm.{table} where lane = {lane} and {where}) as t"""
LISTED = """select lane, holder, epoch, applied,
    (select count(*) from atm.open_transfer where open_transfer.lane = lane.lane) from atm.lane"""
LOCK_LANE = "select pg_advisory_xact_lock(hashtext('atm.lane.' || %s::text))"
ONE_MOVER = "select pg_try_advisory_lock(hashtext('atm.lanes.move'))"
LEASE = """insert into atm.place values (%s, %s, 0, clock_timestamp() + make_interval(secs => %s))
    on conflict (lane) do update set until = excluded.until where place.database = excluded.database"""
TAKE = """update atm.lane set epoch = epoch + 1, holder = %s where lane = %s
    returning epoch, applied, time_us, journal_hash, deed_hash"""
SEAL = "insert into atm.lane values (%s, %s, '', %s, %s, %s, %s)"
CLAIM = "insert into atm.arriving values (%s, %s) on conflict (lane) do update set mover = excluded.mover"
GIVE_AWAY = "delete from atm.lane where lane = %s and epoch = %s and holder = %s returning lane"
NOTE_MOVED = """insert into atm.moved values (%s, %s, %s) on conflict (lane) do update
    set epoch = excluded.epoch, database = excluded.database"""


class NotMoved(Exception):
    """The lane stays where it is; `str()` of it is one line."""


class LaneListed(Struct, frozen=True):
    """A lane, and where it is; what is not known of it is None, and then `fault` says why."""

    lane: int
    database: str
    holder: str = ""
    lives: bool = False
    epoch: int | None = None
    applied: int | None = None
    open_transfers: int | None = None
    fault: str = ""


class Result(Struct, frozen=True):
    """What was done: how many rows were copied, and for how many seconds the lane stood still."""

    rows: int
    stood_still_s: float
    is_taken: bool


def ask(engine: EngineConnection, sql: str, values: Sequence[object] = ()) -> list[Any]:
    """Return the rows of a statement; the only way that this module changes anything."""
    cursor = engine.psycopg.execute(sql.encode(), values or None)
    return cursor.fetchall() if cursor.description else []


def mover(urls: dict[str, str], tell: Callable[[str], None]) -> closing[Mover]:
    """Return a `Mover` that is closed by `with`."""
    return closing(Mover(urls, tell))


def list_lanes(urls: dict[str, str]) -> list[LaneListed]:
    """Return all lanes by their numbers; raise `EngineFault` and `EngineRefused` about the home database."""
    with closing(EngineConnection(urls[HOME_DATABASE])) as home:
        places = read_places(home, read_bank(home).lanes)
        with home.asking():
            living = {name for (name,) in ask(home, LIVING, (SILENT_S,))}
    rows: dict[str, dict[int, Any]] = {}
    faults: dict[str, str] = {}
    for name in {place.database for place in places}:
        try:
            url = address(urls, next(place for place in places if place.database == name))
            with closing(EngineConnection(url)) as engine, engine.asking():
                rows[name] = {row[0]: row for row in ask(engine, LISTED)}
        except (EngineFault, EngineRefused) as error:
            faults[name] = str(error)
    listed = []
    for place in places:
        row = rows.get(place.database, {}).get(place.lane)
        if row is None:
            why = faults.get(place.database, "the lane is not there: if it was being moved, complete it")
            listed.append(LaneListed(place.lane, place.database, fault=why))
        else:
            lane, holder, *rest = row
            listed.append(LaneListed(lane, place.database, holder, holder in living, *rest))
    return listed


class Mover:
    """Moves lanes of one bank, one after the other; to be closed. `tell` gets lines about what is under way.

    All methods raise `EngineFault`, `EngineRefused` and `NotMoved`.
    """

    def __init__(self, urls: dict[str, str], tell: Callable[[str], None]) -> None:
        self._urls, self._tell = urls, tell
        self._parts = ExitStack()
        self._engines: dict[str, EngineConnection] = {}
        self._name = MOVER + secrets.token_hex(8)
        try:
            self._home = EngineConnection(urls[HOME_DATABASE])  # of its own: it is asked while others copy
            self._parts.callback(self._home.close)
            self.bank: Bank = read_bank(self._home)
            with self._home.asking():
                [(alone,)] = ask(self._home, ONE_MOVER)
            if not alone:
                raise NotMoved("another lane is being moved at the moment: one at a time")
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Close all connections."""
        self._parts.close()

    def _engine(self, name: str) -> EngineConnection:
        if name not in self._engines:
            engine = EngineConnection(self._urls[name], answer_timeout_s=ANSWER_TIMEOUT_S)
            self._parts.callback(engine.close)
            self._engines[name] = engine
        return self._engines[name]

    # -- all of it --------------------------------------------------------------------------------------

    def complete(self) -> list[Moved]:
        """Complete what calls before this one left, the map and what is to be deleted; return these lanes."""
        completed = []
        for name in self._urls:
            try:
                engine = self._engine(name)
                with engine.asking():
                    moved = [Moved(*row) for row in ask(engine, MOVED)] if has_bank(engine) else []
                if name != HOME_DATABASE and moved:
                    open_branch(engine, self.bank)
            except (EngineFault, EngineRefused) as error:
                self._engines.pop(name, None)
                self._tell(f"What is left to be done in the database {name} cannot be looked up: {error}")
                continue
            for each in moved:
                follow(self._home, [each])
                self._delete_rest(engine, each)
                completed.append(each)
        return completed

    def move(self, lane: int, target: str) -> Result:
        """Move a lane to the database of that name; return what was done."""
        source = read_places(self._home, self.bank.lanes)[lane]
        if source.database == target:
            raise NotMoved(f"lane {lane} lies in {target} already")
        address(self._urls, source)
        if target != HOME_DATABASE:
            open_branch(self._engine(target), self.bank)
        return _Move(self, source, target).run()

    def _delete_rest(self, engine: EngineConnection, moved: Moved) -> None:
        """Delete what is left of a lane that has moved away, and then the note of it."""
        lane = moved.lane
        for table in columns_of(engine):
            deleted = 1
            while deleted:
                with engine.asking(writes=True), engine.psycopg.transaction():
                    ask(engine, LOCK_LANE, (lane,))
                    if not ask(
                        engine, "select 1 from atm.moved where lane = %s and epoch = %s", (lane, moved.epoch)
                    ):
                        return
                    deleted = delete_some(engine, table, lane)
        drop_indexes(engine, lane)
        with engine.asking(writes=True):
            ask(engine, "delete from atm.moved where lane = %s and epoch = %s", (lane, moved.epoch))


class _Move:
    """One move."""

    def __init__(self, mover: Mover, source: Place, target: str) -> None:
        self._mover = mover
        self._tell, self._name, self._home = mover._tell, mover._name, mover._home
        self._lane, self._place, self._to = source.lane, source, target
        self._source, self._target = mover._engine(source.database), mover._engine(target)
        self._columns = columns_of(self._source)
        self._rows = 0
        self._still = False
        self._renewed_s = 0.0

    def run(self) -> Result:
        """Do all steps."""
        lane = self._lane
        self._claim()
        if columns_of(self._target) != self._columns:
            raise NotMoved(f"the tables of {self._to} are not those of {self._place.database}")
        drop_indexes(self._source, lane)
        add_indexes(self._source, lane)
        drop_indexes(self._target, lane)
        add_indexes(self._target, lane)
        done = self._copy_ahead()
        began_s = time.monotonic()
        epoch, *row = self._stop()
        self._tell(f"Lane {lane} stands still; copying the rest")
        self._copy_parts(done, row[0] + 1)
        self._copy_whole()
        self._seal(epoch + 1, row)
        moved = self._give_away(epoch)
        follow(self._home, [moved])
        drop_indexes(self._target, lane)
        is_taken = self._wait_until_taken()
        stood_still_s = time.monotonic() - began_s
        self._tell(f"Lane {lane} lies in {self._to}; deleting its rows in {self._place.database}")
        self._mover._delete_rest(self._source, moved)
        return Result(self._rows, stood_still_s, is_taken)

    # -- the target -------------------------------------------------------------------------------------

    def _claim(self) -> None:
        """Make sure that nobody else copies this lane, and that nothing of it is in the target."""
        target, lane = self._target, self._lane
        with target.asking():
            sealed = ask(target, "select epoch from atm.lane where lane = %s", (lane,))
        for (epoch,) in sealed:
            # Whoever sealed it can give the lane away no more, once it has another epoch.
            with self._source.asking(writes=True):
                ask(
                    self._source,
                    "update atm.lane set epoch = %s, holder = '' where lane = %s and epoch < %s",
                    (epoch, lane, epoch),
                )
                left = ask(self._source, "select 1 from atm.lane where lane = %s", (lane,))
            if not left:
                raise NotMoved(f"lane {lane} has just been moved: ask again")
        with target.asking(writes=True), target.psycopg.transaction():
            ask(target, LOCK_LANE, (lane,))
            found = ask(target, "select epoch from atm.lane where lane = %s", (lane,))
            if found != sealed:
                raise NotMoved(f"lane {lane} is being moved by somebody else: ask again")
            ask(target, "delete from atm.lane where lane = %s", (lane,))
            ask(target, "delete from atm.moved where lane = %s", (lane,))
            ask(
                target,
                CLAIM,
                (lane, self._name),
            )
        for table in self._columns:
            deleted = 1
            while deleted:
                with self._writing():
                    deleted = delete_some(target, table, lane)

    @contextmanager
    def _writing(self) -> Iterator[None]:
        """Run the block in a transaction at the target, while this is the one who copies the lane."""
        target = self._target
        with target.asking(writes=True), target.psycopg.transaction():
            ask(target, LOCK_LANE, (self._lane,))
            found = ask(target, "select mover from atm.arriving where lane = %s", (self._lane,))
            if found != [(self._name,)]:
                raise NotMoved(f"lane {self._lane} is being moved by somebody else")
            yield

    def _seal(self, epoch: int, row: Sequence[Any]) -> None:
        self._renew()
        with self._writing():
            ask(self._target, SEAL, (self._lane, epoch, *row))
            ask(self._target, "delete from atm.arriving where lane = %s", (self._lane,))

    def _wait_until_taken(self) -> bool:
        deadline_s = time.monotonic() + TAKEN_S
        while time.monotonic() < deadline_s:
            with self._target.asking():
                found = ask(self._target, "select holder from atm.lane where lane = %s", (self._lane,))
            if found != [("",)]:
                return True
            time.sleep(0.05)
        return False

    # -- the source -------------------------------------------------------------------------------------

    def _stop(self) -> tuple[int, Any, Any, Any, Any]:
        """Take the lane from its writer; return its row."""
        self._still = True
        self._renew()
        with self._source.asking(writes=True):
            found = ask(self._source, TAKE, (self._name, self._lane))
        if not found:
            raise NotMoved(f"lane {self._lane} does not lie in {self._place.database} any more: ask again")
        row: tuple[int, Any, Any, Any, Any] = found[0]
        return row

    def _renew(self) -> None:
        """Keep servers from taking the lane for a while, once it stands still."""
        if self._still and time.monotonic() > self._renewed_s + RENEW_S:
            with self._home.asking(writes=True):
                ask(self._home, LEASE, (self._lane, self._place.database, LEASE_S))
            self._renewed_s = time.monotonic()

    def _give_away(self, epoch: int) -> Moved:
        """Do the step that decides: from now on the lane lies in the target."""
        moved = Moved(self._lane, epoch + 1, self._to)
        with self._source.asking(writes=True), self._source.psycopg.transaction():
            ask(self._source, LOCK_LANE, (self._lane,))
            if not ask(self._source, GIVE_AWAY, (self._lane, epoch, self._name)):
                raise NotMoved(f"a server took lane {self._lane} again, as copying took too long. Ask again")
            ask(self._source, NOTE_MOVED, (moved.lane, moved.epoch, moved.database))
        return moved

    # -- rows -------------------------------------------------------------------------------------------

    def _copy_ahead(self) -> int:
        """Copy what never changes again, until little of it is left; return the first entry that is left."""
        done = 0
        while True:
            with self._source.asking():
                found = ask(self._source, "select applied + 1 from atm.lane where lane = %s", (self._lane,))
            if not found:
                raise NotMoved(
                    f"lane {self._lane} does not lie in {self._place.database} any more: ask again"
                )
            [(end,)] = found
            if end - done <= REST_MAX:
                return done
            until = min(end, done + ENTRIES_AT_ONCE)
            self._copy_parts(done, until)
            done = until
            self._tell(f"Lane {self._lane}: entries up to {done - 1} of {end - 1} are copied, and it serves")

    def _copy_parts(self, begin: int, end: int) -> None:
        """Copy what never changes again of the entries from one to before another."""
        with self._writing():
            for table, where in PARTS.items():
                self._copy(table, where.format(begin, end))
            receipts = f"select request_id from atm.receipt where lane = {self._lane} and {_RECEIPTS}"
            self._copy("receipt_detail", f"request_id in ({receipts.format(begin, end)})")

    def _copy_whole(self) -> None:
        """Copy the rest, while the lane stands still."""
        pins = f"select request_id from atm.receipt where lane = {self._lane} and op = 'set_pin'"
        rest = {table: "true" for table in self._columns if table not in {*PARTS, "receipt_detail"}}
        with self._writing():
            for table, where in {**WHOLE, "receipt_detail": f"request_id in ({pins})", **rest}.items():
                self._copy(table, where)

    def _copy(self, table: str, where: str) -> None:
        """Copy some rows of a table, and compare them."""
        columns, lane = self._columns[table], self._lane
        rows = f"select {columns} from atm.{table} where lane = {lane} and {where}"
        self._renew()
        with (
            self._source.asking(),
            self._source.psycopg.cursor() as source,
            self._target.psycopg.cursor() as target,
            source.copy(f"copy ({rows}) to stdout".encode()) as out,
            target.copy(f"copy atm.{table} ({columns}) from stdin".encode()) as into,
        ):
            for block in out:
                into.write(block)
                self._source.extend()
                self._target.extend()
                self._renew()
        digest = DIGEST.format(columns=columns, table=table, lane=lane, where=where)
        with self._source.asking():
            there = ask(self._source, digest)
        self._renew()
        if ask(self._target, digest) != there:
            raise NotMoved(f"rows of {table} are not the same in {self._to} as in {self._place.database}")
        self._rows += int(there[0][0])


def columns_of(engine: EngineConnection) -> dict[str, str]:
    """Return the tables with rows of lanes, and their columns."""
    with engine.asking():
        return {table: names for table, names in ask(engine, COLUMNS) if table not in NOT_MOVED}


def delete_some(engine: EngineConnection, table: str, lane: int) -> int:
    """Delete some rows of a lane, within the caller's transaction; return how many."""
    some = f"select ctid from atm.{table} where lane = {lane} limit {ROWS_AT_ONCE}"
    found = ask(
        engine,
        f"with gone as (delete from atm.{table} where ctid = any(array({some})) returning 1) "
        "select count(*) from gone",
    )
    return int(found[0][0])


def add_indexes(engine: EngineConnection, lane: int) -> None:
    """Find a lane's receipts by their entries, and those of PINs, as long as it is being moved."""
    with engine.asking(writes=True):
        ask(
            engine,
            f"create index concurrently moving_entries_{lane} on atm.receipt (log_index) where lane = {lane}",
        )
        ask(
            engine,
            f"create index concurrently moving_pins_{lane} on atm.receipt (request_id) "
            f"where lane = {lane} and op = 'set_pin'",
        )


def drop_indexes(engine: EngineConnection, lane: int) -> None:
    """Drop the indexes of a move."""
    with engine.asking(writes=True):
        for name in ("moving_entries", "moving_pins"):
            ask(engine, f"drop index if exists atm.{name}_{lane}")
