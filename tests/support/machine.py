"""Runs one program as on a machine of its own: `python machine.py COMMAND…`.

What the program starts stays below this process, also what it leaves behind, as Patroni leaves a PostgreSQL
that outlives it: all of that is what the machine runs. When the standard input closes, its starter has ended,
and then everything here is killed.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
import threading

PR_SET_CHILD_SUBREAPER = 36  # linux/prctl.h


def main() -> int:
    """Run the program until all that it started has ended; return 0."""
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    subprocess.Popen(sys.argv[1:], stdin=subprocess.DEVNULL, stdout=sys.stderr, start_new_session=True)
    threading.Thread(target=_watch_starter, daemon=True).start()
    with contextlib.suppress(ChildProcessError):
        while True:
            os.wait()
    return 0


def _watch_starter() -> None:
    os.read(0, 1)
    kill_all_below(os.getpid())
    os._exit(1)


def below(pid: int) -> list[int]:
    """Return the processes that `pid` has started, and those that they have, parents first."""
    listed = subprocess.run(["ps", "-A", "-o", "pid=,ppid="], capture_output=True, text=True, check=True)
    parents = {int(child): int(parent) for child, parent in (x.split() for x in listed.stdout.splitlines())}
    found, first = [pid], 0
    while first < len(found):
        found += [child for child, parent in parents.items() if parent == found[first]]
        first += 1
    return found[1:]


def freeze_all_below(pid: int) -> list[int]:
    """Halt them, again until there is none that was begun meanwhile; return all."""
    halted: list[int] = []
    while new := [each for each in below(pid) if each not in halted]:
        send(new, signal.SIGSTOP)
        halted += new
    return halted


def kill_all_below(pid: int) -> None:
    """End them at once, as when the power fails."""
    send(freeze_all_below(pid), signal.SIGKILL)


def send(pids: list[int], number: signal.Signals) -> None:
    """Send a signal to each that is still there."""
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)


if __name__ == "__main__":
    sys.exit(main())
