"""Backups against real nodes: taken under load, interrupted, restored elsewhere, tried in a drill."""

from __future__ import annotations

import random
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from atm.admin.backup_rebuild import line_to, rebuild
from atm.client import Client
from atm.config import load
from atm.local_cluster import LocalCluster, write_cluster_ini, write_cluster_ini_for
from atm.storage.backup_folder import BackupFolder
from tests.support.backups import admin
from tests.support.customers import Customers
from tests.support.ledgers import assert_books_are_right, right_ledger, tables, wait_until_equal
from tests.support.server_parts import wait_until

KILLS = 8


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[LocalCluster]:
    with LocalCluster(write_cluster_ini(tmp_path, 3, snapshot_log_mb="0.1")) as local:
        local.start_all()
        wait_until(lambda: _names_its_members(local))
        yield local


def _names_its_members(cluster: LocalCluster) -> bool:
    """Whether the log has all that the cluster itself writes into it after its start."""
    status = cluster.status(cluster.wait_for_leader())
    return status is not None and all(member.peer for member in status.members or ()) and bool(status.members)


def at_the_end(backup: Path, path: Path) -> int:
    """Rebuild the ledger as of the backup's last entry at `path`; return the index."""
    with closing(BackupFolder(backup)) as folder:
        index, line = line_to(folder, None)
        rebuild(folder, line, index, path)
    return index


def test_a_backup_under_load_is_a_nodes_ledger_at_that_index_row_by_row(
    cluster: LocalCluster, tmp_path: Path
) -> None:
    backup, config = tmp_path / "b", cluster.cluster.path
    with Customers(config) as customers:
        indexes = []
        for number in range(4):
            customers.wait_for_more(200)
            acknowledged = {key: each.log_index for key, each in dict(customers.receipts).items()}
            assert admin("backup", backup, "--config", config, "--verify") == 0
            indexes.append(at_the_end(backup, tmp_path / f"{number}.db"))
            assert max(acknowledged.values()) <= indexes[-1], "what was acknowledged before is not in it"
        customers.wait_for_more()
        assert not customers.errors
    final = right_ledger(cluster)
    for number, index in enumerate(indexes):
        then = tables(tmp_path / f"{number}.db")
        assert_books_are_right(then)
        for table in ("journal", "receipt"):
            assert then[table] == [row for row in final[table] if row.log_index <= index]
    assert indexes == sorted(set(indexes))
    assert admin("backup", backup, "--config", config, "--verify") == 0
    at_the_end(backup, tmp_path / "final.db")
    assert tables(tmp_path / "final.db") == wait_until_equal(cluster)
    assert (
        [path.name for path in backup.glob("snapshot-*.db")]
        or (backup / "entries-1-2.bin").exists()
        or indexes
    )


def test_a_backup_that_is_killed_again_and_again_is_right_in_the_end(
    cluster: LocalCluster, tmp_path: Path
) -> None:
    backup, config, chance = tmp_path / "b", cluster.cluster.path, random.Random(3)
    command = [
        sys.executable,
        "-P",
        "-m",
        "atm.admin",
        "backup",
        str(backup),
        "--config",
        str(config),
        "--verify",
    ]
    with Customers(config) as customers:
        for _ in range(KILLS):
            customers.wait_for_more(30)
            process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            try:
                process.wait(chance.uniform(0.1, 0.6))
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        assert not customers.errors
    assert admin("backup", backup, "--config", config, "--verify") == 0
    at_the_end(backup, tmp_path / "final.db")
    assert tables(tmp_path / "final.db") == wait_until_equal(cluster)
    with closing(BackupFolder(backup)) as folder:
        assert folder.manifest is not None
        listed = {piece.file for piece in folder.manifest.pieces} | {"backup.json"}
    assert {path.name for path in backup.iterdir()} == listed


def test_a_bank_restored_elsewhere_serves_and_the_old_nodes_refuse_it(
    cluster: LocalCluster, tmp_path: Path
) -> None:
    config, backup = cluster.cluster.path, tmp_path / "b"
    with Client(cluster.cluster) as client:
        client.open("alice")
        client.credit("alice", 500, request_id="before")
        assert admin("backup", backup, "--config", config) == 0
        client.debit("alice", 100, request_id="behind")
    wait_until_equal(cluster)
    assert admin("backup", backup, "--config", config, "--pepper", cluster.cluster.pepper_file) == 2
    (tmp_path / "passphrase").write_text("correct horse battery\n")
    sealing = ("--pepper", cluster.cluster.pepper_file, "--passphrase-file", tmp_path / "passphrase")
    assert admin("backup", backup, "--config", config, "--verify", *sealing) == 0
    with closing(BackupFolder(backup)) as folder:
        assert folder.manifest is not None
        last = folder.manifest.last_index

    # The same names at the same addresses, with other data folders: one old node stays, and two are new.
    moved = tmp_path / "new.ini"
    moved.write_text(config.read_text().replace("[cluster]", "[cluster]\ndata_dir = new"))
    opening = ("--passphrase-file", tmp_path / "passphrase")
    assert admin("restore", backup, "--config", moved, "--to-index", str(last - 2), *opening) == 0
    assert load(moved).pepper_file.read_text().strip() == cluster.cluster.pepper_file.read_text().strip()
    for name in ("n2", "n3"):
        cluster.stop(name)
    with LocalCluster(moved) as restored:
        for name in ("n2", "n3"):
            restored.start(name)
        restored.wait_for_leader()
        with Client(restored.cluster) as client:
            assert client.query("alice").balance == 500
            assert client.credit("alice", 500, request_id="before").balance == 500, "its receipt was kept"
            assert client.debit("alice", 100, request_id="behind").balance == 400, (
                "it was cut off: served anew"
            )
        wait_until(lambda: "cluster" in cluster.output("n1").split("Listening")[-1])
        said = cluster.output("n1") + restored.output("n2")
        assert "another cluster" in said or "of cluster" in said, said
        # It may have led before: it notices within an election timeout that nobody answers any more.
        wait_until(lambda: (status := cluster.status("n1")) is not None and status.leader is None)
        assert restored.stop_all() == {"n2": 0, "n3": 0}
    old = tables(cluster.cluster.data_dir / "n1" / "ledger.db")
    assert "behind" in {row.request_id for row in old["receipt"]}


def test_a_restored_bank_goes_on_cutting_its_log_and_brings_up_an_empty_node(
    cluster: LocalCluster, tmp_path: Path
) -> None:
    backup = tmp_path / "b"
    with Customers(cluster.cluster.path) as customers:
        customers.wait_for_more(300)
    assert admin("backup", backup, "--config", cluster.cluster.path, "--verify") == 0
    cluster.stop_all()
    (tmp_path / "new").mkdir()
    ini = write_cluster_ini_for(tmp_path / "new", ["a", "b", "c"], snapshot_log_mb="0.1")
    assert admin("restore", backup, "--config", ini, "--without-pepper") == 0
    with LocalCluster(ini) as restored:
        for name in ("a", "b"):
            restored.start(name)
        restored.wait_for_leader()
        with Customers(ini, accounts=("main", "carol", "dave")) as customers:
            customers.wait_for_more(600)
            restored.start("c")
            customers.wait_for_more(100)
        wait_until(lambda: all(row.store for row in right_ledger(restored)["member"]))
        assert admin("backup", tmp_path / "b2", "--config", ini, "--verify") == 0
        assert list((tmp_path / "b2").glob("snapshot-*.db")), "its log begins behind the restored books"
        at_the_end(tmp_path / "b2", tmp_path / "again.db")
        assert tables(tmp_path / "again.db") == wait_until_equal(restored)


def test_what_is_left_after_a_lost_majority_serves_and_a_lost_node_is_not_let_in_again(
    cluster: LocalCluster, tmp_path: Path
) -> None:
    config = cluster.cluster.path
    with Customers(config) as customers:
        customers.wait_for_more(200)
    wait_until_equal(cluster)
    for name in ("n1", "n2", "n3"):
        cluster.kill(name)
    before = tables(cluster.cluster.data_dir / "n3" / "ledger.db")
    assert admin("recover", "n3", "--config", config, "--yes") == 0
    alone = tmp_path / "alone.ini"
    (section,) = re.findall(r"\[node n3\]\n.*\n.*\n", config.read_text())
    alone.write_text(section)
    with LocalCluster(alone) as recovered:
        recovered.start("n3")
        recovered.wait_for_leader()
        with Client(recovered.cluster) as client:
            request_id, receipt = next(iter(customers.receipts.items()))
            assert client.lookup(request_id).log_index == receipt.log_index, "its references are the same"
            assert client.credit("main", 5).outcome == "ok"
        cluster.start("n1")
        wait_until(lambda: bool(cluster.status("n1")))
        wait_until(lambda: "cluster" in cluster.output("n1") + recovered.output("n3").split("Leader")[-1])
        status = cluster.status("n1")
        assert status is not None
        assert status.leader is None
        after = tables(recovered.cluster.data_dir / "n3" / "ledger.db")
        assert [row for row in after["journal"] if row in before["journal"]] == before["journal"]
        assert recovered.stop("n3") == 0


def test_a_drill_lets_the_restored_bank_serve_and_compares_it(
    cluster: LocalCluster, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    backup = tmp_path / "b"
    with Customers(cluster.cluster.path) as customers:
        customers.wait_for_more(150)
    assert admin("backup", backup, "--config", cluster.cluster.path) == 0
    cluster.stop_all()
    before = {path: path.read_bytes() for path in backup.iterdir()}
    capsys.readouterr()
    assert admin("drill", backup) == 0
    said = capsys.readouterr().out
    assert "n1, n2, n3 served" in said
    assert "All 5 balances, the journal and its hashes are those of the backup" in said
    assert {path: path.read_bytes() for path in backup.iterdir()} == before

    start_all = LocalCluster.start_all

    def start_with_another_balance(local: LocalCluster) -> None:
        start_all(local)
        with Client(local.cluster) as client:
            assert client.credit("alice", 1).outcome == "ok"

    monkeypatch.setattr(LocalCluster, "start_all", start_with_another_balance)
    assert admin("drill", backup) == 1
    said = capsys.readouterr().out
    assert "2 balances differ from the backup's: alice, cash" in said or "cash, alice" in said
    assert (
        ": table balance differs from the backup's" in said
    )  # of a node that had applied it when it stopped
    assert "THE RESTORED BANK IS NOT THE ONE" in said
