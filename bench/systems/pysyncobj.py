"""PySyncObj: a replicated counter in five processes, asked from within the leader's.

It is a library: callers live in a server's process, so there is no client and no socket between, and the
load program runs inside the leader.
"""

from __future__ import annotations

import importlib.util
import math
import time
from importlib import metadata
from pathlib import Path

import msgspec

from atm.local_cluster import free_ports
from bench.load import NotAcknowledged, Result
from bench.systems.processes import Processes
from bench.systems.pysyncobj_node import Ended, Order, Told
from bench.systems.system import MEMBERS, START_S, NotStarted, System
from bench.work import CLOSED_LOOP, PIPELINED, Work

NODE = "bench.systems.pysyncobj_node"
POLL_S = 0.05

_told = msgspec.json.Decoder(Told)
_ended = msgspec.json.Decoder(Ended)


class PySyncObj(System):
    """`depth` 1 are blocking calls, a thread for each connection; deeper work is one asynchronous window."""

    name = "pysyncobj"
    works = (*CLOSED_LOOP, PIPELINED)
    fails_over = True

    def __init__(self, members: int = MEMBERS) -> None:
        super().__init__(members)
        self._processes: Processes | None = None
        self._nodes: list[str] = []
        self._leader = ""

    @classmethod
    def missing(cls) -> str | None:
        if importlib.util.find_spec("pysyncobj") is None:
            return "not installed: use bin/bench, or pip install -e '.[bench]'"
        return None

    @classmethod
    def version(cls) -> str:
        return metadata.version("pysyncobj")

    def settings(self) -> str:
        return (
            f"{self.members} nodes, defaults (it sends each 100 ms), journal file on, which it DOES NOT "
            "SYNC: a power cut loses what it acknowledged; a counter; blocking calls from threads, or a "
            "window of asynchronous ones; the load program is in the leader, and in its processor time"
        )

    def start(self, folder: Path) -> None:
        self._nodes = [f"127.0.0.1:{port}" for port in free_ports(self.members)]
        self._processes = Processes(folder)
        for node in self._nodes:
            others = [other for other in self._nodes if other != node]
            self._processes.start_module(node, NODE, folder / node.replace(":", "-"), node, *others)
        self._leader = self._wait_for_leader()

    def stop(self) -> None:
        if self._processes is not None:
            self._processes.stop()

    def processes(self) -> list[int]:
        return self._processes.ids() if self._processes is not None else []

    def measure(self, work: Work, *, seconds: float, warm_up_s: float) -> Result:
        order = Order(
            "credit", connections=work.connections, depth=work.depth, warm_up_s=warm_up_s, seconds=seconds
        )
        before_s = self.servers_s()
        ended = _ended.decode(self._ask(self._leader, order))
        servers_s = (self.servers_s() - before_s) * seconds / (seconds + warm_up_s)
        if ended.error:
            raise NotAcknowledged(ended.error)
        return Result(
            acknowledged=len(ended.latencies_s),
            seconds=seconds,
            cpu_s=math.nan,
            latencies_s=ended.latencies_s,
            servers_s=servers_s,
        )

    def fail_over(self) -> float:
        assert self._processes is not None
        survivors = [node for node in self._nodes if node != self._leader]
        for node in survivors:
            self._processes.say(node, msgspec.json.encode(Order("probe")))
            self._processes.hear(node)  # its first acknowledgement: it serves
        killed_s = time.monotonic()
        self._processes.kill(self._leader)
        return min(self._first_after(node, killed_s) - killed_s for node in survivors) * 1000

    def _first_after(self, node: str, since_s: float) -> float:
        """Return when the first write was acknowledged that this node was asked for after `since_s`."""
        assert self._processes is not None
        while True:
            asked_s, done_s = msgspec.json.decode(self._processes.hear(node), type=tuple[float, float])
            if asked_s >= since_s:
                return done_s

    def _ask(self, node: str, order: Order) -> bytes:
        assert self._processes is not None
        self._processes.say(node, msgspec.json.encode(order))
        return self._processes.hear(node)

    def _wait_for_leader(self) -> str:
        deadline_s = time.monotonic() + START_S
        while time.monotonic() < deadline_s:
            told = [_told.decode(self._ask(node, Order("status"))) for node in self._nodes]
            leaders = {status.leader for status in told}
            if all(status.ready for status in told) and len(leaders) == 1 and (leader := leaders.pop()):
                return leader
            time.sleep(POLL_S)
        raise NotStarted(f"the nodes of PySyncObj agreed on no leader within {START_S:g} s")
