"""`bin/admin health`: one line and an exit code, for cron, a service manager or a load balancer."""

from __future__ import annotations

import argparse

from atm.admin.task import DONE, NOT_AVAILABLE, REFUSED, Task
from atm.client.cluster_health import DEGRADED, HEALTHY, UNAVAILABLE, health_fields, judge

CODES = {HEALTHY: DONE, DEGRADED: REFUSED, UNAVAILABLE: NOT_AVAILABLE}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add nothing."""


def run(task: Task) -> int:
    """Print the verdict; 0 healthy, 1 degraded, 3 not available."""
    status = task.client.status()
    found = judge(status, task.client.credentials)
    return task.finish(found.line, health_fields(status, found), CODES[found.verdict])
