"""`bin/admin status`: a row for each node, and who leads."""

from __future__ import annotations

import argparse
import shutil
import sys
import time
from collections.abc import Sequence

from tabulate import tabulate

from atm.admin.task import DONE, NOT_AVAILABLE, Task
from atm.client.node_status import ClusterStatus, NodeStatus, available_line, missing_lines, status_fields
from atm.command_line import printable, size

WATCH_S = 1.0
CLEAR = "\x1b[H\x1b[2J"
HEADERS = ("node", "role", "release", "term", "commit", "applied", "lag")
FURTHER_HEADERS = ("snapshot", "log", "ledger", "free", "up", "address")
RIGHT = {"term", "commit", "applied", "lag", "snapshot", "log", "ledger", "free", "up"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of `status`."""
    parser.add_argument("--watch", action="store_true", help="again each second, until Ctrl-C")


def run(task: Task) -> int:
    """Print the status once, or again and again; 3 if the bank is not available."""
    code = _show(task, task.client.status())
    if not task.options.watch:
        return code
    try:
        while True:
            time.sleep(WATCH_S)
            status = task.client.status()
            if sys.stdout.isatty() and not task.as_json:
                print(CLEAR, end="")
            elif not task.as_json:
                print()
            code = _show(task, status)
    except KeyboardInterrupt:  # as it is meant to be left
        return code


def _show(task: Task, status: ClusterStatus) -> int:
    code = DONE if status.available else NOT_AVAILABLE
    columns = shutil.get_terminal_size().columns if sys.stdout.isatty() else None
    return task.finish(text(status, columns), status_fields(status), code)


def text(status: ClusterStatus, columns: int | None) -> str:
    """Return the table, the alarms, and in the last line whether the bank is available."""
    table = _table(status, (*HEADERS, *FURTHER_HEADERS))
    if columns is not None and max(map(len, table.splitlines())) > columns:
        table = _table(status, HEADERS)
    alarms = [f"ALARM {printable(alarm)}" for alarm in status.alarms]
    return "\n".join([table, *_lanes(status), *missing_lines(status), *alarms, available_line(status)])


def _lanes(status: ClusterStatus) -> list[str]:
    """Return which node is the writer of which lanes, if the bank has several."""
    several = max((node.lanes or 1 for node in status.nodes), default=1)
    if several == 1:
        return []
    told = [f"{node.node} has {_numbers(node.lanes_here)}" for node in status.nodes if node.lanes_here]
    if status.lanes_without_writer:
        told.append(f"nobody has {_numbers(status.lanes_without_writer)}")
    return [f"{several} lanes: {', '.join(told)}"]


def _numbers(lanes: Sequence[int]) -> str:
    return " ".join(map(str, lanes))


def _table(status: ClusterStatus, headers: tuple[str, ...]) -> str:
    rows = [_cells(node)[: len(headers)] for node in status.nodes]
    alignment = ["right" if header in RIGHT else "left" for header in headers]
    return tabulate(rows, headers, missingval="-", disable_numparse=True, colalign=alignment)


def _cells(node: NodeStatus) -> list[str | int | None]:
    return [
        node.node,
        printable(node.role),
        None if node.version is None else printable(node.version),
        node.term,
        node.commit_index,
        node.applied_index,
        node.lag,
        node.snapshot_index,
        size(node.log_bytes),
        size(node.ledger_bytes),
        size(node.disk_free_bytes),
        duration(node.uptime_s),
        printable(node.client or node.address) or None,
    ]


def duration(seconds: float | None) -> str | None:
    """Return a time for people, such as `3 h` or `12 d`."""
    if seconds is None:
        return None
    for unit, unit_s in (("d", 86_400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * unit_s:
            return f"{seconds // unit_s:.0f} {unit}"
    return f"{seconds:.0f} s"
