"""Real nodes whose logs are cut: one that lacks what was cut is brought up by a snapshot."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from atm.local_cluster import LocalCluster, write_cluster_ini
from tests.cluster.mixed_customers import MixedCustomers
from tests.support.ledgers import assert_kept, wait_until_equal


@pytest.fixture
def cutting(tmp_path: Path) -> Iterator[LocalCluster]:
    """Three real nodes that take a snapshot for each 200 KB of log."""
    with LocalCluster(write_cluster_ini(tmp_path, 3, snapshot_log_mb=0.2)) as local:
        local.start_all()
        local.wait_for_leader()
        yield local


def test_a_node_that_lost_its_folder_is_brought_up_by_a_snapshot(cutting: LocalCluster) -> None:
    with MixedCustomers(cutting.cluster.path) as customers:
        customers.wait_for_more(3000)
        leader = cutting.wait_for_leader()
        wiped = next(name for name in cutting.running() if name != leader)
        cutting.kill(wiped)
        shutil.rmtree(cutting.cluster.data_dir / wiped)
        customers.wait_for_more(3000)
        cutting.start(wiped)
        customers.wait_for_more(1000)
    assert_kept(wait_until_equal(cutting), customers)
