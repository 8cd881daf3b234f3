"""A cluster under load: what its clients see, and what that costs its leader and a follower."""

from __future__ import annotations

import time
from functools import partial

from atm.local_cluster import LocalCluster
from bench.cluster import last_index, leaders_status, wait_until_applied
from bench.growth.curve import Figures
from bench.load import NotAcknowledged, run
from bench.results import median
from bench.systems.load_connection import LoadConnection, Template, around_the_id
from bench.usage import processor_s, written_bytes
from bench.work import Work

WARM_UP_S = 1.0
ATTEMPTS = 3


def loaded(
    cluster: LocalCluster, work: Work, seconds: float, *, template: Template = around_the_id
) -> Figures:
    """Do the work at the leader and return the figures.

    Rate and latencies are of the time after the warm-up. What servers use is counted from before the first
    connection until all is applied, and divided by all entries that came to the log in between; work that
    only looks makes none. What an election fell into is measured again: the figure `elections` tells of it.
    Raise `NotAcknowledged` or `OSError`.
    """
    first_term = term = _term(cluster)
    for _ in range(ATTEMPTS):
        try:
            figures = _loaded_once(cluster, work, seconds, template)
        except NotAcknowledged:
            if _term(cluster) == term:
                raise
        else:
            if _term(cluster) == term:
                return {**figures, "elections": term - first_term}
        term = _term(cluster)
    raise NotAcknowledged(f"there was an election in each of {ATTEMPTS} attempts: is this machine busy?")


def _loaded_once(cluster: LocalCluster, work: Work, seconds: float, template: Template) -> Figures:
    leader = cluster.wait_for_leader()
    connect = partial(LoadConnection, cluster.cluster.nodes[leader].client, template)
    leaders_pid = cluster.processes[leader].pid
    entries, wrote_bytes = last_index(cluster), written_bytes(leaders_pid)
    used_s, began_s = _used_s(cluster), time.monotonic()
    result = run(connect, work, seconds=seconds, warm_up_s=WARM_UP_S)
    made = last_index(cluster) - entries
    wait_until_applied(cluster, list(cluster.cluster.nodes), entries + made)
    cost_s = {name: now_s - used_s[name] for name, now_s in _used_s(cluster).items()}
    took_s = time.monotonic() - began_s
    cost_us = {name: 1e6 * cost / made for name, cost in cost_s.items()}
    return {
        "requests_per_s": result.per_second,
        "p50_ms": result.percentile_ms(0.5),
        "p99_ms": result.percentile_ms(0.99),
        "leader_us": cost_us.pop(leader),
        "follower_us": median(list(cost_us.values())),
        "leader_bytes": (written_bytes(leaders_pid) - wrote_bytes) / made,
        "load_cores": result.cpu_s / result.seconds,
        "servers_cores": sum(cost_s.values()) / took_s,
    }


def _term(cluster: LocalCluster) -> int:
    return leaders_status(cluster).term


def _used_s(cluster: LocalCluster) -> dict[str, float]:
    return {name: processor_s(process.pid) for name, process in cluster.processes.items()}
