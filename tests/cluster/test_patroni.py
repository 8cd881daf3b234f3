"""A bank on three PostgreSQL under Patroni, set up as deploy/patroni says: a lost primary is replaced."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from atm.client import Client, new_request_id
from atm.lanes.faults import EngineFault
from atm.lanes.lane_ledger import LaneLedger
from atm.local_cluster import LocalCluster
from atm.office.main import main as office
from tests.support.customers import Customers
from tests.support.lanes import bank_at, lane_tables
from tests.support.ledgers import assert_kept
from tests.support.patroni import PatroniCluster, why_no_patroni

WRITES_AGAIN_S = 15.0
FROZEN_WRITES_AGAIN_S = 30.0  # some 12 s where nothing else runs: `python -m bench.failover_postgresql`


@pytest.fixture(scope="module")
def database() -> Iterator[PatroniCluster]:
    why = why_no_patroni()
    if why is not None:
        pytest.skip(why)
    with PatroniCluster() as cluster:
        yield cluster


@contextmanager
def busy_bank(folder: Path, url: str) -> Iterator[tuple[LocalCluster, Customers]]:
    """Yield three servers and customers at work; assert that what these were told is in the books."""
    with bank_at(folder, url) as bank:
        bank.start_all()
        bank.wait_for_leader()
        with Customers(bank.cluster.path) as customers:
            customers.wait_for_more()
            yield bank, customers
            customers.wait_for_more()
        assert_kept(lane_tables(url), customers)
        assert office(["verify", "--config", str(bank.cluster.path)]) == 0


def next_write_s(bank: LocalCluster, customers: Customers, strike: Callable[[], None]) -> float:
    """Return how long after the fault a change was acknowledged that was asked for after it."""
    request_id = new_request_id()
    with Client(bank.cluster.path, timeout=60.0) as client:
        began_s = time.monotonic()
        strike()
        customers.receipts[request_id] = client.credit("main", 1, request_id=request_id)
        return time.monotonic() - began_s


@pytest.mark.parametrize("fault", ["kill_postgres", "lose"])
def test_after_a_lost_primary_the_next_change_is_done_within_15_s_and_nothing_acknowledged_is_lost(
    tmp_path: Path, database: PatroniCluster, fault: str
) -> None:
    with busy_bank(tmp_path, database.new_database()) as (bank, customers):
        old = database.leader()
        took_s = next_write_s(bank, customers, lambda: getattr(database, fault)(old))
        assert database.leader() != old
        database.start(old)
        database.wait_until_whole()
    assert took_s < WRITES_AGAIN_S


def test_a_primary_that_was_frozen_and_wakes_without_its_patroni_acknowledges_nothing(
    tmp_path: Path, database: PatroniCluster
) -> None:
    """Two primaries, and nobody who would end the old one: its only synchronous standby is the new one."""
    url = database.new_database()
    with busy_bank(tmp_path, url) as (bank, customers):
        old = database.leader()
        took_s = next_write_s(bank, customers, lambda: database.freeze(old))
        assert database.leader() != old
        database.resume_postgres(old)
        of_old = f"{database.uri(old).rpartition('/')[0]}/{url.rpartition('/')[2]}"
        with pytest.raises(EngineFault, match="did not answer in time"):
            LaneLedger(of_old, 0, "old", answer_timeout_s=3.0)
        customers.wait_for_more()
        database.resume(old)
        database.wait_until_whole()
    assert took_s < FROZEN_WRITES_AGAIN_S
