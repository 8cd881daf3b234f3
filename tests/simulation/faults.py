"""The faults of a run: which, when, whom and how long, all drawn from the seed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from itertools import permutations

from atm.raft.ready import Role
from tests.simulation.loop import Loop
from tests.simulation.plan import NODES, Plan
from tests.simulation.sim_network import SimNetwork
from tests.simulation.sim_server import SimServer

EFFECTS_MAX = 12  # a kill comes within so many effects
DISK_CHANGES_MAX = 4
HOUR_US = 3_600_000_000


class Faults:
    """Strikes at drawn times until `stop`."""

    def __init__(self, loop: Loop, plan: Plan, servers: Sequence[SimServer], network: SimNetwork) -> None:
        self.fired: Counter[str] = Counter()
        self._loop, self._plan, self._servers, self._network = loop, plan, servers, network
        self.interval_us = plan.fault_interval_us  # on average
        self._stopped = False
        self._later()

    def stop(self) -> None:
        """No more faults; what is broken is mended, and who is down starts."""
        self._stopped = True
        self._network.heal()
        for server in self._servers:
            server.fuse.effects_left = None
            server.disk.power_cut_at = None
            server.disk.room_bytes = None  # a sync that is to fail still will, and the server starts again
            server.stall_us = 0
            if not server.up:
                server.start()

    def _later(self) -> None:
        if self._plan.faults:
            self._loop.after(int(self._loop.chance.expovariate(1 / self.interval_us)), self._strike)

    def _strike(self) -> None:
        if self._stopped:
            return
        names = list(self._plan.faults)
        (fault,) = self._loop.chance.choices(names, [self._plan.faults[name] for name in names])
        if self._do(fault):
            self.fired[fault] += 1
            self._loop.trace("fault", fault)
        self._later()

    def _for_us(self) -> int:
        """How long a fault lasts: from a fraction of an election timeout to several."""
        return int(self._plan.election_us * self._loop.chance.choice((0.1, 0.5, 1.0, 2.0, 2.0, 4.0)))

    def _do(self, fault: str) -> bool:
        """Do it to somebody; return False if there is nobody to do it to."""
        chance = self._loop.chance
        up = [server for server in self._servers if server.up]
        if not up:
            return False
        leaders = [server for server in up if server.core.role is Role.LEADER]
        victim = chance.choice(leaders if leaders and chance.random() < 0.5 else up)
        match fault:
            case "kill" | "power cut" | "failed sync" | "disk full":
                self._kill(victim, fault)
            case "wiped disk":
                return self._wipe(victim)
            case "pause":
                victim.pause(self._for_us())
            case "stall":
                victim.stall_us = chance.choice((self._plan.election_us // 20, self._plan.election_us))
                self._loop.after(self._for_us(), lambda: setattr(victim, "stall_us", 0))
            case "wall clock jump":
                victim.wall_clock_ahead_us = chance.randint(-HOUR_US, HOUR_US)
            case _:
                self._cut(fault, victim.name)
        return True

    def _kill(self, victim: SimServer, how: str) -> None:
        chance = self._loop.chance
        match how:
            case "kill":
                victim.fuse.effects_left = chance.randint(1, EFFECTS_MAX)
            case "power cut":
                victim.disk.power_cut_at = victim.disk.changes + chance.randint(1, DISK_CHANGES_MAX)
            case "failed sync":
                victim.disk.fail_next("sync")
            case _:
                victim.disk.room_bytes = chance.randint(0, 100)
        self._loop.after(self._for_us(), lambda: self._restart(victim, how))

    def _restart(self, victim: SimServer, how: str) -> None:
        """Start the victim; if it had nothing to do and so did not die of itself, kill it first."""
        if self._stopped and victim.up and how != "failed sync":
            return
        if victim.up:
            victim.die(power_cut=how == "power cut")
        victim.start()

    def _wipe(self, victim: SimServer) -> bool:
        """Only one in a run: more forgetful servers are more than Raft can bear."""
        if self.fired["wiped disk"]:
            return False
        victim.die(power_cut=False)
        victim.wipe()
        self._network.forget(victim.name)
        for server in self._servers:
            if server is not victim:
                server.demote(victim.name)
        self._loop.after(self._for_us(), lambda: self._restart(victim, "kill"))
        return True

    def _cut(self, fault: str, victim: str) -> None:
        chance = self._loop.chance
        others = [name for name in NODES if name != victim]
        links = set(permutations(NODES, 2))
        match fault:
            case "isolated leader":
                cut = {link for link in links if victim in link}
            case "split":
                side = set(chance.sample(NODES, chance.randint(1, 2)))
                cut = {(a, b) for a, b in links if (a in side) != (b in side)}
            case "one-way cut":
                deaf = chance.sample(others, chance.randint(1, 4))
                cut = {(victim, other) if chance.random() < 0.5 else (other, victim) for other in deaf}
            case "ring":
                order = chance.sample(NODES, len(NODES))
                near = {(order[i], order[(i + 1) % len(order)]) for i in range(len(order))}
                cut = {(a, b) for a, b in links if (a, b) not in near and (b, a) not in near}
            case _:
                raise AssertionError(f"no such fault: {fault}")
        self._network.cut(sorted(cut), self._for_us())
