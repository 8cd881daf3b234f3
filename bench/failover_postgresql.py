"""How long a bank on PostgreSQL waits when the primary is lost under Patroni, again and again.

    python -m bench.failover_postgresql [--rounds 5] [--clients 8] [--without-release]

Three PostgreSQL under Patroni, with an etcd on each machine, set up as deploy/patroni says; three bank
servers; clients that credit without pause. Each round a primary is lost in each of three ways: its PostgreSQL
is killed (SIGKILL) and its Patroni lives; all that its machine runs is killed; all of that is frozen, so that
connections stay and nothing answers. Measured is the time from there to the first acknowledgement of a credit
that was asked for afterwards, by the first client and by the last. All machines are whole
again before the next.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from tabulate import tabulate

from atm.local_cluster import LocalCluster, write_cluster_ini
from bench.arguments import positive
from bench.cluster import Busy
from bench.systems.etcd import Etcd
from tests.support.patroni import PatroniCluster, deployed_settings, why_no_patroni

SHOWN = ("loop_wait", "retry_timeout", "ttl", "primary_start_timeout", "synchronous_mode")
WITHIN_S = 60.0
WAYS = {
    "its PostgreSQL is killed": PatroniCluster.kill_postgres,
    "its machine is killed": PatroniCluster.lose,
    "its machine is frozen": PatroniCluster.freeze,
}


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m bench.failover_postgresql",
        description="Measure failover under Patroni: lose the primary under load, and time what follows.",
    )
    parser.add_argument("--rounds", type=positive(int), default=5, help="default: %(default)s")
    parser.add_argument("--clients", type=positive(int), default=8, help="default: %(default)s")
    parser.add_argument(
        "--without-release", action="store_true", help="Patroni alone, without release_lost_primary.py"
    )
    options = parser.parse_args()
    why = why_no_patroni()
    if why is not None:
        raise SystemExit(why)
    waited: dict[str, list[tuple[float, float]]] = {way: [] for way in WAYS}
    with PatroniCluster(released=not options.without_release) as database:
        print(_versions(database), flush=True)
        with tempfile.TemporaryDirectory() as folder, _bank(Path(folder), database) as bank:
            busy = Busy(bank.cluster.path, options.clients)
            busy.start()
            try:
                for number in range(1, options.rounds + 1):
                    for way, lose in WAYS.items():
                        first_s, last_s = _lose(database, busy, lose)
                        waited[way].append((first_s, last_s))
                        print(f"{number:3}: {way}: first {first_s:.1f} s, last {last_s:.1f} s", flush=True)
            finally:
                busy.stop()
    table = [
        [way, *(figure(times) for times in zip(*each, strict=True) for figure in (statistics.median, max))]
        for way, each in waited.items()
    ]
    headers = ["of the primary", "first client, s", "worst", "last client, s", "worst"]
    print(tabulate(table, headers=headers, floatfmt=".1f"))


def _bank(folder: Path, database: PatroniCluster) -> LocalCluster:
    config = write_cluster_ini(folder, 3)
    with config.open("a", encoding="utf-8") as file:
        file.write(f"\n[engine]\nkind = postgresql\nurl = {database.new_database()}\n")
    bank = LocalCluster(config)
    bank.start_all()
    bank.wait_for_leader()
    return bank


def _versions(database: PatroniCluster) -> str:
    settings = deployed_settings()["bootstrap"]["dcs"]
    shown = ", ".join(f"{name} {settings[name]}" for name in SHOWN)
    postgresql = database.query(database.leader(), "show server_version")
    patroni = importlib.metadata.version("patroni")
    return f"PostgreSQL {postgresql}, Patroni {patroni}, etcd {Etcd.version()}; {shown}"


def _lose(
    database: PatroniCluster, busy: Busy, lose: Callable[[PatroniCluster, str], None]
) -> tuple[float, float]:
    """Return how long the first and the last client waited, in seconds, once all machines are whole again."""
    old = database.leader()
    busy.first_after(time.monotonic())  # the load is on
    lost_s = time.monotonic()
    lose(database, old)
    served = busy.first_after(time.monotonic(), WITHIN_S)
    database.resume(old)
    database.start(old)
    database.wait_until_whole()
    return min(served) - lost_s, max(served) - lost_s


if __name__ == "__main__":
    main()
