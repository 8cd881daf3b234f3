"""TigerBeetle: replicas of the program in the PATH, asked by its own client in a process beside them."""

from __future__ import annotations

import importlib.util
import re
import shutil
import subprocess
from importlib import metadata
from pathlib import Path

import msgspec

from atm.local_cluster import LOOPBACK, free_ports
from bench.load import NotAcknowledged, Result
from bench.systems.processes import LINE_CHARS_MAX, Processes
from bench.systems.system import MEMBERS, NotStarted, System
from bench.systems.tigerbeetle_load import Ended, Order
from bench.work import WORKS, Work

LOAD = "bench.systems.tigerbeetle_load"
CLIENTS_MAX = 64  # a cluster has no more unless it was formatted so
FORMAT_S = 60.0

_ended = msgspec.json.Decoder(Ended)


class TigerBeetle(System):
    """Each connection is a client of its own: those of one client would be put together into batches."""

    name = "tigerbeetle"
    legs = 4_000
    works = tuple(work for work in WORKS if work.connections <= CLIENTS_MAX and work.depth == 1)

    def __init__(self, members: int = MEMBERS) -> None:
        super().__init__(members)
        self._replicas: Processes | None = None
        self._load: Processes | None = None
        self._folder = Path()
        self._addresses = ""

    @classmethod
    def missing(cls) -> str | None:
        if shutil.which("tigerbeetle") is None:
            return "no tigerbeetle here: put one of 0.17 or newer into the PATH"
        if importlib.util.find_spec("tigerbeetle") is None:
            return f"its client is not installed: pip install tigerbeetle=={cls.version()}"
        return None

    @classmethod
    def version(cls) -> str:
        told = subprocess.run([_binary(), "version"], capture_output=True, text=True, check=True).stdout
        found = re.search(r"version (\d[^\s+]*)", told)
        return found.group(1) if found else "unknown"

    def settings(self) -> str:
        client = metadata.version("tigerbeetle")
        return (
            f"{self.members} replicas, defaults; a transfer a request, or in bulk {self.legs:,} of them, "
            f"each on its own; looks up accounts, linearizable; by its client in Python {client}, one for "
            f"each connection, {CLIENTS_MAX} at most"
        )

    def start(self, folder: Path) -> None:
        self._folder = folder
        self._addresses = ",".join(f"{LOOPBACK}:{port}" for port in free_ports(self.members))
        self._replicas = Processes(folder)
        for number in range(self.members):
            data = folder / f"replica-{number}.tigerbeetle"
            self._format(number, data)
            self._replicas.start(
                f"replica-{number}", [_binary(), "start", f"--addresses={self._addresses}", data]
            )
        self._load = Processes(folder)
        self._load.start_module("load", LOAD, self._addresses)
        self._answer()  # once the accounts are there
        self._replicas.check()

    def stop(self) -> None:
        for processes in (self._load, self._replicas):
            if processes is not None:
                processes.stop()

    def processes(self) -> list[int]:
        return self._replicas.ids() if self._replicas is not None else []

    def measure(self, work: Work, *, seconds: float, warm_up_s: float) -> Result:
        assert self._load is not None
        order = Order(WORKS.index(work), self.legs, warm_up_s, seconds)
        self._load.say("load", msgspec.json.encode(order))
        self._answer()  # after the warm-up
        before_s = self.servers_s()
        ended = self._answer()
        servers_s = self.servers_s() - before_s
        if ended.error:
            raise NotAcknowledged(ended.error)
        return Result(
            acknowledged=len(ended.latencies_s),
            seconds=seconds,
            cpu_s=ended.cpu_s,
            latencies_s=ended.latencies_s,
            servers_s=servers_s,
            legs=work.legs(self.legs),
        )

    def _answer(self) -> Ended:
        assert self._load is not None
        return _ended.decode(self._load.hear("load"))

    def _format(self, number: int, data: Path) -> None:
        """Make a replica's file; raise `NotStarted`."""
        which = ["--cluster=0", f"--replica={number}", f"--replica-count={self.members}"]
        try:
            subprocess.run(
                [_binary(), "format", *which, data],
                capture_output=True,
                text=True,
                check=True,
                timeout=FORMAT_S,
            )
        except subprocess.CalledProcessError as error:
            last = (error.stderr.strip().splitlines() or [""])[-1]
            raise NotStarted(f"tigerbeetle format: {last[:LINE_CHARS_MAX]}") from None
        except subprocess.TimeoutExpired:
            raise NotStarted(f"tigerbeetle format took more than {FORMAT_S:g} s") from None


def _binary() -> str:
    found = shutil.which("tigerbeetle")
    assert found is not None
    return found
