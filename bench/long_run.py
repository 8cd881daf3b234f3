"""What stays bounded while a bank runs: `python -m bench.long_run [--credits 10000000]`.

Credits in a closed loop at the leader of five servers, 64 connections with 16 requests under way. After each
tenth it prints the credits a second of 64 connections with one request under way (the median of some
seconds), as it comes and while no server makes a snapshot, the largest log, the most memory of a server, and
the ledger; at the end the time to start all servers again, until each has applied what was committed.
Everything is on the same cores: five servers that make a snapshot take their part of them. Needs Linux.
An election, as on a busy machine, ends a piece of that load, and is counted.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from contextlib import suppress
from math import nan
from pathlib import Path
from statistics import median

from atm.local_cluster import LocalCluster
from bench.cluster import (
    fresh_cluster,
    last_index,
    load_the_leader,
    makes_snapshot,
    restart_s,
    wait_until_applied,
)
from bench.command import say
from bench.load import NotAcknowledged, Result

CONNECTIONS, DEPTH = 64, 16
PIECE_S = 10.0
ATTEMPTS = 5
ROUNDS, ROUND_S = 5, 2.0
CALM_S = 300.0  # within which there are enough rounds without a snapshot
POLL_S = 0.2


def main() -> int:
    """Measure and print; return the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m bench.long_run", description="Measure what stays bounded while a bank runs."
    )
    parser.add_argument("--credits", type=int, default=10_000_000, help="default: %(default)s")
    options = parser.parse_args()
    step = max(1, options.credits // 10)
    heads = f"{'log MB':>7} {'memory MB':>10} {'ledger MB':>10}"
    say(f"{'credits':>11} {'per second':>11} {'no snapshot':>12} {heads}")
    try:
        with fresh_cluster(5) as cluster:
            done = interrupted = 0
            _print_point(cluster, done)
            while done < options.credits:
                goal = min(done + step, options.credits)
                while done < goal:
                    interrupted += _loaded(cluster, DEPTH, PIECE_S)[1]
                    done = last_index(cluster)
                _print_point(cluster, done)
            again_s = restart_s(cluster, list(cluster.cluster.nodes))
    except NotAcknowledged as error:
        print(f"bench.long_run: {error}", file=sys.stderr)
        return 1
    say(f"pieces of {PIECE_S:g} s that an election ended: {interrupted}")
    say(f"all servers killed and started again: {again_s:.2f} s until each had applied everything")
    return 0


def _loaded(cluster: LocalCluster, depth: int, seconds: float) -> tuple[Result, int]:
    """Load the leader; return the result, and how many times an election ended that before."""
    for interrupted in range(ATTEMPTS):
        with suppress(NotAcknowledged):
            return load_the_leader(cluster, CONNECTIONS, depth, seconds), interrupted
    raise NotAcknowledged(f"there was an election in each of {ATTEMPTS} attempts: is this machine busy?")


def _print_point(cluster: LocalCluster, done: int) -> None:
    rate = median(_round(cluster) for _ in range(ROUNDS))
    calm = _calm_rate(cluster)
    wait_until_applied(cluster, list(cluster.cluster.nodes), last_index(cluster))
    folders = [cluster.cluster.data_dir / name for name in cluster.cluster.nodes]
    log = max(sum(file.stat().st_size for file in folder.glob("raft.log.*")) for folder in folders)
    ledger = max((folder / "ledger.db").stat().st_size for folder in folders)
    memory = max(_resident_bytes(process.pid) for process in cluster.processes.values())
    sizes = f"{log / 1e6:>7.1f} {memory / 1e6:>10.1f} {ledger / 1e6:>10.1f}"
    say(f"{done:>11,} {rate:>11,.0f} {calm:>12,.0f} {sizes}")


def _round(cluster: LocalCluster) -> float:
    return _loaded(cluster, 1, ROUND_S)[0].per_second


def _calm_rate(cluster: LocalCluster) -> float:
    """Return the median of the rounds in which no server made a snapshot; nan if there were too few."""
    until_s = time.monotonic() + CALM_S
    rates: list[float] = []
    while len(rates) < ROUNDS and time.monotonic() < until_s:
        if makes_snapshot(cluster):
            time.sleep(POLL_S)
            continue
        os.sync()  # what was written before is on its way to the disk, and would be in the way
        rate = _round(cluster)
        if not makes_snapshot(cluster):
            rates.append(rate)
    return median(rates) if len(rates) == ROUNDS else nan


def _resident_bytes(pid: int) -> int:
    status = Path(f"/proc/{pid}/status").read_text(encoding="ascii")
    [line] = [line for line in status.splitlines() if line.startswith("VmRSS:")]
    return int(line.split()[1]) * 1024


if __name__ == "__main__":
    sys.exit(main())
