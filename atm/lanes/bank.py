"""Makes the bank's tables, with its lanes, in a database that has none; and says whose books are there."""

from __future__ import annotations

import secrets
from pathlib import Path
from typing import Any

import psycopg
from msgspec import Struct

from atm.lanes.engine import EngineConnection
from atm.lanes.faults import EngineRefused
from atm.lanes.share import lane_of
from atm.ledger.commands import CASH, MAIN, WRITEOFF
from atm.ledger.posting import NO_HASH

SCHEMA = Path(__file__).with_name("schema.sql").read_text(encoding="utf-8")
SCHEMA_VERSION = 1
ONE_AT_A_TIME = "select pg_advisory_xact_lock(hashtext('atm.bank'))"
NEW_BANK = "insert into atm.bank values (1, %s, %s, '', %s)"
NEW_BRANCH = "insert into atm.bank values (1, %s, %s, %s, %s, false)"
BANK = "select id, lanes, schema_version, pepper, home from atm.bank"
NEW_LANE = "insert into atm.lane values (%s, 0, '', %s, 0, %s, %s)"
BALANCE = "insert into atm.balance values (%s, %s, 0)"
ACCOUNT = "insert into atm.account values (%s, %s, 0, 'open', 0, null, 0, null, 0, 0)"
# A first pepper is noted once, and found from then on.
PEPPER = "update atm.bank set pepper = case when pepper = '' then %s else pepper end returning pepper"


class Bank(Struct, frozen=True):
    """The books in a database: their id, and how many lanes they have."""

    id: str
    lanes: int
    pepper: str  # the name of the first one


def open_bank(engine: EngineConnection, lanes: int) -> Bank:
    """Return the bank of the database; make one with `lanes` if there is none; raise `EngineRefused`."""
    with engine.asking(writes=True), engine.psycopg.transaction():
        engine.psycopg.execute(ONE_AT_A_TIME)
        if not has_bank(engine):
            engine.psycopg.execute(SCHEMA.encode())
            engine.psycopg.execute(NEW_BANK, (secrets.token_hex(16), lanes, SCHEMA_VERSION))
            for lane in range(lanes):
                add_lane(engine.psycopg, lane, has_main=lane == lane_of(MAIN, lanes))
    found = read_bank(engine)
    if found.lanes != lanes:
        raise EngineRefused(
            f"the bank in this database has lanes = {found.lanes}, and cluster.ini says {lanes}: the number "
            "is fixed when the bank is made. Write that one into the file"
        )
    return found


def read_bank(engine: EngineConnection, *, home: bool | None = True) -> Bank:
    """Return the bank of the database; raise `EngineRefused` if there is none, or one of another release.

    `home`: it must be the database that knows where lanes lie, False: one that only has lanes, None: either.
    """
    with engine.asking():
        if not has_bank(engine):
            raise EngineRefused(
                "there is no bank in this database yet: the first start of a server makes one"
            )
        [(bank_id, lanes, version, pepper, is_home)] = engine.psycopg.execute(BANK).fetchall()
    if version != SCHEMA_VERSION:
        raise EngineRefused(
            f"the tables of the bank in this database are of version {version}, and this release's of "
            f"{SCHEMA_VERSION}: install the release that made them"
        )
    if is_home and home is False:
        raise EngineRefused("there is a bank in this database already, with its own lanes: name an empty one")
    if home and not is_home:
        raise EngineRefused(
            "this database only has lanes that were moved to it: [engine] url must name the bank's first one"
        )
    return Bank(bank_id, lanes, pepper)


def open_branch(engine: EngineConnection, bank: Bank) -> None:
    """Make the tables that lanes of this bank can be moved to, if there are none; raise `EngineRefused`."""
    with engine.asking(writes=True), engine.psycopg.transaction():
        engine.psycopg.execute(ONE_AT_A_TIME)
        if not has_bank(engine):
            engine.psycopg.execute(SCHEMA.encode())
            engine.psycopg.execute(NEW_BRANCH, (bank.id, bank.lanes, bank.pepper, SCHEMA_VERSION))
    found = read_bank(engine, home=False)
    if found.id != bank.id:
        raise EngineRefused(f"this database has lanes of another bank, {found.id}: name an empty one")


def has_bank(engine: EngineConnection) -> bool:
    """Return whether the database has the bank's tables; within `asking`."""
    return bool(engine.psycopg.execute("select to_regclass('atm.bank') is not null").fetchall()[0][0])


def check_pepper(engine: EngineConnection, name: str) -> None:
    """Note the servers' first pepper, or refuse another one: PINs could not be compared."""
    with engine.asking(writes=True), engine.psycopg.transaction():
        [(found,)] = engine.psycopg.execute(PEPPER, (name,)).fetchall()
    if found != name:
        raise EngineRefused(
            f"the PINs of this bank are sealed with the pepper {found}, and this server's is {name}: give "
            "it the pepper file of the other servers"
        )


def add_lane(connection: psycopg.Connection[Any], lane: int, *, has_main: bool, applied: int = 0) -> None:
    """Add a lane with its own cash and write-off account, within the caller's transaction."""
    connection.execute(NEW_LANE, (lane, applied, NO_HASH, NO_HASH))
    for account in (CASH, WRITEOFF, *([MAIN] if has_main else [])):
        connection.execute(BALANCE, (lane, account))
    if has_main:
        connection.execute(ACCOUNT, (lane, MAIN))
