"""How long a customer's debit with a PIN takes under a flood of PINs, and how many guesses an attacker gets.

    python -m bench.pin_flood [--nodes 3] [--connections 100] [--seconds 15]

One customer debits, one debit after another, first alone and then beside each flood. Printed are the median
and the 99th percentile of its waits, how many of its debits were refused for the time being or unknown, and
what the attacker got, and how many of its guesses at each account were looked at.
"""

from __future__ import annotations

import argparse
import time
from collections import Counter
from collections.abc import Callable
from itertools import count
from statistics import median, quantiles
from threading import Event, Thread

from atm.client import Client
from atm.client.errors import OutcomeUnknown, Unavailable
from atm.config import Address
from bench.cluster import fresh_cluster
from bench.pin_attackers import Attacker, Request, batch_on_nobody, guess, guess_on

PIN = "8642"
SETTLE_S = 1.0


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.pin_flood", description="Measure a flood of PINs.")
    parser.add_argument("--nodes", type=int, default=3, help="default: %(default)s")
    parser.add_argument("--connections", type=int, default=100, help="of the attacker; default: %(default)s")
    parser.add_argument("--seconds", type=float, default=15.0, help="for each flood; default: %(default)s")
    options = parser.parse_args()
    with fresh_cluster(options.nodes) as cluster, Client(cluster.cluster, timeout=5.0) as client:
        leader = cluster.wait_for_leader()
        _wait_for_level_2(client)
        client.credit("main", 10**9)
        client.set_pin("main", PIN)
        owned = [f"own{number}" for number in range(options.connections)]
        for name in (*owned, "victim"):
            client.open(name)
            client.set_pin(name, "1111")
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
        address = cluster.cluster.nodes[leader].client
        for name, accounts, made in floods:
            _measure(name, accounts, client, address, options, made)


def _measure(
    name: str,
    accounts: int,
    client: Client,
    address: Address,
    options: argparse.Namespace,
    made: Callable[[int], Request] | None,
) -> None:
    stop, outcomes = Event(), Counter[str]()
    attackers = [
        Thread(target=Attacker(address, made(number), outcomes, stop).run, daemon=True)
        for number in (range(options.connections) if made is not None else ())
        if made is not None
    ]
    for attacker in attackers:
        attacker.start()
    time.sleep(SETTLE_S)
    waits_s, faults = _debits(client, options.seconds)
    stop.set()
    for attacker in attackers:
        attacker.join()
    high = quantiles(waits_s, n=100)[98] if len(waits_s) > 1 else float("nan")
    middle = median(waits_s) if waits_s else float("nan")
    waits = f"p50 {middle * 1e3:.0f} ms, p99 {high * 1e3:.0f} ms, {faults} not done"
    print(f"{name}: {len(waits_s)} debits, {waits}", flush=True)
    if made is not None:
        got = ", ".join(f"{outcome} {number}" for outcome, number in outcomes.most_common())
        looked_at = outcomes["wrong_pin"] / max(1, accounts)
        print(f"  the attacker got {got}: {looked_at:g} guesses at each account within {options.seconds:g} s")


def _debits(client: Client, seconds: float) -> tuple[list[float], int]:
    """Return how long each debit took, and how many had no decision within their time."""
    waits_s: list[float] = []
    faults = 0
    until_s = time.monotonic() + seconds
    for _ in count():
        began_s = time.monotonic()
        if began_s >= until_s:
            break
        try:
            receipt = client.debit("main", 1, pin=PIN)
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
