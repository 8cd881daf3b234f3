"""The limits: what one commit cannot do without, measured bare.

A client asks a leader, the leader a follower, the follower appends to a file and syncs, and the answers go
back: two round trips over the loopback and one sync in a row. No batching, no ledger, no bytes to
understand: processes that read, write and sync. That is the limit where each server has a disk of its own
and the leader's sync takes no longer than the follower's. On one disk for all, the syncs of a majority are in
each other's way: `Majority` has all three of them.
"""

from __future__ import annotations

import math
import platform
import socket
import time
from pathlib import Path

from bench.load import Result
from bench.systems.processes import Processes
from bench.systems.system import MEMBERS, System
from bench.work import CLOSED_LOOP, Work

HOP = "bench.systems.limit_hop"
FRAME = b"x" * 100  # about a credit
NO_FILE = "-"
ONE_CONNECTION = CLOSED_LOOP[0]


class Limit(System):
    """One request after the other."""

    name = "limit"
    works = (ONE_CONNECTION,)
    leader_syncs = False

    def __init__(self, members: int = MEMBERS) -> None:
        super().__init__(members)
        self.followers = 1
        self._processes: Processes | None = None
        self._port = 0

    @classmethod
    def missing(cls) -> str | None:
        return None

    @classmethod
    def version(cls) -> str:
        return f"Python {platform.python_version()}"

    def settings(self) -> str:
        return (
            f"client, leader, follower; the follower appends {len(FRAME)} bytes and syncs them; nothing else"
        )

    def start(self, folder: Path) -> None:
        self._processes = Processes(folder)
        ports = []
        for number in range(self.followers):
            name = f"follower-{number + 1}"
            self._processes.start_module(name, HOP, folder / f"{name}.log")
            ports.append(self._processes.hear(name).decode().strip())
        own_log = folder / "leader.log" if self.leader_syncs else NO_FILE
        self._processes.start_module("leader", HOP, own_log, *ports)
        self._port = int(self._processes.hear("leader"))

    def stop(self) -> None:
        if self._processes is not None:
            self._processes.stop()

    def processes(self) -> list[int]:
        return self._processes.ids() if self._processes is not None else []

    def measure(self, work: Work, *, seconds: float, warm_up_s: float) -> Result:
        assert work == ONE_CONNECTION
        result = Result(seconds=seconds)
        start_s = time.monotonic() + warm_up_s
        end_s = start_s + seconds
        cpu_before_s, servers_before_s = time.process_time(), math.nan
        with socket.create_connection(("127.0.0.1", self._port)) as leader:
            leader.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            while (asked_s := time.monotonic()) < end_s:
                if asked_s >= start_s and math.isnan(servers_before_s):
                    servers_before_s = self.servers_s()
                leader.sendall(FRAME)
                leader.recv(len(FRAME), socket.MSG_WAITALL)
                if asked_s >= start_s:
                    result.latencies_s.append(time.monotonic() - asked_s)
        result.cpu_s = (time.process_time() - cpu_before_s) * seconds / (seconds + warm_up_s)
        result.servers_s = self.servers_s() - servers_before_s
        result.acknowledged = len(result.latencies_s)
        return result


class Majority(Limit):
    """What it takes until a majority has synced the request, the leader among them."""

    name = "majority"
    leader_syncs = True

    def __init__(self, members: int = MEMBERS) -> None:
        super().__init__(members)
        self.followers = members // 2

    def settings(self) -> str:
        return (
            f"client, leader, {self.followers} of {self.members - 1} followers; all of them append "
            f"{len(FRAME)} bytes and sync; nothing else"
        )
