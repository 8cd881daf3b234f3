"""What a running process uses; on Linux, from /proc."""

from __future__ import annotations

import os
from pathlib import Path

USER_TICKS, SYSTEM_TICKS = 11, 12  # in /proc/PID/stat, counted from what follows the name


def processor_s(pid: int) -> float:
    """Return the processor time of all its threads since it started, to a hundredth of a second."""
    told = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace")
    fields = told.rpartition(")")[2].split()  # the name stands in brackets and may hold anything
    return (int(fields[USER_TICKS]) + int(fields[SYSTEM_TICKS])) / os.sysconf("SC_CLK_TCK")


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
