"""A user of the same machine who has no rights reaches no file of a node: neither reads nor locks any.

Trial H6 (and 20). On release 1.1.0 (e233312) the same stranger opened every ledger, read all balances, and by
a shared lock on one byte of `ledger.db-shm` stopped all nodes within 8 seconds; `flock` on `node.lock` kept a
node from starting.
"""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from atm.client import Client
from atm.local_cluster import LocalCluster, write_cluster_ini

NOBODY = 65534


class LooseCluster(LocalCluster):
    """Its nodes inherit a umask that hides nothing."""

    def start(self, name: str, *arguments: str) -> subprocess.Popen[bytes]:
        before = os.umask(0)
        try:
            return super().start(name, *arguments)
        finally:
            os.umask(before)


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder that everybody can enter; pytest's own cannot be."""
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


@pytest.fixture
def node(folder: Path) -> Iterator[LooseCluster]:
    """A bank of one node with a balance and a snapshot, while it runs."""
    config = write_cluster_ini(folder, 1)
    config.chmod(0o644)
    with LooseCluster(config) as cluster:
        cluster.start_all()
        cluster.wait_for_leader()
        with Client(config) as client:
            assert client.credit("main", 5).outcome == "ok"
        snapshot = [sys.executable, "-P", "-m", "atm.admin", "--config", str(config), "snapshot", "n1"]
        subprocess.run(snapshot, check=True, capture_output=True, timeout=60)
        yield cluster


def reached(folder: Path) -> list[str]:
    """Return what a user without rights can read, and so lock, or write below `folder`."""
    ran = subprocess.run(
        ["find", folder, "-mindepth", "1", "(", "-readable", "-o", "-writable", ")"],
        user=NOBODY, group=NOBODY, extra_groups=[],
        cwd="/", capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    return ran.stdout.splitlines()


def open_to_others(folder: Path) -> list[Path]:
    return [path for path in (folder, *folder.rglob("*")) if stat.S_IMODE(path.stat().st_mode) & 0o077]


def test_no_file_of_a_node_that_serves_is_open_to_others_whatever_the_umask(node: LooseCluster) -> None:
    data = node.cluster.data_dir
    assert {"ledger.db", "ledger.db-wal", "ledger.db-shm", "node.lock"} <= {p.name for p in data.rglob("*")}
    assert list(data.rglob("snapshot/*.db"))
    assert open_to_others(data / "n1") == []
    assert open_to_others(data / "n1.log") == []


@pytest.mark.skipif(os.geteuid() != 0, reason="NOT TESTED: only root can act as another user")
def test_a_stranger_reaches_nothing_of_a_node_and_it_starts_again_from_a_loose_folder(
    node: LooseCluster,
) -> None:
    data = node.cluster.data_dir
    assert reached(data) == []
    node.stop("n1")
    for path in (data, data / "n1", *(data / "n1").rglob("*")):  # as release 1.1 left them
        path.chmod(0o755 if path.is_dir() else 0o644)
    assert str(data / "n1" / "ledger.db") in reached(data), "the attack is able to succeed"
    node.start("n1")
    node.wait_for_leader()
    assert [path for path in reached(data) if "/n1/" in path] == []
    said = node.output("n1")
    assert "could be read or locked by other users, and no more" in said
    with Client(node.cluster.path) as client:
        assert client.query("main").balance == 5
