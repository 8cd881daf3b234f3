"""Tells the service manager that started this process, such as systemd, how it is: sd_notify(3)."""

from __future__ import annotations

import contextlib
import os
import socket


def notify(state: str) -> None:
    """Send `state`, such as `READY=1`, to the socket in $NOTIFY_SOCKET; without one do nothing.

    A failure is ignored: the manager notices by itself that it was told nothing.
    """
    path = os.environ.get("NOTIFY_SOCKET", "")
    if not path.startswith(("/", "@")):
        return
    if path.startswith("@"):  # Linux' abstract names
        path = "\0" + path[1:]
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.sendto(state.encode(), path)
