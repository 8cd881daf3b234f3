from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from atm.local_cluster import LocalCluster, write_cluster_ini


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[LocalCluster]:
    """Five real nodes with a leader, in a folder of their own."""
    with LocalCluster(write_cluster_ini(tmp_path)) as local:
        local.start_all()
        local.wait_for_leader()
        yield local
