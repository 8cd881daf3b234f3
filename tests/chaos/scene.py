"""What a fault may touch: the nodes as processes, their surroundings, and the network between them."""

from __future__ import annotations

import random
import signal
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TypeVar

from atm.local_cluster import LocalCluster
from tests.chaos.network import Network

T = TypeVar("T")


class Scene(LocalCluster):
    """A cluster whose nodes may live in namespaces, and be started under another program."""

    def __init__(self, config: Path, network: Network | None, chance: random.Random) -> None:
        super().__init__(config)
        self.net = network
        self.chance = chance
        self.jumps = 0  # of the clock, so far
        self.newest_stamp_us: Callable[[], int] = lambda: 0  # the newest receipt's time
        self._wrappers: dict[str, list[str]] = {}

    @property
    def network(self) -> Network:
        assert self.net is not None, "this fault needs namespaces"
        return self.net

    @property
    def nodes(self) -> list[str]:
        return list(self.cluster.nodes)

    def command(self, name: str) -> list[str]:
        inside = self.net.inside(name) if self.net is not None else []
        return [*inside, *self._wrappers.get(name, []), *super().command(name)]

    def start_under(self, name: str, wrapper: list[str]) -> None:
        """Start the node under a program that becomes it; only this time."""
        self._wrappers[name] = wrapper
        try:
            self.start(name)
        finally:
            del self._wrappers[name]

    def pid(self, name: str) -> int:
        return self.processes[name].pid

    def choose(self, count: int, among: Iterable[str] | None = None) -> list[str]:
        return self.chance.sample(self.nodes if among is None else list(among), count)

    def followers(self, count: int = 1) -> list[str]:
        """Draw some that do not lead."""
        leader = self.wait_for_leader()
        return self.choose(count, [name for name in self.nodes if name != leader])

    def leader_and(self, count: int) -> list[str]:
        """Return the leader and some others that are drawn."""
        leader = self.wait_for_leader()
        return [leader, *self.choose(count, [name for name in self.nodes if name != leader])]

    def kill_at_once(self, names: Iterable[str]) -> bool:
        """Kill -9; return whether all of them died of it."""
        names = list(names)
        for name in names:
            self.processes[name].kill()
        for name in names:
            self.kill(name)
        return all(self.processes[name].returncode == -signal.SIGKILL for name in names)

    def is_stopped(self, name: str) -> bool:
        """Return whether the process hangs after SIGSTOP."""
        status = Path(f"/proc/{self.pid(name)}/stat").read_text()
        return status.rpartition(")")[2].split()[0] in "Tt"

    def wait_until_ended(self, name: str, deadline_s: float) -> int | None:
        """Return the exit code of a node that ends by itself, or None if it does not."""
        return wait_for(self.processes[name].poll, deadline_s)

    def wait_until_up(self, name: str, deadline_s: float = 15.0) -> bool:
        """Return whether the node answers in time."""
        return wait_for(lambda: self.status(name) is not None or None, deadline_s) is not None


def wait_for(look: Callable[[], T | None], deadline_s: float) -> T | None:
    """Look again and again until there is something to see; return it, or None at the deadline."""
    deadline = time.monotonic() + deadline_s
    while (seen := look()) is None and time.monotonic() < deadline:
        time.sleep(0.02)
    return seen
