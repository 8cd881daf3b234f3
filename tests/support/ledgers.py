"""The ledgers of a cluster's nodes, read from outside as a person with a shell reads them."""

from __future__ import annotations

import hashlib
import sqlite3
import time
from collections import Counter, namedtuple
from contextlib import closing
from functools import lru_cache
from pathlib import Path
from typing import Any

from atm.ledger.own_accounts import is_banks_own
from atm.local_cluster import LocalCluster
from tests.support.customers import Customers

Rows = list[Any]  # named tuples, with a field for each column

SETTING_UP = {"open", "set_pin"}  # what customers do before they are watched
MOVING = {"credit", "debit", "transfer", "batch", "post", "reverse", "write_off", "arrive"}


def tables(path: Path) -> dict[str, Rows]:
    """Return every row of every table."""
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as ledger:
        ledger.execute("begin")
        names = [name for (name,) in ledger.execute("select name from sqlite_master where type = 'table'")]
        ledger.row_factory = _named
        return {name: sorted(ledger.execute(f'select * from "{name}"'), key=repr) for name in names}


def wait_until_equal(cluster: LocalCluster, deadline_s: float = 20.0) -> dict[str, Rows]:
    """Wait until all nodes have applied all that is committed, then assert that every table is the same.

    A hold may end at any time, by a command of the leader's own: then it begins anew.
    """
    deadline = time.monotonic() + deadline_s
    while True:
        statuses = [cluster.status(name) for name in cluster.cluster.nodes]
        applied = {status.applied_index if status else None for status in statuses}
        committed = {status.commit_index if status else None for status in statuses}
        if len(applied) == 1 and applied == committed and None not in applied:
            ledger = _the_same_tables(cluster)
            if ledger is not None:
                return ledger
        assert time.monotonic() < deadline, f"the nodes did not converge: {statuses}"
        time.sleep(0.02)


def _the_same_tables(cluster: LocalCluster) -> dict[str, Rows] | None:
    """Return them, or None if they are of different log indices; assert that they do not differ otherwise."""
    first, *others = (cluster.cluster.data_dir / name / "ledger.db" for name in cluster.cluster.nodes)
    ledger = tables(first)
    for path in others:  # one at a time: they may be long
        other = tables(path)
        if other["applied"] != ledger["applied"]:
            return None
        differing = [name for name in ledger if other[name] != ledger[name]]
        assert not differing, f"{path} differs from {first} in {differing}"
    return ledger


def assert_files_are_sound(cluster: LocalCluster) -> None:
    """Assert that SQLite finds nothing wrong with any node's file."""
    for name in cluster.cluster.nodes:
        path = cluster.cluster.data_dir / name / "ledger.db"
        with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as ledger:
            assert ledger.execute("pragma integrity_check").fetchall() == [("ok",)], path
            assert ledger.execute("pragma foreign_key_check").fetchall() == [], path


def right_ledger(cluster: LocalCluster) -> dict[str, Rows]:
    """Return the tables once all nodes have the same, which are asserted to be right."""
    ledger = wait_until_equal(cluster)
    assert_files_are_sound(cluster)
    assert_books_are_right(ledger)
    return ledger


def assert_kept(ledger: dict[str, Rows], customers: Customers) -> None:
    """Assert that what the customers were told is in the ledger, exactly once, and nothing else is."""
    assert not customers.errors, customers.errors
    kept = {row.request_id: row for row in ledger["receipt"]}
    for request_id, receipt in customers.receipts.items():
        assert request_id in kept, f"{request_id} was acknowledged and is not there"
        row = kept[request_id]
        told = (receipt.outcome, receipt.balance, receipt.available, receipt.log_index, receipt.time_us)
        assert (row.outcome, row.balance, row.available, row.log_index, row.time_us) == told
    done = {request_id for request_id, row in kept.items() if row.op != "tombstone"}
    assert not customers.refused & done, "something that was certainly not done was done"
    known = customers.receipts.keys() | customers.unknown
    asked = {request_id for request_id in done if kept[request_id].op not in SETTING_UP}
    assert asked <= known, "something was done that nobody asked for"
    assert_books_are_right(ledger)


def assert_books_are_right(ledger: dict[str, Rows]) -> None:
    """Assert that everything in the ledger follows from its journal, its receipts and its holds."""
    _assert_the_journal_is_whole(ledger)
    receipts = {row.request_id: row for row in ledger["receipt"]}
    for row in ledger["journal"]:
        receipt = receipts[row.request_id]
        assert (receipt.outcome, receipt.log_index) == ("ok", row.log_index), f"{row} has {receipt}"
        assert receipt.time_us == row.time_us
    moved = {row.request_id for row in ledger["journal"]}
    assert moved == {row.request_id for row in receipts.values() if row.outcome == "ok" and row.op in MOVING}
    in_order = sorted(receipts.values(), key=lambda row: row.log_index)
    assert [row.time_us for row in in_order] == sorted(row.time_us for row in in_order), "time went back"
    held: Counter[str] = Counter()
    for hold in ledger["hold"]:
        held[hold.account] += hold.amount - hold.posted if hold.state == "active" else 0
        assert 0 <= hold.posted <= hold.amount
        assert hold.posted > 0 or hold.state != "posted", hold
    for account in ledger["account"]:
        assert account.held == held[account.account], account
    for row in ledger["reversal"]:
        assert receipts[row.original].outcome == receipts[row.reversal].outcome == "ok", row
    assert len({row.reversal for row in ledger["reversal"]}) == len(ledger["reversal"])


def _assert_the_journal_is_whole(ledger: dict[str, Rows]) -> None:
    """Add up every posting and hash every row again."""
    balances = {row.account: row.amount for row in ledger["balance"]}
    assert sum(balances.values()) == 0
    recomputed = dict.fromkeys(balances, 0)
    excepted = {row.posting for row in ledger["exception"]}
    chain = bytes(32)
    for row in sorted(ledger["journal"], key=lambda row: int(row.posting)):
        recomputed[row.debit_account] -= row.amount
        recomputed[row.credit_account] += row.amount
        after = (recomputed[row.debit_account], recomputed[row.credit_account])
        assert (row.debit_balance, row.credit_balance) == after, row
        chain = hashlib.sha256(chain + " ".join(map(str, row[:8])).encode()).digest()
        assert row.hash == chain, f"the chain breaks at {row}"
        if not is_banks_own(row.debit_account) and row.debit_balance < 0:
            assert row.posting in excepted, f"{row} overdraws, and is no exception"
    assert recomputed == balances


def _named(cursor: sqlite3.Cursor, row: tuple[object, ...]) -> tuple[object, ...]:
    made: tuple[object, ...] = _row_type(tuple(column[0] for column in cursor.description))(*row)
    return made


@lru_cache
def _row_type(columns: tuple[str, ...]) -> Any:
    return namedtuple("Row", columns)
