"""A drill: restore a backup into a temporary folder, let the restored bank serve, and compare it with the
backup.

Its nodes listen on free ports of the loopback interface only, and end with the drill.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import msgspec
from msgspec import Struct

from atm.admin.backup_rebuild import Report
from atm.admin.backup_restore import Restored, Wanted, restore
from atm.client import Client, ClientError
from atm.config import LEDGER_FILE, Cluster, load
from atm.ledger.audit.auditing import audit, problem_lines
from atm.ledger.audit.digest import table_digest
from atm.ledger.audit.read_only import open_read_only
from atm.local_cluster import LocalCluster, NoLeader, write_cluster_ini_for
from atm.storage.backup_folder import BackupFolder

NODES_MAX = 3
LEADER_S = 60.0
# What nothing changes while no teller asks. A due hold may end, which changes `hold` and `account`.
UNCHANGED = ("balance", "exception", "journal", "receipt", "reversal")
BALANCES = "select account, amount from balance"


class Drill(Struct, frozen=True, kw_only=True):
    """How it went; `problems` is empty if the restored bank is the one that was backed up."""

    restored: Restored
    nodes: tuple[str, ...]
    balances: int
    restore_s: float
    serving_s: float
    problems: tuple[str, ...]


def drill(folder: BackupFolder, report: Report) -> Drill:
    """Restore everything, start it, compare, and stop it; raise as `restore` does."""
    assert folder.manifest is not None
    with TemporaryDirectory(prefix="drill-") as made:
        names = folder.manifest.nodes[:NODES_MAX]
        cluster = load(write_cluster_ini_for(Path(made), names))
        began_s = time.monotonic()
        restored = restore(folder, cluster, Wanted(nodes=names, pepper_known=False))
        restored_s = time.monotonic()
        report(f"Restored at entry {restored.end.index}; starting {', '.join(names)}")
        expected, balances = _state(_ledgers(cluster)[0])
        problems, serving_s = _let_it_serve(cluster, balances)
        for path in _ledgers(cluster):
            problems += _compare(path, expected)
        return Drill(
            restored=restored,
            nodes=tuple(names),
            balances=len(balances),
            restore_s=round(restored_s - began_s, 3),
            serving_s=round(serving_s - restored_s, 3),
            problems=tuple(problems),
        )


def _ledgers(cluster: Cluster) -> list[Path]:
    return [cluster.data_dir / name / LEDGER_FILE for name in cluster.nodes]


def _state(path: Path) -> tuple[dict[str, str], dict[str, int]]:
    """Return the digests of the tables that nothing changes, and all balances."""
    with open_read_only(path) as cursor:
        digests = {table: table_digest(cursor, table) for table in UNCHANGED}
        rows = msgspec.convert(cursor.execute(BALANCES).fetchall(), list[tuple[str, int]])
    return digests, dict(rows)


def _let_it_serve(cluster: Cluster, balances: dict[str, int]) -> tuple[list[str], float]:
    """Start all nodes, ask for every balance, stop them; return the problems, and when it served."""
    with LocalCluster(cluster.path) as nodes:
        nodes.start_all()
        try:
            leader = nodes.wait_for_leader(LEADER_S)
        except NoLeader as error:
            said = [f"{name}: {nodes.output(name).strip().splitlines()[-1:]}" for name in cluster.nodes]
            return [f"the restored bank does not serve: {error}; {'; '.join(said)}"], time.monotonic()
        serving_s = time.monotonic()
        try:
            with Client(cluster) as client:
                told = dict(_balances(client))
        except ClientError as error:
            return [f"the restored bank, led by {leader}, does not answer: {error}"], serving_s
        wrong = [name for name in balances | told if balances.get(name) != told.get(name)]
    if wrong:
        return [f"{len(wrong):,} balances differ from the backup's: {', '.join(wrong[:5])}"], serving_s
    return [], serving_s


def _balances(client: Client) -> Iterator[tuple[str, int]]:
    """Yield every account and its balance, as the running bank tells them."""
    for own in ("cash", "writeoff"):
        balance = client.query(own).balance
        if balance is not None:
            yield own, balance
    for account in client.all_accounts():
        yield account.account, account.balance


def _compare(path: Path, expected: dict[str, str]) -> list[str]:
    found, _ = _state(path)
    problems = [
        f"{path.parent.name}: table {name} differs from the backup's"
        for name in expected
        if found[name] != expected[name]
    ]
    return problems + [f"{path.parent.name}: {line}" for line in problem_lines(audit(path))]
