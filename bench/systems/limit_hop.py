"""One of the bare servers of `limit.py`; prints its port and serves one connection at a time.

Called with `FILE PORT…`, it sends what comes in to the listeners on the ports, appends it to the file (or to
none, if that is `-`) and syncs, waits for their answers, and answers.
"""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Sequence

from bench.systems.limit import FRAME, NO_FILE

_sync = getattr(os, "fdatasync", os.fsync)  # not every system has the cheaper one


def connected(port: int) -> socket.socket:
    """Return a connection to the listener on `port`."""
    there = socket.create_connection(("127.0.0.1", port))
    there.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return there


def serve(path: str, ports: Sequence[int]) -> None:
    """Answer each frame of each connection, until killed."""
    others = [connected(port) for port in ports]
    file = None if path == NO_FILE else os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        print(listener.getsockname()[1], flush=True)
        while True:
            connection, _ = listener.accept()
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            with connection:
                while piece := connection.recv(len(FRAME), socket.MSG_WAITALL):
                    for other in others:
                        other.sendall(piece)
                    if file is not None:
                        os.write(file, piece)
                        _sync(file)
                    for other in others:
                        other.recv(len(FRAME), socket.MSG_WAITALL)
                    connection.sendall(piece)


if __name__ == "__main__":
    _, path, *ports = sys.argv
    serve(path, [int(port) for port in ports])
