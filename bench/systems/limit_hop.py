"""One of the two bare servers of the `limit` system; prints its port and serves one connection at a time.

With the arguments `append FILE` it appends what comes, syncs and answers; with `pass-on PORT` it asks there
and passes the answer back.
"""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Callable
from pathlib import Path

from bench.systems.limit import FRAME

_sync = getattr(os, "fdatasync", os.fsync)  # not every system has the cheaper one


def appending(path: Path) -> Callable[[bytes], bytes]:
    """Return what appends to a new file at `path`."""
    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)

    def append(piece: bytes) -> bytes:
        os.write(file, piece)
        _sync(file)
        return piece

    return append


def passing_on(port: int) -> Callable[[bytes], bytes]:
    """Return what asks whoever listens on `port`."""
    there = socket.create_connection(("127.0.0.1", port))
    there.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def ask(piece: bytes) -> bytes:
        there.sendall(piece)
        return there.recv(len(FRAME), socket.MSG_WAITALL)

    return ask


def serve(answer: Callable[[bytes], bytes]) -> None:
    """Answer each frame of each connection, until killed."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        print(listener.getsockname()[1], flush=True)
        while True:
            connection, _ = listener.accept()
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            with connection:
                while piece := connection.recv(len(FRAME), socket.MSG_WAITALL):
                    connection.sendall(answer(piece))


if __name__ == "__main__":
    role, where = sys.argv[1:]
    serve(appending(Path(where)) if role == "append" else passing_on(int(where)))
