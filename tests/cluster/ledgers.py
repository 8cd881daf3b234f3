"""The ledgers of a cluster's nodes, read from outside as a person with a shell reads them."""

from __future__ import annotations

import sqlite3
import time
from contextlib import closing
from pathlib import Path

from atm.local_cluster import LocalCluster
from tests.cluster.customers import Customers

Rows = list[tuple[object, ...]]


def tables(path: Path) -> dict[str, Rows]:
    """Return every row of every table."""
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as ledger:
        ledger.execute("begin")
        names = [name for (name,) in ledger.execute("select name from sqlite_master where type = 'table'")]
        return {name: sorted(ledger.execute(f'select * from "{name}"'), key=repr) for name in names}


def wait_until_equal(cluster: LocalCluster, deadline_s: float = 20.0) -> dict[str, Rows]:
    """Wait until all nodes have applied the same index, then assert that every table is the same."""
    deadline = time.monotonic() + deadline_s
    while True:
        statuses = [cluster.status(name) for name in cluster.cluster.nodes]
        applied = {status.applied_index if status else None for status in statuses}
        committed = {status.commit_index if status else None for status in statuses}
        if len(applied) == 1 and applied == committed and None not in applied:
            break
        assert time.monotonic() < deadline, f"the nodes did not converge: {statuses}"
        time.sleep(0.02)
    first, *others = (cluster.cluster.data_dir / name / "ledger.db" for name in cluster.cluster.nodes)
    ledger = tables(first)
    for other in others:  # one at a time: they may be long
        assert tables(other) == ledger, f"{other} differs from {first}"
    return ledger


def assert_kept(ledger: dict[str, Rows], customers: Customers) -> None:
    """Assert that what the customers were told is in the ledger, exactly once, and nothing else is."""
    assert not customers.errors, customers.errors
    receipts = {row[0]: row for row in ledger["receipt"]}
    assert len(receipts) == len(ledger["receipt"])
    for request_id, receipt in customers.receipts.items():
        assert request_id in receipts, f"{request_id} was acknowledged and is not there"
        kept = receipts[request_id]
        assert (kept[4], kept[5], kept[6]) == (receipt.outcome, receipt.balance, receipt.reference)
    assert not customers.refused & receipts.keys(), "something that was certainly not done was done"
    known = customers.receipts.keys() | customers.unknown
    openings = {row[0] for row in ledger["receipt"] if row[1] == "open"}
    assert receipts.keys() - openings <= known, "something was done that nobody asked for"
    assert_books_are_right(ledger)


def assert_books_are_right(ledger: dict[str, Rows]) -> None:
    """Assert that all balances add up to 0, and each is what its postings add up to."""
    balances = {str(account): int(str(amount)) for account, amount in ledger["balance"]}
    assert sum(balances.values()) == 0
    recomputed = dict.fromkeys(balances, 0)
    for _, _, debit_account, credit_account, amount, _ in ledger["journal"]:
        recomputed[str(debit_account)] -= int(str(amount))
        recomputed[str(credit_account)] += int(str(amount))
    assert recomputed == balances
    postings = [row[5] for row in ledger["journal"]]
    assert len(postings) == len(set(postings)), "a request was posted twice"
    done = {row[0] for row in ledger["receipt"] if row[4] == "ok" and row[1] != "open"}
    assert done == set(postings)
