"""Strangers who connect to ports, say next to nothing, and connect again as soon as they are thrown out.

    python -m tests.attacks.strangers COUNT BYTES PORT [PORT ...]

They send so many bytes each, fewer than a frame has, and wait.

They keep COUNT connections to each of these ports of the loopback until standard input ends, or for a
minute.
A line is printed once all were connected for the first time.
"""

from __future__ import annotations

import contextlib
import heapq
import os
import select
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence

SECONDS_MAX = 60.0
AGAIN_S = 0.005  # after a port on which nobody listens


@contextlib.contextmanager
def strangers(count: int, ports: Sequence[int], *, said: int = 0) -> Iterator[None]:
    """Keep so many connections to each port, from when all stand until the end of the block."""
    command = [sys.executable, "-m", "tests.attacks.strangers", str(count), str(said), *map(str, ports)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            assert process.stdout.readline() == b"connected\n"
            yield
            assert process.poll() is None, "the strangers have gone"
        finally:
            process.stdin.close()


def main(count: int, said: int, ports: Sequence[int]) -> None:
    poll = select.epoll()
    poll.register(0, select.EPOLLIN)
    standing: dict[int, tuple[socket.socket, int]] = {}  # by descriptor, with the port
    due = [(0.0, port) for port in ports for _ in range(count)]
    told, until_s = False, time.monotonic() + SECONDS_MAX
    while time.monotonic() < until_s:
        while due and due[0][0] <= time.monotonic():
            _, port = heapq.heappop(due)
            sock = socket.socket()
            sock.setblocking(False)
            with contextlib.suppress(BlockingIOError):
                sock.connect(("127.0.0.1", port))
            with contextlib.suppress(OSError):
                sock.send(bytes(said))
            standing[sock.fileno()] = sock, port
            poll.register(sock.fileno(), select.EPOLLIN)
        if not told and len(standing) == count * len(ports):
            told = True
            os.write(1, b"connected\n")
        for descriptor, _ in poll.poll(AGAIN_S if due else 1.0):
            if descriptor == 0:
                return
            sock, port = standing.pop(descriptor)
            poll.unregister(descriptor)
            try:
                sock.recv(65536)
                pause_s = 0.0
            except OSError:
                pause_s = AGAIN_S
            sock.close()
            heapq.heappush(due, (time.monotonic() + pause_s, port))


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), [int(each) for each in sys.argv[3:]])
