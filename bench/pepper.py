"""How long it takes to carry the PINs over to a new pepper, and what customers notice of it.

    python -m bench.pepper [--accounts 100000] [--nodes 3]

The accounts are opened and get a PIN, with a hash that costs nothing. One client credits, one credit after
another, for ten seconds before the pepper is changed and from then on until all is carried over. Printed are
the median and the 99th percentile of its waits, and how long it took.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from statistics import median, quantiles

from atm import local_cluster
from atm.client import Client
from atm.client.admin_client import AdminClient
from atm.client.receipt import new_request_id
from atm.ledger.commands import Pepper, RotatePepper
from atm.local_cluster import LocalCluster, write_cluster_ini
from atm.server.security import pins
from atm.server.security.peppers import add_pepper

PIN = "8642"
CALM_S = 10.0
CLIENTS = 32
QUICK = "--node"


class QuickBank(LocalCluster):
    """Nodes whose hash of a PIN costs nothing."""

    def command(self, name: str) -> list[str]:
        config = str(self.cluster.path)
        return [sys.executable, "-P", __file__, QUICK, name, "--config", config]


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.pepper", description="Measure a new pepper.")
    parser.add_argument("--accounts", type=int, default=100_000, help="default: %(default)s")
    parser.add_argument("--nodes", type=int, default=3, help="default: %(default)s")
    options = parser.parse_args()
    with (
        tempfile.TemporaryDirectory(prefix="atm-bench-") as folder,
        QuickBank(write_cluster_ini(Path(folder), options.nodes)) as bank,
    ):
        bank.start_all()
        bank.wait_for_leader()
        with Client(bank.cluster, timeout=60.0) as client:
            while any(node.feature_level != 2 for node in client.cluster_status().nodes):
                time.sleep(0.1)
            _furnish(bank, options.accounts)
            until_s = time.monotonic() + CALM_S
            _tell("before", _credits(client, lambda: time.monotonic() < until_s))
            began_s = _rotate(bank)
            _tell("while PINs are carried over", _credits(client, lambda: not _is_done(client)))
            print(f"{options.accounts} accounts took {time.monotonic() - began_s:.0f} s")


def _furnish(bank: LocalCluster, accounts: int) -> None:
    def open_some(first: int) -> None:
        with Client(bank.cluster, timeout=60.0) as client:
            for number in range(first, accounts, CLIENTS):
                name = f"c{number:07}"
                client.open(name)
                assert client.set_pin(name, PIN).outcome == "ok"

    with ThreadPoolExecutor(CLIENTS) as pool:
        list(pool.map(open_some, range(CLIENTS)))


def _rotate(bank: LocalCluster) -> float:
    """Change the pepper; return when."""
    names = add_pepper(bank.cluster.pepper_file).names
    admin = AdminClient(bank.cluster, 10.0)
    while True:
        request = RotatePepper(id=new_request_id(), generation=len(names), pepper=names[-1])
        if admin.change(request).outcome == "ok":
            return time.monotonic()
        time.sleep(0.1)


def _is_done(client: Client) -> bool:
    view = client.ask(Pepper(id=new_request_id())).pepper
    return view is not None and view.carried_index is not None


def _credits(client: Client, goes_on: Callable[[], bool]) -> list[float]:
    """Return how long each credit took; `goes_on` is asked once a second."""
    waits_s: list[float] = []
    asked_s = time.monotonic()
    while True:
        began_s = time.monotonic()
        if began_s > asked_s + 1:
            if not goes_on():
                return waits_s
            asked_s = time.monotonic()
            continue
        client.credit("main", 1)
        waits_s.append(time.monotonic() - began_s)


def _tell(when: str, waits_s: list[float]) -> None:
    high = quantiles(waits_s, n=100)[98]
    print(f"{when}: {len(waits_s)} credits, p50 {median(waits_s) * 1e3:.1f} ms, p99 {high * 1e3:.1f} ms")


if __name__ == "__main__":
    if QUICK in sys.argv:
        sys.argv.remove(QUICK)
        pins.SCRYPT_N, pins.SCRYPT_R = 2, 1
        sys.exit(local_cluster._run_node())
    main()
