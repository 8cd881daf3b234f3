"""A bank's year in minutes: under load all the time, everything is done to it that an operator ever does.

    python -m tests.cluster.year --rounds 12 --seed 1

It begins with release 1.1.0 where that is in the history. Each round upgrades what is not upgraded, loses a
disk, replaces a server by another one, moves one, hands leadership over, takes a snapshot and a backup, and
kills what it draws. At the end the last backup is restored elsewhere and compared row by row. Exit code 0:
everything that was acknowledged is there, once, on every member, and nothing was refused for long.
"""

from __future__ import annotations

import argparse
import random
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

from atm.client import Client
from atm.local_cluster import LocalCluster, write_cluster_ini_for
from tests.cluster.changing import ChangingCluster
from tests.cluster.mixed_customers import MixedCustomers
from tests.cluster.old_release import NotInHistory, unpack_old_release
from tests.cluster.test_two_releases import THIS
from tests.support.ledgers import Rows, assert_files_are_sound, assert_kept, tables, wait_until_equal
from tests.support.server_parts import wait_until

ADMIN_S = 120.0
CALM_ANSWERS = 60
EQUAL_S = 600.0  # holds end for a minute more, and to read five ledgers of many rounds takes a while
OF_A_BACKUP = {"applied", "deed"}  # tables in which it is noted, before it is taken
OF_THE_CLUSTER_ITSELF = {"cluster", "member", "removed", "applied"}  # a restored cluster has its own


def old_release(folder: Path) -> Path | None:
    """Return a folder with the package of release 1.1.0, or None where the history does not have it."""
    try:
        return unpack_old_release(folder)
    except NotInHistory:
        return None


@dataclass
class Tally:
    """What was done, and for how long the customers waited for it."""

    waits_s: dict[str, list[float]] = field(default_factory=dict)  # the longest wait, by what was done
    acknowledged: int = 0
    unknown: int = 0
    refused: int = 0
    log_bytes_max: int = 0
    rows: int = 0  # compared with those of the restored bank
    seconds: float = 0.0

    def __str__(self) -> str:
        lines = [
            f"{what:<28} {len(waits):>3} times, customers waited {median(waits):.2f} s in the median, "
            f"{max(waits):.2f} s at most"
            for what, waits in self.waits_s.items()
        ]
        return "\n".join(
            [
                *lines,
                f"{self.acknowledged} requests acknowledged, {self.unknown} unknown, {self.refused} not "
                f"done; the log had {self.log_bytes_max / 1e6:.1f} MB at most; {self.rows} rows of a "
                f"restored backup compared; {self.seconds:.0f} s",
            ]
        )


class YearsCluster(ChangingCluster):
    """Nodes run release 1.1.0, if there is one, until they are upgraded."""

    def __init__(self, folder: Path, old_tree: Path | None) -> None:
        super().__init__(folder, 5)
        self._old_tree = old_tree
        self.older: set[str] = set(self.cluster.nodes) if old_tree else set()
        text = self.cluster.path.read_text(encoding="utf-8")
        self._rewrite(text.replace("[cluster]", "[cluster]\n", 1))

    def command(self, name: str) -> list[str]:
        tree = self._old_tree if name in self.older else THIS
        return ["/usr/bin/env", f"PYTHONPATH={tree}", *super().command(name)]

    def allow_snapshots(self, snapshot_log_mb: float) -> None:
        """Set a small limit: release 1.1.0 does not know the key, so this comes after the upgrade."""
        text = self.cluster.path.read_text(encoding="utf-8")
        self._rewrite(text.replace("[cluster]\n", f"[cluster]\nsnapshot_log_mb = {snapshot_log_mb}\n", 1))

    def unlist(self, name: str) -> None:
        """Take a node out of cluster.ini, as its line asks when it was removed."""
        sections = self.cluster.path.read_text(encoding="utf-8").split("\n[node ")
        self._rewrite("\n[node ".join(text for text in sections if not text.startswith(f"{name}]")))

    def log_bytes(self) -> int:
        """Return the size of the largest log on disk."""
        folders = [self.cluster.data_dir / name for name in self.running()]
        return max(sum(file.stat().st_size for file in folder.glob("raft.log.*")) for folder in folders)


class Year:
    """One run: the cluster, its customers, and what is done to them."""

    def __init__(self, folder: Path, seed: int, tell: Callable[[str], None]) -> None:
        self._folder, self._tell = folder, tell
        self._chance = random.Random(seed)
        self.tally = Tally()
        self.cluster = YearsCluster(folder, old_release(folder / "old"))
        self.customers = MixedCustomers(self.cluster.cluster.path, seed=seed)
        self._backup = folder / "backup"
        self._next_name = 6

    def run(self, rounds: int) -> Tally:
        """Raise AssertionError at what is not as promised."""
        began_s = time.monotonic()
        with self.cluster:
            self.cluster.start_all()
            self.cluster.wait_for_leader()
            with self.customers:
                self.customers.wait_for_more(CALM_ANSWERS)
                self._upgrade_all()
                for number in range(1, rounds + 1):
                    self._one_round(number)
                self.customers.wait_for_more(CALM_ANSWERS)
            ledger = wait_until_equal(self.cluster, deadline_s=EQUAL_S)
            assert_files_are_sound(self.cluster)
            assert_kept(ledger, self.customers)
            self._compare_restored(self._ledger_of_a_backup())
        self.tally.acknowledged = len(self.customers.receipts)
        self.tally.unknown, self.tally.refused = len(self.customers.unknown), len(self.customers.refused)
        self.tally.seconds = time.monotonic() - began_s
        return self.tally

    def _one_round(self, number: int) -> None:
        names = list(self.cluster.cluster.nodes)
        chance = self._chance
        self._watched("a lost disk", partial(self._lose_disk, names[number % len(names)]))
        self._watched("a server replaced by another", partial(self._replace_server, names[0]))
        names = list(self.cluster.cluster.nodes)
        self._watched("a server moved", partial(self._move, chance.choice(names)))
        self._watched("leadership handed over", partial(self._admin, "transfer"))
        self._watched("a snapshot", partial(self._admin, "snapshot", chance.choice(names)))
        self._watched("a backup", self._take_backup)
        self._watched("two killed, the leader too", self._kill_two)
        self._watched("all killed at once", self._kill_all)
        self.tally.log_bytes_max = max(self.tally.log_bytes_max, self.cluster.log_bytes())
        self._tell(f"round {number}: {len(self.customers.receipts)} acknowledged so far")

    def _watched(self, what: str, do: Callable[[], object]) -> None:
        """Do it, wait until the customers are served, and note their longest wait for an acknowledgement."""
        waits = Watch(self.customers)
        do()
        self.customers.wait_for_more(CALM_ANSWERS, deadline_s=60.0)
        self.tally.waits_s.setdefault(what, []).append(waits.end())

    # -- what an operator does ----------------------------------------------------------------------------

    def _upgrade_all(self) -> None:
        if self.cluster.older:
            for name in list(self.cluster.cluster.nodes):
                self._watched("a server upgraded", partial(self._restart, name, upgrade=True))
        self.cluster.allow_snapshots(0.25)
        for name in list(self.cluster.cluster.nodes):
            self._watched("a server restarted", partial(self._restart, name))
        wait_until(lambda: all(member.peer for member in self.cluster.members()))

    def _restart(self, name: str, *, upgrade: bool = False) -> None:
        assert self.cluster.stop(name) == 0, self.cluster.output(name)
        if upgrade:
            self.cluster.older.discard(name)
        self._start(name)

    def _start(self, name: str) -> None:
        """Start a node; return once it has applied what the leader has committed."""
        self.cluster.start(name)
        self._wait_until_caught_up(name)

    def _wait_until_caught_up(self, name: str) -> None:
        wait_until(lambda: self._lag(name) < 100)

    def _lag(self, name: str) -> int:
        """Return how many entries a node has not applied; many, if it or the leader does not answer."""
        statuses = {node: self.cluster.status(node) for node in self.cluster.running()}
        committed = [each.commit_index for each in statuses.values() if each and each.role == "leader"]
        own = statuses.get(name)
        return max(committed) - own.applied_index if committed and own is not None else sys.maxsize

    def _lose_disk(self, name: str) -> None:
        self.cluster.kill(name)
        self.cluster.wipe(name)
        self.cluster.start(name)
        self._admin("replace", name)
        wait_until(partial(self.cluster.has_vote, name))

    def _replace_server(self, old: str) -> None:
        new = f"n{self._next_name}"
        self._next_name += 1
        self.cluster.list_node(new)
        node = self.cluster.cluster.nodes[new]
        self.cluster.start(new)
        self._admin("add", new, "--peer", str(node.peer), "--client", str(node.client))
        self._admin("remove", old, "--yes")
        assert self.cluster.wait_for_exit(old) == 0, self.cluster.output(old)
        self.cluster.unlist(old)

    def _move(self, name: str) -> None:
        assert self.cluster.stop(name) == 0
        self.cluster.list_elsewhere(name)
        node = self.cluster.cluster.nodes[name]
        self._admin("move", name, "--peer", str(node.peer), "--client", str(node.client))
        self._start(name)

    def _kill_two(self) -> None:
        leader = self.cluster.wait_for_leader()
        other = self._chance.choice([name for name in self.cluster.cluster.nodes if name != leader])
        for name in (leader, other):
            self.cluster.kill(name)
        self.customers.wait_for_more(CALM_ANSWERS)
        for name in (leader, other):
            self._start(name)

    def _kill_all(self) -> None:
        for process in self.cluster.processes.values():
            process.kill()
        for name in self.cluster.cluster.nodes:
            self.cluster.kill(name)
        self.cluster.start_all()
        for name in self.cluster.cluster.nodes:
            self._wait_until_caught_up(name)

    def _take_backup(self) -> None:
        self._admin("backup", str(self._backup), "--verify")

    def _admin(self, *arguments: str, config: Path | None = None) -> str:
        command = [sys.executable, "-P", "-m", "atm.admin", *arguments]
        done = subprocess.run(
            ["/usr/bin/env", f"PYTHONPATH={THIS}", *command, "--config", config or self.cluster.cluster.path],
            capture_output=True,
            text=True,
            timeout=ADMIN_S,
            check=False,
        )
        assert done.returncode == 0, (arguments, done.returncode, done.stdout, done.stderr)
        return done.stdout

    def _ledger_of_a_backup(self) -> dict[str, Rows]:
        """Return the ledger as it was when the last backup was taken: holds may end at any time."""
        while True:
            before = wait_until_equal(self.cluster, deadline_s=EQUAL_S)
            self._take_backup()
            after = wait_until_equal(self.cluster, deadline_s=EQUAL_S)
            if all(rows == before[table] for table, rows in after.items() if table not in OF_A_BACKUP):
                return after

    def _compare_restored(self, ledger: dict[str, Rows]) -> None:
        """Restore the backup into a cluster of other names, compare every row, and let it serve."""
        elsewhere = self._folder / "elsewhere"
        elsewhere.mkdir()
        config = write_cluster_ini_for(elsewhere, ["r1", "r2", "r3"])
        (elsewhere / "data").mkdir()
        shutil.copy(self.cluster.cluster.pepper_file, elsewhere / "data")
        self._admin("restore", str(self._backup), config=config)
        for name in ("r1", "r2", "r3"):
            there = tables(elsewhere / "data" / name / "ledger.db")
            assert there["cluster"] != ledger["cluster"], "a restored cluster has an id of its own"
            for table in ledger.keys() - OF_THE_CLUSTER_ITSELF:
                rows = [row for row in there[table] if not _is_marker(table, row)]
                assert rows == ledger[table], f"the restored {table} of {name} differs"
                self.tally.rows += len(ledger[table])
        with LocalCluster(config) as restored, Client(config, timeout=10.0) as client:
            restored.start_all()
            assert client.credit("main", 1).outcome == "ok"


def _is_marker(table: str, row: Any) -> bool:
    """Return whether a row is the receipt that says where a restored bank goes on."""
    return table == "receipt" and row.request_id.startswith("restored-")


class Watch:
    """Measures the longest time in which no customer was answered."""

    def __init__(self, customers: MixedCustomers) -> None:
        self._customers = customers
        self._longest_s = 0.0
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)
        self._thread.start()

    def end(self) -> float:
        self._ended.set()
        self._thread.join()
        return self._longest_s

    def _look(self) -> None:
        seen, since_s = len(self._customers.receipts), time.monotonic()
        while not self._ended.wait(0.005):
            count, now_s = len(self._customers.receipts), time.monotonic()
            if count != seen:
                seen, since_s = count, now_s
            self._longest_s = max(self._longest_s, now_s - since_s)


def run(rounds: int, seed: int, folder: Path, tell: Callable[[str], None] = lambda _: None) -> Tally:
    """Run a year of so many rounds in `folder`; raise AssertionError at what is not as promised."""
    return Year(folder, seed, tell).run(rounds)


def main(argv: Sequence[str] | None = None) -> int:
    """Return the exit code: 0, or 1 and what is wrong."""
    parser = argparse.ArgumentParser(prog="python -m tests.cluster.year", description=__doc__)
    parser.add_argument("--rounds", type=int, default=12, help="default: %(default)s")
    parser.add_argument("--seed", type=int, default=random.randrange(1_000_000), help="default: random")
    options = parser.parse_args(argv)
    print(f"seed {options.seed}", flush=True)
    with tempfile.TemporaryDirectory(prefix="atm-year-") as folder:
        try:
            tally = run(options.rounds, options.seed, Path(folder), lambda line: print(line, flush=True))
        except AssertionError as error:
            print(f"NOT AS PROMISED: {error}")
            return 1
    print(tally)
    return 0


if __name__ == "__main__":
    sys.exit(main())
