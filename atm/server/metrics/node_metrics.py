"""What /metrics tells of one server; docs/metrics.md has the same table, with when to worry.

A name keeps its meaning from release to release, and so do its labels. Each label has a closed set of values:
ops and outcomes are those of the protocol, peers those of the configuration.
"""

from __future__ import annotations

import os
import resource
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from atm.server.metrics.counters import Counters, Histogram
from atm.server.metrics.exposition import Kind, Labels, Metric, Value
from atm.server.metrics.health import Health, Published
from atm.version import FEATURE_LEVEL_MAX, RELEASE

NO_LABELS: Labels = {}
ROLES = ("leader", "follower", "candidate", "pre-candidate")
OPEN_FILES = Path("/proc/self/fd")
MEMORY = Path("/proc/self/statm")

# By name: its type, and what it tells.
METRICS: Mapping[str, tuple[Kind, str]] = {
    "atm_build_info": ("gauge", "Always 1; the labels tell the release, and the feature level it knows."),
    "atm_uptime_seconds": ("gauge", "Since this server began to start."),
    "atm_ready": ("gauge", "1 if /readyz answers 200, else 0."),
    "atm_run_loop_idle_seconds": ("gauge", "Since the run loop turned last; it does 100 times a second."),
    "atm_term": ("gauge", "The term of this server."),
    "atm_is_leader": ("gauge", "1 if this server leads, else 0."),
    "atm_has_leader": ("gauge", "1 if this server knows a leader in its term, else 0."),
    "atm_is_voter": ("gauge", "1 if this server is a voter whose votes count, else 0."),
    "atm_role": ("gauge", "1 for the role that this server has, 0 for the others."),
    "atm_leader_changes_total": ("counter", "How often this server saw a new leader, or a new term of one."),
    "atm_step_downs_total": ("counter", "How often this server ceased to lead, by cause."),
    "atm_lanes_here": ("gauge", "Lanes of a bank on PostgreSQL that this server writes. Else absent."),
    "atm_commit_index": ("gauge", "The last log entry that this server knows is committed."),
    "atm_applied_index": ("gauge", "The last log entry that its ledger holds."),
    "atm_last_index": ("gauge", "The last entry of its log."),
    "atm_snapshot_index": ("gauge", "The last entry that its newest snapshot holds; 0 without one."),
    "atm_peer_lag_entries": ("gauge", "On a leader: how many entries a peer has not saved yet. Else absent."),
    "atm_peer_connected": ("gauge", "1 if this server's connection to a peer is up, else 0."),
    "atm_requests_total": ("counter", "Requests, by op and outcome, at the server that decided them."),
    "atm_request_seconds": ("histogram", "From a request's arrival at its client's server to the reply."),
    "atm_requests_forwarded_total": ("counter", "Requests that this server passed on to the leader."),
    "atm_requests_waiting": ("gauge", "Requests that have no reply yet."),
    "atm_pin_requests_waiting": ("gauge", "Requests whose PINs are being hashed or wait for it; at most 64."),
    "atm_connections": ("gauge", "Open connections of clients."),
    "atm_peer_connections": ("gauge", "Open connections from other servers."),
    "atm_connections_refused_total": ("counter", "Connections that found no place, by port."),
    "atm_connections_given_up_total": ("counter", "Connections dropped because the other end did not read."),
    "atm_log_sync_seconds": ("histogram", "Syncs of the log: every change waits for those of a majority."),
    "atm_log_bytes": ("gauge", "The size of the log's files."),
    "atm_ledger_bytes": ("gauge", "The size of the ledger's files."),
    "atm_disk_free_bytes": ("gauge", "What is free on the disk of the data folder."),
    "atm_clock_offset_seconds": ("gauge", "This machine's clock less the middle one of the other servers'."),
    "atm_certificate_expiry_timestamp_seconds": ("gauge", "When its certificate ends, seconds since 1970."),
    "atm_backup_begun_timestamp_seconds": ("gauge", "When the last backup was begun, seconds since 1970."),
    "atm_alarm": ("gauge", "1 while an alarm of the status is raised, else 0."),
    "process_cpu_seconds_total": ("counter", "Processor time of this process, user and system."),
    "process_resident_memory_bytes": ("gauge", "Memory of this process."),
    "process_open_fds": ("gauge", "Open files and sockets of this process."),
    "process_max_fds": ("gauge", "How many it may have."),
}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Parts:
    """Where the numbers come from; every callable returns at once, takes no lock and touches no disk."""

    counters: Counters
    sync_seconds: Callable[[], Histogram]
    sizes: Callable[[], Mapping[str, int]]  # of `Vitals`
    connections: Callable[[], int]
    peer_connections: Callable[[], int]
    refused: Mapping[str, Callable[[], int]]  # by port
    given_up: Mapping[str, Callable[[], int]]  # by who did not take what was sent
    pin_requests: Callable[[], int]
    certificate_ends_s: Callable[[], float | None]
    lanes_here: Callable[[], int] | None = None  # in a bank on PostgreSQL


class NodeMetrics:
    """All metrics of one server."""

    def __init__(self, health: Health, clock: Callable[[], float]) -> None:
        self._health = health
        self._clock = clock
        self._started_s = clock()
        self.parts: Parts | None = None  # None while the server starts

    def collect(self) -> Iterator[Metric]:
        """Return them as they are now; of a server that starts only those that are known."""
        seen, parts = self._health.published, self.parts
        values = self._always()
        if seen is not None:
            values |= _published(seen)
        if parts is not None:
            values |= _counted(parts)
        assert values.keys() <= METRICS.keys()
        for name, (kind, help_text) in METRICS.items():
            yield Metric(name, kind, help_text, values.get(name, ()))

    def _always(self) -> dict[str, Iterable[tuple[Labels, Value]]]:
        build = {"version": RELEASE, "feature_level_max": str(FEATURE_LEVEL_MAX)}
        ready = not any(check.fault for check in self._health.ready())
        used = resource.getrusage(resource.RUSAGE_SELF)
        return {
            "atm_build_info": [(build, 1)],
            "atm_uptime_seconds": _one(round(self._clock() - self._started_s, 3)),
            "atm_ready": _one(ready),
            "atm_run_loop_idle_seconds": _one(self._health.idle_s),
            "process_cpu_seconds_total": _one(used.ru_utime + used.ru_stime),
            "process_max_fds": _one(resource.getrlimit(resource.RLIMIT_NOFILE)[0]),
            **_from_proc(),
        }


def _published(seen: Published) -> dict[str, Iterable[tuple[Labels, Value]]]:
    lag = [({"peer": peer}, max(0, seen.last_index - index)) for peer, index in sorted(seen.matched.items())]
    offset_us, backup_us = seen.clock_offset_us, seen.last_backup_us
    return {
        "atm_term": _one(seen.term),
        "atm_is_leader": _one(seen.role == "leader"),
        "atm_has_leader": _one(seen.leader is not None),
        "atm_is_voter": _one(seen.voter),
        "atm_role": [({"role": role}, role == seen.role) for role in ROLES],
        "atm_leader_changes_total": _one(seen.leader_changes),
        "atm_step_downs_total": [({"cause": cause}, n) for cause, n in seen.step_downs.items()],
        "atm_commit_index": _one(seen.commit_index),
        "atm_applied_index": _one(seen.applied_index),
        "atm_last_index": _one(seen.last_index),
        "atm_snapshot_index": _one(seen.snapshot_index),
        "atm_peer_lag_entries": lag,
        "atm_peer_connected": [({"peer": peer}, peer in seen.connected) for peer in sorted(seen.members)],
        "atm_requests_waiting": _one(seen.waiting),
        "atm_clock_offset_seconds": () if offset_us is None else _one(offset_us / 1e6),
        "atm_backup_begun_timestamp_seconds": () if backup_us is None else _one(backup_us / 1e6),
        "atm_alarm": [({"alarm": kind}, raised) for kind, raised in seen.alarms.items()],
    }


def _counted(parts: Parts) -> dict[str, Iterable[tuple[Labels, Value]]]:
    counters, sizes, ends_s = parts.counters, parts.sizes(), parts.certificate_ends_s()
    requests = sorted(counters.requests().items())
    return {
        "atm_requests_total": [({"op": op, "outcome": outcome}, n) for (op, outcome), n in requests],
        "atm_request_seconds": _one(counters.request_seconds),
        "atm_requests_forwarded_total": _one(counters.forwarded),
        "atm_pin_requests_waiting": _one(parts.pin_requests()),
        "atm_connections": _one(parts.connections()),
        "atm_peer_connections": _one(parts.peer_connections()),
        "atm_connections_refused_total": [({"port": port}, n()) for port, n in parts.refused.items()],
        "atm_connections_given_up_total": [({"to": to}, n()) for to, n in parts.given_up.items()],
        "atm_log_sync_seconds": _one(parts.sync_seconds()),
        "atm_lanes_here": () if parts.lanes_here is None else _one(parts.lanes_here()),
        **{f"atm_{name}": _one(size) for name, size in sizes.items()},
        "atm_certificate_expiry_timestamp_seconds": () if ends_s is None else _one(ends_s),
    }


def _one(value: Value) -> list[tuple[Labels, Value]]:
    return [(NO_LABELS, value)]


def _from_proc() -> dict[str, Iterable[tuple[Labels, Value]]]:
    """Return what Linux tells of this process; elsewhere nothing."""
    try:
        pages = int(MEMORY.read_text(encoding="ascii").split()[1])
        return {
            "process_resident_memory_bytes": _one(pages * resource.getpagesize()),
            "process_open_fds": _one(len(os.listdir(OPEN_FILES))),
        }
    except (OSError, ValueError, IndexError):
        return {}
