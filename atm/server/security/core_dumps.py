"""No core dumps: the memory of a server holds PINs and the pepper, and a dump would write both to a disk."""

from __future__ import annotations

import contextlib
import ctypes
import resource
import sys

PR_SET_DUMPABLE = 4  # prctl(2)


def forbid_core_dumps() -> None:
    """Let this process write no core dump; on Linux other processes of its user cannot read its memory.

    A service manager or a container may have forbidden it already, and may forbid the asking.
    """
    with contextlib.suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if sys.platform == "linux":
        with contextlib.suppress(OSError, AttributeError):
            ctypes.CDLL(None).prctl(PR_SET_DUMPABLE, 0, 0, 0, 0)
