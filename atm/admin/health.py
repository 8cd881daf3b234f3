"""`bin/admin health`: one line and an exit code, for cron, a service manager or a load balancer."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import dataclass

from atm.admin.status import size
from atm.admin.task import DONE, NOT_AVAILABLE, REFUSED, Task
from atm.client.node_status import DOWN, ClusterStatus, NodeStatus, available_line
from atm.command_line import printable

LAG_ENTRIES_MAX = 1000  # a busy follower is some 50 ms behind; beyond this it does not keep up
DISK_FREE_BYTES_MIN = 256 * 1024 * 1024
HEALTHY, DEGRADED, UNAVAILABLE = "healthy", "degraded", "not available"
CODES = {HEALTHY: DONE, DEGRADED: REFUSED, UNAVAILABLE: NOT_AVAILABLE}


@dataclass(frozen=True)
class Health:
    """The verdict, and the reasons for it, a phrase each."""

    verdict: str
    reasons: tuple[str, ...]
    line: str


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add nothing."""


def run(task: Task) -> int:
    """Print the verdict; 0 healthy, 1 degraded, 3 not available."""
    status = task.client.status()
    found = judge(status)
    fields = {
        "health": found.verdict,
        "available": status.available,
        "leader": status.leader,
        "reasons": found.reasons,
        "message": found.line,
    }
    return task.finish(found.line, fields, CODES[found.verdict])


def judge(status: ClusterStatus) -> Health:
    """Return how the cluster is: degraded if it serves, and could stand less than it should."""
    reasons = tuple(_reasons(status))
    if not status.available:
        return Health(UNAVAILABLE, (available_line(status), *reasons), available_line(status))
    if reasons:
        return Health(DEGRADED, reasons, f"degraded: {'; '.join(reasons)}")
    count = len(voters(status))
    return Health(
        HEALTHY, (), f"healthy: {count} of {count} voters, led by {status.leader} in term {status.term}"
    )


def voters(status: ClusterStatus) -> list[NodeStatus]:
    """Return the nodes that should have a vote: as the log says, or else cluster.ini."""
    if not status.members:
        return list(status.nodes)
    names = {row.node for row in status.members if row.voter}
    return [node for node in status.nodes if node.node in names]


def _reasons(status: ClusterStatus) -> Iterator[str]:
    should_vote = voters(status)
    for node in should_vote:
        if node.role == DOWN:
            yield f"{node.node} does not answer"
        elif node.voter is False:
            yield f"{node.node} has lost its vote (bin/admin replace {node.node})"
        elif node.lag is not None and node.lag > LAG_ENTRIES_MAX:
            yield f"{node.node} is {node.lag:,} entries behind"
    for row in status.members:
        if not row.voter:
            yield f"{row.node} has no vote"
    for node in status.nodes:
        if node.disk_free_bytes is not None and node.disk_free_bytes < DISK_FREE_BYTES_MIN:
            yield f"{node.node} has {size(node.disk_free_bytes)} free on its disk"
    yield from map(printable, status.alarms)
