"""How long a customer's debit with a PIN takes under a flood of PINs, and how many guesses an attacker gets.

    python -m bench.pin_flood [--nodes 3] [--connections 100] [--seconds 15] [--tls] [--only TEXT]

A teller debits, one debit after another, first alone and then beside each flood: for customers by turns, each
of whom comes once in a while, and for one account all the time. Printed are the median and the 99th
percentile of the waits, how many debits were refused for the time being or unknown, and what the attacker
got, and how many of its guesses at each account were looked at. With `--tls` the attacker has a certificate
of its own; without it, all who connect from this machine are the same to a server. Needs the extra 'test'.
"""

from __future__ import annotations

import argparse
import socket
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import cycle
from pathlib import Path
from statistics import median, quantiles
from threading import Event, Thread

from atm.client import Client
from atm.client.errors import OutcomeUnknown, Unavailable
from atm.config import TlsFiles
from atm.local_cluster import LocalCluster, write_cluster_ini
from atm.server.net.connection import Stream
from atm.tls.credentials import Credentials
from atm.tls.tls_socket import connect_tls
from bench.pin_attackers import Attacker, Request, batch_on_nobody, guess, guess_on
from tests.support.certificates import Authority, write_tls_ini

PIN = "8642"
SETTLE_S = 1.0
CUSTOMERS = 200  # so many debits later each comes again
WITHIN_S = 10.0


class Bank:
    """A bank that runs, and how the attacker connects to its leader."""

    def __init__(self, cluster: LocalCluster, attackers: Credentials | None) -> None:
        self.cluster = cluster.cluster
        self._leader = self.cluster.nodes[cluster.wait_for_leader()]
        self._attackers = attackers

    def connect(self) -> Stream:
        """Return a connection of the attacker."""
        sock = socket.create_connection(self._leader.client.pair, timeout=WITHIN_S)
        if self._attackers is None:
            return sock
        context = self._attackers.for_dialling()
        return connect_tls(sock, context, self._leader.name, time.monotonic() + WITHIN_S)


@contextmanager
def running_bank(nodes: int, *, tls: bool) -> Iterator[Bank]:
    """Yield a bank with a leader; it is stopped, and its folder removed, at the end."""
    with tempfile.TemporaryDirectory(prefix="atm-bench-") as name:
        folder, attackers = Path(name), None
        if tls:
            authority = Authority()
            config = write_tls_ini(folder, authority, nodes)
            attackers = Credentials(TlsFiles(folder / "ca.pem", *authority.person(folder, "eve", "teller")))
        else:
            config = write_cluster_ini(folder, nodes)
        with LocalCluster(config) as cluster:
            cluster.start_all()
            yield Bank(cluster, attackers)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.pin_flood", description="Measure a flood of PINs.")
    parser.add_argument("--nodes", type=int, default=3, help="default: %(default)s")
    parser.add_argument("--connections", type=int, default=100, help="of the attacker; default: %(default)s")
    parser.add_argument("--seconds", type=float, default=15.0, help="for each flood; default: %(default)s")
    parser.add_argument("--tls", action="store_true", help="encrypt all; the attacker has another identity")
    parser.add_argument("--only", default="", metavar="TEXT", help="only floods with this in their names")
    options = parser.parse_args()
    with running_bank(options.nodes, tls=options.tls) as bank, Client(bank.cluster, timeout=5.0) as client:
        _wait_for_level_2(client)
        customers = [f"customer{number}" for number in range(CUSTOMERS)]
        owned = [f"own{number}" for number in range(options.connections)]
        for name in ("main", *customers, *owned, "victim"):
            client.open(name)
            client.credit(name, 10**6)
            client.set_pin(name, "1111" if name in owned else PIN)
        floods: list[tuple[str, int, Callable[[int], Request] | None]] = [
            ("alone", 0, None),
            ("batches of 4 PINs on accounts that do not exist", 0, lambda _: batch_on_nobody),
            ("right PINs of accounts of its own", 0, lambda number: guess(owned[number], "1111")),
            ("guesses at one account", 1, lambda _: guess_on("victim")),
            (
                "guesses at an account of its own by each connection",
                len(owned),
                lambda number: guess_on(owned[number]),
            ),
        ]
        for name, accounts, made in floods:
            if made is not None and options.only not in name:
                continue
            _measure(name, accounts, client, customers, bank, options, made)


def _measure(
    name: str,
    accounts: int,
    client: Client,
    customers: Sequence[str],
    bank: Bank,
    options: argparse.Namespace,
    made: Callable[[int], Request] | None,
) -> None:
    stop, outcomes = Event(), Counter[str]()
    attackers = [
        Thread(target=Attacker(bank.connect, made(number), outcomes, stop).run, daemon=True)
        for number in (range(options.connections) if made is not None else ())
        if made is not None
    ]
    for attacker in attackers:
        attacker.start()
    time.sleep(SETTLE_S)
    print(name, flush=True)
    for who, debited in (("customers by turns", customers), ("one account", ["main"])):
        waits_s, faults = _debits(client, debited, options.seconds)
        high = quantiles(waits_s, n=100)[98] if len(waits_s) > 1 else float("nan")
        middle = median(waits_s) if waits_s else float("nan")
        waits = f"p50 {middle * 1e3:.0f} ms, p99 {high * 1e3:.0f} ms, {faults} not done"
        print(f"  {who}: {len(waits_s)} debits, {waits}", flush=True)
    stop.set()
    for attacker in attackers:
        attacker.join()
    if made is not None:
        got = ", ".join(f"{outcome} {number}" for outcome, number in outcomes.most_common())
        looked_at, seconds = outcomes["wrong_pin"] / max(1, accounts), 2 * options.seconds
        print(f"  the attacker got {got}: {looked_at:g} guesses at each account within {seconds:g} s")


def _debits(client: Client, accounts: Sequence[str], seconds: float) -> tuple[list[float], int]:
    """Return how long each debit took, and how many had no decision within their time."""
    waits_s: list[float] = []
    faults = 0
    until_s = time.monotonic() + seconds
    for account in cycle(accounts):
        began_s = time.monotonic()
        if began_s >= until_s:
            break
        try:
            receipt = client.debit(account, 1, pin=PIN)
        except (OutcomeUnknown, Unavailable):
            faults += 1
            continue
        assert receipt.outcome == "ok", receipt
        waits_s.append(time.monotonic() - began_s)
    return waits_s, faults


def _wait_for_level_2(client: Client) -> None:
    while any(node.feature_level != 2 for node in client.cluster_status().nodes):
        time.sleep(0.1)


if __name__ == "__main__":
    main()
