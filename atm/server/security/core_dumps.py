"""No core dumps: the memory of a server holds PINs and the pepper, and a dump would write both to a disk."""

from __future__ import annotations

import contextlib
import ctypes
import resource
import sys

PR_SET_DUMPABLE = 4  # prctl(2)


def forbid_core_dumps(*, traceable: bool = False) -> None:
    """Let this process write no core dump.

    Unless it is `traceable`, on Linux other processes of its user cannot read its memory either, nor its
    figures in /proc, and no handler of core dumps is given one.

    A service manager or a container may have forbidden it already, and may forbid the asking.
    """
    with contextlib.suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if sys.platform == "linux" and not traceable:
        with contextlib.suppress(OSError, AttributeError):
            ctypes.CDLL(None).prctl(PR_SET_DUMPABLE, 0, 0, 0, 0)
