"""Run a command that does not outlive its starter: `python -m bench.systems.tied STARTER_PID COMMAND...`.

On Linux the kernel kills it when the starter ends, however that ends; elsewhere it is only run.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1

if __name__ == "__main__":
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    starter, *command = sys.argv[1:]
    if os.getppid() == int(starter):  # or else it has ended before we were tied to it
        os.execv(command[0], command)
