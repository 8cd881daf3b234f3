"""What the proxy of bin/run --web costs: credits with it between the servers and without, in turn.

    python -m bench.links [--nodes 5] [--seconds 4] [--rounds 5]

One client credits as fast as it can (512 under way), then one at a time. Each round starts the servers anew,
on this machine. The ratios are those of the medians.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from pathlib import Path

from atm.client import Client
from atm.local_cluster import LocalCluster, write_cluster_ini
from atm.local_links import LinkedCluster
from bench.web_load import credits_a_second

KINDS = {"direct": LocalCluster, "proxy": LinkedCluster}


def one_at_a_time_ms(config: Path, seconds: float) -> float:
    """Return the median of credits that wait for each other."""
    took_ms: list[float] = []
    with Client(config) as client:
        until_s = time.monotonic() + seconds
        while time.monotonic() < until_s:
            began_s = time.monotonic()
            client.credit("main", 1).check()
            took_ms.append(1000 * (time.monotonic() - began_s))
    return statistics.median(took_ms)


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--nodes", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=4.0)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    rates: dict[str, list[float]] = {kind: [] for kind in KINDS}
    latencies_ms: dict[str, list[float]] = {kind: [] for kind in KINDS}
    for number in range(options.rounds):
        for kind, cluster in KINDS.items():
            with tempfile.TemporaryDirectory() as folder:
                config = write_cluster_ini(Path(folder), options.nodes)
                with cluster(config) as local:
                    local.start_all()
                    local.wait_for_leader()
                    rates[kind].append(credits_a_second(config, options.seconds))
                    latencies_ms[kind].append(one_at_a_time_ms(config, options.seconds))
        row = (f"{kind} {rates[kind][-1]:,.0f}/s, {latencies_ms[kind][-1]:.2f} ms" for kind in KINDS)
        print(f"round {number + 1}: {'; '.join(row)}", flush=True)
    for what, figures in (("credits a second", rates), ("time of one alone", latencies_ms)):
        ratio = statistics.median(figures["proxy"]) / statistics.median(figures["direct"])
        print(f"{ratio:.2f} times the {what}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
