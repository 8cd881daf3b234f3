"""How a cluster is: one verdict with its reasons, for `bin/admin health` and the page of the cluster."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from atm.checkout import command_here
from atm.client.node_status import ClusterStatus, NodeStatus, available_line
from atm.command_line import printable, size

if TYPE_CHECKING:
    from atm.tls.credentials import Credentials

LAG_ENTRIES_MAX = 1000  # a busy follower is some 50 ms behind; beyond this it does not keep up
DISK_FREE_BYTES_MIN = 256 * 1024 * 1024
CERTIFICATE_DAYS_MIN = 7
DAY_US = 86_400_000_000
HEALTHY, DEGRADED, UNAVAILABLE = "healthy", "degraded", "not available"


@dataclass(frozen=True)
class Health:
    """The verdict, and the reasons for it, a phrase each."""

    verdict: str
    reasons: tuple[str, ...]
    line: str


@dataclass(frozen=True)
class CertificateEnd:
    """Whose certificate it is, the node if it is one's, and how many whole days it is still valid."""

    whose: str
    name: str
    node: str | None
    days_left: int

    @property
    def phrase(self) -> str:
        """Say when it ends."""
        if self.days_left < 0:
            return f"{self.whose} has ended"
        if self.days_left == 0:
            return f"{self.whose} ends today"
        return f"{self.whose} ends in {self.days_left} {'day' if self.days_left == 1 else 'days'}"


def judge(status: ClusterStatus, credentials: Credentials | None = None) -> Health:
    """Return how the cluster is: degraded if it serves, and could stand less than it should.

    `credentials` are those of this client, whose certificate counts, too.
    """
    reasons = tuple(_reasons(status, credentials))
    if not status.available:
        return Health(UNAVAILABLE, (available_line(status), *reasons), available_line(status))
    if reasons:
        return Health(DEGRADED, reasons, f"degraded: {'; '.join(reasons)}")
    count = len(voters(status))
    return Health(
        HEALTHY, (), f"healthy: {count} of {count} voters, led by {status.leader} in term {status.term}"
    )


def health_fields(status: ClusterStatus, found: Health) -> dict[str, object]:
    """Return the verdict on a status for programs, as `health --json` prints it."""
    return {
        "health": found.verdict,
        "available": status.available,
        "leader": status.leader,
        "reasons": found.reasons,
        "message": found.line,
    }


def certificate_ends(
    status: ClusterStatus, credentials: Credentials | None = None
) -> Iterator[CertificateEnd]:
    """Yield when the certificates of the nodes end, as far as they tell, and that of this client."""
    now_us = time.time_ns() // 1000
    for node in status.nodes:
        if node.certificate_ends_us is not None:
            days = (node.certificate_ends_us - now_us) // DAY_US
            yield CertificateEnd(f"the certificate of {node.node}", node.node, node.node, days)
    if credentials is not None:
        name, ends_us = credentials.loaded.identity.name, int(credentials.loaded.ends_s * 1e6)
        yield CertificateEnd(
            f"the certificate of this client, {name},", name, None, (ends_us - now_us) // DAY_US
        )


def voters(status: ClusterStatus) -> list[NodeStatus]:
    """Return the nodes that should have a vote: as the log says, or else cluster.ini."""
    if not status.members:
        return list(status.nodes)
    names = {row.node for row in status.members if row.voter}
    return [node for node in status.nodes if node.node in names]


def _reasons(status: ClusterStatus, credentials: Credentials | None) -> Iterator[str]:
    should_vote = voters(status)
    for node in should_vote:
        if node.missing is not None:
            yield f"{node.node} {node.missing}"
        elif node.voter is False:
            yield f"{node.node} has lost its vote ({command_here('admin')} replace {node.node})"
        elif node.lag is not None and node.lag > LAG_ENTRIES_MAX:
            yield f"{node.node} is {node.lag:,} entries behind"
    for row in status.members:
        if not row.voter:
            yield f"{row.node} has no vote"
    if status.lanes_without_writer:
        yield f"no server that answers writes lane {', '.join(map(str, status.lanes_without_writer))}"
    for node in status.nodes:
        if node.disk_free_bytes is not None and node.disk_free_bytes < DISK_FREE_BYTES_MIN:
            yield f"{node.node} has {size(node.disk_free_bytes)} free on its disk"
    ends = certificate_ends(status, credentials)
    yield from (each.phrase for each in ends if each.days_left < CERTIFICATE_DAYS_MIN)
    yield from map(printable, status.alarms)
