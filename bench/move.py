"""How long a bank stands still while it moves from Raft to PostgreSQL, and back.

    python -m bench.move [--postings 100000] [--accounts 2000] [--nodes 3]

A bank on Raft is filled, and backed up while it serves; a hundredth of the postings come after that. The stop
begins with the last acknowledged command, and ends with the first one of the moved bank: the last backup, the
old servers' end, the restore into a primary with two standbys of which one must have each commit, `bin/ledger
verify`, and the new servers' start. Then the same back. Each step is the command that an operator runs. Needs
the extra `test`.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from tabulate import tabulate

from atm.client import Client, new_request_id
from atm.client.request_rules import TOGETHER_MAX
from atm.ledger.commands import Credit, Open
from atm.local_cluster import LocalCluster, write_cluster_ini
from atm.local_postgres import LocalPostgres
from bench.arguments import positive
from bench.cluster import Busy
from bench.command import say, stop_in_order
from bench.systems.postgresql import missing_part, started

STANDBYS = 2
LATER_SHARE = 100  # one of so many postings comes after the first backup
TELLERS = 4  # who credit while the first backup is taken
WITHIN_S = 60.0
FIRST_BACKUP = "while serving: the first backup"

Steps = list[tuple[str, float]]


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, and print a table of each way."""
    stop_in_order()
    options = _arguments(argv)
    if (why := missing_part()) is not None:
        print(f"bench.move: {why}", file=sys.stderr)
        return 3
    with tempfile.TemporaryDirectory(prefix="atm-bench-") as folder:
        for title, steps in measure(Path(folder), options.postings, options.accounts, options.nodes).items():
            stop_s = sum(seconds for label, seconds in steps if label != FIRST_BACKUP)
            print(f"{title}, {options.postings:,} postings:")
            print(tabulate([*steps, ("the stop", stop_s)], headers=["step", "s"], floatfmt=".2f"))
            print()
    return 0


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m bench.move", description="How long a bank stands still while it moves."
    )
    for name, default in (("postings", 100_000), ("accounts", 2_000), ("nodes", 3)):
        parser.add_argument(f"--{name}", type=positive(int), default=default, help="default: %(default)s")
    return parser.parse_args(argv)


def measure(folder: Path, postings: int, accounts: int, nodes: int) -> dict[str, Steps]:
    """Move a bank there and back; return the steps of each way, with their seconds."""
    names = [f"customer-{number}" for number in range(accounts)]
    raft, on_postgresql, back = (folder / name for name in ("raft", "on-postgresql", "back"))
    settings = {"pepper_file": str(folder / "pepper.key")}
    for place in (raft, on_postgresql, back):
        place.mkdir()
    servers = started(1 + STANDBYS, folder)
    try:
        first, third = (LocalCluster(write_cluster_ini(place, nodes, **settings)) for place in (raft, back))
        second = _on_postgresql(on_postgresql, nodes, servers, settings)
        with first, second, third:
            first.start_all()
            first.wait_for_leader()
            _fill(first, names, postings - postings // LATER_SHARE)
            taken = folder / "backup"
            tellers = Busy(first.cluster.path, TELLERS)
            tellers.start()
            try:
                there: Steps = [(FIRST_BACKUP, _backup(first, taken))]
            finally:
                tellers.stop()
            _credit(first, names, postings // LATER_SHARE)
            there += _stop(first, second, taken)
            back_again = _stop(second, third, folder / "backup-back")
            _check(third, names, postings)
            return {"From Raft to PostgreSQL": there, "From PostgreSQL to Raft": back_again}
    finally:
        servers.close()


def _on_postgresql(
    folder: Path, nodes: int, servers: LocalPostgres, settings: dict[str, str]
) -> LocalCluster:
    config = write_cluster_ini(folder, nodes, **settings)
    with config.open("a") as file:
        file.write(f"\n[engine]\nkind = postgresql\nurl = {servers.uri()}\n")
    return LocalCluster(config)


def _stop(old: LocalCluster, new: LocalCluster, taken: Path) -> Steps:
    """Move the bank, which nobody asks any more; return the steps."""
    steps = [("the last backup", _backup(old, taken)), ("old servers stop", _seconds(old.stop_all))]
    steps.append(("restore", _command("atm.admin", new, "restore", str(taken))))
    ledgers = [] if new.cluster.engine.url else sorted(new.cluster.data_dir.glob("*/ledger.db"))
    # On Raft each server has the same ledger, and each machine verifies its own at the same time.
    steps.append(("verify", _command("atm.office", new, "verify", *map(str, ledgers[:1]))))
    began_s = time.monotonic()
    new.start_all()
    new.wait_for_leader(WITHIN_S)
    started_s = time.monotonic()
    with Client(new.cluster.path, timeout=WITHIN_S) as client:
        client.credit("main", 1).check()
    acknowledged_s = time.monotonic()
    return [
        *steps,
        ("new servers up", started_s - began_s),
        ("the first acknowledged command", acknowledged_s - started_s),
    ]


def _fill(cluster: LocalCluster, names: Sequence[str], postings: int) -> None:
    say(f"filling a bank on Raft: {len(names):,} accounts, {postings:,} postings")
    with Client(cluster.cluster.path, timeout=WITHIN_S) as client:
        for some in _portions(names):
            for receipt in client.submit([Open(id=new_request_id(), account=name) for name in some]):
                receipt.check()
    _credit(cluster, names, postings)


def _credit(cluster: LocalCluster, names: Sequence[str], postings: int) -> None:
    """Credit 1 to one account after the other."""
    credited = [names[number % len(names)] for number in range(postings)]
    with Client(cluster.cluster.path, timeout=WITHIN_S) as client:
        for some in _portions(credited):
            for receipt in client.submit(
                [Credit(id=new_request_id(), account=name, amount=1) for name in some]
            ):
                receipt.check()


def _portions(names: Sequence[str]) -> list[Sequence[str]]:
    return [names[begin : begin + TOGETHER_MAX] for begin in range(0, len(names), TOGETHER_MAX)]


def _check(cluster: LocalCluster, names: Sequence[str], postings: int) -> None:
    """Raise `SystemExit` unless the first account has all of its money after both moves."""
    later = postings // LATER_SHARE
    wanted = sum(-(-count // len(names)) for count in (postings - later, later))
    with Client(cluster.cluster.path, timeout=WITHIN_S) as client:
        found = client.query(names[0]).balance
    if found != wanted:
        raise SystemExit(f"{names[0]} has {found}, and {wanted} was credited")


def _backup(cluster: LocalCluster, taken: Path) -> float:
    return _command("atm.admin", cluster, "backup", str(taken))


def _command(module: str, cluster: LocalCluster, *arguments: str) -> float:
    """Run an operator's command; return its seconds."""
    say(f"{module.rpartition('.')[2]} {arguments[0]}")
    command = [sys.executable, "-P", "-m", module, *arguments, "--config", str(cluster.cluster.path)]
    began_s = time.monotonic()
    ran = subprocess.run(command, capture_output=True, text=True, check=False)
    seconds = time.monotonic() - began_s
    if ran.returncode:
        raise SystemExit(f"{' '.join(arguments)} ended with {ran.returncode}: {ran.stderr.strip()}")
    return seconds


def _seconds(work: Callable[[], object]) -> float:
    began_s = time.monotonic()
    work()
    return time.monotonic() - began_s


if __name__ == "__main__":
    sys.exit(main())
