"""Compares the two halves of transfers between lanes: what one lane paid, another one has credited."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import apsw

from atm.lanes.engine import EngineConnection
from atm.ledger.audit.read_only import open_read_only

PAID = """select request_id, journal.amount, credit_account from journal join receipt using (request_id)
    where op in ('transfer', 'reverse', 'approve') and substr(credit_account, 1, 8) = 'transit:'"""
CREDITED = """select request_id, journal.amount, debit_account from journal join receipt using (request_id)
    where op = 'arrive' and substr(debit_account, 1, 8) = 'transit:'"""
HALVES = """create table half (id text, side text, lane integer, amount integer, transit text,
    primary key (id, side, lane)) without rowid"""
# The account is named after the currency, so that is compared with it.
UNEQUAL = """select id, side, lane, amount from half
    where not exists (select 1 from half as other where other.id = half.id and other.side <> half.side
        and other.amount = half.amount and other.transit = half.transit)"""
# Where the other half is looked for again, in the database itself: it may have come since the copy.
PAID_NOW = """select 1 from atm.journal join atm.receipt using (lane, request_id)
    where request_id = %s and journal.amount = %s and op in ('transfer', 'reverse', 'approve')
    and credit_account like 'transit:%%'
    union all
    select 1 from atm.open_transfer join atm.hold using (lane, request_id)
    where request_id = %s and amount = %s and state = 'active'"""
CREDITED_NOW = """select 1 from atm.journal join atm.receipt using (lane, request_id)
    where request_id = %s and journal.amount = %s and op = 'arrive' and debit_account like 'transit:%%'"""


def differences(
    urls: Sequence[str], copies: Sequence[tuple[int, Path]], folder: Path
) -> list[tuple[int, str]]:
    """Return each half that has no other, as its lane and a line.

    `copies` are the lanes' ledgers, copied one after the other while the bank may work, `urls` the databases
    that hold the lanes, `folder` is for a file of this function's own.
    """
    with closing(apsw.Connection(str(folder / "halves.db"))) as connection:
        connection.execute(HALVES)
        for lane, path in copies:
            with open_read_only(path) as books, connection:
                for side, sql in (("paid", PAID), ("credited", CREDITED)):
                    rows = ((name, side, lane, *rest) for name, *rest in books.execute(sql))
                    connection.executemany("insert into half values (?, ?, ?, ?, ?)", rows)
        unequal = connection.execute(UNEQUAL).fetchall()
    return list(_still_alone(urls, unequal)) if unequal else []


def _still_alone(urls: Sequence[str], unequal: Sequence[Any]) -> Iterator[tuple[int, str]]:
    connections = [EngineConnection(url) for url in urls]
    try:
        for name, side, lane, amount in unequal:
            if side == "paid":
                there = any(_finds(each, CREDITED_NOW, name, amount) for each in connections)
                line = "paid to another lane, and none has credited it"
            else:
                there = any(_finds(each, PAID_NOW, name, amount, name, amount) for each in connections)
                line = "credited, and no other lane has paid or holds it"
            if not there:
                yield lane, f"transfer {name}: {amount} was {line}"
    finally:
        for engine in connections:
            engine.close()


def _finds(engine: EngineConnection, sql: str, *values: str | int) -> bool:
    with engine.asking():
        return bool(engine.psycopg.execute(sql.encode(), values).fetchall())
