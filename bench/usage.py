"""What a running process uses; on Linux, from /proc."""

from __future__ import annotations

import contextlib
import math
import os
from collections.abc import Collection
from pathlib import Path

PROC_SELF = Path("/proc/self")
PARENT, USER_TICKS, SYSTEM_TICKS, WAITED_TICKS = (
    1,
    11,
    12,
    13,
)  # in /proc/PID/stat, counted from what follows the name


def processor_s(pid: int) -> float:
    """Return the processor time of all its threads since it started, to a hundredth of a second."""
    told = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace")
    fields = told.rpartition(")")[2].split()  # the name stands in brackets and may hold anything
    return (int(fields[USER_TICKS]) + int(fields[SYSTEM_TICKS])) / os.sysconf("SC_CLK_TCK")


def processor_s_of_all(roots: Collection[int]) -> float:
    """Return the processor time of these processes and of all that descend from them, also of ended ones.

    nan where there is no /proc. Finer than a hundredth of a second, which is much where a system has a
    process for each connection.
    """
    if not PROC_SELF.exists():
        return math.nan
    parents: dict[int, int] = {}
    used_s: dict[int, tuple[float, float]] = {}  # its own, and that of its children that it has waited for
    ticks_per_s = os.sysconf("SC_CLK_TCK")
    for path in PROC_SELF.parent.glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):  # it has ended
            fields = path.read_text(encoding="ascii", errors="replace").rpartition(")")[2].split()
            pid = int(path.parent.name)
            parents[pid] = int(fields[PARENT])
            own, waited = (
                sum(map(int, fields[first : first + 2])) / ticks_per_s for first in (USER_TICKS, WAITED_TICKS)
            )
            used_s[pid] = own, waited
    total_s = 0.0
    for pid, (own, waited) in used_s.items():
        above = pid
        while above and above not in roots:
            above = parents.get(above, 0)
        if above:
            total_s += max(own, _threads_s(pid)) + waited
    return total_s


def _threads_s(pid: int) -> float:
    """Return what its running threads have used, to the nanosecond; 0 where the kernel does not tell."""
    total_ns = 0
    for path in Path(f"/proc/{pid}/task").glob("*/schedstat"):
        with contextlib.suppress(OSError):
            total_ns += int(path.read_bytes().split()[0])
    return total_ns / 1e9


def written_bytes(pid: int) -> int:
    """Return how many bytes it has written to files since it started; what goes to sockets is not in it.

    Not `write_bytes`, which counts whole folios of the cache: a page in a large file counts as many.
    """
    return _told(Path(f"/proc/{pid}/io"), "wchar")


def resident_bytes(pid: int) -> int:
    """Return how much of its memory is in the machine's, exactly, also just after it has changed."""
    return _told(Path(f"/proc/{pid}/smaps_rollup"), "Rss") * 1024


def _told(path: Path, name: str) -> int:
    """Return the number that stands behind the name."""
    for line in path.read_text(encoding="ascii", errors="replace").splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1])
    raise OSError(f"{path} tells no {name}")
